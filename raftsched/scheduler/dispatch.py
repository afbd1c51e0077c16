"""Gives attempts to executors: those that a log entry has assigned, and those that still wait for one."""

import heapq
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.v1 import policy_pb2

from raftsched.core.state.model import ACTIVE_STATES, ExecutionState, Task
from raftsched.core.state.rows import NO_RANK, ExecutionRow, child_key
from raftsched.ports import Fate, Reader, Table
from raftsched.scheduler.assigned import Assigned
from raftsched.scheduler.executors import AttemptKey, Executors, ExecutorSession, Reservation, holds_slot
from raftsched.scheduler.group_queues import GroupQueue, GroupQueues
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.scheduler.task_cache import TaskCache

_DELETED = "the task was deleted before this execution started"
_GIVEN = (ExecutionState.ARMED, ExecutionState.ASSIGNED)
"""Given to an executor, which has not said that it has started."""
_SCAN_ROWS = 2_000
_FULL_STEPS = 10
_MESSAGE_BYTES = 1 << 20
"""Assignments are sent in messages of so many, and one more; a definition has up to 256 KiB, a gRPC message 16 MiB."""


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

    def __init__(
        self,
        proposer: Proposer,
        executors: Executors,
        tasks: TaskCache,
        settings: SchedulerSettings,
        given_back: Container[tuple[AttemptKey, int]],
    ) -> None:
        """``given_back``: attempts, with their fencing tokens, that executors gave back by reports that are yet to be
        applied: they are not to be given the same again.
        """
        self._given_back = given_back
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

    def follow(self, reader: Reader, changes: Mapping[bytes, ExecutionRow]) -> None:
        """Act on executions as a commit left them: send new assignments and cancellations, free what ended."""
        assigned: dict[str, list[tuple[bytes, ExecutionRow]]] = {}
        cancelled: list[tuple[bytes, ExecutionRow]] = []
        for execution_id, row in changes.items():
            if row.state not in ACTIVE_STATES:
                if row.group:
                    self._groups.mark(row.group)
                self._let_go(execution_id, row)
                continue
            session = self._executors.get(row.executor_id)
            if session is None:
                continue
            key = (execution_id, row.attempt)
            if row.withdrawn:
                session.link.send(withdraw_message([(key, row.fencing_token)]))
            elif row.state in _GIVEN and session.held.get(key) != row.fencing_token:
                # It may have been given back and assigned to the same executor again in one commit.
                session.let_go(key)
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

    def send(self, reader: Reader, session: ExecutorSession, rows: list[tuple[bytes, ExecutionRow]]) -> None:
        """Send assignments as they stand in the execution table, and then what of it is to be cancelled.

        What the link has no room for is left out: ``reconcile`` finds that it is assigned and not held.
        """
        message, size_bytes, known_us = self._assignments(), 0, self._proposer.known_us()
        doomed: list[AttemptKey] = []
        withdrawn: list[tuple[AttemptKey, int]] = []
        for execution_id, row in rows:
            if not session.link.has_room:
                break
            key = (execution_id, row.attempt)
            if (key, row.fencing_token) in self._given_back:
                continue
            task = self._tasks.get(reader, row.task, row.uid)
            self._give(session, key, row, task)
            if row.withdrawn:
                # It was never sent, or it has got lost: the executor says that it has not started it.
                withdrawn.append((key, row.fencing_token))
                continue
            item = message.assignments.items.add()
            _assign_to(item, execution_id, row, task if task and task.uid == row.uid else None)
            if row.state == ExecutionState.ARMED:
                item.unhurried = not _is_parent(reader, row.task)
                # What is due starts, or waits there. An executor that was started anew may have started it before, and
                # does not know it: it is not to say that it has not.
                if row.nominal_us > known_us:
                    item.start_us = row.nominal_us
            if row.cancel_requested:
                doomed.append(key)
            size_bytes += item.ByteSize()
            if size_bytes >= _MESSAGE_BYTES:
                session.link.send(message)
                message, size_bytes = self._assignments(), 0
        if size_bytes:
            session.link.send(message)
        if doomed:
            session.link.send(cancel_message(doomed))
        if withdrawn:
            session.link.send(withdraw_message(withdrawn))

    def _give(self, session: ExecutorSession, key: AttemptKey, row: ExecutionRow, task: Task | None) -> None:
        start_us = row.nominal_us if row.state == ExecutionState.ARMED else 0
        session.give(key, row.fencing_token, slot=task is None or holds_slot(task), start_us=start_us)

    def _assignments(self) -> xpb.ConnectResponse:
        message = xpb.ConnectResponse()
        message.assignments.now_us = self._proposer.known_us()
        return message

    def reconcile(self, reader: Reader, assigned: Assigned) -> None:
        """Send connected executors what is assigned to them and what they do not hold."""
        for executor_id in assigned:
            session, keys = self._executors.get(executor_id), assigned.of(executor_id)
            if session is None or keys <= session.held.keys():
                continue
            missing = [key[0] for key in keys if key not in session.held]
            for start in range(0, len(missing), self._settings.fire_batch_items):
                part = missing[start : start + self._settings.fire_batch_items]
                self.send(reader, session, [(key, read_execution(reader, key)) for key in part])

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
        """The attempt is over for its executor: it ended, was given back, or the execution waits for its next one."""
        attempts = [row.attempt - 1, row.attempt] if row.state == ExecutionState.PENDING else [row.attempt]
        for session in self._executors:
            for key in ((execution_id, attempt) for attempt in attempts):
                if key in session.held:
                    session.let_go(key)
                    session.ended_since += row.state != ExecutionState.PENDING or key[1] < row.attempt


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


def withdraw_message(withdrawn: Iterable[tuple[AttemptKey, int]]) -> xpb.ConnectResponse:
    """Asks an executor to give these attempts back, each with its fencing token, as far as it has not started them."""
    message = xpb.ConnectResponse()
    for (execution_id, attempt), fencing_token in withdrawn:
        item = message.withdraw.items.add(fencing_token=fencing_token)
        item.key.execution_id, item.key.attempt = execution_id, attempt
    return message


def _is_parent(reader: Reader, task: str) -> bool:
    """Whether another task runs after this one."""
    first = child_key(task, "")
    return next(iter(reader.scan(Table.CHILDREN, first, first[:-1] + b"\1")), None) is not None


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
