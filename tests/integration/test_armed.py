"""What is armed, on three real nodes: cancelled, changed, deleted, and paused at any moment."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raftsched_client import Client, Execution, NotFoundError, action, task
from raftsched_proto.v1 import execution_pb2, task_pb2

from tests.integration.test_cli_cluster import done
from tests.support.cluster import Cluster, eventually
from tests.support.history import assert_each_decided_once, interval_times, nominal

ARMED = execution_pb2.EXECUTION_STATE_ARMED
SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED
CANCELLED = execution_pb2.EXECUTION_STATE_CANCELLED
RAN, SKIPPED = execution_pb2.DECISION_RAN, execution_pb2.DECISION_SKIPPED
SECOND = timedelta(seconds=1)
AHEAD = 4 * SECOND
CLOCK_ERROR_US = 100_000
"""By how much the leader's time, as an executor measured it, and the clock of this process may differ."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    config = directory / "node.toml"
    config.write_text("[scheduler]\nlease_ms = 12_000\ndecide_ahead_ms = 4_000\n")
    with Cluster(directory, options=("--config", str(config))) as running:
        with running.client() as client:
            # The cluster may arm nothing before all members are known to understand it.
            arm(client, task("first", every=SECOND, noop=True))
            client.delete_task("first")
        yield running


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with cluster.client() as connected:
        yield connected


def arm(client: Client, definition: task_pb2.Task) -> Execution:
    """Register a task; an execution of it that is armed."""
    client.create_task(definition)
    return eventually(
        lambda: next(client.list_executions(task=definition.name, states=[ARMED]), None),
        what=f"an armed execution of {definition.name}",
    )


def once(name: str, script: str) -> task_pb2.Task:
    """A task that runs once, when there is time enough to do something before."""
    return task(name, at=datetime.now(UTC) + AHEAD, shell=script)


def end_of(client: Client, execution: Execution) -> Execution:
    return eventually(
        lambda: found if (found := client.get_execution(execution.id)).HasField("end_time") else None,
        what=f"the end of {execution.id}",
    )


def test_an_armed_execution_is_shown_as_the_next_fire(client: Client) -> None:
    definition = once("shown", "echo ran")
    armed = arm(client, definition)
    shown = client.get_task("shown")
    assert shown.next_fire_time == definition.schedule.at == armed.nominal_time
    assert shown.state == task_pb2.TASK_STATE_ACTIVE
    assert not shown.HasField("last_fire_time")
    assert armed.fire_time.ToMicroseconds() < armed.nominal_time.ToMicroseconds()
    ended = end_of(client, armed)
    assert (ended.state, ended.attempt, ended.output_tail) == (SUCCEEDED, 1, b"ran\n")
    shown = client.get_task("shown")
    assert (shown.state, shown.last_fire_time) == (task_pb2.TASK_STATE_FINISHED, definition.schedule.at)


def test_an_armed_execution_that_is_cancelled_never_starts(client: Client, tmp_path: Path) -> None:
    armed = arm(client, once("cancelled", f"touch {tmp_path}/started"))
    client.cancel_execution(armed.id)
    ended = eventually(
        lambda: found if (found := client.get_execution(armed.id)).state == CANCELLED else None,
        what="the end as cancelled",
    )
    assert not ended.HasField("start_time")
    assert ended.attempt == 1
    assert datetime.now(UTC) < armed.nominal_time.ToDatetime(UTC), "it was cancelled after its time"
    arm(client, later := once("after-cancelled", "true"))
    eventually(
        lambda: client.get_task(later.name).state == task_pb2.TASK_STATE_FINISHED, what="the time of a later task"
    )
    assert not (tmp_path / "started").exists()


def test_a_new_action_is_what_an_armed_execution_runs(client: Client) -> None:
    armed = arm(client, definition := once("changed", "echo old"))
    definition.action.CopyFrom(action(shell="echo new"))
    changed = client.update_task(definition, ["action"])
    assert not changed.warnings
    ended = end_of(client, armed)
    assert (ended.state, ended.attempt, ended.output_tail) == (SUCCEEDED, 1, b"new\n")
    assert ended.fencing_token > armed.fencing_token


def test_what_is_armed_never_starts_once_its_task_is_deleted(client: Client, tmp_path: Path) -> None:
    armed = arm(client, once("deleted", f"touch {tmp_path}/started"))
    client.delete_task("deleted")
    with pytest.raises(NotFoundError):
        client.get_task("deleted")
    ended = client.get_execution(armed.id)
    assert (ended.state, ended.error) == (CANCELLED, "the task was deleted")
    (entry,) = client.list_ledger("deleted")
    assert (entry.decision, entry.reason) == (SKIPPED, "the task was deleted")
    arm(client, later := once("after-deleted", "true"))
    eventually(
        lambda: client.get_task(later.name).state == task_pb2.TASK_STATE_FINISHED, what="the time of a later task"
    )
    assert not (tmp_path / "started").exists()


