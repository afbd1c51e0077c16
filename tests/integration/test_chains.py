"""Chains through three real processes: a graph that fans out and in, and a leader that dies in the middle."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from raftsched_client import Client, task

from tests.support.cluster import Cluster, eventually
from tests.support.history import RAN

FAR = datetime(2100, 1, 1, tzinfo=UTC)
GRAPH = {
    "root": [],
    "a1": ["root"], "a2": ["root"], "a3": ["root"],
    "b1": ["a1"], "b2": ["a1", "a2"], "b3": ["a3"],
    "c1": ["b1", "b2"], "c2": ["b2", "b3"],
    "d1": ["c1"], "d2": ["c2"],
    "end": ["c1", "d1", "d2"],
}  # fmt: skip


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


def register(client: Client, directory: Path) -> None:
    """Each task takes half a second, and writes down who it is, its execution, and those that it ran after."""
    for name, parents in GRAPH.items():
        script = f"sleep 0.5; echo {name} $RAFTSCHED_EXECUTION_ID $RAFTSCHED_PARENT_EXECUTION_ID >>{directory}/ran"
        client.create_task(task(name, at=None if parents else FAR, shell=script, after=parents))


def test_a_graph_of_twelve_tasks_runs_in_order_and_once_though_the_leader_dies(
    cluster: Cluster, tmp_path: Path
) -> None:
    assert len(GRAPH) == 12
    with cluster.client() as client:
        register(client, tmp_path)
        root = client.run_task("root")
        eventually(lambda: len(list(client.list_ledger("b2"))), what="the middle of the graph")
        cluster.nodes[killed := cluster.leader()].kill()
        eventually(
            lambda: any(execution.HasField("end_time") for execution in client.list_executions(task="end")),
            what="the end of the graph",
        )
        cluster.nodes[killed].start()
        executions = {}
        for name in GRAPH:
            (entry,) = client.list_ledger(name)
            assert entry.decision == RAN, f"{name}: {entry.reason}"
            executions[name] = client.get_execution(entry.execution_id)
        for name, parents in GRAPH.items():
            execution = executions[name]
            assert set(execution.parent_execution_ids) == {executions[parent].id for parent in parents}
            assert execution.root_execution_id == (root.id if parents else "")
            for parent in parents:
                assert executions[parent].end_time.ToMicroseconds() <= execution.fire_time.ToMicroseconds() + 500_000
    lines = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    order = [name for name, *_ in lines]
    for name, parents in GRAPH.items():
        for parent in parents:
            assert order.index(parent) < order.index(name), f"{name} ran before {parent}"
    told = {name: set(rest[1].split(",")) if len(rest) > 1 else set() for name, *rest in lines}
    assert told == {name: {executions[parent].id for parent in parents} for name, parents in GRAPH.items()}
