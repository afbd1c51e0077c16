"""What survives of promises when everything is down, when an executor dies, and when a command will not end."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raftsched_client import Client, Execution, task
from raftsched_proto.v1 import execution_pb2

from tests.support.cluster import STATUS_S, Cluster, Process, eventually
from tests.support.outage import Outage, account, check, suffer
from tests.support.processes import alive

FAR = datetime(2100, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE_S = 5.0
RUNNING = execution_pb2.EXECUTION_STATE_RUNNING


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


def test_with_all_nodes_down_each_nominal_time_is_accounted_for_under_each_policy(cluster: Cluster) -> None:
    outage = Outage(every=SECOND, down=15 * SECOND, threshold=2 * SECOND)
    suffer(cluster, outage)
    with cluster.client() as client:
        check(account(cluster, client, outage))


@contextmanager
def executor(cluster: Cluster, name: str) -> Iterator[Process]:
    """An executor process of its own, which alone carries the label pool=apart."""
    where = ["--join", ",".join(cluster.endpoints), "--name", name, "--data-dir", str(cluster.directory / name)]
    process = Process(["executor", *where, "--label", "pool=apart"], cluster.directory / f"{name}.log")
    process.start()
    try:
        yield process
    finally:
        process.kill()


def connected(client: Client, count: int) -> bool:
    return sum(each.labels.get("pool") == "apart" for each in client.get_status(timeout=STATUS_S).executors) >= count


def begun(client: Client, execution_id: str) -> bool:
    return client.get_execution(execution_id).state == RUNNING


def ended(client: Client, execution_id: str) -> Execution | None:
    execution = client.get_execution(execution_id)
    return execution if execution.HasField("end_time") else None


def test_a_killed_executor_costs_a_lease_and_then_another_attempt_or_the_execution(
    cluster: Cluster, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    line = "$RAFTSCHED_TASK $RAFTSCHED_ATTEMPT $RAFTSCHED_FENCING_TOKEN"
    script = f"echo {line} >>{tokens}; test $RAFTSCHED_ATTEMPT -gt 1 || exec sleep 60"
    with cluster.client() as client:
        for delivery in ("at_least_once", "at_most_once"):
            definition = task(delivery, at=FAR, shell=script, delivery=delivery, executor_labels={"pool": "apart"})
            client.create_task(definition)
        with executor(cluster, "first") as first:
            eventually(lambda: connected(client, 1), what="the executor")
            ids = {name: client.run_task(name).id for name in ("at_least_once", "at_most_once")}
            eventually(lambda: all(begun(client, each) for each in ids.values()), what="the start of both")
            first.kill()
            with executor(cluster, "second"):
                lost = eventually(lambda: ended(client, ids["at_most_once"]), what="the end of the lost one")
                again = eventually(lambda: ended(client, ids["at_least_once"]), what="the second attempt")
        entry = next(iter(client.list_ledger("at_most_once")))
    assert (lost.state, lost.attempt) == (execution_pb2.EXECUTION_STATE_LOST, 1)
    assert entry.decision == execution_pb2.DECISION_LOST
    assert (again.state, again.attempt) == (execution_pb2.EXECUTION_STATE_SUCCEEDED, 2)
    (past,) = again.past_attempts
    # That both ran was heard after their starts, and the lease is counted from what was heard last.
    heard = max(each.start_time.ToDatetime(UTC) for each in (lost, past))
    for taken_back in (lost.end_time, past.end_time):
        after_s = (taken_back.ToDatetime(UTC) - heard).total_seconds()
        assert after_s > LEASE_S, f"taken back after {after_s:.1f} s: before the lease had run out"
    seen = [line.split() for line in tokens.read_text().splitlines()]
    by_task = {name: [(int(attempt), int(token)) for task_, attempt, token in seen if task_ == name] for name in ids}
    assert [attempt for attempt, _ in by_task["at_least_once"]] == [1, 2]
    assert by_task["at_least_once"][1][1] > by_task["at_least_once"][0][1]
    assert [attempt for attempt, _ in by_task["at_most_once"]] == [1]


def test_a_broken_stream_costs_no_attempt(cluster: Cluster, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with cluster.client() as client, executor(cluster, "apart"):
        for delivery in ("at_least_once", "at_most_once"):
            definition = task(
                delivery,
                at=FAR,
                shell=f"until [ -e {go} ]; do sleep 0.1; done",
                delivery=delivery,
                executor_labels={"pool": "apart"},
            )
            client.create_task(definition)
        eventually(lambda: connected(client, 1), what="the executor")
        ids = [client.run_task(name).id for name in ("at_least_once", "at_most_once")]
        eventually(lambda: all(begun(client, each) for each in ids), what="the start of both")
        cluster.nodes[cluster.leader()].kill()
        # They outlast the stream, for the next leader has the executor again before they end.
        eventually(lambda: connected(client, 1), what="the executor at the next leader")
        go.touch()
        for each in ids:
            execution = eventually(lambda each=each: ended(client, each), what="the end")
            assert (execution.state, execution.attempt) == (execution_pb2.EXECUTION_STATE_SUCCEEDED, 1)


def test_a_command_that_ignores_term_is_gone_with_its_children_within_limit_and_grace(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    stubborn = f"trap '' TERM; echo $$ >>{pids}; while :; do sleep 0.05; done"
    (tmp_path / "child").write_text(stubborn)
    # A child, a grandchild whose parent has gone, one in a session of its own, and the command itself.
    children = f"sh {tmp_path}/child & (sh {tmp_path}/child &); setsid sh {tmp_path}/child &"
    script = f"trap '' TERM; echo $$ >>{pids}; {children} while :; do sleep 0.05; done"
    # Long enough for all four to begin.
    limit_s, default_grace_s = 5.0, 5.0
    with Cluster(tmp_path, RAFTSCHED_EXECUTOR__KILL_GRACE_MS="1000") as cluster, cluster.client() as client:
        client.create_task(task("stubborn", at=FAR, shell=script, time_limit=timedelta(seconds=limit_s)))
        execution_id = client.run_task("stubborn").id
        execution = eventually(lambda: ended(client, execution_id), what="the end")
        assert execution.state == execution_pb2.EXECUTION_STATE_TIMED_OUT
        ran_s = (execution.end_time.ToMicroseconds() - execution.start_time.ToMicroseconds()) / 1e6
        assert ran_s < limit_s + default_grace_s, f"it was gone after {ran_s:.1f} s"
        found = [int(word) for word in pids.read_text().split()]
        assert len(found) == 4
        assert not any(map(alive, found)), "a child outlived the attempt"
