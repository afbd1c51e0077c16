"""How the tests are spread over workers."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ONE_NODE_TESTS = ("tests/integration/test_rest", "tests/integration/test_executor_")
CLUSTER_TESTS = ("tests/integration/", "tests/e2e/", "tests/chaos/")


class OneClusterAtATime(LoadScopeScheduling):
    """Tests that start clusters take turns on one worker: two clusters at once would starve each other.

    Those that need one node at most go beside them.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ONE_NODE_TESTS):
            return "one node"
        return "clusters" if nodeid.startswith(CLUSTER_TESTS) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneClusterAtATime:
    return OneClusterAtATime(config, log)
