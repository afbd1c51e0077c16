"""Why executions that have not started wait, worked out when somebody asks: nothing of it is stored.

The leader alone knows the executors. What is said is what the dispatcher would find at this moment.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import execution_pb2

from raftsched.core.state import ids
from raftsched.core.state.model import LATE_US, ExecutionState, Task, Trigger
from raftsched.core.state.rows import ExecutionRow, be64, timestamp_us
from raftsched.core.times.spans import in_words
from raftsched.ports import Reader, Table
from raftsched.scheduler.executors import Executors, ExecutorSession, holds_slot

MAX_LOOKED_AT = 10_000
"""Executions that one survey looks at, the longest waiting first."""

Reason: TypeAlias = "execution_pb2.WaitingReason.ValueType"
Waiting: TypeAlias = "tuple[execution_pb2.WaitingReason.ValueType, str]"
"""What an execution waits for, and the same in words."""

_WITH_EXECUTORS = (execution_pb2.WAITING_REASON_DISPATCH, execution_pb2.WAITING_REASON_NO_FREE_SLOT)
NOTHING: Waiting = (execution_pb2.WAITING_REASON_UNSPECIFIED, "")
UNKNOWN: Waiting = (
    execution_pb2.WAITING_REASON_UNKNOWN,
    "the node that answered does not lead, so it does not know the executors; read without stale to ask the leader",
)


class Explainer:
    """Says what executions of one view of the store wait for. Remembers what it found, so it is for one answer."""

    def __init__(
        self,
        reader: Reader,
        executors: Executors,
        find_task: Callable[[Reader, str, int], Task | None],
        now_us: int,
        settling_s: float,
    ) -> None:
        """``settling_s``: for how long yet executors may be on their way back to a leader that is new; 0: no longer."""
        self._reader = reader
        self._executors = executors
        self._find_task = find_task
        self._now_us = now_us
        self._settling_s = settling_s
        self._by_labels: dict[tuple[frozenset[tuple[str, str]], bool], Waiting] = {}
        self._by_group: dict[str, str] = {}

    def why(self, row: ExecutionRow) -> Waiting:
        """What the execution waits for; NOTHING when it has started or ended."""
        if row.state == ExecutionState.ASSIGNED or (
            row.state == ExecutionState.ARMED and row.nominal_us <= self._now_us
        ):
            return self._given(row)
        if row.state != ExecutionState.PENDING:
            return NOTHING
        if row.queued:
            return _queued(row)
        if row.not_before_us > self._now_us:
            return _timed(row)
        return self._for_executor(row)

    def _given(self, row: ExecutionRow) -> Waiting:
        if self._executors.get(row.executor_id) is not None:
            return NOTHING
        return (
            execution_pb2.WAITING_REASON_EXECUTOR_DISCONNECTED,
            f"it was given to {row.executor_id}, which is not connected: it is taken back when the lease has run out",
        )

    def _for_executor(self, row: ExecutionRow) -> Waiting:
        task = self._find_task(self._reader, row.task, row.uid)
        if task is None or task.uid != row.uid:
            return execution_pb2.WAITING_REASON_DISPATCH, "its task was deleted: it is about to be cancelled"
        slot = holds_slot(task)
        if row.pinned_executor_id:
            return self._pinned(row.pinned_executor_id, slot=slot)
        found = self._matching(task.executor_labels, slot=slot)
        if row.group and found[0] in _WITH_EXECUTORS and (full := self._group(row.group)):
            return execution_pb2.WAITING_REASON_GROUP_LIMIT, full
        return found

    def _pinned(self, executor_id: str, *, slot: bool) -> Waiting:
        session = self._executors.get(executor_id)
        if session is None:
            return (
                execution_pb2.WAITING_REASON_EXECUTOR_DISCONNECTED,
                f"it may run on {executor_id} only, which is not connected",
            )
        if session.draining:
            return execution_pb2.WAITING_REASON_NO_EXECUTOR, f"it may run on {executor_id} only, which is draining"
        return _room([session], f"{executor_id}, the only one that it may run on", slot=slot)

    def _matching(self, wanted: Mapping[str, str], *, slot: bool) -> Waiting:
        key = frozenset(wanted.items()), slot
        if key not in self._by_labels:
            self._by_labels[key] = self._look_for(wanted, slot=slot)
        return self._by_labels[key]

    def _look_for(self, wanted: Mapping[str, str], *, slot: bool) -> Waiting:
        able = [session for session in self._executors if not session.draining]
        matching = [session for session in able if session.matches(wanted)]
        if not matching and self._settling_s > 0:
            return (
                execution_pb2.WAITING_REASON_LEADER_CHANGE,
                f"the leader is new: executors have {self._settling_s:.1f} s more to connect again",
            )
        if not able:
            return execution_pb2.WAITING_REASON_NO_EXECUTOR, _nobody(self._executors)
        if not matching:
            return execution_pb2.WAITING_REASON_NO_MATCHING_EXECUTOR, none_carries(wanted)
        carrying = f" carrying {shown_labels(wanted)}" if wanted else ""
        return _room(matching, f"{_counted(len(matching), 'connected executor')}{carrying}", slot=slot)

    def _group(self, name: str) -> str:
        if name not in self._by_group:
            value = self._reader.get(Table.GROUPS, name.encode())
            full = "" if value is None else _group_full(self._reader, pb.GroupRow.FromString(value), self._now_us)
            self._by_group[name] = full
        return self._by_group[name]


def shown_labels(labels: Mapping[str, str]) -> str:
    """``zone=a, gpu=yes``."""
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def none_carries(wanted: Mapping[str, str]) -> str:
    """That no executor has these labels."""
    return f"no connected executor carries {shown_labels(wanted)}"


def _nobody(executors: Iterable[ExecutorSession]) -> str:
    draining = sum(1 for _ in executors)
    return f"no executor takes work: {draining} connected, draining" if draining else "no executor is connected"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _room(sessions: list[ExecutorSession], who: str, *, slot: bool) -> Waiting:
    free = any((session.free if slot else session.remote_free) > 0 for session in sessions)
    if free:
        return execution_pb2.WAITING_REASON_DISPATCH, "an executor has room: it is about to be given to one"
    slots = sum(session.slots if slot else session.remote_slots for session in sessions)
    kind = "slot" if slot else "remote slot"
    return (
        execution_pb2.WAITING_REASON_NO_FREE_SLOT,
        f"all {_counted(slots, kind)} of {who} are taken" if slots != 1 else f"the {kind} of {who} is taken",
    )


def _queued(row: ExecutionRow) -> Waiting:
    if row.trigger == Trigger.BACKFILL:
        return (
            execution_pb2.WAITING_REASON_BACKFILL,
            "it is queued until another execution of its task's backfills ends: "
            f"{max(1, row.backfill_max_running)} may be open at once",
        )
    return (
        execution_pb2.WAITING_REASON_OVERLAP,
        f"it is queued until another execution of its task ends: {max(1, row.max_running)} may be open at once",
    )


def _timed(row: ExecutionRow) -> Waiting:
    at = datetime.fromtimestamp(row.not_before_us / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if row.attempt > 1:
        return execution_pb2.WAITING_REASON_RETRY, f"attempt {row.attempt} comes at {at}"
    return execution_pb2.WAITING_REASON_JITTER, f"jitter has put off its start to {at}"


def _group_full(reader: Reader, row: pb.GroupRow, now_us: int) -> str:
    group = row.group
    if group.max_running and row.running >= group.max_running:
        return f"{row.running} of the group {group.name} run: {group.max_running} may at once"
    if group.max_starts and row.starts >= group.max_starts:
        name, period_us = group.name.encode(), timestamp_us(group.period)
        start = name + b"\0" + be64(max(0, now_us - period_us + 1))
        recent = sum(1 for _ in reader.scan(Table.GROUP_STARTS, start, name + b"\1"))
        if recent >= group.max_starts:
            return (
                f"{recent} of the group {group.name} were started within the last {in_words(period_us)}: "
                f"{group.max_starts} may be"
            )
    return ""


# Of many at once


def waits_since_us(row: ExecutionRow) -> int:
    """Since when it could have started: its nominal time, or when it was decided or put off to, if that is later."""
    return max(row.nominal_us, row.fire_us, row.not_before_us, *(each.result.end_us for each in row.past_attempts), 0)


@dataclass(slots=True)
class Wait:
    """Executions that wait for the same."""

    reason: Reason
    detail: str
    count: int = 0
    oldest_us: int = 0
    """The earliest nominal time among them."""
    tasks: set[str] = field(default_factory=set)
    """As many names as are shown."""

    def add(self, row: ExecutionRow, shown: int) -> None:
        """Count one more."""
        self.count += 1
        self.oldest_us = min(self.oldest_us or row.nominal_us, row.nominal_us)
        if len(self.tasks) < shown:
            self.tasks.add(row.task)


class Survey:
    """What has waited for more than ``LATE_US``, by reason, and by task and reason."""

    def __init__(self) -> None:
        self._waits: dict[Waiting, Wait] = {}
        self._by_task: dict[tuple[str, int], dict[Waiting, Wait]] = {}
        self.incomplete = False
        """There is more than was looked at."""

    def add(self, row: ExecutionRow, why: Waiting) -> None:
        """Count an execution that waits."""
        for waits, shown in ((self._waits, 5), (self._by_task.setdefault((row.task, row.uid), {}), 1)):
            waits.setdefault(why, Wait(*why)).add(row, shown)

    def waits(self) -> list[Wait]:
        """All, those that most wait for first."""
        return _most_first(self._waits.values())

    def of_task(self, name: str, uid: int) -> list[Wait]:
        """Those of one task."""
        return _most_first(self._by_task.get((name, uid), {}).values())

    def tasks(self) -> set[str]:
        """Names of the tasks that have such executions."""
        return {name for name, _ in self._by_task}


def _most_first(waits: Iterable[Wait]) -> list[Wait]:
    return sorted(waits, key=lambda wait: (-wait.count, wait.reason, wait.detail))


def overdue(reader: Reader, now_us: int) -> Iterator[tuple[bytes, ExecutionRow | None]]:
    """Executions that have not been given to an executor, the oldest nominal time first; None: not late.

    Ids begin with the nominal time, so that what came due lately is not looked at.
    """
    stop = ids.first_id(max(0, now_us - LATE_US))
    for table in (Table.PENDING, Table.HELD):
        for key, _ in reader.scan(table, b"", stop):
            value = reader.get(Table.EXECUTIONS, key)
            row = None if value is None else ExecutionRow.FromString(value)
            yield key, row if row is not None and waits_since_us(row) <= now_us - LATE_US else None
