"""Brings changes of the state tables into the index: those that are told, and, after a gap, all that are found."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol

from raftsched_client.v1 import task_pb2

from raftsched.consensus.snapshot import applied_index
from raftsched.core.rows import task_change_key
from raftsched.history.frames import Entry
from raftsched.history.index import Index, is_final
from raftsched.history.records import (
    Kind,
    change_record,
    decision_key,
    decision_record,
    execution_record,
)
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Reader, Table

_SLICE_ROWS = 2_000
_HIGHEST = (1 << 63) - 1


class Source(Protocol):
    """Views of the state tables."""

    def read(self) -> AbstractContextManager[Reader]:
        """A view of what was last committed."""


class Follower:
    """Keeps an index up with the state tables.

    What is told names rows; their values are read when they are indexed, so a row that changed twice is indexed once,
    and being told twice does no harm. Only the last state of a row counts.
    """

    def __init__(self, index: Index, source: Source) -> None:
        self._index = index
        self._source = source

    def take(self, told: Entry, *, move_cursor: bool = True) -> None:
        """Index the changes of some log entries, in one transaction."""
        with self._source.read() as reader, self._index.transaction():
            view = applied_index(reader)
            for execution_id in told.executions:
                self._execution(reader, execution_id, view)
            for key in dict.fromkeys(told.ledger):
                self._decision(reader, key, view)
            for task in dict.fromkeys(told.tasks):
                self._task(reader, task, view)
            if move_cursor:
                self.reach(told.index)

    def reach(self, log_index: int) -> None:
        """Move the cursor forward."""
        if log_index > self._index.cursor:
            self._index.set_number("cursor", log_index)

    def _execution(self, reader: Reader, execution_id: bytes, view: int) -> None:
        value = reader.get(Table.EXECUTIONS, execution_id)
        if value is not None:
            self._index.put(execution_record(execution_id, value), view)

    def _decision(self, reader: Reader, key: bytes, view: int) -> None:
        value = reader.get(Table.LEDGER, key)
        record = None if value is None else decision_record(key, value)
        if record is not None:
            self._index.put(record, view)

    def _task(self, reader: Reader, name: str, view: int) -> None:
        """Index the versions of a task that are newer than those known, and its labels."""
        known = self._index.last_revision(name)
        before: task_pb2.Task | None = None
        for row in _versions(reader, name):
            if row.revision > known:
                self._index.put(change_record(row, before), view)
            before = None if row.delete_us else row.task
            if not row.delete_us:
                self._index.set_labels(name, row.task.labels)

    def catch_up(self) -> Iterator[int]:
        """Compare the whole of the state tables with the index, some rows at each step; yields how many so far.

        What is told between the steps may be taken meanwhile, without the cursor, which this moves at the end. A final
        record is not read again: nothing final changes.
        """
        with self._source.read() as reader:
            log_index = applied_index(reader)
        done = 0
        for rows in (self._all_executions(), self._all_decisions(), self._all_tasks()):
            for count in rows:
                done += count
                yield done
        with self._index.transaction():
            self.reach(log_index)

    def _all_executions(self) -> Iterator[int]:
        resume = b""
        while True:
            rows, view = self._slice(Table.EXECUTIONS, resume)
            if not rows:
                break
            first, last = rows[0][0], rows[-1][0]
            with self._index.transaction():
                known = self._index.sql.execute(
                    "SELECT key, state FROM records WHERE key BETWEEN ? AND ? AND kind = ?",
                    (first, last, Kind.EXECUTION),
                )
                final = {key for key, state in known if is_final(state, Kind.EXECUTION)}
                for execution_id, value in rows:
                    if execution_id not in final:
                        self._index.put(execution_record(execution_id, value), view)
            resume = last + b"\0"
            yield len(rows)
        yield self._vanished()

    def _vanished(self) -> int:
        """Remove open executions that the state tables no longer have: how they ended was missed for good."""
        open_ones = self._index.sql.execute(
            "SELECT key, seq FROM records WHERE state BETWEEN 1 AND 3 AND kind = ?", (Kind.EXECUTION,)
        ).fetchall()
        with self._source.read() as reader, self._index.transaction():
            gone = [seq for key, seq in open_ones if reader.get(Table.EXECUTIONS, key) is None]
            self._index.remove(gone)
            self._index.add("deleted_records", len(gone))
        return len(open_ones)

    def _all_decisions(self) -> Iterator[int]:
        resume = b""
        while True:
            rows, view = self._slice(Table.LEDGER, resume)
            if not rows:
                break
            with self._index.transaction():
                for key, value in rows:
                    record = decision_record(key, value)
                    if record is not None and not self._has(decision_key(key)):
                        self._index.put(record, view)
            resume = rows[-1][0] + b"\0"
            yield len(rows)

    def _all_tasks(self) -> Iterator[int]:
        for table in (Table.TASK_CHANGES, Table.TASKS):
            resume = b""
            while True:
                rows, view = self._slice(table, resume)
                if not rows:
                    break
                names = dict.fromkeys((key[:-9] if table is Table.TASK_CHANGES else key).decode() for key, _ in rows)
                with self._source.read() as reader, self._index.transaction():
                    for name in names:
                        self._task(reader, name, view)
                resume = rows[-1][0] + b"\0"
                yield len(rows)

    def _slice(self, table: Table, resume: bytes) -> tuple[list[tuple[bytes, bytes]], int]:
        """Rows, and the applied index of the view that they are from."""
        with self._source.read() as reader:
            return list(islice(reader.scan(table, resume), _SLICE_ROWS)), applied_index(reader)

    def _has(self, key: bytes) -> bool:
        return self._index.sql.execute("SELECT 1 FROM records WHERE key = ?", (key,)).fetchone() is not None


def _versions(reader: Reader, name: str) -> Iterator[pb.TaskRow]:
    """The definitions and deletions of a task name, oldest first."""
    for _, value in reader.scan(Table.TASK_CHANGES, task_change_key(name, 0), task_change_key(name, _HIGHEST)):
        yield pb.TaskRow.FromString(value)
    current = reader.get(Table.TASKS, name.encode())
    if current is not None:
        yield pb.TaskRow.FromString(current)
