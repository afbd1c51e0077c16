"""Deletes what the index no longer keeps: by age, by count for each task and by size, some records at each step."""

from collections.abc import Iterator

from raftsched.core.machine import MAX_TASK_CHANGES
from raftsched.core.state.model import SECOND_US
from raftsched.history.index import Index
from raftsched.history.schema import time_floor
from raftsched.history.settings import HistorySettings

_STEP_RECORDS = 500
_STEP_TASKS = 200
_STEP_PAGES = 500
_FREE_SHARE = 8
"""One page in so many of the file may be free."""
_ROUND_S = 30.0
"""Between two rounds that found nothing left to delete."""
_PAUSE_S = 0.05
"""Between two steps of a round: what is indexed meanwhile comes first."""
_CROWDED = """
SELECT tid FROM tasks WHERE tid IN ({}) AND (
    (SELECT 1 FROM records r INDEXED BY records_task WHERE r.tid = tasks.tid LIMIT 1 OFFSET ?) IS NOT NULL OR
    (SELECT 1 FROM records r INDEXED BY records_changes WHERE r.tid = tasks.tid AND kind = 3 LIMIT 1 OFFSET ?)
    IS NOT NULL
)
"""
"""Those of some tasks that have more than is kept. Most have not, and one statement says so of all."""


