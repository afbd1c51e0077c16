"""Gives attempts to executors: those that a log entry has assigned, and those that still wait for one."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from raftsched_client.v1 import policy_pb2

from raftsched.core.model import ExecutionState, Task
from raftsched.core.rows import NO_RANK, ExecutionRow
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.internal.v1 import executor_pb2 as xpb
from raftsched.ports import Fate, Reader, Table
from raftsched.scheduler.executors import AttemptKey, Executors, Reservation, Session, holds_slot
from raftsched.scheduler.group_queues import GroupQueue, GroupQueues
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.scheduler.task_cache import TaskCache

_DELETED = "the task was deleted before this execution started"
_ACTIVE = (ExecutionState.ASSIGNED, ExecutionState.RUNNING)
_SCAN_ROWS = 2_000
_FULL_STEPS = 10


@dataclass(slots=True)
class _Lane:
    """A range of an index of pending executions, and how far it has been looked through."""

    table: Table
    start: bytes
    stop: bytes | None
    id_at: int = 0
    resume: bytes = b""


@dataclass(slots=True)
class _Assignments:
    """A command that is being filled, and what it takes while it is under way."""

    command: pb.Command
    ids: list[bytes] = field(default_factory=list)
    reserved: list[Reservation] = field(default_factory=list)
    """One for each attempt."""
    groups: list[str] = field(default_factory=list)
    """Groups, one for each attempt of theirs."""


class Dispatcher:
    """Follows what was applied: an assignment is sent only after the log entry that makes it is durable."""

    def __init__(self, proposer: Proposer, executors: Executors, tasks: TaskCache, settings: SchedulerSettings) -> None:
        self._proposer = proposer
        self._executors = executors
        self._tasks = tasks
        self._settings = settings
        self._under_way: set[bytes] = set()
        self._commands = 0
        self._full_steps = 0
        self._groups = GroupQueues()
        self._lanes = (
            _Lane(Table.RANKED, b"", bytes((NO_RANK,)), id_at=1),
            _Lane(Table.PENDING, b"", None),
            _Lane(Table.RANKED, bytes((NO_RANK,)), None, id_at=1),
        )

    def follow(self, reader: Reader, changes: Iterable[tuple[bytes, ExecutionRow]]) -> None:
        """Act on executions that a commit changed: send new assignments and cancellations, free what ended."""
        assigned: dict[str, list[tuple[bytes, ExecutionRow]]] = {}
        cancelled: list[tuple[bytes, ExecutionRow]] = []
        # One commit may change an execution several times; where it ends up is what counts.
        for execution_id, row in dict(changes).items():
            if row.state not in _ACTIVE:
                if row.group:
                    self._groups.mark(row.group)
                self._let_go(execution_id, row)
                continue
            session = self._executors.get(row.executor_id)
            if session is None:
                continue
            if row.state == ExecutionState.ASSIGNED and (execution_id, row.attempt) not in session.held:
                assigned.setdefault(row.executor_id, []).append((execution_id, row))
            elif row.cancel_requested:
                cancelled.append((execution_id, row))
        for executor_id, rows in assigned.items():
            session = self._executors.get(executor_id)
            if session is not None:
                self.send(reader, session, rows)
        for execution_id, row in cancelled:
            session = self._executors.get(row.executor_id)
            if session is not None:
                session.link.send(cancel_message([(execution_id, row.attempt)]))

    def send(self, reader: Reader, session: Session, rows: list[tuple[bytes, ExecutionRow]]) -> None:
        """Send assignments as they stand in the execution table, and then what of it is to be cancelled."""
        message = xpb.ConnectResponse()
        items = message.assignments.items
        for execution_id, row in rows:
            task = self._tasks.get(reader, row.task, row.uid)
            session.give((execution_id, row.attempt), slot=task is None or holds_slot(task))
            _assign_to(items.add(), execution_id, row, task if task and task.uid == row.uid else None)
        session.link.send(message)
        if doomed := [(execution_id, row.attempt) for execution_id, row in rows if row.cancel_requested]:
            session.link.send(cancel_message(doomed))

    def reconcile(self, reader: Reader, assigned: Mapping[str, list[AttemptKey]]) -> None:
        """Send connected executors what is assigned to them, by executor id, and what they do not hold."""
        for executor_id, keys in assigned.items():
            session = self._executors.get(executor_id)
            if session is None:
                continue
            missing = [key[0] for key in keys if key not in session.held]
            for start in range(0, len(missing), self._settings.fire_batch_items):
                part = missing[start : start + self._settings.fire_batch_items]
                self.send(reader, session, [(key, read_execution(reader, key)) for key in part])

    def admit(
        self, reader: Reader, session: Session, held: Iterable[AttemptKey]
    ) -> tuple[list[AttemptKey], list[AttemptKey]]:
        """Take over what a new session says it holds; returns what is no longer its own and what it must cancel."""
        revoked: list[AttemptKey] = []
        cancelled: list[AttemptKey] = []
        for key in held:
            found = reader.get(Table.EXECUTIONS, key[0])
            row = ExecutionRow() if found is None else ExecutionRow.FromString(found)
            if row.state not in _ACTIVE or row.attempt != key[1] or row.executor_id != session.executor_id:
                revoked.append(key)
                continue
            task = self._tasks.get(reader, row.task, row.uid)
            session.give(key, slot=task is None or holds_slot(task))
            if row.cancel_requested:
                cancelled.append(key)
        return revoked, cancelled

    def look_again(self, reader: Reader) -> None:
        """Look at every group in which something waits: limits may have changed."""
        self._groups.refresh(reader)

    def assign_pending(self, reader: Reader) -> None:
        """Propose executors for executions that wait for one, by priority, then oldest nominal time first."""
        while self._commands < self._settings.pipeline_commands and (self._executors.any_free() or self._remote_turn()):
            batch = self._collect_pending(reader)
            if not batch.ids:
                return
            self._commands += 1
            self._under_way.update(batch.ids)
            self._groups.reserve(batch.groups, 1)
            self._proposer.propose(batch.command, self._finisher(batch))

    def _remote_turn(self) -> bool:
        """With all slots taken, what waits is looked through now and then, for attempts that hold none."""
        self._full_steps = (self._full_steps + 1) % _FULL_STEPS
        return not self._full_steps

    def _collect_pending(self, reader: Reader) -> "_Assignments":
        batch = _Assignments(self._proposer.command())
        queues = self._groups.open(reader, batch.command.now_us)
        sources = [self._ungrouped(reader), *(queue.waiting(reader) for queue in queues)]
        # Lexicographic: by rank, then by id, which begins with the nominal time. Ids differ.
        for _, execution_id, queue in sources[0] if not queues else heapq.merge(*sources):
            if execution_id in self._under_way:
                continue
            if len(batch.ids) >= self._settings.fire_batch_items or not self._assign(
                reader, execution_id, queue, batch
            ):
                break
        return batch

    def _ungrouped(self, reader: Reader) -> Iterator[tuple[int, bytes, GroupQueue | None]]:
        """Rank and id of executions that wait for an executor alone; each lane goes on where it was cut short."""
        for lane in self._lanes:
            rows = reader.scan(lane.table, max(lane.start, lane.resume), lane.stop)
            for scanned, (key, _) in enumerate(rows):
                if scanned >= _SCAN_ROWS:
                    break
                lane.resume = key
                yield key[0] if lane.id_at else NO_RANK, key[lane.id_at :], None
            else:
                lane.resume = b""

    def _assign(self, reader: Reader, execution_id: bytes, queue: GroupQueue | None, batch: "_Assignments") -> bool:
        """Name an executor for one execution if there is one; False when none has room for anything more."""
        row = read_execution(reader, execution_id)
        task = self._tasks.get(reader, row.task, row.uid)
        if task is None or task.uid != row.uid:
            self._cancel_orphan(execution_id)
            return True
        slot = holds_slot(task)
        pinned = row.pinned_executor_id
        if pinned:
            executor_id = self._executors.reserve_on(pinned, slot=slot)
        else:
            executor_id = self._executors.reserve(task.executor_labels, slot=slot)
        if not executor_id:
            if pinned or not slot or self._executors.any_free() or not self._full_steps:
                return True
            for lane in self._lanes:
                lane.resume = b""
            return False
        if queue is not None:
            queue.room -= 1
            batch.groups.append(queue.name)
        batch.ids.append(execution_id)
        batch.reserved.append((executor_id, slot))
        batch.command.assign.items.add(id=execution_id, expected_attempt=row.attempt, executor_id=executor_id)
        return True

    def _finisher(self, batch: "_Assignments") -> Callable[[Fate], None]:
        def finish(_fate: Fate) -> None:
            self._commands -= 1
            self._under_way.difference_update(batch.ids)
            self._executors.release(batch.reserved)
            self._groups.reserve(batch.groups, -1)
            for name in batch.groups:
                self._groups.mark(name)

        return finish

    def _cancel_orphan(self, execution_id: bytes) -> None:
        self._under_way.add(execution_id)
        self._commands += 1
        command = self._proposer.command()
        command.cancel_execution.id = execution_id
        command.cancel_execution.reason = _DELETED
        self._proposer.propose(command, self._finisher(_Assignments(command, [execution_id])))

    def _let_go(self, execution_id: bytes, row: ExecutionRow) -> None:
        """The attempt is over for its executor: it ended, or the execution waits for its next attempt."""
        waits_again = row.state == ExecutionState.PENDING
        key = (execution_id, row.attempt - 1 if waits_again else row.attempt)
        for session in self._executors:
            if key in session.held:
                session.let_go(key)
                session.ended_since += 1
                return


def read_execution(reader: Reader, execution_id: bytes) -> ExecutionRow:
    """The row that an index names."""
    found = reader.get(Table.EXECUTIONS, execution_id)
    assert found is not None, f"an index names the execution {execution_id.hex()}, which is not in the table"
    return ExecutionRow.FromString(found)


def cancel_message(keys: Iterable[AttemptKey]) -> xpb.ConnectResponse:
    """Tells an executor to kill these attempts."""
    message = xpb.ConnectResponse()
    for execution_id, attempt in keys:
        message.cancel.keys.add(execution_id=execution_id, attempt=attempt)
    return message


def _assign_to(assignment: xpb.Assignment, execution_id: bytes, row: ExecutionRow, task: Task | None) -> None:
    """Fill in what the executor is told; nothing to do when the task is gone."""
    key = assignment.key
    key.execution_id = execution_id
    key.attempt = row.attempt
    assignment.task = row.task
    assignment.nominal_us = row.nominal_us
    assignment.fencing_token = row.fencing_token
    if row.delivery == policy_pb2.DELIVERY_AT_MOST_ONCE:
        assignment.at_most_once = True
    if row.parent_execution_ids:
        assignment.parent_execution_ids.extend(row.parent_execution_ids)
    if task is not None:
        assignment.time_limit_us = task.time_limit_us
        assignment.action.ParseFromString(task.action)
