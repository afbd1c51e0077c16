"""The process that keeps the history index of a node: ``python -m raftsched.history.indexer``.

It is told over its standard input what changed (``frames``), reads the rows itself, and has a lower priority than the
node, so that a node that is busy comes first and the index lags. It ends when its input does.
"""

import contextlib
import json
import os
import select
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from raftsched import logs, own_memory
from raftsched.clock import SystemClock
from raftsched.config import LogConfig
from raftsched.core.policy.due import MAX_AHEAD_US
from raftsched.core.state.ids import first_id, nominal_us_of
from raftsched.core.state.model import SECOND_US
from raftsched.history import schema
from raftsched.history.follow import HistoryFollower
from raftsched.history.frames import Parser, Word, index_of, others_of, parse_entry, time_of
from raftsched.history.heard_time import HeardTime
from raftsched.history.index import Index
from raftsched.history.outputs import OutputFetcher, OutputIndexer
from raftsched.history.pending import NO_ID, Pending
from raftsched.history.retention import IndexRetention
from raftsched.history.settings import HistorySettings
from raftsched.history.shipping import Shipping
from raftsched.net.dial import PLAIN, Network
from raftsched.net.tls import Tls, TlsFiles, TlsProblem
from raftsched.ports import Clock, StoreFailed
from raftsched.store.lmdb_view import LmdbView

_NICENESS = 19
_AUTOGROUP = Path("/proc/self/autogroup")
_GATHER_S = 0.25
"""So long nothing must be told before what was told is indexed: a burst of fires comes first, and an execution that
ends within it is indexed once."""
_LAG_S = 5.0
"""What is told without a pause is indexed after so long at the latest."""
_HERD_ROWS = 25_000
"""With so many rows told by then a herd is under way, whose fires need the processors and their caches. They are
indexed after so long, or when there are many more:"""
_HERD_LAG_S = 20.0
_MANY_ROWS = 200_000
_UNENDED_S = 1.0
"""What is decided ahead is looked at when it is named again, which most are when they have ended, or so long after its
nominal time."""
_DEAF_S = 0.1
"""What is told meanwhile gathers in the pipe: each commit of a burst would interrupt the node to wake the indexer."""
_BATCH_ROWS = 5_000
_MAX_PENDING_ROWS = 400_000
_READ_BYTES = 1 << 20
_IDLE_S = 0.5
_NEVER_S = float("inf")
_INPUT = 0
EXIT_FAILED, EXIT_CORRUPT = 1, 3
_log = structlog.get_logger(__name__)


def _ignore(_addresses: list[str]) -> None:
    """Where outputs are not indexed."""


class Indexer:
    """The work of the process as steps. Nothing waits here."""

    def __init__(
        self,
        index: Index,
        follower: HistoryFollower,
        retention: IndexRetention,
        clock: Clock,
        outputs: OutputIndexer | None = None,
        time: HeardTime | None = None,
        know: Callable[[list[str]], None] = _ignore,
    ) -> None:
        """``know`` takes the addresses of the other nodes."""
        self._know = know
        self._index = index
        self._outputs = outputs
        self._follower = follower
        self._retention = retention
        self._clock = clock
        self._time = time or HeardTime(clock)
        self._pending = Pending()
        self._since_s = self._heard_s = 0.0
        self._reached = 0
        self._catching_up: Iterator[int] | None = None
        self.leads = False

    def hear(self, word: Word, payload: bytes) -> None:
        """Take a frame."""
        if word is Word.ENTRY:
            entry = parse_entry(payload)
            self._heard_s = self._clock.monotonic()
            if not self._pending:
                self._since_s = self._heard_s
            self._pending.add(entry, self._ahead())
            if self._pending.kept > _MAX_PENDING_ROWS:
                # Only while it catches up, which finds them too as long as it begins after them.
                self._pending.clear()
                self._begin("more was told than can be kept")
        elif word is Word.START:
            if index_of(payload) != self._index.cursor:
                self._begin("entries were applied that it was not told of")
        elif word is Word.GAP:
            self._begin("the state was replaced or changed faster than it could be told")
        elif word is Word.REACHED:
            self._reached = index_of(payload)
        elif word is Word.OTHERS:
            self._know(others_of(payload))
        elif word is Word.TIME:
            self._time.hear(time_of(payload))
        elif word is Word.LEADS:
            self.leads = payload == b"1"

    @property
    def gathers(self) -> bool:
        """Whether it only waits for the end of a burst."""
        return bool(self._pending) and self._catching_up is None

    def _ahead(self) -> tuple[bytes, bytes]:
        """Between which ids executions are decided ahead. What was heard of the time may be old, but not so old."""
        now_us = self._time.now_us()
        return (first_id(now_us), first_id(now_us + 2 * MAX_AHEAD_US)) if now_us else (NO_ID, NO_ID)

    def _release(self) -> float:
        """Look at what was decided ahead and has not ended since; the seconds until there may be more of it."""
        lowest = self._pending.lowest_ahead
        if lowest == NO_ID:
            return _NEVER_S
        late_us = self._time.now_us() - round(_UNENDED_S * SECOND_US)
        wait_s = (nominal_us_of(lowest) - late_us) / SECOND_US
        if wait_s > 0:
            return wait_s
        if not self._pending:
            self._since_s = self._clock.monotonic()
        # All of the millisecond that has come.
        self._pending.release(first_id(late_us + 1000))
        return 0.0

    def _begin(self, reason: str) -> None:
        _log.info("the history index catches up with the whole state", cursor=self._index.cursor, reason=reason)
        self._catching_up = self._follower.catch_up()
        with self._index.transaction():
            self._index.set_number("catching_up", 1)
            self._index.set_number("caught_up_rows", 0)

    def step(self) -> float:
        """Do a part of what there is to do; the seconds that may pass before the next step if nothing is heard."""
        release_s = self._release()
        wait_s = self._wait_s()
        if wait_s <= 0:
            self._take()
            return 0.0
        wait_s = min(wait_s, release_s)
        if self._catching_up is not None:
            self._catch_up()
            return 0.0
        if self._pending.rows >= _HERD_ROWS:
            return wait_s
        if not self._pending and (reached := self._pending.reaches(self._reached)) > self._index.cursor:
            with self._index.transaction():
                self._follower.reach(reached)
        outputs_s = _IDLE_S if self._outputs is None else self._outputs.step(_IDLE_S)
        now_s = self._clock.monotonic()
        age_by_us = self._follower.retention_time_us() if self._retention.begins(now_s) else 0
        return min(wait_s, outputs_s, self._retention.step(age_by_us, now_s))

    def finish(self) -> None:
        """Index what was heard, without waiting for more of it."""
        self._pending.release(NO_ID)
        while self._pending:
            self._take()

    def _wait_s(self) -> float:
        """Until what was told is to be indexed."""
        if not self._pending:
            return _NEVER_S
        if self._pending.rows >= _MANY_ROWS:
            return 0.0
        lag_s = _LAG_S if self._pending.rows < _HERD_ROWS else _HERD_LAG_S
        return min(self._heard_s + _GATHER_S, self._since_s + lag_s) - self._clock.monotonic()

    def _take(self) -> None:
        self._follower.take(self._pending.take(_BATCH_ROWS), move_cursor=self._catching_up is None)

    def _catch_up(self) -> None:
        assert self._catching_up is not None
        rows = next(self._catching_up, None)
        with self._index.transaction():
            if rows is None:
                self._catching_up = None
                self._index.set_number("catching_up", 0)
                _log.info("the history index has caught up", cursor=self._index.cursor)
            else:
                self._index.set_number("caught_up_rows", rows)


