"""Overlap and retries through three real processes, with a leader that dies."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raftsched_client import Client, retry_policy, task
from raftsched_proto.v1 import execution_pb2, task_pb2

from tests.support.cluster import Cluster, eventually
from tests.support.history import RAN, assert_each_decided_once, interval_times, nominal

SECOND = timedelta(seconds=1)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
PENDING = execution_pb2.EXECUTION_STATE_PENDING
SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED
FAILED = execution_pb2.EXECUTION_STATE_FAILED
CANCELLED = execution_pb2.EXECUTION_STATE_CANCELLED


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


def guarded(directory: Path, name: str) -> str:
    """A script that fails with code 66 when another of its kind is running, and otherwise runs for 1.5 s."""
    return f"exec flock --nonblock --conflict-exit-code 66 {directory}/{name} sleep 1.5"


def ledger(client: Client, name: str, length: int) -> list[execution_pb2.LedgerEntry]:
    """The fire record, once it has so many entries."""
    return eventually(
        lambda: found if len(found := list(client.list_ledger(name))) >= length else None,
        what=f"{length} decisions about {name}",
    )


def pause_and_settle(client: Client, name: str) -> list[execution_pb2.Execution]:
    """Stop the task and wait until all its executions have ended."""
    client.pause_task(name)
    return eventually(
        lambda: found if (found := list(client.list_executions(task=name))) and all(map(has_ended, found)) else None,
        what=f"the end of {name}",
    )


def has_ended(execution: execution_pb2.Execution) -> bool:
    return execution.HasField("end_time")


def test_skip_and_queue_never_run_beside_themselves_though_the_leader_dies(cluster: Cluster, tmp_path: Path) -> None:
    with cluster.client() as client:
        for name, overlap in (("skips", "skip"), ("queues", "queue")):
            definition = task(
                name,
                every=SECOND,
                shell=guarded(tmp_path, name),
                overlap=overlap,
                misfire_threshold=60 * SECOND,
            )
            if overlap == "queue":
                definition.max_queued = 2
            client.create_task(definition)
        ledger(client, "skips", 4)
        cluster.nodes[killed := cluster.leader()].kill()
        ledger(client, "skips", 12)
        cluster.nodes[killed].start()
        for name in ("skips", "queues"):
            executions = pause_and_settle(client, name)
            entries = list(client.list_ledger(name))
            assert_each_decided_once(name, entries, interval_times(nominal(entries[0]), nominal(entries[-1]), 1))
            skipped = [entry for entry in entries if entry.decision != RAN and "paused" not in entry.reason]
            assert skipped
            assert all(f"overlap policy {name[:-1].upper()}" in entry.reason for entry in skipped)
            ran = {entry.execution_id for entry in entries if entry.decision == RAN}
            assert ran == {execution.id for execution in executions}
            beside = [execution.id for execution in executions if execution.exit_code == 66]
            assert not beside, f"ran beside another: {beside}"


def test_a_pause_until_a_time_outlives_all_nodes_and_ends_by_itself(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_task(task("rests", every=SECOND, noop=True, misfire_threshold=60 * SECOND))
        ledger(client, "rests", 2)
        until = datetime.now(UTC).replace(microsecond=0) + 12 * SECOND
        client.pause_task("rests", until=until)
        paused = datetime.now(UTC)
        for node in cluster.nodes.values():
            node.kill()
        cluster.start()
        entries = eventually(
            lambda: found if nominal((found := list(client.list_ledger("rests")))[-1]) >= until else None,
            what="a fire after the pause",
        )
    assert_each_decided_once("rests", entries, interval_times(nominal(entries[0]), nominal(entries[-1]), 1))
    assert not [entry for entry in entries if entry.decision == RAN and paused < nominal(entry) < until]
    assert {entry.reason for entry in entries if entry.decision != RAN} == {"the task was paused"}
    assert entries[-1].decision == RAN


def test_the_examples_of_the_page_are_accepted(cluster: Cluster) -> None:
    page = Path(__file__).parents[2] / "docs" / "policies.md"
    examples = re.findall(r"^\$ raftsched (.*)$", page.read_text(), re.MULTILINE)
    assert len(examples) >= 6
    for example in examples:
        command = [sys.executable, "-m", "raftsched.cli.main", "--endpoints", ",".join(cluster.endpoints)]
        done = subprocess.run([*command, *shlex.split(example)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{example}: {done.stderr}"


def raftsched(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "raftsched.cli.main", "--endpoints", ",".join(cluster.endpoints)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_explain_and_verify_account_for_every_nominal_time_though_the_leader_dies(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_task(task("beat", every=SECOND, noop=True))
        client.create_task(task("busy", every=SECOND, command=["sleep", "2"], overlap="skip"))
        ledger(client, "beat", 3)
        cluster.nodes[cluster.leader()].kill()
        ledger(client, "beat", 12)
    verified = raftsched(cluster, "verify", "--late", "30s")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "of 2 tasks checked: 0 early, 0 late, 0 missing, 0 twice" in verified.stdout

    def explained() -> str:
        ended = raftsched(cluster, "explain", "beat")
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    # What was decided last may be yet to start.
    assert "(term " in eventually(lambda: said if "RAN" in (said := explained()) else "", what="a start to be told")


def test_cancel_running_ends_the_one_before(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_task(task("latest", every=2 * SECOND, command=["sleep", "60"], overlap="cancel_running"))
        ledger(client, "latest", 4)
        client.pause_task("latest")
        newest, *earlier = client.list_executions(task="latest")
        client.cancel_execution(newest.id)
        executions = pause_and_settle(client, "latest")
        assert {execution.state for execution in executions} == {CANCELLED}
        for execution in executions[1:]:
            assert "overlap policy CANCEL_RUNNING" in execution.error
        assert len(earlier) >= 3


def run_to_end(client: Client, definition: task_pb2.Task) -> execution_pb2.Execution:
    client.create_task(definition)
    started = client.run_task(definition.name)
    return eventually(
        lambda: found if has_ended(found := client.get_execution(started.id)) else None,
        what=f"the end of {definition.name}",
    )


def test_what_no_executor_takes_by_its_deadline_expires(cluster: Cluster) -> None:
    with cluster.client() as client:
        late = task("late", every=SECOND, noop=True, executor_labels={"a": "none"}, start_deadline=SECOND, priority=5)
        client.create_task(late)
        entries = eventually(
            # One that is decided after its deadline has no execution.
            lambda: [entry for entry in client.list_ledger("late") if entry.decision != RAN and entry.execution_id],
            what="an expired execution",
        )
        assert "start deadline of 1 s" in entries[0].reason
        expired = client.get_execution(entries[0].execution_id)
        assert (expired.state, expired.priority) == (execution_pb2.EXECUTION_STATE_EXPIRED, 5)
        listed = client.list_executions(task="late", states=[execution_pb2.EXECUTION_STATE_EXPIRED])
        assert expired.id in {execution.id for execution in listed}


def test_jitter_puts_starts_off_but_not_beyond_the_next_nominal_time(cluster: Cluster) -> None:
    drawn: dict[str, datetime] = {}

    def see(client: Client) -> bool:
        for waiting in client.list_executions(task="spread", states=[PENDING]):
            if waiting.HasField("next_attempt_time"):
                drawn[waiting.id] = waiting.next_attempt_time.ToDatetime(UTC)
        return len(drawn) >= 3

    with cluster.client() as client:
        client.create_task(task("spread", every=2 * SECOND, noop=True, jitter=timedelta(hours=1)))
        eventually(lambda: see(client), what="three starts that are put off")
        executions = {execution.id: execution for execution in pause_and_settle(client, "spread")}
    assert {execution.state for execution in executions.values()} == {SUCCEEDED}
    for id_, start in drawn.items():
        nominal_time = executions[id_].nominal_time.ToDatetime(UTC)
        assert nominal_time < start <= nominal_time + 2 * SECOND
        assert executions[id_].start_time.ToDatetime(UTC) >= start


def test_a_failed_command_is_tried_again_until_it_succeeds(cluster: Cluster, tmp_path: Path) -> None:
    script = f"echo $RAFTSCHED_ATTEMPT $RAFTSCHED_FENCING_TOKEN >>{tmp_path}/seen; test $RAFTSCHED_ATTEMPT -eq 3"
    policy = retry_policy(5, initial_backoff=timedelta(milliseconds=200))
    with cluster.client() as client:
        execution = run_to_end(client, task("third-time", at=FAR, shell=script, retry=policy))
    assert (execution.state, execution.attempt) == (SUCCEEDED, 3)
    assert [(past.attempt, past.state, past.exit_code) for past in execution.past_attempts] == [
        (1, FAILED, 1),
        (2, FAILED, 1),
    ]
    seen = [[int(word) for word in line.split()] for line in (tmp_path / "seen").read_text().splitlines()]
    assert [attempt for attempt, _ in seen] == [1, 2, 3]
    tokens = [token for _, token in seen]
    assert tokens == sorted(set(tokens))


def test_an_exit_code_that_is_not_listed_is_not_tried_again(cluster: Cluster) -> None:
    with cluster.client() as client:
        policy = retry_policy(5, exit_codes=[75])
        execution = run_to_end(client, task("fatal", at=FAR, shell="exit 1", retry=policy))
    assert (execution.state, execution.attempt) == (FAILED, 1)


def test_a_wait_for_the_next_attempt_survives_the_leader_and_can_be_cancelled(cluster: Cluster) -> None:
    with cluster.client() as client:
        soon = retry_policy(2, initial_backoff=16 * SECOND)
        late = retry_policy(2, initial_backoff=timedelta(hours=1), max_backoff=timedelta(hours=1))
        for name, policy in (("soon", soon), ("late", late)):
            client.create_task(task(name, at=FAR, shell="exit $((2 - RAFTSCHED_ATTEMPT))", retry=policy))
        ids = {}
        # The shorter wait begins last: it must not be over before the leader dies.
        for name in ("late", "soon"):
            ids[name] = id_ = client.run_task(name).id
            eventually(lambda id_=id_: client.get_execution(id_).HasField("next_attempt_time"), what="the wait")
        assert {e.id for e in client.list_executions(states=[PENDING])} == set(ids.values())
        cluster.nodes[cluster.leader()].kill()
        done = eventually(
            lambda: found if has_ended(found := client.get_execution(ids["soon"])) else None, what="the second attempt"
        )
        assert (done.state, done.attempt) == (SUCCEEDED, 2)
        assert done.start_time.ToMicroseconds() - done.past_attempts[0].end_time.ToMicroseconds() >= 8_000_000
        assert client.cancel_execution(ids["late"]).state == CANCELLED
