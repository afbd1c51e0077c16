"""Applies commands to a store one by one, as the log of a leader would."""

from typing import Any

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.machine import COMMAND_VERSION, Applied, apply
from raftsched.core.machine.numbers import found
from raftsched.core.state.lifecycle import may_follow
from raftsched.core.state.model import Decision, ExecutionState
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import STATE_TABLES, Store, Table
from raftsched.scheduler.assigned import Assigned

SECOND = 1_000_000


class MachineDriver:
    """A state machine, its log index and its clock."""

    def __init__(self, store: Store, *, now_us: int, shard_id: int = 1) -> None:
        self.store = store
        found(store.batch(), shard_id)
        store.commit()
        self.now_us = now_us
        self.index = 0
        self.transitions: set[tuple[ExecutionState, ExecutionState]] = set()
        """Those that executions have made."""
        with store.read() as reader:
            self.assigned = Assigned(reader)

    def command(self, request_id: str = "") -> pb.Command:
        return pb.Command(version=COMMAND_VERSION, now_us=self.now_us, leader_id="n1", term=7, request_id=request_id)

    def apply_bytes(self, data: bytes) -> Applied:
        self.index += 1
        before = self.rows(Table.EXECUTIONS)
        applied = apply(self.store.batch(), self.index, data)
        self.store.commit()
        self._check_transitions(before, applied)
        self.assigned.follow(applied.executions)
        assert self.held() == self._table_of_held(), "who is told of the changes knows what is assigned"
        return applied

    def held(self) -> set[tuple[str, bytes, int]]:
        """Executor id, execution id and attempt of all that is assigned, as whoever follows the changes knows it."""
        return {(executor_id, *key) for executor_id in self.assigned for key in self.assigned.of(executor_id)}

    def _table_of_held(self) -> set[tuple[str, bytes, int]]:
        rows = {id_: (int.from_bytes(row[:4], "big"), row[4:].decode()) for id_, row in self.rows(Table.ACTIVE).items()}
        return {(executor_id, id_, attempt) for id_, (attempt, executor_id) in rows.items()}

    def _check_transitions(self, before: dict[bytes, bytes], applied: Applied) -> None:
        """An execution goes only where the table of transitions lets it, whatever the command."""
        for execution_id, row in applied.executions:
            old = ExecutionRow.FromString(before.get(execution_id, b""))
            if old.state and old.state != row.state:
                state, successor = ExecutionState(old.state), ExecutionState(row.state)
                assert may_follow(state, successor), f"{state.name} -> {successor.name}"
                self.transitions.add((state, successor))

    def apply(self, command: pb.Command) -> pb.Outcome:
        return self.apply_bytes(command.SerializeToString()).outcome

    def register(
        self, *names: str, next_us: int, paused: bool = False, request_id: str = "", delivery: int = 1
    ) -> pb.Outcome:
        command = self.command(request_id)
        for name in names:
            task = task_pb2.Task(name=name, paused=paused, delivery=delivery)
            command.register_tasks.items.add(task=task, next_us=next_us)
        return self.apply(command)

    def replace(self, name: str, expected_revision: int, *, paused: bool = False, **fields: Any) -> pb.Outcome:
        command = self.command()
        command.replace_task.CopyFrom(
            pb.ReplaceTask(task=task_pb2.Task(name=name, paused=paused), expected_revision=expected_revision, **fields)
        )
        return self.apply(command)

    def delete(self, name: str, *, expected_revision: int = 0, request_id: str = "") -> pb.Outcome:
        command = self.command(request_id)
        command.delete_task.name = name
        command.delete_task.expected_revision = expected_revision
        return self.apply(command)

    def fire(
        self,
        name: str,
        uid: int,
        generation: int,
        nominal_us: int,
        *,
        next_us: int,
        executor_id: str = "",
        delivery: int = 1,
        revision: int | None = None,
    ) -> Applied:
        """Fire as a leader does that saw this revision of the task; None: the one that it has."""
        command = self.command()
        item = command.fire.items.add(
            task=name,
            uid=uid,
            generation=generation,
            expected_revision=self.revision(name) if revision is None else revision,
            expected_next_us=nominal_us,
            next_us=next_us,
            delivery=delivery,
        )
        item.decided.add(
            nominal_us=nominal_us,
            last_nominal_us=nominal_us,
            count=1,
            decision=Decision.RAN,
            executor_id=executor_id,
        )
        return self.apply_bytes(command.SerializeToString())

    def revision(self, name: str) -> int:
        """Of a task as it stands; 0: there is none."""
        return pb.TaskRow.FromString(self.rows(Table.TASKS).get(name.encode(), b"")).revision

    def get(self, table: Table, key: bytes) -> bytes:
        with self.store.read() as reader:
            value = reader.get(table, key)
        assert value is not None, f"no row {key!r} in {table}"
        return value

    def rows(self, table: Table) -> dict[bytes, bytes]:
        with self.store.read() as reader:
            return dict(reader.scan(table))

    def dump(self) -> dict[Table, dict[bytes, bytes]]:
        return {table: self.rows(table) for table in STATE_TABLES}
