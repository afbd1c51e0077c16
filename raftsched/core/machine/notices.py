"""What is told of a task: notices in the outbox, and watches that look later whether there is something to tell.

Notices arise in the entry that they tell of, so that no change of leaders can lose one. The leader delivers them, and a
later entry takes them out.
"""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult
from raftsched_proto.v1 import notification_pb2

from raftsched.core.machine.context import Context
from raftsched.core.machine.placement import find_execution
from raftsched.core.machine.wellformed import MAX_US
from raftsched.core.state.model import Decision, ExecutionState, Trigger
from raftsched.core.state.past_attempts import first_start_us, without_output
from raftsched.core.state.rows import ExecutionRow, LedgerRow, notice_key, parse_ledger_key, timestamp_us
from raftsched.ports import Reader, Table

MAX_NOTICES = 100_000
"""In the outbox. A further one is dropped and counted."""
TALLY_KEY = b"notices"
_MAX_ERROR_CHARACTERS = 500

_OF_STATE = {
    ExecutionState.FAILED: notification_pb2.OCCASION_FAILURE,
    ExecutionState.TIMED_OUT: notification_pb2.OCCASION_FAILURE,
    ExecutionState.LOST: notification_pb2.OCCASION_LOST,
    ExecutionState.EXPIRED: notification_pb2.OCCASION_SKIPPED,
}
_OF_SKIPPED = (notification_pb2.OCCASION_SKIPPED, notification_pb2.OCCASION_MISSING)
"""What a skipped nominal time is told as: the first of these that is wanted."""
_LATE_SLACK_US = 1_000_000
"""A start is reported a moment after it: whether one was late is looked at a little later."""
_NOT_STARTED = (ExecutionState.PENDING, ExecutionState.ARMED, ExecutionState.ASSIGNED)


def note(context: Context) -> None:
    """Note what the command has done of which somebody wants to be told."""
    for execution_id, row in dict(context.applied.executions).items():
        if row.notifies:
            _note_execution(context, execution_id, row)
    for key in context.applied.ledger:
        _note_skipped(context, key)


def _note_execution(context: Context, execution_id: bytes, row: ExecutionRow) -> None:
    wanted = _wanted(context, row.task, row.uid)
    if wanted is None:
        return
    state = ExecutionState(row.state)
    # A backfill is late by its nature.
    if (
        row.trigger != Trigger.BACKFILL
        and row.attempt == 1
        and row.fire_us == context.command.now_us
        and not state.ended
    ):
        _watch(context, execution_id, row, wanted)
    # What comes to be known of an execution later is no second end.
    occasion = _OF_STATE.get(state) if execution_id in context.ended_ids else None
    if occasion is not None and occasion in wanted.occasions:
        _put(context, execution_id, _notice(row, occasion, wanted))


def _watch(context: Context, execution_id: bytes, row: ExecutionRow, wanted: notification_pb2.Notifications) -> None:
    for occasion, within_us in (
        (notification_pb2.OCCASION_LATE, timestamp_us(wanted.late_after) + _LATE_SLACK_US),
        (notification_pb2.OCCASION_MISSING, timestamp_us(wanted.report_within)),
    ):
        due_us = row.nominal_us + within_us
        if occasion in wanted.occasions and 0 < due_us <= MAX_US:
            context.batch.put(Table.WATCHES, notice_key(due_us, execution_id, occasion), b"")


def _note_skipped(context: Context, key: bytes) -> None:
    found = context.batch.get(Table.LEDGER, key)
    entry = LedgerRow() if found is None else LedgerRow.FromString(found)
    if entry.decision != Decision.SKIPPED:
        return
    name, nominal_us, execution_id = parse_ledger_key(key)
    wanted = _wanted(context, name, entry.uid)
    occasion = next((each for each in _OF_SKIPPED if wanted is not None and each in wanted.occasions), None)
    if wanted is None or occasion is None:
        return
    notice = pb.NoticeRow(
        task=name,
        occasion=occasion,
        nominal_us=nominal_us,
        last_nominal_us=entry.last_nominal_us,
        count=entry.count,
        result=AttemptResult(error=entry.reason[:_MAX_ERROR_CHARACTERS]),
        notifications=wanted,
    )
    _put(context, execution_id, notice)


