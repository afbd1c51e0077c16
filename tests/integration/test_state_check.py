"""The nodes compare their state tables: a wrong row with a right checksum is found, and no other node is accused."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raftsched_client import Client, task

from raftsched.ports import Table
from raftsched.store.lmdb_store import LmdbStore
from tests.support.cluster import Cluster, eventually

FAR = datetime(2100, 1, 1, tzinfo=UTC)
TASKS = 3_000


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    file = tmp_path / "raftsched.toml"
    file.write_text("[state_check]\npause_s = 1\nstep_ms = 20\n")
    with Cluster(tmp_path, options=("--config", str(file))) as cluster:
        fill(cluster)
        yield cluster


def fill(cluster: Cluster) -> None:
    with cluster.client() as client:
        for first in range(0, TASKS, 1_000):
            names = (f"kept-{number:04}" for number in range(first, first + 1_000))
            assert not any(
                result.code for result in client.create_tasks([task(name, at=FAR, noop=True) for name in names])
            )
        for number in range(10):
            client.create_task(task(f"busy-{number}", every=timedelta(seconds=1), noop=True))


def damage(cluster: Cluster, id_: str) -> None:
    """Give a stopped node a wrong row, as a defect of ours would: LMDB and the checksums find nothing wrong with it."""
    with contextlib.closing(LmdbStore(cluster.directory / id_ / "state")) as store:
        other = store.batch().get(Table.TASKS, b"kept-1200")
        assert other is not None
        store.batch().put(Table.TASKS, b"kept-1234", other)
        store.commit()


def compared_at(cluster: Cluster) -> list[float]:
    """When each node's last whole pass ended; 0 for none."""
    with cluster.client() as client:
        return [node.state_check_time.ToNanoseconds() / 1e9 for node in client.get_status().nodes]


def wait_for_pass(cluster: Cluster, after: float) -> None:
    eventually(lambda: all(at > after for at in compared_at(cluster)), what=f"a pass that ended after {after}")


def problems(cluster: Cluster) -> dict[str, str]:
    with cluster.client() as client:
        return {node.id: node.problem for node in client.get_status().nodes if node.problem}


def accused(cluster: Cluster) -> dict[str, str]:
    """The nodes whose state is said to be wrong. One may know no leader for a moment, or not answer in time."""
    return {id_: problem for id_, problem in problems(cluster).items() if "differs from that of" in problem}


def alarms(cluster: Cluster) -> list[dict[str, object]]:
    lines = (line for id_ in cluster.nodes for line in cluster.log_lines(id_))
    return [line for line in lines if line.get("event") == "the state tables of the nodes differ"]


def leads_through_a_pass(cluster: Cluster, id_: str) -> bool:
    """Have the node lead, and wait for a pass; whether no other has led since."""
    with cluster.client() as client:
        if client.transfer_leadership(id_) != id_:
            return False
        term = term_of(client, id_)
        wait_for_pass(cluster, max(compared_at(cluster)))
        return cluster.leader() == id_ and term_of(client, id_) == term


def term_of(client: Client, id_: str) -> int:
    return next(node.term for node in client.get_status().nodes if node.id == id_)


@pytest.mark.parametrize("which", ["leader", "follower"])
def test_a_wrong_row_is_found_and_the_alarm_names_its_node(cluster: Cluster, which: str) -> None:
    id_ = cluster.follower()
    cluster.nodes[id_].kill()
    damage(cluster, id_)
    cluster.nodes[id_].start()
    cluster.wait_ready()
    if which == "leader":
        eventually(lambda: leads_through_a_pass(cluster, id_), what=f"a whole pass while {id_} leads")
    said = eventually(lambda: found if id_ in (found := accused(cluster)) else None, what="an alarm")
    assert set(said) == {id_}
    assert f"the state of {id_} differs from that of" in said[id_]
    assert "table tasks, rows kept-" in said[id_]
    assert {line["node"] for line in eventually(lambda: alarms(cluster))} == {id_}
    with cluster.client() as client:
        client.create_task(task("still-works", at=FAR, noop=True))


def test_equal_nodes_raise_no_alarm_whoever_leads_and_whatever_is_restarted_or_wiped(cluster: Cluster) -> None:
    wait_for_pass(cluster, 0)
    cluster.nodes[cluster.leader()].kill()
    for node in cluster.nodes.values():
        if not node.running:
            node.start()
    cluster.wait_ready()
    wait_for_pass(cluster, max(compared_at(cluster)))
    id_ = cluster.follower()
    cluster.nodes[id_].kill()
    for file in (cluster.directory / id_ / "state").iterdir():
        file.unlink()
    cluster.nodes[id_].start()
    cluster.wait_ready()
    wait_for_pass(cluster, max(compared_at(cluster)))
    assert not accused(cluster)
    assert not alarms(cluster)