def test_another_schedule_skips_what_it_does_not_have_and_keeps_what_it_has(client: Client) -> None:
    anchor = datetime.now(UTC).replace(microsecond=0)
    definition = task("moved", every=SECOND, anchor=anchor, noop=True)
    arm(client, definition)
    definition.schedule.interval.every.FromTimedelta(2 * SECOND)
    client.update_task(definition, ["schedule"])
    changed_us = client.get_task("moved").update_time.ToMicroseconds()
    entries = eventually(
        lambda: found if nominal((found := [*client.list_ledger("moved")])[-1]) > anchor + 12 * SECOND else None,
        what="fires by the new schedule",
    )
    client.delete_task("moved")
    odd = {
        entry.nominal_time.ToMicroseconds(): entry
        for entry in entries
        if nominal(entry).second % 2 != anchor.second % 2
    }
    even = [entry for entry in entries if nominal(entry).second % 2 == anchor.second % 2]
    assert {entry.reason for time_us, entry in odd.items() if time_us > changed_us} == {"the schedule was replaced"}
    assert_each_decided_once("moved", even, interval_times(nominal(even[0]), nominal(even[-1]), 2))
    assert {entry.decision for entry in even} == {RAN}


class Pauser:
    """Pauses a task of every second at moments of its own choice, and knows when it was told that it is paused."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._random = random.Random(name)
        self._cluster = cluster
        self.name = name
        self.paused: list[tuple[int, int]] = []
        """From the answer to a pause until the next call that resumes, in microseconds since the Unix epoch."""

    def pause_often(self, times: int) -> None:
        never = threading.Event()
        with self._cluster.client() as client:
            for _ in range(times):
                never.wait(self._random.uniform(0, 2))
                client.pause_task(self.name)
                since_us = _now_us()
                never.wait(self._random.uniform(0, 1.5))
                self.paused.append((since_us, _now_us()))
                client.resume_task(self.name)


def _now_us() -> int:
    return round(datetime.now(UTC).timestamp() * 1e6)


def test_nothing_starts_while_a_task_is_paused_and_each_nominal_time_is_on_record(tmp_path: Path) -> None:
    names = [f"paused-{number}" for number in range(4)]
    with Cluster(tmp_path) as cluster, cluster.client() as client:
        for name in names:
            arm(client, task(name, every=SECOND, noop=True))
        pausers = [Pauser(cluster, name) for name in names]
        with ThreadPoolExecutor(len(pausers)) as pool:
            for paused in [pool.submit(pauser.pause_often, 5) for pauser in pausers]:
                paused.result()
        for pauser in pausers:
            check_pauses(client, pauser)
        withdrawn = [each for name in names for each in client.list_executions(task=name, states=[CANCELLED])]
        assert withdrawn, "no pause found anything armed"
        assert not [each.id for each in withdrawn if each.HasField("start_time")]
        assert "0 early, 0 late, 0 missing, 0 twice" in done(cluster, "verify", "--since", "-1h")


def check_pauses(client: Client, pauser: Pauser) -> None:
    """Hold what is on record of a task against when it was paused."""
    name, (_, resumed_us) = pauser.name, pauser.paused[-1]
    eventually(
        lambda: any(each.nominal_time.ToMicroseconds() > resumed_us for each in runs(client, name)),
        what=f"a run of {name} after the last pause",
    )
    client.pause_task(name)
    entries = list(client.list_ledger(name))
    assert_each_decided_once(name, entries, interval_times(nominal(entries[0]), nominal(entries[-1]), 1))
    skipped = [entry for entry in entries if entry.decision != RAN]
    assert {(entry.decision, entry.reason) for entry in skipped} == {(SKIPPED, "the task was paused")}
    started = {each.id: each.start_time.ToMicroseconds() for each in runs(client, name)}
    for since_us, until_us in pauser.paused:
        beside = {
            execution_id: start_us
            for execution_id, start_us in started.items()
            if since_us + CLOCK_ERROR_US < start_us < until_us - CLOCK_ERROR_US
        }
        assert not beside, f"{name}: started while it was paused, from {since_us} to {until_us}: {beside}"
    assert started.keys() <= {entry.execution_id for entry in entries if entry.decision == RAN}


def runs(client: Client, name: str) -> list[Execution]:
    """The executions of a task that have started."""
    return [each for each in client.list_executions(task=name) if each.HasField("start_time")]


def test_what_is_armed_starts_though_its_leader_is_dead(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.client() as client:
        arm(client, task("tick", every=SECOND, noop=True))
        first = datetime.now(UTC) + SECOND
        often = timedelta(milliseconds=50)
        definitions = [task(f"t{n:02}", every=SECOND, anchor=first + n * often, noop=True) for n in range(20)]
        assert not any(result.code for result in client.create_tasks(definitions))
        eventually(lambda: len([*client.list_executions(states=[ARMED])]) >= 10, what="many that are armed")
        leader, term = cluster.leader(), max(node.term for node in client.get_status().nodes)
        cluster.nodes[leader].kill()
        killed = datetime.now(UTC)
        later = eventually(
            lambda: [each for each in client.list_executions(start=killed - 5 * SECOND) if each.term > term],
            what="a decision of the next leader",
        )
        decided_us = min(each.fire_time.ToMicroseconds() for each in later)
        armed = [
            each
            for each in client.list_executions(start=killed, end=killed + 5 * SECOND)
            if each.term == term and not each.executor_id.startswith(f"{leader}-")
        ]
        assert len(armed) >= 5, "the leader had decided nothing ahead"
        ended = [end_of(client, each) for each in armed]
        assert {(each.state, each.attempt) for each in ended} == {(SUCCEEDED, 1)}
        between = [each for each in ended if nominal_us(each) < decided_us - CLOCK_ERROR_US]
        assert between, "the next leader decided before anything came to be due"
        late = [each.id for each in between if each.start_time.ToMicroseconds() >= decided_us]
        assert not late, f"they waited for the next leader: {late}"
        cluster.nodes[leader].start()


def nominal_us(execution: Execution) -> int:
    return execution.nominal_time.ToMicroseconds()
