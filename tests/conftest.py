"""How the tests are spread over workers."""

import pytest

CLUSTER_TESTS = {"integration", "e2e"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start clusters take turns on one worker: two clusters at once would starve each other."""
    for item in items:
        if CLUSTER_TESTS & set(item.path.parts):
            item.add_marker(pytest.mark.xdist_group("clusters"))