def _first_frames(parser: Parser) -> tuple[HistorySettings, list[tuple[Word, bytes]]] | None:
    """The settings and what came with them; None when the input ended before."""
    while data := os.read(_INPUT, _READ_BYTES):
        frames = list(parser.feed(data))
        if frames:
            word, payload = frames[0]
            assert word is Word.SETTINGS, f"the first frame is {word}"
            return HistorySettings.from_json(json.loads(payload)), frames[1:]
    return None


def _serve(indexer: Indexer, shipping: Shipping, parser: Parser, frames: list[tuple[Word, bytes]]) -> None:
    """Until the input ends; what has been heard is indexed before the return."""
    for word, payload in frames:
        indexer.hear(word, payload)
    wait_s = 0.0
    while True:
        readable, _, _ = select.select([_INPUT], [], [], wait_s)
        if readable:
            data = os.read(_INPUT, _READ_BYTES)
            if not data:
                break
            for word, payload in parser.feed(data):
                indexer.hear(word, payload)
        wait_s = indexer.step()
        shipping.step()
        if indexer.gathers:
            # Not time.sleep, which fails under a libfaketime whose clock has stepped.
            select.select((), (), (), min(wait_s, _DEAF_S))
    indexer.finish()


def _come_last() -> None:
    """Take processors that nobody else wants.

    Linux shares them among sessions before it looks at niceness (sched(7), the autogroup feature): in the session of
    its node, which mostly waits for the disk or for other nodes, the indexer would take the node's part.
    """
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        os.setsid()
        _AUTOGROUP.write_text(str(_NICENESS))


def main() -> int:
    """Run until the input ends; the exit code."""
    _come_last()
    own_memory.close()
    parser = Parser()
    first = _first_frames(parser)
    if first is None:
        return 0
    settings, frames = first
    logs.configure(LogConfig.model_validate(settings.log), [part for sink in settings.sinks for part in sink.secrets()])
    clock = SystemClock()
    try:
        sql = schema.open_writer(settings.path, settings.cluster_id)
        view = LmdbView(settings.store_path, max_size_bytes=settings.store_max_bytes)
        index = Index(sql, ships=bool(settings.sinks), wants_outputs=bool(settings.output_bytes))
        retention = IndexRetention(index, settings)
        fetcher = OutputFetcher(settings.output_directories, settings.output_bytes, _network(settings))
        heard_time = HeardTime(clock)
        outputs = OutputIndexer(index, fetcher, heard_time.now_us)
        indexer = Indexer(index, HistoryFollower(index, view), retention, clock, outputs, heard_time, fetcher.know)
        shipping = Shipping(settings, view, retention, clock, lambda: indexer.leads)
        with outputs, contextlib.closing(fetcher), shipping:
            _serve(indexer, shipping, parser, frames)
        sql.close()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            _log.error("the history index cannot be written; the node goes on without", reason=str(error))
            return EXIT_FAILED
        _log.exception("the history index is damaged; it will be made anew", path=str(settings.path))
        schema.move_aside(settings.path)
        return EXIT_CORRUPT
    except TlsProblem as error:
        _log.error("the history index cannot reach other nodes; the node goes on without", reason=str(error))
        return EXIT_FAILED
    except StoreFailed as error:
        _log.error("the history index cannot read the state; the node goes on without", reason=str(error))
        return EXIT_FAILED
    return 0


def _network(settings: HistorySettings) -> Network:
    """How other nodes are reached. Raises TlsProblem."""
    if not settings.tls:
        return PLAIN
    return Network(Tls(TlsFiles(**{name: Path(path) for name, path in settings.tls.items()})))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
