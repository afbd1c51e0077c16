"""Ships what became final to the sinks, each at its own pace, at least once.

Only the leader ships. The cursor of a sink is a log index in the replicated state: all that became final up to there
has been taken by the sink. A new leader goes on from it, so that some records come again, and none is left out.

Nodes do not know the exact index that made a record final, but bounds of it: it lies above the cursor that the index of
the node had before (or the record would have been final at the look before), and not above the state that was looked
at. A leader moves the cursor below the lower bounds of all that it has not shipped; its successor ships all whose upper
bound lies above the cursor.
"""

import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self

import structlog

from raftsched.core.backoff import Backoff, Retries
from raftsched.history.documents import document
from raftsched.history.retention import IndexRetention
from raftsched.history.schema import open_reader
from raftsched.history.settings import HistorySettings
from raftsched.history.sinks import open_sink
from raftsched.history.sinks.base import Sink, SinkFailed
from raftsched.ports import Clock, Table
from raftsched.secret_setting import hide
from raftsched.store.lmdb_view import LmdbView

_BATCH_RECORDS = 500
_IDLE_S = 0.3
_SAY_S = 1.0
_STOP_S = 1.0
_BACKOFF = Backoff(low_s=0.5, high_s=30.0)
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ShippingState:
    """How one sink does; what the status of the node shows."""

    name: str
    kind: str
    active: bool = False
    shipped: int = 0
    refused: int = 0
    waiting: int = 0
    failing_since_us: int = 0
    problem: str = ""


