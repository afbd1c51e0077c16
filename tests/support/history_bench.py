"""A state machine, a history index, and what the one tells the other."""

import hashlib
from itertools import count
from pathlib import Path
from typing import Any

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.consensus.snapshot import APPLIED_INDEX_KEY, encode_index
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState
from raftsched.core.state.rows import ExecutionRow
from raftsched.history import schema
from raftsched.history.follow import HistoryFollower
from raftsched.history.frames import ChangedRows
from raftsched.history.index import Index
from raftsched.history.pending import Pending
from raftsched.history.records import Record, execution_record
from raftsched.history.retention import IndexRetention
from raftsched.history.search import Hit, Search, search
from raftsched.history.settings import HistorySettings
from raftsched.ports import Table
from raftsched.store.memory_store import MemoryStore
from tests.support.machine_driver import SECOND, MachineDriver

NOW = 1_800_000_000 * SECOND
FIRST_US = NOW + 1000 * SECOND
"""The first nominal time of each task."""
SUCCEEDED, FAILED = ExecutionState.SUCCEEDED, ExecutionState.FAILED


class Bench:
    """A state machine, an index, and what the one tells the other."""

    def __init__(self, path: Path, *, wants_outputs: bool = True) -> None:
        """Tasks "job" and "other" are registered."""
        self.store = MemoryStore()
        self.machine = MachineDriver(self.store, now_us=NOW)
        self.machine.register("job", "other", next_us=FIRST_US)
        self.open(path, wants_outputs=wants_outputs)

    def open(self, path: Path, *, wants_outputs: bool = True) -> None:
        """Use the index of a file, which is made where there is none."""
        self.path = path
        self.index = Index(schema.open_writer(path, "test"), ships=True, wants_outputs=wants_outputs)
        self.follower = HistoryFollower(self.index, self.store)

    def row(self, execution_id: bytes) -> ExecutionRow:
        """An execution as the state has it."""
        with self.store.read() as reader:
            value = reader.get(Table.EXECUTIONS, execution_id)
        assert value is not None, "there is no such execution"
        return ExecutionRow.FromString(value)

    def task(self, name: str) -> pb.TaskRow:
        """A task as the state has it."""
        return pb.TaskRow.FromString(self.machine.get(Table.TASKS, name.encode()))

    def apply(self, command: pb.Command) -> ChangedRows:
        """Apply a command; what it changed."""
        applied = self.machine.apply_bytes(command.SerializeToString())
        self.store.batch().put(Table.META, APPLIED_INDEX_KEY, encode_index(self.machine.index))
        self.store.commit()
        ids_ = [key for key, _ in applied.executions]
        return ChangedRows(self.machine.index, ids_, applied.tasks, applied.ledger)

    def run(
        self,
        task: str,
        *,
        state: int = SUCCEEDED,
        error: str = "",
        output: bytes = b"",
        stored: bytes = b"",
        ran_us: int = 1000,
        executor_id: str = "e1",
    ) -> list[ChangedRows]:
        """One manual run of a task that ended; what the entries changed. ``stored``: its output in a file, if any."""
        self.machine.now_us += SECOND
        command = self.machine.command()
        command.run_task.name = task
        command.run_task.executor_id = executor_id
        entries = [self.apply(command)]
        (execution_id,) = entries[0].executions
        command = self.machine.command()
        start_us = self.machine.now_us + 2000
        command.now_us = start_us + ran_us
        command.report.items.add(
            id=execution_id,
            attempt=1,
            state=state,
            executor_id=executor_id,
            result=AttemptResult(
                start_us=start_us,
                end_us=start_us + ran_us,
                error=error,
                output_tail=output or stored[-4096:],
                output_size_bytes=len(stored or output),
                output_stored_bytes=len(stored),
                output_sha256=hashlib.sha256(stored).digest() if stored else b"",
                exit_code=0 if state == SUCCEEDED else 3,
            ),
        )
        return [*entries, self.apply(command)]

    def arm(self, task: str, executor_id: str = "e1") -> tuple[bytes, ChangedRows]:
        """Arm the first nominal time of a task, half a second ahead; its execution, and what the entry changed."""
        self.machine.now_us = FIRST_US - SECOND // 2
        row = pb.TaskRow.FromString(self.machine.get(Table.TASKS, task.encode()))
        command = self.machine.command()
        item = command.fire.items.add(
            task=task,
            uid=row.uid,
            generation=1,
            expected_revision=row.revision,
            expected_next_us=FIRST_US,
            next_us=FIRST_US + SECOND,
        )
        item.decided.add(
            nominal_us=FIRST_US,
            last_nominal_us=FIRST_US,
            count=1,
            decision=Decision.RAN,
            executor_id=executor_id,
            armed=True,
        )
        changed = self.apply(command)
        return changed.executions[0], changed

    def end(self, execution_id: bytes, executor_id: str = "e1") -> ChangedRows:
        """End an execution that is armed with success, a second later; what the entry changed."""
        self.machine.now_us += SECOND
        command = self.machine.command()
        command.report.items.add(
            id=execution_id, attempt=1, state=SUCCEEDED, executor_id=executor_id,
            result=AttemptResult(start_us=FIRST_US, end_us=FIRST_US + 1000),
        )  # fmt: skip
        return self.apply(command)

    def tell(self, entries: list[ChangedRows]) -> None:
        """Index what changed."""
        pending = Pending()
        for entry in entries:
            pending.add(entry)
        self.follower.take(pending.take(pending.rows))

    def catch_up(self) -> None:
        """Compare the index with the whole state."""
        for _ in self.follower.catch_up():
            pass

    def hits(self, **wanted: Any) -> list[Hit]:
        """What a search finds, newest first."""
        return search(self.index.sql, Search(**wanted), 0, 1000).hits

    def keys(self, **wanted: Any) -> list[bytes]:
        """The keys of what a search finds."""
        return [hit.key for hit in self.hits(**wanted)]

    def rows(self) -> list[tuple[Any, ...]]:
        """All records, by key."""
        columns = "key, kind, state, executor, duration_us, exit_code, late_bin"
        return self.index.sql.execute(f"SELECT {columns} FROM records ORDER BY key").fetchall()


def settings(bench: Bench, **keep: Any) -> HistorySettings:
    """Settings that keep so much."""
    return HistorySettings(
        path=bench.path, store_path=bench.path, store_max_bytes=0, cluster_id="test", node_id="n1", **keep
    )


def retire(bench: Bench, now_us: int, **keep: Any) -> None:
    """Delete what is no longer kept."""
    retention = IndexRetention(bench.index, settings(bench, **keep))
    now_s = 0.0
    while (wait_s := retention.step(now_us, now_s)) < 1:
        now_s += wait_s


def alike(time_us: int) -> tuple[bytes, bytes]:
    """Two ids of executions of one nominal time whose records have the same first place."""
    places: dict[int, bytes] = {}
    for number in count():
        key = ids.execution_id(number, 1, time_us)
        other = places.setdefault(schema.first_seq(time_us, key), key)
        if other != key:
            return other, key
    raise AssertionError("it counts for ever")


def record_of(key: bytes, time_us: int, state: int = ExecutionState.RUNNING, error: str = "") -> Record:
    """A record of an execution of "job"."""
    row = ExecutionRow(task="job", nominal_us=time_us, state=state, result=AttemptResult(error=error))
    return execution_record(key, row.SerializeToString())
