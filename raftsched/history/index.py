"""Writes the history index. One process writes; any may read."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from raftsched.history.places import Known, Places, chunks
from raftsched.history.records import ENDED, Kind, Record, bin_of, decision_record, execution_record, ledger_key_of
from raftsched.history.rollups import Rollups
from raftsched.history.schema import BODY, first_seq
from raftsched.history.text import packed, unpacked
from raftsched.history.writes import NO_TEXT, NONE, Text, Writes

_MAX_TASKS_CACHED = 200_000
_MAX_GROWN = 100_000
_MAX_BATCH = 5_000
"""Records whose rows are gathered before they are written."""


class Index:
    """The index in one file."""

    def __init__(self, connection: sqlite3.Connection, *, ships: bool = False, wants_outputs: bool = True) -> None:
        """``ships``: note what becomes final for those who ship it; ``wants_outputs``: queue what is stored of them."""
        self.sql = connection
        self._wants_outputs = wants_outputs
        self._ships = ships
        self._places = Places(connection)
        self._tids: dict[str, int] = {}
        self._new_tids: set[int] = set()
        """Tasks that the open transaction has met for the first time, and that have no record yet."""
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
        self._new_tids.clear()
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
        """``put_all`` of one."""
        self.put_all((record,), applied_index)

    def put_all(self, records: Iterable[Record], applied_index: int) -> None:
        """Insert records, or replace what was known of them. ``applied_index``: of the view that they were read from.

        What becomes final goes to the outbox, with the bounds of the log index that made it so: above the cursor, or it
        would have been final at an earlier look, and not above the view.
        """
        batch: dict[bytes, Record] = {}
        for record in records:
            if record.key in batch or len(batch) == _MAX_BATCH:
                self._put_batch(batch, applied_index)
                batch.clear()
            batch[record.key] = record
        if batch:
            self._put_batch(batch, applied_index)

    def _put_batch(self, batch: Mapping[bytes, Record], applied_index: int) -> None:
        homes = {key: first_seq(record.time_us, key) for key, record in batch.items()}
        found = self._places.find(homes)
        writes = Writes()
        for key, record in batch.items():
            known = found.get(key)
            if known is None:
                seq, was_final, before = self._places.settle(key, homes[key]), False, NO_TEXT
                self._more[record.kind] += 1
                tid = self._grow(record.task)
            elif known.body == record.body:
                continue
            else:
                seq, was_final, tid = known.seq, is_final(known.state, known.kind), None
                before = self._text(known)
                if was_final and record.kind is Kind.EXECUTION:
                    self._amend(writes, known, before, record)
                    continue
                self._rollups.add(seq, known.counted, -1)
            self._write(writes, seq, tid, record, before)
            if record.final:
                if record.has_stored_output and self._wants_outputs:
                    writes.wanted.append((seq,))
                if self._ships and not was_final:
                    writes.outbox.append((self._cursor_before + 1, applied_index, seq))
        writes.write(self.sql)

    def _write(self, writes: Writes, seq: int, tid: int | None, record: Record, before: Text) -> None:
        """``tid``: None of a record that there is."""
        state, exit_code, duration_us = record.state, record.exit_code, record.duration_us
        late_bin, duration_bin = bin_of(record.lateness_us), bin_of(duration_us)
        backfilled_ms, after = record.backfilled_ms, _text_of(record)
        values = (
            state,
            record.trigger,
            record.executor or "",
            NONE if duration_us is None else duration_us,
            NONE if exit_code is None else exit_code,
            NONE if late_bin is None else late_bin,
            NONE if duration_bin is None else duration_bin,
            NONE if backfilled_ms is None else backfilled_ms,
            0 if after is NO_TEXT else 1,
            writes.small(seq, record.body),
        )
        if tid is None:
            writes.changed.append((seq, *values))
        else:
            writes.added.append((seq, bytearray(record.key), int(record.kind), tid, *values))
        if before is not after:
            writes.replace_text(seq, before, after)
        self._rollups.add(seq, (state, late_bin, duration_bin), 1)

    def _amend(self, writes: Writes, known: Known, before: Text, record: Record) -> None:
        """What an execution ended as does not change, but more may come to be known of its attempts."""
        after = _text_of(record, stored_text(self.sql, known.seq))
        writes.small_bodies.append((known.seq, writes.small(known.seq, record.body)))
        writes.has_text.append((known.seq, after is not NO_TEXT))
        writes.replace_text(known.seq, before, after)

    def _grow(self, task: str) -> int:
        """A task gets one more record; its first, as many tasks have, is no reason to look at it. Gives its ``tid``."""
        tid = self.tid(task)
        if tid in self._new_tids:
            self._new_tids.remove(tid)
        elif self._grown is not None and len(self._grown) < _MAX_GROWN:
            self._grown.add(tid)
        else:
            self._grown = None
        return tid

    def states(self, homes: Mapping[bytes, int]) -> dict[bytes, int]:
        """The states of the records that there are, by key. ``homes``: the ``first_seq`` of each."""
        return self._places.states(homes)

    def _text(self, known: Known) -> Text:
        """What is indexed of a record."""
        if known.kind == Kind.TASK_CHANGE or known.has_text == 0:
            return NO_TEXT
        assert known.body is not None, "a record without its body"
        if known.kind == Kind.DECISION:
            decision = decision_record(ledger_key_of(known.key), known.body)
            return NO_TEXT if decision is None else _text_of(decision)
        return _text_of(execution_record(known.key, known.body), stored_text(self.sql, known.seq))

    def set_output(self, seq: int, key: bytes, text: str) -> None:
        """Index what is stored of the last attempt's output, in place of its end; nothing if the record is gone."""
        self.sql.execute("DELETE FROM wanted_outputs WHERE seq = ?", (seq,))
        found = self.sql.execute(
            f"SELECT {BODY} FROM records r WHERE r.seq = ? AND r.key = ?",  # noqa: S608 - all parts are ours
            (seq, key),
        )
        row = found.fetchone()
        if row is None or not text:
            return
        record, writes = execution_record(key, row[0]), Writes()
        writes.replace_text(seq, _text_of(record, stored_text(self.sql, seq)), _text_of(record, text))
        writes.has_text.append((seq, True))
        self.sql.execute("INSERT OR REPLACE INTO output_texts VALUES (?, ?)", (seq, packed(text)))
        writes.write(self.sql)

    def give_up_output(self, seq: int) -> None:
        """Leave what is stored of an output out, and count it."""
        self.sql.execute("DELETE FROM wanted_outputs WHERE seq = ?", (seq,))
        self.add("missing_outputs", 1)

    def remove(self, seqs: Iterable[int]) -> int:
        """Remove records; how many of them had not been shipped."""
        gone = self._places.at(sorted(seqs))
        writes = Writes()
        for known in gone:
            writes.replace_text(known.seq, self._text(known), NO_TEXT)
            self._rollups.add(known.seq, known.counted, -1)
            self._more[known.kind] -= 1
        writes.write(self.sql)
        self._places.leave(gone)
        unshipped = 0
        for some, marks in chunks([known.seq for known in gone]):
            for table in ("records", "bodies", "output_texts", "wanted_outputs"):
                self.sql.execute(f"DELETE FROM {table} WHERE seq IN ({marks})", some)  # noqa: S608 - no text of callers
            unshipped += self.sql.execute(f"DELETE FROM outbox WHERE seq IN ({marks})", some).rowcount  # noqa: S608 - ours
        return unshipped

    # Tasks

    def tid(self, name: str) -> int:
        """The number that stands for a task name."""
        tid = self._tids.get(name)
        if tid is not None:
            return tid
        if len(self._tids) >= _MAX_TASKS_CACHED:
            self._tids.clear()
        made = self.sql.execute("INSERT OR IGNORE INTO tasks (name) VALUES (?)", (name,))
        if made.rowcount:
            tid = made.lastrowid
            assert tid is not None, "a row without an id"
            self._new_tids.add(tid)
        else:
            (tid,) = self.sql.execute("SELECT tid FROM tasks WHERE name = ?", (name,)).fetchone()
        self._tids[name] = tid
        return tid

    def take_grown(self) -> set[int] | None:
        """The tasks that got records since the last call, by ``tid``; None: any may have."""
        grown, self._grown = self._grown, set()
        return grown

    def set_labels(self, task: str, labels: Mapping[str, str]) -> None:
        """The labels that a task carries from now on."""
        tid = self.tid(task)
        if not labels and tid in self._new_tids:
            return
        known = dict(self.sql.execute("SELECT key, value FROM labels WHERE tid = ?", (tid,)))
        if known != labels:
            self.sql.execute("DELETE FROM labels WHERE tid = ?", (tid,))
            self.sql.executemany("INSERT INTO labels VALUES (?, ?, ?)", [(k, v, tid) for k, v in labels.items()])

    def last_revision(self, task: str) -> int:
        """The revision of the newest change of a task that is known; 0: none is."""
        tid = self.tid(task)
        if tid in self._new_tids:
            return 0
        # Not the newest by its time, which a clock may have set back.
        (revision,) = self.sql.execute(
            "SELECT max(substr(key, -8)) FROM records INDEXED BY records_changes WHERE tid = ? AND kind = 3", (tid,)
        ).fetchone()
        return 0 if revision is None else int.from_bytes(revision, "big")


def _text_of(record: Record, stored: str = "") -> Text:
    """``NO_TEXT`` itself when there is none."""
    output, past = stored or record.output, record.past_output
    if not (record.error or output or past):
        return NO_TEXT
    return record.error, f"{output}\n{past}" if output and past else output or past


def stored_text(sql: sqlite3.Connection, seq: int) -> str:
    """What is indexed of a stored output; "" when it is not, or not yet."""
    found = sql.execute("SELECT text FROM output_texts WHERE seq = ?", (seq,)).fetchone()
    return "" if found is None else unpacked(found[0])


def is_final(state: int, kind: int) -> bool:
    """Whether a record counts as one that will not change any more; only the reason of a decision may be amended."""
    return kind != Kind.EXECUTION or state in ENDED
