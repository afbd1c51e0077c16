"""Executor-only processes: they join and leave at any time, and finish what they have when told to stop."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raftsched_client import task
from raftsched_proto.v1 import cluster_pb2, execution_pb2

from tests.support.cluster import Cluster, Process, eventually

FAR = datetime(2100, 1, 1, tzinfo=UTC)
RUNNING = execution_pb2.EXECUTION_STATE_RUNNING
SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, nodes=1) as running:
        yield running


@pytest.fixture
def executor(cluster: Cluster, tmp_path: Path) -> Iterator[Process]:
    options = ["--join", ",".join(cluster.endpoints), "--data-dir", str(tmp_path / "executor"), "--name", "extra"]
    process = Process(["executor", *options, "--slots", "4", "--label", "disk=ssd"], tmp_path / "executor.log")
    process.start()
    yield process
    process.kill()


def find(cluster: Cluster) -> cluster_pb2.ExecutorStatus | None:
    with cluster.client() as client:
        return next((e for e in client.get_status().executors if e.id.startswith("extra-") and e.version), None)


def test_one_node_runs_its_tasks_in_its_own_pool(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_task(task("alone", at=FAR, command=["true"]))
        started = client.run_task("alone")
        eventually(lambda: client.get_execution(started.id).state == SUCCEEDED, what="the execution to succeed")


def test_a_joined_executor_takes_tasks_that_ask_for_its_labels(cluster: Cluster, executor: Process) -> None:
    status = eventually(lambda: find(cluster), what="the executor to join")
    assert (status.slots, dict(status.labels), status.node_id) == (4, {"disk": "ssd"}, "")
    with cluster.client() as client:
        client.create_task(task("on-ssd", at=FAR, command=["true"], executor_labels={"disk": "ssd"}))
        started = client.run_task("on-ssd")
        eventually(lambda: client.get_execution(started.id).state == SUCCEEDED, what="the execution to succeed")
        assert client.get_execution(started.id).executor_id == status.id


def until_there(file: Path) -> str:
    """A script that goes on when there is such a file, however long the test needs until then."""
    return f"until [ -e {file} ]; do sleep 0.1; done; echo done"


def test_a_node_that_was_paused_for_longer_than_a_lease_takes_nothing_back(cluster: Cluster, tmp_path: Path) -> None:
    go, node = tmp_path / "go", cluster.nodes["n1"]
    with cluster.client() as client:
        client.create_task(task("once", at=FAR, shell=until_there(go), delivery="at_most_once"))
        started = client.run_task("once")
        eventually(lambda: client.get_execution(started.id).state == RUNNING, what="the execution to run")
        node.send(signal.SIGSTOP)
        wakes = datetime.now(UTC) + timedelta(seconds=7)
        eventually(lambda: datetime.now(UTC) > wakes, what="the end of the lease")
        node.send(signal.SIGCONT)
        # Answered behind what was decided as it woke.
        client.create_task(task("after", at=FAR, noop=True))
        go.touch()
        eventually(lambda: client.get_execution(started.id).HasField("end_time"), what="the end of the execution")
        assert client.get_execution(started.id).state == SUCCEEDED


def test_a_terminated_executor_finishes_what_it_has_and_takes_nothing_new(
    cluster: Cluster, executor: Process, tmp_path: Path
) -> None:
    eventually(lambda: find(cluster), what="the executor to join")
    with cluster.client() as client:
        go = tmp_path / "go"
        client.create_task(task("slow", at=FAR, shell=until_there(go), executor_labels={"disk": "ssd"}))
        first = client.run_task("slow")
        eventually(lambda: client.get_execution(first.id).state == RUNNING, what="the execution to run")
        executor.send(signal.SIGTERM)
        eventually(
            lambda: (status := find(cluster)) and status.state == cluster_pb2.EXECUTOR_STATE_DRAINING,
            what="the executor to drain",
        )
        second = client.run_task("slow")
        go.touch()
        assert executor.wait() == 0
        ended = client.get_execution(first.id)
        assert (ended.state, ended.attempt, ended.output_tail) == (SUCCEEDED, 1, b"done\n")
        assert client.get_execution(second.id).state == execution_pb2.EXECUTION_STATE_PENDING


def test_an_executor_outlives_the_restart_of_its_cluster(cluster: Cluster, executor: Process, tmp_path: Path) -> None:
    eventually(lambda: find(cluster), what="the executor to join")
    with cluster.client() as client:
        go = tmp_path / "go"
        client.create_task(task("across", at=FAR, shell=until_there(go), executor_labels={"disk": "ssd"}))
        started = client.run_task("across")
        eventually(lambda: client.get_execution(started.id).state == RUNNING, what="the execution to run")
        cluster.nodes["n1"].kill()
        cluster.start()
        go.touch()
        eventually(lambda: client.get_execution(started.id).state == SUCCEEDED, what="the execution to succeed")
        assert client.get_execution(started.id).attempt == 1
