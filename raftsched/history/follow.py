"""Brings changes of the state tables into the index: those that are told, and, after a gap, all that are found."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.consensus.snapshot import applied_index
from raftsched.core.state.ids import nominal_us_of
from raftsched.core.state.model import ExecutionState
from raftsched.core.state.rows import RETENTION_TIME_KEY, task_change_key
from raftsched.history.frames import ChangedRows
from raftsched.history.index import Index
from raftsched.history.records import ENDED, Kind, Record, change_record, decision_record, whole_execution_record
from raftsched.history.schema import UNUSUAL, first_seq
from raftsched.ports import Reader, Table

_SLICE_ROWS = 2_000
_HIGHEST = (1 << 63) - 1
_OPEN = ",".join(str(int(state)) for state in ExecutionState if not state.ended)


class Source(Protocol):
    """Views of the state tables."""

    def read(self) -> AbstractContextManager[Reader]:
        """A view of what was last committed."""


class HistoryFollower:
    """Keeps an index up with the state tables.

    What is told names rows; their values are read when they are indexed, so a row that changed twice is indexed once,
    and being told twice does no harm. Only the last state of a row counts.
    """

    def __init__(self, index: Index, source: Source) -> None:
        self._index = index
        self._source = source

    def take(self, told: ChangedRows, *, move_cursor: bool = True) -> None:
        """Index the changes of some log entries, in one transaction."""
        with self._source.read() as reader, self._index.transaction():
            view = applied_index(reader)
            self._index.put_all(_executions(reader, told.executions), view)
            self._index.put_all(_decisions(reader, dict.fromkeys(told.ledger)), view)
            self._index.put_all(self._changes(reader, dict.fromkeys(told.tasks)), view)
            if move_cursor:
                self.reach(told.index)

    def retention_time_us(self) -> int:
        """The time that the state tables count age by, in microseconds since the Unix epoch; 0: none yet.

        No clock carries it off, not even that of the cluster: see ``scheduler/retention.py``.
        """
        with self._source.read() as reader:
            saved = reader.get(Table.META, RETENTION_TIME_KEY)
        return 0 if saved is None else int.from_bytes(saved, "big")

    def reach(self, log_index: int) -> None:
        """Move the cursor forward."""
        if log_index > self._index.cursor:
            self._index.set_number("cursor", log_index)

    def _changes(self, reader: Reader, names: Iterable[str]) -> Iterator[Record]:
        """The versions of tasks that are newer than those known; their labels are indexed on the way."""
        for name in names:
            known = self._index.last_revision(name)
            before: task_pb2.Task | None = None
            for row in _versions(reader, name):
                if row.revision > known:
                    yield change_record(row, before)
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
            with self._source.read() as reader, self._index.transaction():
                rows = list(islice(reader.scan(Table.EXECUTIONS, resume), _SLICE_ROWS))
                if not rows:
                    break
                states = self._index.states({key: first_seq(nominal_us_of(key), key) for key, _ in rows})
                self._index.put_all(
                    (
                        whole_execution_record(reader, execution_id, value)
                        for execution_id, value in rows
                        if states.get(execution_id) not in ENDED
                    ),
                    applied_index(reader),
                )
            resume = rows[-1][0] + b"\0"
            yield len(rows)
        yield self._vanished()

    def _vanished(self) -> int:
        """Remove open executions that the state tables no longer have: how they ended was missed for good."""
        open_ones = self._index.sql.execute(
            f"SELECT key, seq FROM records WHERE {UNUSUAL} AND state IN ({_OPEN}) AND kind = ?",  # noqa: S608 - all parts are ours
            (Kind.EXECUTION,),
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
                found = [record for key, value in rows if (record := decision_record(key, value)) is not None]
                known = self._index.states({record.key: first_seq(record.time_us, record.key) for record in found})
                self._index.put_all((record for record in found if record.key not in known), view)
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
                    self._index.put_all(self._changes(reader, names), view)
                resume = rows[-1][0] + b"\0"
                yield len(rows)

    def _slice(self, table: Table, resume: bytes) -> tuple[list[tuple[bytes, bytes]], int]:
        """Rows, and the applied index of the view that they are from."""
        with self._source.read() as reader:
            return list(islice(reader.scan(table, resume), _SLICE_ROWS)), applied_index(reader)


def _executions(reader: Reader, ids_: Iterable[bytes]) -> Iterator[Record]:
    for execution_id in ids_:
        value = reader.get(Table.EXECUTIONS, execution_id)
        if value is not None:
            yield whole_execution_record(reader, execution_id, value)


def _decisions(reader: Reader, keys: Iterable[bytes]) -> Iterator[Record]:
    for key in keys:
        value = reader.get(Table.LEDGER, key)
        record = None if value is None else decision_record(key, value)
        if record is not None:
            yield record


def _versions(reader: Reader, name: str) -> Iterator[pb.TaskRow]:
    """The definitions and deletions of a task name, oldest first."""
    for _, value in reader.scan(Table.TASK_CHANGES, task_change_key(name, 0), task_change_key(name, _HIGHEST)):
        yield pb.TaskRow.FromString(value)
    current = reader.get(Table.TASKS, name.encode())
    if current is not None:
        yield pb.TaskRow.FromString(current)
