"""Follows the log entry by entry, and checks what each one wrote against the schedules.

Shares nothing with the scheduler. For each task it keeps where the schedule stands, by its own arithmetic: every
nominal time must be decided once and in order, not before its time, and never while the task is paused or gone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.ports import Table
from tests.simulation.consensus.world import Violation
from tests.simulation.system.calendar import Calendar, calendar
from tests.simulation.system.node import Write

RAN, SKIPPED, COALESCED, DECIDED_LOST = 1, 2, 3, 4
SCHEDULE, MANUAL, CHAIN, BACKFILL = 1, 2, 3, 4
AT_MOST_ONCE = 2
ALLOW = 1
_EVERY = 2
_FOR_GOOD = 2
FURTHEST_US = 20_000_000
"""What is decided ahead of a herd."""
PENDING, ASSIGNED, RUNNING, SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST, EXPIRED, ARMED = range(1, 11)
_ACTIVE = (ARMED, ASSIGNED, RUNNING)
AHEAD_US = 1_000_000
"""Nothing else is decided longer before its time."""
_ENDS = {
    0: (SUCCEEDED,),
    1: (SUCCEEDED,),
    2: (FAILED, TIMED_OUT, LOST, EXPIRED),
    3: tuple(range(SUCCEEDED, EXPIRED + 1)),
}
"""By the condition of a chain: the states in which the parent must end."""


@dataclass
class Followed:
    """One task, from its registration to its deletion."""

    name: str
    uid: int
    definition: object
    calendar: Calendar
    cursor: int
    """The next nominal time to be decided, as worked out here; 0: none."""
    last: int = 0
    paused: bool = False
    paused_us: int = 0
    """The latest time that entries were stamped with, up to the one that paused it last: what was due by then may have
    been let start by an entry before."""
    entries: int = 0


@dataclass
class Decided:
    """An entry of the ledger."""

    task: str
    uid: int
    nominal: int
    last: int
    decision: int
    trigger: int
    executor_ids: tuple[str, ...]
    """Of a task that runs on every executor."""
    expired: bool = False


@dataclass
class Followers:
    """What the log says so far."""

    tasks: dict[str, Followed] = field(default_factory=dict)
    decided: dict[bytes, Decided] = field(default_factory=dict)
    """By execution id."""
    executions: dict[bytes, pb.ExecutionRow] = field(default_factory=dict)
    requests: dict[str, bytes] = field(default_factory=dict)
    """Outcome of each request id that was carried out."""
    retired: set[bytes] = field(default_factory=set)
    delivery: dict[bytes, int] = field(default_factory=dict)
    open: dict[int, set[bytes]] = field(default_factory=dict)
    """What counts against the limit of each task, by uid: executions, or the nominal time that several are of."""
    open_parts: dict[bytes, set[bytes]] = field(default_factory=dict)
    """Executions that are open, of each nominal time that several are of."""
    limits: dict[str, int] = field(default_factory=dict)
    """Of each group: how many may run at once; 0: any number."""
    in_group: dict[str, set[bytes]] = field(default_factory=dict)
    backfills: dict[int, set[bytes]] = field(default_factory=dict)
    """Executions of backfills that were let start and have not ended, by uid of their task."""
    tokens: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    """Whose a fencing token is: execution id and attempt."""
    highest_token: int = 0
    told: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """What was decided of a task (by uid) when an execution that it runs after had ended (by id)."""


class LogChecks:
    """Takes what the first node that applies an entry makes of it, and compares what the others make of it."""

    def __init__(self, on_taken_back: Callable[[pb.Command, pb.ExecutionRow], None], ahead_us: int) -> None:
        """``on_taken_back`` gets each attempt that a command takes from its executor, as it was before; ``ahead_us``:
        how long before its time a nominal time may be decided, for executors to start it then.
        """
        self.ahead_us = ahead_us
        self.state = Followers()
        self._on_taken_back = on_taken_back
        self.fires = 0
        self.backfilled = 0
        self.armed = 0
        """Executions that were decided ahead."""
        self.not_to_start: set[bytes] = set()
        """Executions that were withdrawn for good, at the time of the entry that did; some may have started before."""
        self.withdrawn = 0
        """Of these, those that a change of their task withdrew."""
        self._highest = 0
        self._seen: dict[int, tuple[bytes, int]] = {}
        self._highest_before = 0
        """The highest fencing token of the entries before the one that is looked at."""
        self._latest_us = 0
        """That entries were stamped with."""
        self._anew: list[int] = []
        """Nominal times to come of a new schedule that the entry which is looked at decides."""
        self._ended: list[tuple[bytes, pb.ExecutionRow]] = []
        """By the entry that is looked at."""

    def take(self, node_id: str, index: int, command: bytes, outcome: bytes, writes: list[Write]) -> None:
        effect = hash(tuple((table.value, key, after) for table, key, _, after in writes))
        known = self._seen.setdefault(index, (outcome, effect))
        if known != (outcome, effect):
            raise Violation(f"determinism: {node_id} makes something else of entry {index}")
        if index <= self._highest:
            return
        self._highest = index
        parsed = pb.Command.FromString(command)
        self._latest_us = max(self._latest_us, parsed.now_us)
        result = pb.Outcome.FromString(outcome)
        if self._is_repeated(parsed, outcome, result, writes):
            return
        self._ended.clear()
        self._anew.clear()
        self._highest_before = self.state.highest_token
        self._follow_tasks(parsed, result)
        for table, key, before, after in writes:
            if table is Table.LEDGER:
                self._ledger(index, parsed, key, before, after)
            else:
                self._execution(index, parsed, key, before, after)
        self._check_chains()
        self._follow_changes(parsed, result)

    # Request ids

    def _is_repeated(self, command: pb.Command, outcome: bytes, result: pb.Outcome, writes: list[Write]) -> bool:
        """The same request is carried out once, and has one outcome."""
        id_ = command.request_id
        if not id_ or result.code:
            return False
        if id_ not in self.state.requests:
            self.state.requests[id_] = outcome
            return False
        if self.state.requests[id_] != outcome or writes:
            raise Violation(f"request id: {id_} was carried out twice")
        return True

    # Tasks

    def _follow_tasks(self, command: pb.Command, result: pb.Outcome) -> None:
        """Registrations, before what the entry wrote is looked at."""
        for item, done in zip(command.register_tasks.items, result.results, strict=False):
            name = item.task.name
            if done.code or (name in self.state.tasks and self.state.tasks[name].uid == done.uid):
                continue
            times = calendar(item.task.schedule)
            first = times.after(0 if times.kind == "at" else command.now_us)
            if first != item.next_us:
                raise Violation(f"schedule: {name} is registered to begin at {item.next_us}, it should at {first}")
            if name in self.state.tasks:
                raise Violation(f"registration: {name} is registered twice")
            self.state.tasks[name] = Followed(name, done.uid, item.task, times, first, paused=item.task.paused)

    def _follow_changes(self, command: pb.Command, result: pb.Outcome) -> None:
        """Changes and deletions, after what the entry wrote."""
        if result.code:
            return
        kind = command.WhichOneof("kind")
        if kind == "replace_task":
            self._replaced(command, command.replace_task, result)
        elif kind == "delete_task":
            task = self.state.tasks.get(command.delete_task.name)
            if task is not None and task.uid == result.uid:
                if 0 < task.cursor <= command.now_us:
                    raise Violation(f"ledger: {task.name} was deleted, and {task.cursor} was never decided")
                del self.state.tasks[task.name]
        elif kind == "repair_cursors":
            for item in command.repair_cursors.items:
                self._repaired(command.now_us, item)
        elif kind == "put_group":
            self.state.limits[command.put_group.group.name] = command.put_group.group.max_running
        elif kind == "retire":
            self.state.retired.update(command.retire.execution_ids)

    def _repaired(self, now_us: int, item: pb.RepairCursors.Item) -> None:
        """A cursor that a wrong clock moved ahead is led back to the first nominal time to come, and never forward."""
        task = self.state.tasks.get(item.task)
        if task is None or task.uid != item.uid or task.cursor != item.expected_next_us:
            return
        if item.next_us != task.calendar.after(now_us) or 0 < task.cursor <= item.next_us:
            raise Violation(f"repair: {task.name} was at {task.cursor}, and is to go on at {item.next_us}")
        task.cursor, task.last = item.next_us, min(task.last, now_us)

    def _replaced(self, command: pb.Command, body: pb.ReplaceTask, result: pb.Outcome) -> None:
        task = self.state.tasks.get(body.task.name)
        if task is None or task.uid != result.uid:
            # The outcome of a request that was carried out before: the task is gone since.
            return
        resumed = task.paused and not body.task.paused
        if (body.schedule_changed or resumed) and 0 < task.cursor <= command.now_us:
            raise Violation(f"ledger: {task.name} was changed, and {task.cursor} was never decided")
        if body.schedule_changed and body.task.schedule != task.definition.schedule:
            task.calendar = calendar(body.task.schedule)
            after = max(command.now_us, task.last)
            soon = task.calendar.between(command.now_us + 1, task.last) if self._is_ahead(command, task.last) else []
            known = {each.nominal for each in self.state.decided.values() if each.uid == task.uid}
            left = [at for at in soon if at not in known or at in self._anew]
            if self._anew != left:
                raise Violation(f"schedule: of {soon} of {task.name} {self._anew} are decided now, {left} were not")
            is_at = task.calendar.kind == "at"
            task.cursor = task.calendar.after(0 if is_at and not soon else after)
        task.definition = body.task
        if body.task.paused and not task.paused:
            task.paused_us = self._latest_us
        task.paused = body.task.paused

    @staticmethod
    def _is_ahead(command: pb.Command, time_us: int) -> bool:
        """Whether it was decided ahead. What lies further ahead was decided by a clock that was wrong."""
        return command.now_us < time_us <= command.now_us + FURTHEST_US

    # The ledger

    def _ledger(self, index: int, command: pb.Command, key: bytes, before: bytes | None, after: bytes | None) -> None:
        name, _, rest = key.partition(b"\0")
        nominal, execution_id = int.from_bytes(rest[:8], "big"), rest[8:]
        if after is None:
            return
        row = pb.LedgerRow.FromString(after)
        what = f"{name.decode()} at {nominal}"
        if before is not None:
            self._rewritten(what, pb.LedgerRow.FromString(before), row)
            self.state.decided[execution_id].decision = row.decision
            self.state.decided[execution_id].expired = row.expired
            return
        entry = Decided(
            name.decode(), row.uid, nominal, row.last_nominal_us, row.decision, row.trigger, tuple(row.executor_ids)
        )
        if execution_id in self.state.decided:
            raise Violation(f"ledger: the execution of {what} has two entries")
        self.state.decided[execution_id] = entry
        self.backfilled += row.trigger == BACKFILL
        if row.trigger == CHAIN:
            self._told(what, row)
        if row.trigger == SCHEDULE:
            self._decided(command, what, entry, row.count)

    def _rewritten(self, what: str, before: pb.LedgerRow, row: pb.LedgerRow) -> None:
        expired = row.decision == SKIPPED and row.expired
        allowed = before.decision == RAN and (expired or row.decision == DECIDED_LOST)
        if before.executor_ids:
            # One of several may expire or be lost, and another after it; the entry then says more of why.
            allowed = (before.decision, row.decision) in ((RAN, RAN), (RAN, DECIDED_LOST), (DECIDED_LOST, DECIDED_LOST))
        # What a wrong clock decided before its time is marked as such, whatever it was.
        allowed = allowed or (row.early and not before.early and before.decision == row.decision)
        if not allowed or before.last_nominal_us != row.last_nominal_us:
            raise Violation(f"ledger: {what} was decided as {before.decision}, then as {row.decision}")

    def _decided(self, command: pb.Command, what: str, entry: Decided, count: int) -> None:
        self.fires += 1
        task = self.state.tasks.get(entry.task)
        if task is None or task.uid != entry.uid:
            raise Violation(f"ledger: {what} was decided, and there is no such task")
        kind = command.WhichOneof("kind")
        given_up = kind in ("replace_task", "delete_task")
        if kind == "replace_task" and entry.last > command.now_us:
            # Of the new schedule: compared with it when the entry has been looked at.
            self._anew.append(entry.nominal)
            return
        if task.paused and not given_up:
            raise Violation(f"ledger: {what} was decided while the task was paused")
        if entry.nominal != task.cursor:
            raise Violation(f"ledger: {what} was decided, and {task.cursor} was next")
        ahead_us = self.ahead_us if entry.decision == RAN and not _is_asked_in_time(task.definition) else 0
        if entry.last > command.now_us + ahead_us:
            raise Violation(f"ledger: {what} was decided up to {entry.last}, before its time")
        times = task.calendar.between(entry.nominal, entry.last)
        if count and count != len(times):
            raise Violation(f"ledger: {what} stands for {count} nominal times, there are {len(times)}")
        if entry.decision == RAN and (entry.last != entry.nominal):
            raise Violation(f"ledger: {what} ran for more than one nominal time")
        task.last = entry.last
        task.cursor = task.calendar.after(entry.last)
        task.entries += 1

    # Executions

    def _execution(
        self, index: int, command: pb.Command, key: bytes, before: bytes | None, after: bytes | None
    ) -> None:
        if after is None:
            old = self.state.executions.get(key)
            if old is not None and not has_ended(old):
                raise Violation(f"retention: {old.task} {key.hex()} was removed before it ended")
            return
        row = pb.ExecutionRow.FromString(after)
        old = self.state.executions.get(key)
        self.state.executions[key] = row
        if old is not None and old.state in _ACTIVE and command.WhichOneof("kind") == "expire":
            self._on_taken_back(command, old)
        if old is None:
            self._created(command, key, row)
        else:
            self._changed(index, key, old, row)
        self._check_token(key, row)
        self._count_open(key, row, old)
        self._count_in_group(key, row)
        if old is not None and has_ended(row) and not has_ended(old):
            self._ended.append((key, row))

    def _created(self, command: pb.Command, key: bytes, row: pb.ExecutionRow) -> None:
        is_ahead = row.nominal_us > command.now_us and command.WhichOneof("kind") != "replace_task"
        if (row.state == ARMED) != is_ahead:
            raise Violation(f"armed: {row.task} {key.hex()} is {row.state} at {command.now_us}, for {row.nominal_us}")
        self.armed += row.state == ARMED
        self.state.delivery[key] = row.delivery
        if row.attempt != 1:
            raise Violation(f"execution: {row.task} {key.hex()} begins with attempt {row.attempt}")

    def _changed(self, index: int, key: bytes, old: pb.ExecutionRow, row: pb.ExecutionRow) -> None:
        what = f"{row.task} {key.hex()}"
        self.withdrawn += bool(row.withdrawn and not old.withdrawn)
        if row.withdrawn == _FOR_GOOD:
            self.not_to_start.add(key)
        if has_ended(old) and _decided(row) != _decided(old):
            raise Violation(f"execution: {what} had ended as {old.state} and becomes {row.state}")
        if not old.attempt <= row.attempt <= old.attempt + 1:
            raise Violation(f"execution: {what} goes from attempt {old.attempt} to {row.attempt}")
        if row.attempt > 1 and row.delivery == AT_MOST_ONCE:
            raise Violation(f"at most once: {what} has attempt {row.attempt}")
        if row.fencing_token < old.fencing_token:
            raise Violation(f"fencing: the token of {what} falls from {old.fencing_token} to {row.fencing_token}")
        if row.state == ASSIGNED and old.state == PENDING and row.fencing_token <= old.fencing_token:
            raise Violation(f"fencing: attempt {row.attempt} of {what} has the token of the one before")
        if row.uid != old.uid or row.nominal_us != old.nominal_us:
            raise Violation(f"execution: {what} becomes another")

    def _check_token(self, key: bytes, row: pb.ExecutionRow) -> None:
        """Each attempt has its own, and what is given in a later entry is higher than all before."""
        token, attempt = row.fencing_token, (key, row.attempt)
        if row.state not in _ACTIVE or self.state.tokens.get(token) == attempt:
            return
        if token in self.state.tokens:
            raise Violation(f"fencing: {row.task} {key.hex()} has the token {token} of another attempt")
        if token < self._highest_before:
            raise Violation(f"fencing: {row.task} {key.hex()} has the token {token}, there was {self._highest_before}")
        self.state.tokens[token] = attempt
        self.state.highest_token = max(self.state.highest_token, token)

    def _count_open(self, key: bytes, row: pb.ExecutionRow, old: pb.ExecutionRow | None) -> None:
        """Overlap policies: no more are open than may be when one more opens by schedule."""
        if row.trigger == BACKFILL:
            self._count_backfill(key, row)
            return
        if not row.max_running:
            return
        running = self.state.open.setdefault(row.uid, set())
        if row.nominal_id:
            parts = self.state.open_parts.setdefault(row.nominal_id, set())
            (parts.discard if has_ended(row) else parts.add)(key)
            if has_ended(row) and parts:
                return
            key = row.nominal_id
        if has_ended(row) or row.queued:
            running.discard(key)
        elif key not in running:
            if row.trigger == SCHEDULE and len(running) >= row.max_running:
                raise Violation(f"overlap: {row.task} has {len(running)} open, and {key.hex()} starts")
            running.add(key)

    def _count_backfill(self, key: bytes, row: pb.ExecutionRow) -> None:
        running = self.state.backfills.setdefault(row.uid, set())
        if has_ended(row) or row.queued:
            running.discard(key)
        elif key not in running:
            if len(running) >= row.backfill_max_running:
                raise Violation(f"backfill: {row.task} has {len(running)} open, and {key.hex()} starts")
            running.add(key)

    def _count_in_group(self, key: bytes, row: pb.ExecutionRow) -> None:
        """No more attempts of a group are with executors than it lets."""
        if not row.group:
            return
        running = self.state.in_group.setdefault(row.group, set())
        if row.state not in _ACTIVE:
            running.discard(key)
            return
        running.add(key)
        limit = self.state.limits.get(row.group, 0)
        if limit and len(running) > limit:
            raise Violation(f"group: {row.group} has {len(running)} running, {limit} may be")

    # Chains

    def _told(self, what: str, row: pb.LedgerRow) -> None:
        for parent_id in row.parent_execution_ids:
            if (row.uid, parent_id) in self.state.told:
                raise Violation(f"chain: {what} was decided a second time after the end of {parent_id.hex()}")
            self.state.told[row.uid, parent_id] = row.decision

    def _check_chains(self) -> None:
        """What runs after one task alone is decided by the entry that ends an execution of that one."""
        for key, ended in self._ended:
            parent = self.state.tasks.get(ended.task)
            if parent is None or parent.uid != ended.uid:
                continue
            if ended.state == CANCELLED and self.state.decided[key].decision == SKIPPED:
                # It was withdrawn: a nominal time that is skipped has no end.
                continue
            for child in self.state.tasks.values():
                after = child.definition.after
                if len(after) == 1 and after[0].task == parent.name:
                    what = f"{child.name} after {parent.name} {key.hex()}, which ended as {ended.state}"
                    decision = self.state.told.get((child.uid, key))
                    if decision is None:
                        raise Violation(f"chain: nothing was decided of {what}")
                    if (decision == RAN) != (ended.state in _ENDS[after[0].on]):
                        raise Violation(f"chain: {decision} was decided of {what}")


def has_ended(row: pb.ExecutionRow) -> bool:
    """Whether nothing more can become of an execution."""
    return SUCCEEDED <= row.state <= EXPIRED


def open_executions(executions: Iterable[tuple[bytes, pb.ExecutionRow]]) -> list[bytes]:
    """Those that have not ended."""
    return [key for key, row in executions if not has_ended(row)]


def _is_asked_in_time(definition: Any) -> bool:
    """Whether something is asked when a nominal time of the task comes, so that it is not decided before."""
    if definition.delivery == AT_MOST_ONCE:
        return True
    waits_its_turn = definition.overlap_policy > ALLOW or definition.group or definition.HasField("jitter")
    return bool(waits_its_turn or definition.placement == _EVERY or definition.schedule.calendars)


def _decided(row: pb.ExecutionRow) -> bytes:
    """What does not change once an execution has ended; more may come to be known of attempts that were given up."""
    decided = pb.ExecutionRow()
    decided.CopyFrom(row)
    for name in ("past_attempts", "first_start_us"):
        decided.ClearField(name)
    if row.state == LOST:
        decided.ClearField("told")
        for name in ("start_us", "error", "output_tail", "output_size_bytes"):
            decided.result.ClearField(name)
    return decided.SerializeToString(deterministic=True)
