"""Which commands the state machine can carry out at all: what would not fit into a key or an id is refused whole.

The proposers send nothing of the kind. The checks keep ``machine.apply`` total whatever the log holds.
"""

from collections.abc import Callable, Collection
from itertools import pairwise
from typing import Any

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.machine.hashing import is_step
from raftsched.core.policy.chain import ChainCondition
from raftsched.core.policy.overlap import LARGEST_LIMIT, MAX_BACKFILLS
from raftsched.core.state.model import HIGHEST_PRIORITY, Decision, Delivery, MisfirePolicy, OverlapPolicy
from raftsched.core.state.rows import calendar_names
from raftsched.core.times.schedule import MAX_TIME_US

MAX_US = MAX_TIME_US
"""The last microsecond of the year 9999."""
MAX_NAME_BYTES = 200
MAX_REQUEST_ID_BYTES = 400
MAX_ACTOR_BYTES = 300
MAX_SINK_NAME_BYTES = 63
MAX_EVERY = 1_000
"""Executors that one nominal time may run on."""
_MAX_KEY_BYTES = 511
_ID_BYTES = 16
# Counted once: an enum is walked through at every use of ``max``. Plain numbers: members of an enum compare slower.
_LAST_DELIVERY, _LAST_MISFIRE, _LAST_OVERLAP = int(max(Delivery)), int(max(MisfirePolicy)), int(max(OverlapPolicy))
_LAST_CONDITION = int(max(ChainCondition))
_ALLOW, _SKIP, _RAN = int(OverlapPolicy.ALLOW), int(OverlapPolicy.SKIP), int(Decision.RAN)


def command_problem(command: pb.Command) -> str:
    """Why the command cannot be carried out, or ""."""
    if not _is_time(command.now_us):
        return "now_us lies outside the years 1970 to 9999"
    if len(command.request_id.encode()) > MAX_REQUEST_ID_BYTES:
        return f"the request id is longer than {MAX_REQUEST_ID_BYTES} bytes"
    if len(command.actor.encode()) > MAX_ACTOR_BYTES:
        return f"the actor is longer than {MAX_ACTOR_BYTES} bytes"
    kind = command.WhichOneof("kind")
    check = _CHECKS.get(kind or "")
    if check is None or check(getattr(command, str(kind))):
        return ""
    return f"a field of {kind} is out of range"


def is_definition(task: task_pb2.Task, *times_us: int) -> bool:
    """Whether a task can be kept as it is, and be given these times."""
    return is_task(task.name, task.delivery, *times_us) and _is_chain(task) and _has_names(task)


def is_task(task_name: str, delivery: int, *times_us: int) -> bool:
    """Whether a task can stand under this name, and be given these times."""
    return _is_name(task_name) and _is_delivery(delivery) and all(map(_is_time, times_us))


def _is_chain(task: task_pb2.Task) -> bool:
    """Names become keys, and an end is compared with each condition."""
    return all(_is_name(parent.task) and 0 <= parent.on <= _LAST_CONDITION for parent in task.after)


def _has_names(task: task_pb2.Task) -> bool:
    return _is_group(task.group) and all(map(_is_calendar, calendar_names(task.schedule)))


def _is_group(name: str) -> bool:
    return not name or _is_name(name)


def _put_group(body: pb.PutGroup) -> bool:
    group = body.group
    return (
        _is_name(group.name)
        and group.max_running >= 0
        and group.max_starts >= 0
        and 0 <= group.period.seconds <= MAX_US // 1_000_000
        and 0 <= group.period.nanos < 1_000_000_000
    )


def _is_calendar(name: str) -> bool:
    """A zero byte ends it within keys."""
    return _is_name(name) and "\0" not in name


def _put_calendar(body: pb.PutCalendar) -> bool:
    times = (time_us for item in body.tasks for time_us in item.next_us)
    return _is_calendar(body.calendar.name) and all(map(_is_time, times))


def _is_time(value_us: int) -> bool:
    return 0 <= value_us <= MAX_US


def _is_name(name: str) -> bool:
    return 0 < len(name.encode()) <= MAX_NAME_BYTES


def _is_delivery(delivery: int) -> bool:
    return 0 <= delivery <= _LAST_DELIVERY


def _replace_task(body: pb.ReplaceTask) -> bool:
    return is_definition(body.task, body.next_us, body.expected_next_us, body.skipped_last_us)


def _run_task(body: pb.RunTask) -> bool:
    return _is_name(body.name) and _are_executors(body.executor_ids)


def _named(body: pb.DeleteTask | pb.DeleteGroup | pb.DeleteCalendar) -> bool:
    return _is_name(body.name)


def _backfill_task(body: pb.BackfillTask) -> bool:
    times_us = list(body.nominal_us)
    return (
        _is_name(body.name)
        and 0 < len(times_us) <= MAX_BACKFILLS
        and all(map(_is_time, times_us))
        and all(before < after for before, after in pairwise(times_us))
        and 0 < body.max_running <= LARGEST_LIMIT
    )


