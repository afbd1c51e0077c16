"""How the tests are spread over workers."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ONE_NODE_TESTS = tuple(
    f"tests/integration/test_{name}" for name in ("rest.py", "rest_hostile.py", "rest_schema.py", "executor_")
)
THREE_NODE_TEST = "tests/integration/test_rest.py::test_any_node_"
CLUSTER_TESTS = ("tests/integration/", "tests/e2e/", "tests/chaos/")


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
