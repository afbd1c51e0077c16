"""What the state machine keeps of attempts that were followed by others."""

from typing import Any

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult
from raftsched_proto.v1 import task_pb2

from raftsched.core.state import ids, past_attempts
from raftsched.core.state.model import Delivery, ExecutionState
from raftsched.core.state.past_attempts import AttemptRow, as_of, first_start_us
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver
from tests.support.results import in_result

T0 = 1_800_000_000 * SECOND
FAILED, SUCCEEDED, RUNNING, LOST = (
    ExecutionState.FAILED,
    ExecutionState.SUCCEEDED,
    ExecutionState.RUNNING,
    ExecutionState.LOST,
)


class Retried(MachineDriver):
    """A task that is tried again up to 100 times, and is due at each second from T0 on."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), now_us=T0)
        command = self.command()
        task = task_pb2.Task(name="t", retry=task_pb2.RetryPolicy(max_attempts=100))
        command.register_tasks.items.add(task=task, next_us=T0)
        self.uid = self.apply(command).results[0].uid

    def start(self, second: int = 0) -> bytes:
        at_us = T0 + second * SECOND
        self.now_us = T0
        self.fire("t", self.uid, 1, at_us, next_us=at_us + SECOND, executor_id="e1")
        # Nothing that is reported is to come.
        self.now_us = T0 + 1_000 * SECOND
        return ids.execution_id(self.uid, 1, at_us)

    def row(self, execution_id: bytes) -> ExecutionRow:
        return ExecutionRow.FromString(self.get(Table.EXECUTIONS, execution_id))

    def report(self, execution_id: bytes, state: int, **fields: Any) -> None:
        command = self.command()
        row = self.row(execution_id)
        command.report.items.add(
            id=execution_id, attempt=row.attempt, executor_id=row.executor_id, state=state, **in_result(**fields)
        )
        assert not self.apply(command).code

    def again(self, execution_id: bytes, executor_id: str = "e1") -> None:
        """Give the next attempt to an executor, when its wait is over."""
        row = self.row(execution_id)
        if row.not_before_us:
            command = self.command()
            command.wake.items.add(due_us=row.not_before_us, id=execution_id)
            assert not self.apply(command).code
        command = self.command()
        command.assign.items.add(id=execution_id, expected_attempt=row.attempt, executor_id=executor_id)
        assert not self.apply(command).code

    def fail(self, execution_id: bytes, text: str) -> None:
        """An attempt fails, and the next is with an executor."""
        self.report(execution_id, FAILED, error=text, output_tail=text.encode(), start_us=T0, end_us=T0 + 1)
        self.again(execution_id)

    def past(self, execution_id: bytes) -> list[AttemptRow]:
        with self.store.read() as reader:
            return past_attempts.past_attempts(reader, execution_id, self.row(execution_id))

    def retire(self, *execution_ids: bytes) -> None:
        command = self.command()
        command.retire.execution_ids.extend(execution_ids)
        assert not self.apply(command).code


def test_a_failed_attempt_keeps_all_that_was_reported_of_it() -> None:
    driver = Retried()
    execution_id = driver.start()
    driver.report(
        execution_id,
        FAILED,
        start_us=T0 + 5,
        end_us=T0 + 9,
        exit_code=3,
        error="exit code 3",
        output_tail=b"no such host",
        output_size_bytes=9_000,
        output_sha256=b"d" * 32,
        output_stored_bytes=8_000,
    )
    driver.again(execution_id, "e2")
    driver.report(execution_id, SUCCEEDED, exit_code=0, output_tail=b"fine")
    [past] = driver.past(execution_id)
    assert past == AttemptRow(
        attempt=1,
        state=FAILED,
        executor_id="e1",
        result=AttemptResult(
            start_us=T0 + 5,
            end_us=T0 + 9,
            exit_code=3,
            error="exit code 3",
            output_tail=b"no such host",
            output_size_bytes=9_000,
            output_sha256=b"d" * 32,
            output_stored_bytes=8_000,
        ),
    )
    row = driver.row(execution_id)
    assert (row.state, row.executor_id, row.result.output_tail, row.result.error) == (SUCCEEDED, "e2", b"fine", "")


def test_the_row_of_an_execution_does_not_grow_with_what_its_attempts_wrote() -> None:
    driver = Retried()
    execution_id = driver.start()
    driver.report(execution_id, FAILED, error="broken", output_tail=b"x" * 4096, output_size_bytes=4096)
    row = driver.row(execution_id)
    assert row.ByteSize() < 300
    [short] = row.past_attempts
    assert (short.result.error, short.result.output_size_bytes, short.result.output_tail) == ("broken", 4096, b"")


def test_an_execution_that_succeeds_at_once_writes_nothing_more() -> None:
    driver = Retried()
    execution_id = driver.start()
    driver.report(execution_id, RUNNING, start_us=T0 + 1)
    driver.report(execution_id, SUCCEEDED, start_us=T0 + 1, end_us=T0 + 2, output_tail=b"fine")
    assert driver.rows(Table.ATTEMPTS) == {}
    assert not driver.row(execution_id).first_start_us
    driver.retire(execution_id)
    assert driver.rows(Table.EXECUTIONS) == {}


def test_all_of_a_hundred_attempts_are_kept() -> None:
    driver = Retried()
    execution_id = driver.start()
    for number in range(1, 100):
        driver.fail(execution_id, f"failure {number}")
    driver.report(execution_id, SUCCEEDED)
    assert [past.result.output_tail for past in driver.past(execution_id)] == [b"failure %d" % n for n in range(1, 100)]
    assert [past.attempt for past in driver.row(execution_id).past_attempts] == list(range(90, 100))


def test_attempts_go_with_their_execution_and_no_others() -> None:
    driver = Retried()
    gone, kept = driver.start(0), driver.start(1)
    for execution_id in (gone, kept):
        driver.fail(execution_id, "broken")
        driver.report(execution_id, SUCCEEDED)
    driver.retire(gone)
    assert [key[:16] for key in driver.rows(Table.ATTEMPTS)] == [kept]


def test_attempts_of_an_execution_that_has_not_ended_stay() -> None:
    driver = Retried()
    execution_id = driver.start()
    driver.fail(execution_id, "broken")
    driver.retire(execution_id)
    assert len(driver.rows(Table.ATTEMPTS)) == 1


def test_beyond_the_bound_the_oldest_output_goes_and_its_error_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_attempts, "MAX_ROWS", 3)
    driver = Retried()
    older, newer = driver.start(0), driver.start(1)
    for text in ("one", "two"):
        driver.fail(older, text)
        driver.fail(newer, text)
    assert len(driver.rows(Table.ATTEMPTS)) == 3
    assert [(past.result.error, past.result.output_tail) for past in driver.past(older)] == [
        ("one", b""),
        ("two", b"two"),
    ]
    assert [(past.result.error, past.result.output_tail) for past in driver.past(newer)] == [
        ("one", b"one"),
        ("two", b"two"),
    ]


def test_what_an_executor_tells_of_an_attempt_that_it_lost_is_kept() -> None:
    driver = Retried()
    execution_id = driver.start()
    driver.report(execution_id, RUNNING, start_us=T0 + 4)
    driver.report(execution_id, LOST, end_us=T0 + 9, error="the executor was stopped", output_tail=b"half of it")
    [past] = driver.past(execution_id)
    assert (past.state, past.result.start_us, past.result.end_us) == (LOST, T0 + 4, T0 + 9)
    assert (past.result.error, past.result.output_tail) == ("the executor was stopped", b"half of it")
    assert driver.row(execution_id).result.output_tail == b"", "the output is that of the attempt before"


def test_an_attempt_whose_executor_vanished_has_the_reason() -> None:
    driver = Retried()
    execution_id = driver.start()
    command = driver.command()
    command.expire.items.add(id=execution_id, expected_attempt=1, reason="its lease ran out")
    driver.apply(command)
    [past] = driver.past(execution_id)
    assert (past.state, past.result.error, past.result.end_us, past.executor_id) == (
        LOST,
        "its lease ran out",
        driver.now_us,
        "e1",
    )


def test_the_first_start_is_that_of_the_first_attempt_that_started_and_stays() -> None:
    driver = Retried()
    execution_id = driver.start()
    command = driver.command()
    command.expire.items.add(id=execution_id, expected_attempt=1, reason="never started")
    driver.apply(command)
    assert first_start_us(driver.row(execution_id)) == 0
    driver.again(execution_id)
    for number in range(20):
        driver.report(execution_id, FAILED, start_us=T0 + (7 + number) * SECOND)
        driver.again(execution_id)
    driver.report(execution_id, SUCCEEDED, start_us=T0 + 99 * SECOND)
    assert first_start_us(driver.row(execution_id)) == T0 + 7 * SECOND


def test_a_row_of_an_older_version_has_its_first_start_and_its_attempts() -> None:
    row = ExecutionRow(attempt=3, result=AttemptResult(start_us=T0 + 9))
    row.past_attempts.add(attempt=1, result=AttemptResult(error="one"))
    row.past_attempts.add(attempt=2, result=AttemptResult(error="two", start_us=T0 + 2))
    assert first_start_us(row) == T0 + 2
    with MemoryStore().read() as reader:
        assert [past.result.error for past in past_attempts.past_attempts(reader, bytes(16), row)] == ["one", "two"]


def test_an_execution_is_seen_as_each_of_its_attempts_left_it() -> None:
    driver = Retried()
    execution_id = driver.start()
    driver.fail(execution_id, "broken")
    driver.report(execution_id, SUCCEEDED, output_tail=b"fine")
    last = driver.row(execution_id)
    with driver.store.read() as reader:
        first = as_of(reader, execution_id, last, 1)
        assert first is not None
        assert (first.attempt, first.state, first.result.output_tail) == (1, FAILED, b"broken")
        assert as_of(reader, execution_id, last, 2) == last
        assert as_of(reader, execution_id, last, 3) is None


def test_reports_of_an_attempt_that_is_over_change_nothing() -> None:
    driver = Retried()
    execution_id = driver.start()
    driver.fail(execution_id, "broken")
    before = driver.dump()
    command = driver.command()
    command.report.items.add(
        id=execution_id, attempt=1, executor_id="e1", state=FAILED, **in_result(output_tail=b"again")
    )
    assert driver.apply(command) == pb.Outcome()
    assert driver.dump() == before


def taken_back(driver: Retried) -> bytes:
    """An execution whose first attempt was given up, and whose second is with another executor."""
    execution_id = driver.start()
    command = driver.command()
    command.expire.items.add(id=execution_id, expected_attempt=1, reason="its lease ran out")
    driver.apply(command)
    driver.again(execution_id, "e2")
    return execution_id


def tell_late(driver: Retried, execution_id: bytes, executor_id: str = "e1", **fields: Any) -> None:
    command = driver.command()
    command.report.items.add(
        id=execution_id, attempt=1, executor_id=executor_id,
        **in_result(
            start_us=T0 + 3 * SECOND, output_tail=b"half of it", output_size_bytes=10,
            **{"state": LOST, "error": "taken", **fields},
        ),
    )  # fmt: skip
    assert driver.apply(command) == pb.Outcome()


@pytest.mark.parametrize("ended", [False, True])
def test_what_is_told_of_an_attempt_after_it_was_given_up_is_kept_and_decides_nothing(ended: bool) -> None:
    driver = Retried()
    execution_id = taken_back(driver)
    if ended:
        driver.report(execution_id, SUCCEEDED, start_us=T0 + 9 * SECOND)
    before = driver.row(execution_id)
    tell_late(driver, execution_id, state=FAILED, error="exit code 3")
    [past] = driver.past(execution_id)
    assert (past.state, past.result.output_tail, past.result.start_us) == (LOST, b"half of it", T0 + 3 * SECOND)
    assert past.result.error == "its lease ran out; later its executor told how it ended: FAILED: exit code 3"
    row = driver.row(execution_id)
    assert first_start_us(row) == T0 + 3 * SECOND
    assert (row.state, row.attempt, row.executor_id) == (before.state, 2, "e2")
    assert [short.result.error for short in row.past_attempts] == [past.result.error]


def test_what_is_told_late_counts_once_and_only_from_its_executor() -> None:
    driver = Retried()
    execution_id = taken_back(driver)
    before = driver.dump()
    tell_late(driver, execution_id, "e3")
    tell_late(driver, execution_id, state=RUNNING)
    assert driver.dump() == before
    tell_late(driver, execution_id)
    after = driver.dump()
    tell_late(driver, execution_id, state=FAILED)
    assert driver.dump() == after


def test_a_repeated_report_of_a_loss_is_no_news() -> None:
    driver = Retried()
    execution_id = driver.start()
    driver.report(execution_id, LOST, error="restarted")
    before = driver.dump()
    tell_late(driver, execution_id)
    assert driver.dump() == before


def test_what_is_told_late_of_the_last_attempt_is_kept_too() -> None:
    driver = Retried()
    driver.fire("t", driver.uid, 1, T0, next_us=T0 + SECOND, executor_id="e1", delivery=Delivery.AT_MOST_ONCE)
    driver.now_us += 1_000 * SECOND
    execution_id = ids.execution_id(driver.uid, 1, T0)
    command = driver.command()
    command.expire.items.add(id=execution_id, expected_attempt=1, reason="its lease ran out")
    driver.apply(command)
    tell_late(driver, execution_id, state=SUCCEEDED, error="")
    row = driver.row(execution_id)
    assert (row.state, row.result.output_tail, row.result.start_us) == (LOST, b"half of it", T0 + 3 * SECOND)
    assert row.result.error == "its lease ran out; later its executor told how it ended: SUCCEEDED"
    after = driver.dump()
    tell_late(driver, execution_id, state=SUCCEEDED, error="")
    assert driver.dump() == after


@pytest.mark.parametrize(
    ("known_us", "told_us", "first_us"),
    [(200, 100, 100), (200, 300, 200), (200, 200, 200), (0, 300, 300), (200, 0, 200), (0, 0, 0)],
)
def test_a_start_that_is_told_late_is_the_first_if_it_was_the_earliest(
    known_us: int, told_us: int, first_us: int
) -> None:
    store = MemoryStore()
    execution_id = ids.execution_id(1, 1, T0)
    row = ExecutionRow(attempt=2, state=int(RUNNING), executor_id="e2", first_start_us=known_us)
    lost = AttemptRow(attempt=1, state=int(LOST), executor_id="e1")
    batch = store.batch()
    batch.put(Table.ATTEMPTS, past_attempts.attempt_key(execution_id, 1), lost.SerializeToString())
    item = pb.Report.Item(id=execution_id, attempt=1, executor_id="e1", state=int(SUCCEEDED))
    assert past_attempts.learn(batch, row, item, told_us)
    assert row.first_start_us == first_us


@pytest.mark.parametrize(
    ("state", "cancelled", "error"),
    [
        (ExecutionState.PENDING, False, ""),
        (RUNNING, False, ""),
        (ExecutionState.PENDING, True, "why"),
        (FAILED, False, "why"),
    ],
)
def test_the_error_of_the_attempt_before_is_not_that_of_the_present_one(
    state: ExecutionState, cancelled: bool, error: str
) -> None:
    row = ExecutionRow(attempt=2, state=int(state), cancel_requested=cancelled, result=AttemptResult(error="why"))
    found = past_attempts.present_attempt(row)
    assert (found.attempt, found.state, found.result.error) == (2, state, error)
