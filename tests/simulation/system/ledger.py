"""Follows the log entry by entry, and checks what each one wrote against the schedules.

Shares nothing with the scheduler. For each task it keeps where the schedule stands, by its own arithmetic: every
nominal time must be decided once and in order, not before its time, and never while the task is paused or gone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Table
from tests.simulation.consensus.world import Violation
from tests.simulation.system.calendar import Calendar, calendar
from tests.simulation.system.node import Write

RAN, SKIPPED, COALESCED, DECIDED_LOST = 1, 2, 3, 4
SCHEDULE, MANUAL, CHAIN, BACKFILL = 1, 2, 3, 4
AT_MOST_ONCE = 2
ALLOW = 1
PENDING, ASSIGNED, RUNNING, SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST, EXPIRED = range(1, 10)
_ACTIVE = (ASSIGNED, RUNNING)
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
    told: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """What was decided of a task (by uid) when an execution that it runs after had ended (by id)."""


class LogChecks:
    """Takes what the first node that applies an entry makes of it, and compares what the others make of it."""

    def __init__(self, on_taken_back: Callable[[pb.Command, pb.ExecutionRow], None]) -> None:
        """``on_taken_back`` gets each attempt that a command takes from its executor, as it was before."""
        self.state = Followers()
        self._on_taken_back = on_taken_back
        self.fires = 0
        self.backfilled = 0
        self._highest = 0
        self._seen: dict[int, tuple[bytes, int]] = {}
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
        result = pb.Outcome.FromString(outcome)
        if self._is_repeated(parsed, outcome, result, writes):
            return
        self._ended.clear()
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
        elif kind == "put_group":
            self.state.limits[command.put_group.group.name] = command.put_group.group.max_running
        elif kind == "retire":
            self.state.retired.update(command.retire.execution_ids)

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
            is_at = task.calendar.kind == "at"
            task.cursor = task.calendar.after(0 if is_at else after)
        task.definition = body.task
        task.paused = body.task.paused

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
        if not allowed or before.last_nominal_us != row.last_nominal_us:
            raise Violation(f"ledger: {what} was decided as {before.decision}, then as {row.decision}")

    def _decided(self, command: pb.Command, what: str, entry: Decided, count: int) -> None:
        self.fires += 1
        task = self.state.tasks.get(entry.task)
        if task is None or task.uid != entry.uid:
            raise Violation(f"ledger: {what} was decided, and there is no such task")
        given_up = command.WhichOneof("kind") in ("replace_task", "delete_task")
        if task.paused and not given_up:
            raise Violation(f"ledger: {what} was decided while the task was paused")
        if entry.nominal != task.cursor:
            raise Violation(f"ledger: {what} was decided, and {task.cursor} was next")
        if entry.last > command.now_us:
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
            if old is not None and old.state < SUCCEEDED:
                raise Violation(f"retention: {old.task} {key.hex()} was removed before it ended")
            return
        row = pb.ExecutionRow.FromString(after)
        old = self.state.executions.get(key)
        self.state.executions[key] = row
        if old is not None and old.state in _ACTIVE and command.WhichOneof("kind") == "expire":
            self._on_taken_back(command, old)
        if old is None:
            self._created(key, row)
        else:
            self._changed(index, key, old, row)
        self._count_open(key, row, old)
        self._count_in_group(key, row)
        if old is not None and old.state < SUCCEEDED <= row.state:
            self._ended.append((key, row))

    def _created(self, key: bytes, row: pb.ExecutionRow) -> None:
        self.state.delivery[key] = row.delivery
        if row.attempt != 1:
            raise Violation(f"execution: {row.task} {key.hex()} begins with attempt {row.attempt}")

    def _changed(self, index: int, key: bytes, old: pb.ExecutionRow, row: pb.ExecutionRow) -> None:
        what = f"{row.task} {key.hex()}"
        if old.state >= SUCCEEDED:
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
            (parts.discard if row.state >= SUCCEEDED else parts.add)(key)
            if row.state >= SUCCEEDED and parts:
                return
            key = row.nominal_id
        if row.state >= SUCCEEDED or row.queued:
            running.discard(key)
        elif key not in running:
            if row.trigger == SCHEDULE and len(running) >= row.max_running:
                raise Violation(f"overlap: {row.task} has {len(running)} open, and {key.hex()} starts")
            running.add(key)

    def _count_backfill(self, key: bytes, row: pb.ExecutionRow) -> None:
        running = self.state.backfills.setdefault(row.uid, set())
        if row.state >= SUCCEEDED or row.queued:
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
            for child in self.state.tasks.values():
                after = child.definition.after
                if len(after) == 1 and after[0].task == parent.name:
                    what = f"{child.name} after {parent.name} {key.hex()}, which ended as {ended.state}"
                    decision = self.state.told.get((child.uid, key))
                    if decision is None:
                        raise Violation(f"chain: nothing was decided of {what}")
                    if (decision == RAN) != (ended.state in _ENDS[after[0].on]):
                        raise Violation(f"chain: {decision} was decided of {what}")


def open_executions(executions: Iterable[tuple[bytes, pb.ExecutionRow]]) -> list[bytes]:
    """Those that have not ended."""
    return [key for key, row in executions if row.state < SUCCEEDED]
