"""Writes the history index. One process writes; any may read."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from raftsched.core.model import ExecutionState, Trigger
from raftsched.history.records import Kind, Record, bin_of, decision_record, execution_record
from raftsched.history.rollups import Rollups, Values
from raftsched.history.schema import first_seq
from raftsched.history.text import packed, unpacked

_MAX_TASKS_CACHED = 200_000
_MAX_GROWN = 100_000


class Index:
    """The index in one file."""

    def __init__(self, connection: sqlite3.Connection, *, ships: bool = False, wants_outputs: bool = True) -> None:
        """``ships``: note what becomes final for those who ship it; ``wants_outputs``: queue what is stored of them."""
        self.sql = connection
        self._wants_outputs = wants_outputs
        self._ships = ships
        self._tids: dict[str, int] = {}
        self._rollups = Rollups()
        self._more: Counter[int] = Counter()
        """Records that the open transaction added, by kind."""
        self._cursor_before = 0
        """The cursor when the open transaction began."""
        self._grown: set[int] | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self.sql.execute("BEGIN IMMEDIATE")
        self._more.clear()
        self._rollups.clear()
        self._cursor_before = self.cursor if self._ships else 0
        try:
            yield
            for kind, more in self._more.items():
                self.add(f"records_{int(kind)}", more)
            self._rollups.write(self.sql)
            self.sql.execute("COMMIT")
        except BaseException:
            # The failure may have ended the transaction already.
            if self.sql.in_transaction:
                self.sql.execute("ROLLBACK")
            self._tids.clear()
            raise

    # Numbers

    def number(self, key: str) -> int:
        """A number of the meta table; 0 when it was never set."""
        found = self.sql.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return 0 if found is None else int(found[0])

    def set_number(self, key: str, value: int) -> None:
        """Set a number of the meta table."""
        self.sql.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def add(self, key: str, value: int) -> None:
        """Add to a number of the meta table."""
        if value:
            self.set_number(key, self.number(key) + value)

    @property
    def cursor(self) -> int:
        """Everything up to this log index is in the index."""
        return self.number("cursor")

    # Records

    def put(self, record: Record, applied_index: int) -> None:
        """Insert a record, or replace what was known of it. ``applied_index``: of the view that it was read from.

        What becomes final goes to the outbox, with the bounds of the log index that made it so: above the cursor, or it
        would have been final at an earlier look, and not above the view.
        """
        known = self._find(record.key)
        if known is None:
            seq, was_final = self._free(record), False
            self._more[record.kind] += 1
            self._grow(record.task)
        else:
            seq, was_final = known.seq, is_final(known.state, known.kind)
            if was_final and record.kind is Kind.EXECUTION:
                return
            self._remove_text(seq, record.kind, record.key)
            self._rollups.add(seq, known.counted, -1)
        self._write(seq, record)
        if record.final and record.has_stored_output and self._wants_outputs:
            self.sql.execute("INSERT OR REPLACE INTO wanted_outputs VALUES (?, 0, 0)", (seq,))
        if record.final and not was_final and self._ships:
            bounds = (self._cursor_before + 1, applied_index)
            self.sql.execute("INSERT INTO outbox (low, high, seq) VALUES (?, ?, ?)", (*bounds, seq))

    def _grow(self, task: str) -> None:
        """A task gets one more record; its first, as many tasks have, is no reason to look at it."""
        tid, is_new = self._enter(task)
        if is_new:
            return
        if self._grown is not None and len(self._grown) < _MAX_GROWN:
            self._grown.add(tid)
        else:
            self._grown = None

    def _find(self, key: bytes) -> "_Known | None":
        found = self.sql.execute(f"{_KNOWN} WHERE key = ?", (key,)).fetchone()
        return None if found is None else _Known(*found)

    def _free(self, record: Record) -> int:
        seq = first_seq(record.time_us, record.key)
        while self.sql.execute("SELECT 1 FROM records WHERE seq = ?", (seq,)).fetchone():
            seq += 1
        return seq

    def _write(self, seq: int, record: Record) -> None:
        bins = bin_of(record.lateness_us), bin_of(record.duration_us)
        self.sql.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                seq,
                record.key,
                record.kind,
                self.tid(record.task),
                record.state,
                record.trigger,
                record.executor,
                record.duration_us,
                record.exit_code,
                *bins,
                record.decide_us // 1000 if record.trigger == Trigger.BACKFILL else None,
            ),
        )
        self._rollups.add(seq, (record.state, *bins), 1)
        self.sql.execute("INSERT OR REPLACE INTO bodies VALUES (?, ?)", (seq, record.body))
        if record.error or record.output:
            self.sql.execute(
                "INSERT INTO texts (rowid, error, output) VALUES (?, ?, ?)", (seq, record.error, record.output)
            )

    def _remove_text(self, seq: int, kind: int, key: bytes) -> None:
        """The text index keeps no text, and is to be given what it was given to forget it."""
        if kind == Kind.TASK_CHANGE:
            return
        (body,) = self.sql.execute("SELECT body FROM bodies WHERE seq = ?", (seq,)).fetchone()
        record = execution_record(key, body) if kind == Kind.EXECUTION else decision_record(key[1:], body)
        if record is None:
            return
        output = stored_text(self.sql, seq) or record.output
        if record.error or output:
            self.sql.execute(
                "INSERT INTO texts (texts, rowid, error, output) VALUES ('delete', ?, ?, ?)",
                (seq, record.error, output),
            )

    def set_output(self, seq: int, key: bytes, text: str) -> None:
        """Index what is stored of the output of an execution, in place of its end; nothing if it is gone meanwhile."""
        self.sql.execute("DELETE FROM wanted_outputs WHERE seq = ?", (seq,))
        found = self.sql.execute(
            "SELECT b.body FROM records r JOIN bodies b USING (seq) WHERE r.seq = ? AND r.key = ?", (seq, key)
        ).fetchone()
        if found is None or not text:
            return
        self._remove_text(seq, Kind.EXECUTION, key)
        self.sql.execute("INSERT OR REPLACE INTO output_texts VALUES (?, ?)", (seq, packed(text)))
        self.sql.execute(
            "INSERT INTO texts (rowid, error, output) VALUES (?, ?, ?)",
            (seq, execution_record(key, found[0]).error, text),
        )

    def give_up_output(self, seq: int) -> None:
        """Leave what is stored of an output out, and count it."""
        self.sql.execute("DELETE FROM wanted_outputs WHERE seq = ?", (seq,))
        self.add("missing_outputs", 1)

    def remove(self, seqs: Iterable[int]) -> int:
        """Remove records; how many of them had not been shipped."""
        unshipped = 0
        for seq in seqs:
            found = self.sql.execute(f"{_KNOWN} WHERE seq = ?", (seq,)).fetchone()
            if found is None:
                continue
            known = _Known(*found)
            self._remove_text(seq, known.kind, known.key)
            self._rollups.add(seq, known.counted, -1)
            self._more[known.kind] -= 1
            self.sql.execute("DELETE FROM records WHERE seq = ?", (seq,))
            for table in ("bodies", "output_texts", "wanted_outputs"):
                self.sql.execute(f"DELETE FROM {table} WHERE seq = ?", (seq,))  # noqa: S608 - no text of callers
            unshipped += self.sql.execute("DELETE FROM outbox WHERE seq = ?", (seq,)).rowcount
        return unshipped

    def remove_key(self, key: bytes) -> None:
        """Remove a record, if it is there."""
        known = self._find(key)
        if known is not None:
            self.remove([known.seq])

    # Tasks

    def tid(self, name: str) -> int:
        """The number that stands for a task name."""
        return self._enter(name)[0]

    def _enter(self, name: str) -> tuple[int, bool]:
        """The number that stands for a task name, and whether it is new."""
        tid = self._tids.get(name)
        if tid is not None:
            return tid, False
        if len(self._tids) >= _MAX_TASKS_CACHED:
            self._tids.clear()
        is_new = bool(self.sql.execute("INSERT OR IGNORE INTO tasks (name) VALUES (?)", (name,)).rowcount)
        (tid,) = self.sql.execute("SELECT tid FROM tasks WHERE name = ?", (name,)).fetchone()
        self._tids[name] = tid
        return tid, is_new

    def take_grown(self) -> set[int] | None:
        """The tasks that got records since the last call, by ``tid``; None: any may have."""
        grown, self._grown = self._grown, set()
        return grown

    def set_labels(self, task: str, labels: Mapping[str, str]) -> None:
        """The labels that a task carries from now on."""
        tid = self.tid(task)
        known = dict(self.sql.execute("SELECT key, value FROM labels WHERE tid = ?", (tid,)))
        if known != labels:
            self.sql.execute("DELETE FROM labels WHERE tid = ?", (tid,))
            self.sql.executemany("INSERT INTO labels VALUES (?, ?, ?)", [(k, v, tid) for k, v in labels.items()])

    def last_revision(self, task: str) -> int:
        """The revision of the newest change of a task that is known; 0: none is."""
        low, high = (b"C" + task.encode() + b"\0" + bytes((fill,)) * 8 for fill in (0, 255))
        found = self.sql.execute(
            "SELECT key FROM records WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT 1", (low, high)
        ).fetchone()
        return 0 if found is None else int.from_bytes(found[0][-8:], "big")


_KNOWN = "SELECT seq, key, kind, state, late_bin, duration_bin FROM records"


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a record."""

    seq: int
    key: bytes
    kind: int
    state: int
    late_bin: int | None
    duration_bin: int | None

    @property
    def counted(self) -> Values:
        return self.state, self.late_bin, self.duration_bin


def stored_text(sql: sqlite3.Connection, seq: int) -> str:
    """What is indexed of a stored output; "" when it is not, or not yet."""
    found = sql.execute("SELECT text FROM output_texts WHERE seq = ?", (seq,)).fetchone()
    return "" if found is None else unpacked(found[0])


def is_final(state: int, kind: int) -> bool:
    """Whether a record counts as one that will not change any more; only the reason of a decision may be amended."""
    return kind != Kind.EXECUTION or state >= ExecutionState.SUCCEEDED
