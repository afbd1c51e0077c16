"""How the tests are spread over workers."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

CLUSTER_TESTS = ("tests/integration/", "tests/e2e/", "tests/chaos/")


class OneClusterAtATime(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that start clusters take turns on one worker: two clusters at once would starve each other."""

    def _split_scope(self, nodeid: str) -> str:
        return "clusters" if nodeid.startswith(CLUSTER_TESTS) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneClusterAtATime:
    return OneClusterAtATime(config, log)