class Shipper:
    """Ships to one sink, in a thread of its own, as long as this node leads."""

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        open_sink: Callable[[], Sink],
        path: Path,
        cluster: str,
        shipped_index: Callable[[], int],
        leads: Callable[[], bool],
        advance: Callable[[str, int], None],
        clock: Clock,
        secrets: Sequence[str] = (),
    ) -> None:
        """``shipped_index`` is the replicated cursor of the sink, and ``advance`` asks for it to be moved.

        ``secrets`` are masked in what is said of failures.
        """
        self.state = ShippingState(name, kind)
        self._open_sink = open_sink
        self._path = path
        self._cluster = cluster
        self._shipped_index = shipped_index
        self._leads = leads
        self._advance = advance
        self._clock = clock
        self._secrets = secrets
        self._stop = threading.Event()
        self._position: int | None = None
        """The last row of the outbox that was dealt with; None: this node does not ship."""
        self._floor = 0
        """What the cursor was when this node began to ship."""
        self._said = (0, 0.0)
        self._thread = threading.Thread(target=self._run, name=f"ship-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """End; what is under way may be shipped again."""
        self._stop.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        sink: Sink | None = None
        sql: sqlite3.Connection | None = None
        retries = Retries(_BACKOFF, self._clock)
        while not self._stop.is_set():
            try:
                sql = sql or open_reader(self._path)
                if not self._leads():
                    self._position = None
                    self.state.active = False
                    self.state.waiting = sql.execute("SELECT count(*) FROM outbox").fetchone()[0]
                    self._stop.wait(_IDLE_S)
                    continue
                sink = sink or self._open_sink()
                if not self.step(sql, sink):
                    self._stop.wait(_IDLE_S)
                retries.succeeded()
            except Exception as error:  # noqa: BLE001 - a fault of a sink or its library must not end the shipping
                wait_s = retries.failed()
                self._failed(error, wait_s)
                self._stop.wait(wait_s)
        if sink is not None:
            sink.close()

    def step(self, sql: sqlite3.Connection, sink: Sink) -> bool:
        """Ship a batch, if there is one; whether there was. Raises what the sink raises: nothing is left out."""
        self.state.active = True
        if self._position is None:
            self._position, self._floor = 0, self._shipped_index()
        rows = sql.execute(
            "SELECT number, seq FROM outbox WHERE number > ? AND high > ? ORDER BY number LIMIT ?",
            (self._position, self._floor, _BATCH_RECORDS),
        ).fetchall()
        if rows:
            found = [document(sql, seq, self._cluster) for _, seq in rows]
            documents = [each for each in found if each is not None]
            refused = sink.send(documents) if documents else 0
            self.state.shipped += len(documents) - refused
            self.state.refused += refused
            self._position = rows[-1][0]
        if self.state.problem:
            _log.info("shipping goes on", sink=self.state.name)
        self.state.failing_since_us, self.state.problem = 0, ""
        self._tell(sql)
        return bool(rows)

    def _tell(self, sql: sqlite3.Connection) -> None:
        """Have the cursor moved below all that has not been shipped, now and then."""
        said, at_s = self._said
        now_s = self._clock.monotonic()
        if now_s - at_s < _SAY_S:
            return
        sql.execute("BEGIN")
        try:
            waiting, lowest = sql.execute(
                "SELECT count(*), min(low) FROM outbox WHERE number > ? AND high > ?", (self._position, self._floor)
            ).fetchone()
            (cursor,) = sql.execute("SELECT value FROM meta WHERE key = 'cursor'").fetchone() or (0,)
        finally:
            sql.execute("COMMIT")
        self.state.waiting = waiting
        index = cursor if lowest is None else lowest - 1
        self._said = (max(index, said), now_s)
        if index > said:
            self._advance(self.state.name, index)

    def _failed(self, error: Exception, wait_s: float) -> None:
        text = str(error) or type(error).__name__
        if not self.state.problem:
            self.state.failing_since_us = self._clock.now_us()
            level = _log.warning if isinstance(error, SinkFailed) else _log.exception
            level("a sink of the history fails; its records wait", sink=self.state.name, reason=text, wait_s=wait_s)
        self.state.problem = hide(text, self._secrets)[:500]


class Shipping:
    """All sinks of this node. Speaks to the node in lines of JSON on the standard output of this process."""

    def __init__(
        self,
        settings: HistorySettings,
        view: LmdbView,
        retention: IndexRetention,
        clock: Clock,
        leads: Callable[[], bool],
    ) -> None:
        self._view = view
        self._retention = retention
        self._clock = clock
        self._next_s = 0.0
        self._shown = ""
        self._lock = threading.Lock()
        self._shippers = [
            Shipper(
                sink.name,
                sink.kind,
                open_sink=partial(open_sink, sink, self._print),
                path=settings.path,
                cluster=settings.cluster_id,
                shipped_index=partial(self._shipped_index, sink.name),
                leads=leads,
                advance=lambda name, index: self._say({"sink": name, "index": index}),
                clock=clock,
                secrets=sink.secrets(),
            )
            for sink in settings.sinks
        ]

    def __enter__(self) -> Self:
        for shipper in self._shippers:
            shipper.start()
        return self

    def __exit__(self, *_: object) -> None:
        for shipper in self._shippers:
            shipper.stop(_STOP_S)

    def step(self) -> None:
        """Now and then, clear the outbox and say how the sinks do."""
        now_s = self._clock.monotonic()
        if not self._shippers or now_s < self._next_s:
            return
        self._next_s = now_s + _SAY_S
        self._retention.forget_shipped(min(self._shipped_index(each.state.name) for each in self._shippers))
        shown = json.dumps({"sinks": [asdict(each.state) for each in self._shippers]})
        if shown != self._shown:
            self._shown = shown
            self._write(shown)

    def _shipped_index(self, name: str) -> int:
        with self._view.read() as reader:
            value = reader.get(Table.SINKS, name.encode())
        return 0 if value is None else int.from_bytes(value, "big")

    def _print(self, line: str) -> None:
        self._say({"print": line})

    def _say(self, message: dict[str, object]) -> None:
        self._write(json.dumps(message))

    def _write(self, line: str) -> None:
        with self._lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