class IndexRetention:
    """The work of retention, a step at a time."""

    def __init__(self, index: Index, settings: HistorySettings) -> None:
        self._index = index
        self._settings = settings
        self._round: Iterator[int] | None = None
        self._next_s = 0.0
        self._kept = settings.keep_per_task, MAX_TASK_CHANGES
        """Of each task: records, and changes among them."""

    def begins(self, now_s: float) -> bool:
        """Whether the next step begins a round, which needs the time."""
        return self._round is None and now_s >= self._next_s

    def step(self, now_us: int, now_s: float) -> float:
        """Take a step if it is time for one; the seconds until the next.

        ``now_us`` is the time that age is counted by, for a round that begins; 0: nothing goes by its age.
        """
        if now_s < self._next_s:
            return self._next_s - now_s
        if self._round is None:
            self._round = self._steps(now_us)
        deleted = next(self._round, None)
        if deleted is None:
            self._round = None
        self._next_s = now_s + (_ROUND_S if deleted is None else _PAUSE_S)
        return self._next_s - now_s

    def _steps(self, now_us: int) -> Iterator[int]:
        """Each step is a transaction; yields how many records it deleted."""
        cutoff_us = max(0, now_us - self._settings.keep_s * SECOND_US)
        yield from self._aged(time_floor(cutoff_us))
        # What was made up for long ago is kept as long as what happened when it was.
        by_backfill = "SELECT seq FROM records WHERE backfilled_ms < ? ORDER BY backfilled_ms LIMIT ?"
        while seqs := self._seqs(by_backfill, (cutoff_us // 1000, _STEP_RECORDS)):
            yield self._remove(seqs)
        yield from self._crowded()
        yield from self._oversize()
        yield from self._shrink()

    def _aged(self, below: int) -> Iterator[int]:
        """Each step goes on where the one before ended: changes of tasks, which stay, may be many."""
        by_time = (
            "SELECT seq FROM records WHERE seq > ? AND seq < ? AND kind <> 3 AND backfilled_ms IS NULL "
            "ORDER BY seq LIMIT ?"
        )
        seqs = [-1]
        while seqs := self._seqs(by_time, (seqs[-1], below, _STEP_RECORDS)):
            yield self._remove(seqs)

    def _crowded(self) -> Iterator[int]:
        """Tasks with more records than are kept for one, among those that got any since the last round."""
        grown = self._index.take_grown()
        for tids in self._all_tasks() if grown is None else _batches(sorted(grown)):
            surplus: list[int] = []
            for tid in self._seqs(_CROWDED.format(",".join("?" * len(tids))), (*tids, *self._kept)):
                surplus += self._surplus(tid)
                while len(surplus) >= _STEP_RECORDS:
                    yield self._remove(surplus)
                    surplus = self._surplus(tid)
            yield self._remove(surplus)

    def _surplus(self, tid: int) -> list[int]:
        """Some of the records of a task that are more than are kept."""
        records = self._seqs(
            "SELECT seq FROM records INDEXED BY records_task WHERE tid = ? ORDER BY seq DESC LIMIT ? OFFSET ?",
            (tid, _STEP_RECORDS, self._kept[0]),
        )
        changes = self._seqs(
            "SELECT seq FROM records INDEXED BY records_changes WHERE tid = ? AND kind = 3 "
            "ORDER BY seq DESC LIMIT ? OFFSET ?",
            (tid, _STEP_RECORDS, self._kept[1]),
        )
        return list(dict.fromkeys(records + changes))

    def _all_tasks(self) -> Iterator[list[int]]:
        resume = 0
        while tids := self._seqs("SELECT tid FROM tasks WHERE tid > ? ORDER BY tid LIMIT ?", (resume, _STEP_TASKS)):
            resume = tids[-1]
            yield tids

    def _oversize(self) -> Iterator[int]:
        """The text index gives space back only when it merges, so how much to delete is reckoned, not watched."""
        excess_bytes = self.size_bytes() - self._settings.keep_bytes
        if excess_bytes <= 0:
            return
        yield from self._merge()
        excess_bytes = self.size_bytes() - self._settings.keep_bytes
        (records,) = self._index.sql.execute("SELECT count(*) FROM records").fetchone()
        surplus = -(-records * (excess_bytes + self._settings.keep_bytes // 50) // self.size_bytes())
        while surplus > 0 and excess_bytes > 0:
            step = min(surplus, _STEP_RECORDS)
            surplus -= step
            yield self._remove(self._seqs("SELECT seq FROM records WHERE seq > ? ORDER BY seq LIMIT ?", (-1, step)))
        yield from self._merge()

    def _merge(self) -> Iterator[int]:
        """Let the text index forget what was deleted from it."""
        while True:
            before = self._index.sql.total_changes
            with self._index.transaction():
                self._index.sql.execute("INSERT INTO texts (texts, rank) VALUES ('merge', -500)")
            yield 0
            # FTS5: fewer than two changes mean that there was nothing to merge.
            if self._index.sql.total_changes - before < 2:
                return

    def forget_shipped(self, log_index: int) -> None:
        """Remove from the outbox what every sink has taken, as their cursors, the lowest of which is given, say."""
        query = "SELECT number FROM outbox WHERE high <= ? ORDER BY number LIMIT ?"
        numbers = self._seqs(query, (log_index, 10 * _STEP_RECORDS))
        if numbers:
            with self._index.transaction():
                self._index.sql.executemany("DELETE FROM outbox WHERE number = ?", [(each,) for each in numbers])

    def size_bytes(self) -> int:
        """Of the pages in use."""
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def _remove(self, seqs: list[int]) -> int:
        if not seqs:
            return 0
        with self._index.transaction():
            self._index.add("lost_records", self._index.remove(seqs))
            self._index.add("deleted_records", len(seqs))
        return len(seqs)

    def _shrink(self) -> Iterator[int]:
        """Give free pages back to the file system; an eighth of the file stays free for what is indexed next."""
        pages, free = self._pragma("page_count"), self._pragma("freelist_count")
        surplus = (_FREE_SHARE * free - pages) // (_FREE_SHARE - 1)
        for done in range(0, surplus, _STEP_PAGES):
            # It gives a row without columns for each page, and ``execute`` would stop at the first.
            self._index.sql.executescript(f"PRAGMA incremental_vacuum({min(_STEP_PAGES, surplus - done)})")
            yield 0

    def _pragma(self, name: str) -> int:
        return int(self._index.sql.execute(f"PRAGMA {name}").fetchone()[0])

    def _seqs(self, query: str, arguments: tuple[int, ...]) -> list[int]:
        return [row[0] for row in self._index.sql.execute(query, arguments)]


def _batches(tids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(tids), _STEP_TASKS):
        yield tids[start : start + _STEP_TASKS]
