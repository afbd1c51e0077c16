"""How the tests are spread over workers, and how those that draw examples do it.

The time that an example takes is no test, and a failure prints what replays it. RAFTSCHED_EXAMPLES=5000 looks at more
examples per test.
"""

import os
import signal
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile(
    "raftsched", deadline=None, print_blob=True, max_examples=int(os.environ.get("RAFTSCHED_EXAMPLES", "100"))
)
settings.load_profile("raftsched")

# A shell that starts the tests in the background has them ignore it, and with them the programs that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

ONE_NODE_TESTS = tuple(
    f"tests/integration/test_{name}" for name in ("rest.py", "rest_hostile.py", "rest_schema.py", "executor_")
)
THREE_NODE_TEST = "tests/integration/test_rest.py::test_any_node_"
CLUSTER_TESTS = ("tests/attack/", "tests/integration/", "tests/e2e/", "tests/chaos/")


class OneClusterAtATime(LoadScopeScheduling):
    """Tests that start clusters take turns on one worker: two clusters at once would starve each other.

    Those that need one node at most go beside them.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ONE_NODE_TESTS) and not nodeid.startswith(THREE_NODE_TEST):
            return "one node"
        return "clusters" if nodeid.startswith(CLUSTER_TESTS) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneClusterAtATime:
    return OneClusterAtATime(config, log)
