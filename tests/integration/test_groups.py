"""Groups through three real processes, with a leader that dies."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from raftsched_client import ConflictError, Group, task

from tests.support.cluster import Cluster, eventually


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


def test_two_tasks_of_a_group_of_one_never_run_at_once_though_the_leader_dies(cluster: Cluster, tmp_path: Path) -> None:
    script = f"exec flock --nonblock --conflict-exit-code 66 {tmp_path}/lock sleep 0.4"
    with cluster.client() as client:
        client.create_group(Group(name="db", max_running=1))
        for name in ("a", "b"):
            client.create_task(task(name, every=timedelta(seconds=1), shell=script, group="db"))
        eventually(lambda: len(list(client.list_ledger("a"))) >= 3, what="three decisions")
        cluster.nodes[killed := cluster.leader()].kill()
        eventually(lambda: len(list(client.list_ledger("a"))) >= 10, what="ten decisions")
        cluster.nodes[killed].start()
        for name in ("a", "b"):
            client.pause_task(name)
        executions = eventually(
            lambda: (
                found
                if (found := list(client.list_executions())) and all(each.HasField("end_time") for each in found)
                else None
            ),
            within_s=120,
            what="the end of all",
        )
        beside = [each.id for each in executions if each.exit_code == 66]
        assert not beside, f"ran beside another: {beside}"
        assert len({each.task for each in executions if each.exit_code == 0}) == 2
        assert (client.get_group("db").running, client.get_group("db").tasks) == (0, 2)
        with pytest.raises(ConflictError):
            client.delete_group("db")