def _cancel_execution(body: pb.CancelExecution) -> bool:
    return len(body.id) == _ID_BYTES


def _fire(body: pb.Fire) -> bool:
    return all(map(_fire_item, body.items))


def _fire_item(item: pb.Fire.Item) -> bool:
    """Written out, and each field read once: every node asks it about every fire."""
    overlap_policy, group, executor_ids = item.overlap_policy, item.group, item.executor_ids
    if not (
        0 < len(item.task.encode()) <= MAX_NAME_BYTES
        and 0 <= item.delivery <= _LAST_DELIVERY
        and 0 <= item.expected_next_us <= MAX_US
        and 0 <= item.next_us <= MAX_US
        and item.uid >= 0
        and item.generation >= 0
        and item.expected_revision >= 0
        and 0 <= overlap_policy <= _LAST_OVERLAP
        and 0 <= item.max_running <= LARGEST_LIMIT
        and 0 <= item.max_queued <= LARGEST_LIMIT
        and 0 <= item.misfire_policy <= _LAST_MISFIRE
        and 0 <= item.start_deadline_us <= MAX_US
        and 0 <= item.resume_us <= MAX_US
        and -HIGHEST_PRIORITY <= item.priority <= HIGHEST_PRIORITY
        and (not group or _is_group(group))
        # What runs on several executors never waits for room in its task.
        and (not executor_ids or (_are_executors(executor_ids) and overlap_policy <= _SKIP))
    ):
        return False
    is_armed, may_be_armed = False, True
    for decided in item.decided:
        if not (
            0 <= decided.nominal_us <= MAX_US
            and 0 <= decided.last_nominal_us <= MAX_US
            and 0 <= decided.start_us <= MAX_US
            and 0 <= decided.into_us <= MAX_US
        ):
            return False
        is_armed = is_armed or decided.armed
        may_be_armed = may_be_armed and decided.decision == _RAN and decided.executor_id != ""
    # Only what waits for nothing but its time is decided ahead, and for one executor.
    return not is_armed or (may_be_armed and not group and not executor_ids and overlap_policy <= _ALLOW)


def _are_executors(executor_ids: Collection[str]) -> bool:
    return len(executor_ids) <= MAX_EVERY and len(set(executor_ids)) == len(executor_ids) and all(executor_ids)


def _attempts(body: pb.Assign | pb.Report | pb.Expire) -> bool:
    return all(len(item.id) == _ID_BYTES for item in body.items)


def _wake(body: pb.Wake) -> bool:
    return all(len(item.id) == _ID_BYTES and item.due_us >= 0 for item in body.items)


def _watches(body: pb.CheckWatches | pb.SettleNotices) -> bool:
    return all(len(item.id) == _ID_BYTES and _is_time(item.due_us) and 0 < item.occasion < 256 for item in body.items)


def _notices(body: pb.SettleNotices) -> bool:
    return _watches(body) and all(_is_time(item.next_us) for item in body.items)


def _retire(body: pb.Retire) -> bool:
    return (
        all(len(key) == _ID_BYTES for key in body.execution_ids)
        and all(0 < len(key) <= _MAX_KEY_BYTES for key in body.ledger_keys)
        and all(0 < len(key) <= _MAX_KEY_BYTES for key in body.task_change_keys)
        and all(8 < len(key) <= _MAX_KEY_BYTES for key in body.request_expiry_keys)
        and all(len(key) == 8 + _ID_BYTES for key in body.round_keys)
        and _is_time(body.time_us)
    )


def _advance_sink(body: pb.AdvanceSink) -> bool:
    return 0 < len(body.name.encode()) <= MAX_SINK_NAME_BYTES and body.log_index >= 0


def _repair_cursors(body: pb.RepairCursors) -> bool:
    times = ((item.expected_next_us, item.expected_last_us, item.next_us) for item in body.items)
    return all(_is_name(item.task) for item in body.items) and all(
        _is_time(each) for times_us in times for each in times_us
    )


_CHECKS: dict[str, Callable[[Any], bool]] = {
    # The items of register_tasks are judged one by one.
    "replace_task": _replace_task,
    "delete_task": _named,
    "run_task": _run_task,
    "backfill_task": _backfill_task,
    "put_group": _put_group,
    "delete_group": _named,
    "put_calendar": _put_calendar,
    "delete_calendar": _named,
    "cancel_execution": _cancel_execution,
    "fire": _fire,
    "assign": _attempts,
    "report": _attempts,
    "expire": _attempts,
    "retire": _retire,
    "wake": _wake,
    "advance_sink": _advance_sink,
    "repair_cursors": _repair_cursors,
    "check_watches": _watches,
    "settle_notices": _notices,
    "check_state": is_step,
}
