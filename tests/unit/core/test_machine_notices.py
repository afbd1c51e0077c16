"""What the state machine tells: notices in the outbox, watches, and how they are settled."""

from collections.abc import Iterator

import pytest
from google.protobuf.duration_pb2 import Duration
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import notification_pb2 as n
from raftsched_proto.v1 import policy_pb2, task_pb2

from raftsched.core.machine import COMMAND_VERSION, apply, notices
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState
from raftsched.core.state.rows import parse_notice_key
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.results import in_result

NOW_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
ALL = n.Occasion.values()[1:]


class Machine:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.index = 0
        self.now_us = NOW_US

    def apply(self, **kind: object) -> pb.Outcome:
        self.index += 1
        command = pb.Command(version=COMMAND_VERSION, now_us=self.now_us, leader_id="n1", term=1, **kind)
        outcome = apply(self.store.batch(), self.index, command.SerializeToString()).outcome
        self.store.commit()
        assert outcome.code == 0, outcome.message
        return outcome

    def register(self, **wanted: object) -> None:
        task = task_pb2.Task(name="t")
        task.schedule.interval.every.FromSeconds(60)
        task.action.noop.SetInParent()
        values = {"url": "http://h/", "occasions": ALL, **wanted}
        task.notifications.CopyFrom(n.Notifications(**values))
        item = pb.RegisterTasks.Item(task=task, next_us=NOW_US)
        self.apply(register_tasks=pb.RegisterTasks(items=[item]))

    def fire(self, decision: Decision = Decision.RAN, **fields: object) -> bytes:
        with self.store.read() as reader:
            row = pb.TaskRow.FromString(reader.get(Table.TASKS, b"t") or b"")
        decided = pb.Fire.Decided(nominal_us=NOW_US, last_nominal_us=NOW_US, count=1, decision=decision, reason="why")
        item = pb.Fire.Item(
            task="t", uid=row.uid, generation=row.task.generation, expected_revision=row.revision,
            expected_next_us=NOW_US, next_us=NOW_US + 60 * SECOND_US, decided=[decided], notifies=True, **fields,
        )  # fmt: skip
        self.apply(fire=pb.Fire(items=[item]))
        return ids.execution_id(row.uid, row.task.generation, NOW_US)

    def run(self, execution_id: bytes, state: ExecutionState | None = None, **fields: object) -> None:
        assign = pb.Assign.Item(id=execution_id, expected_attempt=1, executor_id="e")
        self.apply(assign=pb.Assign(items=[assign]))
        if state is not None:
            item = pb.Report.Item(id=execution_id, attempt=1, executor_id="e", state=state, **in_result(**fields))
            self.now_us = max(self.now_us, item.result.end_us)
            self.apply(report=pb.Report(items=[item]))

    def rows(self, table: Table) -> list[tuple[int, str]]:
        """Due times from the start in seconds, and occasions."""
        with self.store.read() as reader:
            keys = [parse_notice_key(key) for key, _ in reader.scan(table)]
        return [((due_us - NOW_US) // SECOND_US, n.Occasion.Name(occasion)[9:]) for due_us, _, occasion in keys]

    def outbox(self) -> Iterator[pb.NoticeRow]:
        with self.store.read() as reader:
            yield from [pb.NoticeRow.FromString(value) for _, value in reader.scan(Table.OUTBOX)]

    def check(self, after_s: int) -> None:
        self.now_us = NOW_US + after_s * SECOND_US
        with self.store.read() as reader:
            due = [parse_notice_key(key) for key, _ in reader.scan(Table.WATCHES) if key[:8] <= self.now_us.to_bytes(8)]
        items = [pb.CheckWatches.Item(due_us=us, id=id_, occasion=occasion) for us, id_, occasion in due]
        self.apply(check_watches=pb.CheckWatches(items=items))

    def dropped(self) -> pb.NoticeTallyRow:
        with self.store.read() as reader:
            return notices.dropped_notices(reader)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize(
    ("state", "occasions"),
    [
        (ExecutionState.FAILED, ["FAILURE"]),
        (ExecutionState.TIMED_OUT, ["FAILURE"]),
        (ExecutionState.SUCCEEDED, []),
        (ExecutionState.CANCELLED, []),
    ],
)
def test_end_is_told_once(machine: Machine, state: ExecutionState, occasions: list[str]) -> None:
    machine.register()
    machine.run(machine.fire(), state, error="broken", exit_code=3)
    assert [occasion for _, occasion in machine.rows(Table.OUTBOX)] == occasions
    for notice in machine.outbox():
        assert (notice.task, notice.result.error, notice.result.exit_code, notice.attempt) == ("t", "broken", 3, 1)
        assert (notice.notifications.url, notice.create_us) == ("http://h/", NOW_US)


def test_news_of_an_execution_that_has_failed_are_no_second_failure(machine: Machine) -> None:
    machine.register(occasions=[n.OCCASION_FAILURE])
    execution_id = machine.fire()
    machine.run(execution_id, ExecutionState.FAILED, error="broken")
    machine.now_us += SECOND_US
    item = pb.Report.Item(id=execution_id, attempt=1, executor_id="e", output_copy_node_id="n2")
    machine.apply(report=pb.Report(items=[item]))
    assert machine.rows(Table.OUTBOX) == [(0, "FAILURE")]


def test_only_what_is_asked_for_is_told(machine: Machine) -> None:
    machine.register(occasions=[n.OCCASION_LOST])
    machine.run(machine.fire(), ExecutionState.FAILED)
    assert machine.rows(Table.OUTBOX) == []


def test_failed_attempt_that_is_followed_by_another_is_not_told(machine: Machine) -> None:
    machine.register()
    with machine.store.read() as reader:
        row = pb.TaskRow.FromString(reader.get(Table.TASKS, b"t") or b"")
    row.task.retry.max_attempts = 2
    machine.store.batch().put(Table.TASKS, b"t", row.SerializeToString())
    machine.store.commit()
    machine.run(machine.fire(), ExecutionState.FAILED)
    assert machine.rows(Table.OUTBOX) == []


def test_lost_and_skipped_are_told(machine: Machine) -> None:
    machine.register()
    execution_id = machine.fire(delivery=policy_pb2.DELIVERY_AT_MOST_ONCE)
    machine.run(execution_id)
    item = pb.Expire.Item(id=execution_id, expected_attempt=1, reason="its lease ran out")
    machine.apply(expire=pb.Expire(items=[item]))
    assert machine.rows(Table.OUTBOX) == [(0, "LOST")]
    other = Machine()
    other.register()
    other.fire(Decision.SKIPPED)
    assert other.rows(Table.OUTBOX) == [(0, "SKIPPED")]
    assert next(other.outbox()).result.error == "why"


def test_skipped_nominal_time_is_missing_where_only_that_is_told(machine: Machine) -> None:
    machine.register(occasions=[n.OCCASION_MISSING], report_within=Duration(seconds=5))
    machine.fire(Decision.SKIPPED)
    assert machine.rows(Table.OUTBOX) == [(0, "MISSING")]


SPANS = {"late_after": Duration(seconds=5), "report_within": Duration(seconds=30)}


def test_execution_that_neither_starts_nor_succeeds_in_time_is_late_and_missing(machine: Machine) -> None:
    machine.register(**SPANS)
    machine.fire()
    assert machine.rows(Table.WATCHES) == [(6, "LATE"), (30, "MISSING")]
    machine.check(6)
    assert machine.rows(Table.OUTBOX) == [(6, "LATE")]
    machine.check(30)
    assert machine.rows(Table.OUTBOX) == [(6, "LATE"), (30, "MISSING")]
    assert machine.rows(Table.WATCHES) == []


def test_execution_in_time_is_neither(machine: Machine) -> None:
    machine.register(**SPANS)
    execution_id = machine.fire()
    machine.run(execution_id, ExecutionState.SUCCEEDED, start_us=NOW_US + SECOND_US, end_us=NOW_US + 2 * SECOND_US)
    machine.check(30)
    assert machine.rows(Table.OUTBOX) == []


def test_late_start_and_late_success_are_told_though_the_check_comes_after_them(machine: Machine) -> None:
    machine.register(**SPANS)
    execution_id = machine.fire()
    start_us, end_us = NOW_US + 7 * SECOND_US, NOW_US + 31 * SECOND_US
    machine.run(execution_id, ExecutionState.SUCCEEDED, start_us=start_us, end_us=end_us)
    machine.check(60)
    assert [occasion for _, occasion in machine.rows(Table.OUTBOX)] == ["LATE", "MISSING"]


def test_watch_of_a_deleted_task_tells_nothing(machine: Machine) -> None:
    machine.register(**SPANS)
    machine.fire()
    machine.apply(delete_task=pb.DeleteTask(name="t"))
    machine.check(60)
    assert machine.rows(Table.OUTBOX) == []
    assert machine.rows(Table.WATCHES) == []


def settle(machine: Machine, **fields: object) -> None:
    with machine.store.read() as reader:
        [key] = [key for key, _ in reader.scan(Table.OUTBOX)]
    due_us, execution_id, occasion = parse_notice_key(key)
    item = pb.SettleNotices.Item(due_us=due_us, id=execution_id, occasion=occasion, **fields)
    machine.apply(settle_notices=pb.SettleNotices(items=[item, item]))


def test_notice_is_put_off_until_delivered_or_given_up(machine: Machine) -> None:
    machine.register()
    machine.run(machine.fire(), ExecutionState.FAILED)
    settle(machine, next_us=NOW_US + 9 * SECOND_US, error="status 500")
    assert machine.rows(Table.OUTBOX) == [(9, "FAILURE")]
    [notice] = machine.outbox()
    assert (notice.deliveries, notice.delivery_error) == (1, "status 500")
    settle(machine, delivered=True)
    assert machine.rows(Table.OUTBOX) == []
    assert machine.dropped().dropped == 0


def test_notice_that_is_given_up_is_counted(machine: Machine) -> None:
    machine.register()
    machine.run(machine.fire(), ExecutionState.FAILED)
    settle(machine, error="status 500")
    assert machine.rows(Table.OUTBOX) == []
    tally = machine.dropped()
    assert (tally.dropped, tally.last_us) == (1, machine.now_us)
    assert (tally.last.task, tally.last.deliveries, tally.last.delivery_error) == ("t", 1, "status 500")
    with machine.store.read() as reader:
        assert reader.get(Table.EXECUTIONS, tally.last_execution_id) is not None


def test_full_outbox_drops_and_counts(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "MAX_NOTICES", 0)
    machine.register()
    machine.run(machine.fire(), ExecutionState.FAILED)
    assert machine.rows(Table.OUTBOX) == []
    tally = machine.dropped()
    assert (tally.dropped, tally.last.deliveries, tally.last.delivery_error) == (1, 0, "0 notices were waiting")


def retrying(machine: Machine) -> None:
    machine.register(occasions=[n.OCCASION_LATE], late_after=Duration(seconds=10))
    with machine.store.read() as reader:
        row = pb.TaskRow.FromString(reader.get(Table.TASKS, b"t") or b"")
    row.task.retry.max_attempts = 3
    machine.store.batch().put(Table.TASKS, b"t", row.SerializeToString())
    machine.store.commit()


def test_a_late_first_start_is_told_whatever_became_of_the_attempt(machine: Machine) -> None:
    retrying(machine)
    execution_id = machine.fire()
    machine.now_us += 11 * SECOND_US
    machine.run(execution_id, ExecutionState.FAILED, start_us=NOW_US + 10_500_000)
    machine.check(11)
    assert [occasion for _, occasion in machine.rows(Table.OUTBOX)] == ["LATE"]
    assert next(machine.outbox()).first_start_us == NOW_US + 10_500_000


def test_a_later_attempt_is_not_late_when_the_first_started_in_time(machine: Machine) -> None:
    retrying(machine)
    execution_id = machine.fire()
    machine.now_us += 2 * SECOND_US
    machine.run(execution_id, ExecutionState.FAILED, start_us=NOW_US + SECOND_US)
    machine.check(11)
    assert machine.rows(Table.OUTBOX) == []


def test_what_was_lost_before_it_started_is_late(machine: Machine) -> None:
    retrying(machine)
    execution_id = machine.fire()
    machine.run(execution_id)
    item = pb.Expire.Item(id=execution_id, expected_attempt=1, reason="its lease ran out")
    machine.apply(expire=pb.Expire(items=[item]))
    machine.check(11)
    assert [occasion for _, occasion in machine.rows(Table.OUTBOX)] == ["LATE"]
