"""The history index of one node by itself: what it costs to keep up with a herd, and to forget it."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from raftsched_client import task
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from bench.measure import Figures
from raftsched.clock import SystemClock
from raftsched.consensus.snapshot import APPLIED_INDEX_KEY, encode_index
from raftsched.core.state import ids
from raftsched.core.state.model import SECOND_US
from raftsched.core.state.model import ExecutionState as State
from raftsched.core.state.rows import ExecutionRow
from raftsched.history import schema
from raftsched.history.follow import HistoryFollower
from raftsched.history.frames import Parser, entry_frame
from raftsched.history.index import Index
from raftsched.history.indexer import Indexer
from raftsched.history.retention import IndexRetention
from raftsched.history.settings import HistorySettings
from raftsched.ports import Table
from raftsched.store.lmdb_store import LmdbStore
from raftsched.store.lmdb_view import LmdbView

_AT_US = 1_800_000_060 * SECOND_US
_ENTRY_ROWS = 500
_FIRST_UID = 1 << 48
_STORE_BYTES = 4 << 30
_FAILED_ONE_IN = 20
"""Of the executions with text."""


def indexing(*, executions: int = 40_000, text: int = 0) -> Figures:
    """The work of one history index without a cluster: a herd registered, fired and forgotten. TEXT 1: with output."""
    with tempfile.TemporaryDirectory(prefix="raftsched-bench-") as directory:
        herd = _Herd(Path(directory), executions, with_text=bool(text))
        figures: Figures = {"executions": executions}
        figures["registered_us"] = herd.indexed(Table.TASKS)
        herd.put_executions(State.SUCCEEDED)
        figures["ended_us"] = herd.indexed(Table.EXECUTIONS)
        figures["upkeep_after_us"] = herd.kept()
        figures["index_bytes"] = round(herd.retention.size_bytes() / executions)
        figures["forgotten_us"] = herd.kept(_AT_US + herd.settings.keep_s * SECOND_US + SECOND_US)
        herd.put_executions(State.ARMED)
        figures["armed_us"] = herd.indexed(Table.EXECUTIONS)
        herd.put_executions(State.SUCCEEDED)
        figures["ended_after_armed_us"] = herd.indexed(Table.EXECUTIONS)
        herd.close()
    return figures


@dataclass(slots=True)
class _HandClock(SystemClock):
    """Goes on when it is told to: nothing is to wait for here."""

    now_s: float = 0.0

    def monotonic(self) -> float:
        return self.now_s


class _Herd:
    """The state of a node, and an index in this process that is told of it; processor time is that per execution."""

    def __init__(self, directory: Path, count: int, *, with_text: bool) -> None:
        self._path = directory / "state"
        self._count = count
        self._with_text = with_text
        self._names = [f"herd-{number:06}" for number in range(count)]
        self._ids = [ids.execution_id(_FIRST_UID + number, 1, _AT_US) for number in range(count)]
        self._clock = _HandClock()
        self._log_index = 0
        self.settings = HistorySettings(
            path=directory / "index.sqlite", store_path=self._path, store_max_bytes=_STORE_BYTES,
            cluster_id="bench", node_id="n1",
        )  # fmt: skip
        self._put_tasks()
        self._index = Index(schema.open_writer(self.settings.path, "bench"))
        self.retention = IndexRetention(self._index, self.settings)

    def close(self) -> None:
        """Release the file."""
        self._index.sql.close()

    def _put(self, rows: Iterator[tuple[Table, bytes, bytes]]) -> None:
        store = LmdbStore(self._path, max_size_bytes=_STORE_BYTES)
        self._log_index += 2 * self._count
        store.batch().put(Table.META, APPLIED_INDEX_KEY, encode_index(self._log_index))
        for number, row in enumerate(rows):
            store.batch().put(*row)
            if number % _ENTRY_ROWS == 0:
                store.commit()
        store.commit()
        store.close()

    def _put_tasks(self) -> None:
        row = pb.TaskRow(task=task("x", at=datetime(2027, 1, 15, 8, 1, tzinfo=UTC), noop=True), revision=1)
        row.task.generation = 1
        row.task.create_time.FromMicroseconds(_AT_US - 60 * SECOND_US)
        row.task.update_time.FromMicroseconds(_AT_US - 60 * SECOND_US)

        def rows() -> Iterator[tuple[Table, bytes, bytes]]:
            for number, name in enumerate(self._names):
                row.task.name, row.uid = name, _FIRST_UID + number
                yield Table.TASKS, name.encode(), row.SerializeToString(deterministic=True)

        self._put(rows())

    def put_executions(self, state: State) -> None:
        """Bring all executions into a state, as the state machine would."""
        self._put(
            (Table.EXECUTIONS, execution_id, self._execution(number, state).SerializeToString())
            for number, execution_id in enumerate(self._ids)
        )

    def _execution(self, number: int, state: State) -> ExecutionRow:
        row = ExecutionRow(
            task=self._names[number], uid=_FIRST_UID + number, generation=1, trigger=1, nominal_us=_AT_US,
            state=state, attempt=1, fencing_token=(number << 8) + 1, executor_id=f"n{number % 3 + 1}-0123abcd",
            fire_us=_AT_US + 500 + number * 80, leader_id="n1", term=3, delivery=1,
        )  # fmt: skip
        if not state.ended:
            return row
        start_us = _AT_US + 1_000 + number * 80
        row.result.CopyFrom(AttemptResult(start_us=start_us, end_us=start_us + 900 + number % 300))
        if self._with_text:
            row.result.output_tail = (
                f"invoice {number} of batch {number % 97} was sent to 10.0.{number % 256}.7\n".encode()
            )
            if number % _FAILED_ONE_IN == 0:
                row.state, row.result.exit_code, row.result.error = State.FAILED, 1, f"exit code 1 at step {number % 7}"
        return row

    def indexed(self, table: Table) -> float:
        """Tell the index of every row of a table twice, as entries of a herd do, and let it work."""
        told = bytearray()
        for mention in range(2):
            for start in range(0, self._count, _ENTRY_ROWS):
                stop = start + _ENTRY_ROWS
                executions = self._ids[start:stop] if table is Table.EXECUTIONS else []
                tasks = self._names[start:stop] if table is Table.TASKS and not mention else []
                told += entry_frame(self._log_index - self._count + start // _ENTRY_ROWS, executions, tasks, [])
        view = LmdbView(self._path, max_size_bytes=_STORE_BYTES)
        indexer = Indexer(self._index, HistoryFollower(self._index, view), self.retention, self._clock)
        data, began_s = bytes(told), time.process_time()
        for word, payload in Parser().feed(data):
            indexer.hear(word, payload)
        self._clock.now_s += 1
        while indexer.gathers:
            indexer.step()
        took_us = self._per_execution(began_s)
        view.close()
        return took_us

    def kept(self, now_us: int = 0) -> float:
        """A round of retention."""
        self._clock.now_s += 60
        began_s = time.process_time()
        while (wait_s := self.retention.step(now_us, self._clock.now_s)) < 1:
            self._clock.now_s += wait_s
        return self._per_execution(began_s)

    def _per_execution(self, began_s: float) -> float:
        return round((time.process_time() - began_s) / self._count * 1e6, 1)
