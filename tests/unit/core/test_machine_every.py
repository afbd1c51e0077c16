"""The state machine on tasks that run on every executor: one decision, one execution on each."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import policy_pb2, task_pb2

from raftsched.core.machine.placement import PIN_WAIT_US
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState, OverlapPolicy
from raftsched.core.state.rows import LedgerRow, executions_of
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver

T0 = 1_800_000_000 * SECOND
PENDING, ASSIGNED, RUNNING, SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST, EXPIRED, ARMED = ExecutionState
EVERY = policy_pb2.PLACEMENT_EVERY


class Every(MachineDriver):
    """One task named t that is due each second after T0 and runs on e1 and e2."""

    def __init__(self, policy: OverlapPolicy = OverlapPolicy.ALLOW, **terms: int) -> None:
        super().__init__(MemoryStore(), now_us=T0)
        self.terms = {"overlap_policy": policy, "max_running": 1, **terms}
        self.seconds = 0
        command = self.command()
        task = task_pb2.Task(name="t", placement=EVERY, overlap_policy=policy, max_running=1)
        command.register_tasks.items.add(task=task, next_us=T0 + SECOND)
        self.uid = self.apply(command).results[0].uid

    def fire(self, *executor_ids: str, start_us: int = 0) -> dict[str, bytes]:
        """Fire the next nominal time; ids of the executions by executor."""
        self.seconds += 1
        at_us = self.now_us = T0 + self.seconds * SECOND
        command = self.command()
        item = command.fire.items.add(
            task="t",
            uid=self.uid,
            generation=1,
            expected_revision=self.revision("t"),
            expected_next_us=at_us,
            next_us=at_us + SECOND,
            **self.terms,
        )
        item.executor_ids.extend(executor_ids or ("e1", "e2"))
        item.decided.add(nominal_us=at_us, last_nominal_us=at_us, count=1, decision=Decision.RAN, start_us=start_us)
        assert not self.apply(command).code
        nominal_id = ids.execution_id(self.uid, 1, at_us)
        return {executor_id: ids.pinned_id(nominal_id, executor_id) for executor_id in item.executor_ids}

    def row(self, execution_id: bytes) -> pb.ExecutionRow:
        return pb.ExecutionRow.FromString(self.get(Table.EXECUTIONS, execution_id))

    def assign(self, execution_id: bytes, executor_id: str) -> None:
        command = self.command()
        command.assign.items.add(
            id=execution_id, expected_attempt=self.row(execution_id).attempt, executor_id=executor_id
        )
        assert not self.apply(command).code

    def end(self, execution_id: bytes, executor_id: str, state: ExecutionState = SUCCEEDED) -> None:
        self.assign(execution_id, executor_id)
        command = self.command()
        attempt = self.row(execution_id).attempt
        command.report.items.add(id=execution_id, attempt=attempt, executor_id=executor_id, state=state)
        assert not self.apply(command).code

    def vanish(self, execution_id: bytes, reason: str = "gone") -> None:
        command = self.command()
        command.expire.items.add(id=execution_id, expected_attempt=self.row(execution_id).attempt, reason=reason)
        assert not self.apply(command).code

    def wake_at(self, now_us: int) -> None:
        self.now_us = now_us
        command = self.command()
        command.wake.SetInParent()
        for key in self.rows(Table.TIMERS):
            due_us = int.from_bytes(key[:8], "big")
            if due_us <= now_us:
                command.wake.items.add(due_us=due_us, id=key[8:])
        assert not self.apply(command).code

    def ledger(self) -> list[LedgerRow]:
        return [LedgerRow.FromString(value) for value in self.rows(Table.LEDGER).values()]


def test_one_entry_of_the_ledger_stands_for_an_execution_on_each_executor() -> None:
    driver = Every()
    by_executor = driver.fire()
    (entry,) = driver.ledger()
    assert (entry.decision, list(entry.executor_ids)) == (Decision.RAN, ["e1", "e2"])
    (key,) = driver.rows(Table.LEDGER)
    assert executions_of(key, entry) == sorted(by_executor.values()) == list(driver.rows(Table.EXECUTIONS))
    for executor_id, execution_id in by_executor.items():
        row = driver.row(execution_id)
        assert (row.state, row.pinned_executor_id, row.nominal_us) == (PENDING, executor_id, T0 + SECOND)
        assert execution_id[:6] == ids.first_id(T0 + SECOND)[:6]


def test_nobody_else_is_given_what_is_pinned() -> None:
    driver = Every()
    execution_id = driver.fire()["e1"]
    driver.assign(execution_id, "e2")
    assert driver.row(execution_id).state == PENDING
    driver.assign(execution_id, "e1")
    assert driver.row(execution_id).state == ASSIGNED


def test_an_attempt_whose_executor_vanished_waits_for_it_and_is_lost_when_it_does_not_return() -> None:
    driver = Every()
    by_executor = driver.fire()
    driver.end(by_executor["e2"], "e2")
    driver.assign(by_executor["e1"], "e1")
    driver.vanish(by_executor["e1"])
    row = driver.row(by_executor["e1"])
    assert (row.state, row.attempt, row.pinned_executor_id) == (PENDING, 2, "e1")
    driver.wake_at(driver.now_us + PIN_WAIT_US - 1)
    assert driver.row(by_executor["e1"]).state == PENDING
    driver.wake_at(driver.now_us + 1)
    assert driver.row(by_executor["e1"]).state == LOST
    (entry,) = driver.ledger()
    assert entry.decision == Decision.LOST
    assert "could not be given to the executor e1 until 600 s after its nominal time" in entry.reason
    assert not driver.rows(Table.TIMERS)


def test_an_attempt_whose_executor_returns_goes_on_there() -> None:
    driver = Every()
    execution_id = driver.fire()["e1"]
    driver.assign(execution_id, "e1")
    driver.vanish(execution_id)
    driver.end(execution_id, "e1")
    assert driver.row(execution_id).state == SUCCEEDED
    assert driver.ledger()[0].decision == Decision.RAN


def test_at_most_once_is_lost_at_once() -> None:
    driver = Every(delivery=2)
    execution_id = driver.fire()["e1"]
    driver.assign(execution_id, "e1")
    driver.vanish(execution_id, "was not heard of")
    assert driver.row(execution_id).state == LOST
    assert (driver.ledger()[0].decision, driver.ledger()[0].reason) == (Decision.LOST, "was not heard of")


def test_one_that_never_started_expires_and_the_nominal_time_still_ran() -> None:
    driver = Every(start_deadline_us=5 * SECOND)
    by_executor = driver.fire()
    driver.end(by_executor["e2"], "e2")
    driver.wake_at(T0 + 6 * SECOND)
    assert driver.row(by_executor["e1"]).state == EXPIRED
    (entry,) = driver.ledger()
    assert (entry.decision, entry.expired) == (Decision.RAN, False)
    assert entry.reason.startswith("could not be given to the executor e1 until 5 s after its nominal time")


def test_the_reason_of_an_entry_is_bounded_however_many_are_lost() -> None:
    driver = Every()
    by_executor = driver.fire(*(f"executor-{number}" for number in range(200)))
    driver.wake_at(driver.now_us + PIN_WAIT_US)
    assert {driver.row(each).state for each in by_executor.values()} == {EXPIRED}
    assert len(driver.ledger()[0].reason) < 1_200


def test_a_nominal_time_is_open_until_the_last_of_its_executions_has_ended() -> None:
    driver = Every(OverlapPolicy.SKIP)
    first = driver.fire()
    driver.end(first["e1"], "e1")
    driver.fire()
    assert [row.decision for row in driver.ledger()] == [Decision.RAN, Decision.SKIPPED]
    assert not driver.ledger()[1].executor_ids
    driver.end(first["e2"], "e2")
    assert not driver.rows(Table.OPEN)
    driver.fire()
    assert [row.decision for row in driver.ledger()] == [Decision.RAN, Decision.SKIPPED, Decision.RAN]


def test_jitter_puts_all_of_them_off() -> None:
    driver = Every()
    by_executor = driver.fire(start_us=T0 + 3 * SECOND)
    assert not driver.rows(Table.PENDING)
    driver.wake_at(T0 + 3 * SECOND)
    assert sorted(driver.rows(Table.PENDING)) == sorted(by_executor.values())
    assert {driver.row(each).pinned_executor_id for each in by_executor.values()} == {"e1", "e2"}


def test_a_run_by_hand_is_on_each_executor_and_counts_as_one() -> None:
    driver = Every(OverlapPolicy.SKIP)
    command = driver.command()
    command.run_task.name = "t"
    assert "no connected executor" in driver.apply(command).message
    assert not driver.ledger()
    command.run_task.executor_ids.extend(["e1", "e2"])
    first = driver.apply(command).execution_id
    assert first == min(driver.rows(Table.EXECUTIONS))
    assert len(driver.rows(Table.OPEN)) == 1
    for execution_id in driver.rows(Table.EXECUTIONS):
        driver.end(execution_id, driver.row(execution_id).pinned_executor_id)
    assert not driver.rows(Table.OPEN)


@pytest.mark.parametrize("executor_ids", [["e1", "e1"], ["e1", ""], [f"e{number}" for number in range(1_001)]])
def test_a_list_of_executors_that_is_not_one_is_refused(executor_ids: list[str]) -> None:
    driver = Every()
    command = driver.command()
    command.run_task.name = "t"
    command.run_task.executor_ids.extend(executor_ids)
    assert driver.apply(command).message == "a field of run_task is out of range"


def test_nothing_runs_after_a_task_that_has_no_one_end() -> None:
    driver = Every()
    command = driver.command()
    child = command.register_tasks.items.add(task=task_pb2.Task(name="child"))
    child.task.after.add(task="t")
    (refused,) = driver.apply(command).results
    assert refused.field == "task.after"
    del child.task.after[:]
    command.register_tasks.items.add(task=task_pb2.Task(name="grandchild")).task.after.add(task="child")
    assert [each.code for each in driver.apply(command).results] == [0, 0]
    row = pb.TaskRow.FromString(driver.get(Table.TASKS, b"child"))
    change = driver.command()
    change.replace_task.CopyFrom(pb.ReplaceTask(task=row.task, expected_revision=row.revision))
    change.replace_task.task.placement = EVERY
    assert driver.apply(change).field == "task.placement"