def check_watches(context: Context, body: pb.CheckWatches) -> pb.Outcome:
    """Look at executions whose time to have started, or to have succeeded, has come."""
    for item in body.items:
        key = notice_key(item.due_us, item.id, item.occasion)
        if context.batch.get(Table.WATCHES, key) is None:
            continue
        context.batch.delete(Table.WATCHES, key)
        row = find_execution(context, item.id)
        wanted = _wanted(context, row.task, row.uid) if row is not None else None
        if row is None or wanted is None or item.occasion not in wanted.occasions:
            continue
        if _is_so(row, item.occasion, item.due_us):
            _put(context, item.id, _notice(row, item.occasion, wanted))
    return pb.Outcome()


def _is_so(row: ExecutionRow, occasion: int, due_us: int) -> bool:
    state = ExecutionState(row.state)
    if occasion == notification_pb2.OCCASION_MISSING:
        return state != ExecutionState.SUCCEEDED or row.result.end_us > due_us
    start_us = first_start_us(row)
    return start_us > due_us - _LATE_SLACK_US if start_us else state in _NOT_STARTED


def settle_notices(context: Context, body: pb.SettleNotices) -> pb.Outcome:
    """Take notices out that were delivered, and put off or give up those that were not."""
    for item in body.items:
        key = notice_key(item.due_us, item.id, item.occasion)
        found = context.batch.get(Table.OUTBOX, key)
        if found is None:
            continue
        context.batch.delete(Table.OUTBOX, key)
        if item.delivered:
            continue
        notice = pb.NoticeRow.FromString(found)
        notice.deliveries += 1
        notice.delivery_error = item.error[:_MAX_ERROR_CHARACTERS]
        if item.next_us:
            later = notice_key(item.next_us, item.id, item.occasion)
            context.batch.put(Table.OUTBOX, later, notice.SerializeToString())
        else:
            _drop(context, item.id, notice)
    return pb.Outcome()


def _notice(row: ExecutionRow, occasion: int, wanted: notification_pb2.Notifications) -> pb.NoticeRow:
    notice = pb.NoticeRow(
        task=row.task,
        occasion=occasion,
        nominal_us=row.nominal_us,
        last_nominal_us=row.nominal_us,
        count=1,
        state=row.state,
        attempt=row.attempt,
        executor_id=row.executor_id,
        first_start_us=first_start_us(row),
        result=without_output(row.result),
        notifications=wanted,
    )
    notice.result.error = notice.result.error[:_MAX_ERROR_CHARACTERS]
    return notice


def _put(context: Context, execution_id: bytes, notice: pb.NoticeRow) -> None:
    now_us = context.command.now_us
    notice.create_us = now_us
    if context.batch.count(Table.OUTBOX) >= MAX_NOTICES:
        notice.delivery_error = f"{MAX_NOTICES} notices were waiting"
        _drop(context, execution_id, notice)
    else:
        context.batch.put(Table.OUTBOX, notice_key(now_us, execution_id, notice.occasion), notice.SerializeToString())


def _drop(context: Context, execution_id: bytes, notice: pb.NoticeRow) -> None:
    tally = dropped_notices(context.batch)
    tally.dropped += 1
    tally.last_us = context.command.now_us
    tally.last_execution_id = execution_id
    tally.last.CopyFrom(notice)
    context.batch.put(Table.TALLIES, TALLY_KEY, tally.SerializeToString())


def dropped_notices(reader: Reader) -> pb.NoticeTallyRow:
    """How many notices were given up, ever, and the last of them."""
    found = reader.get(Table.TALLIES, TALLY_KEY)
    return pb.NoticeTallyRow() if found is None else pb.NoticeTallyRow.FromString(found)


def _wanted(context: Context, name: str, uid: int) -> notification_pb2.Notifications | None:
    """What the task as it stands wants to be told; None when it is another one by now, or wants nothing."""
    found = context.batch.get(Table.TASKS, name.encode())
    row = pb.TaskRow() if found is None else pb.TaskRow.FromString(found)
    return row.task.notifications if row.uid == uid and row.task.HasField("notifications") else None
