"""The file of the history index: SQLite with FTS5, in WAL mode.

``seq`` orders the records: milliseconds of the time, then bits of the key, so that the newest come first by the primary
key alone, and a full-text search, which knows nothing but row ids, gives them in this order without sorting.
"""

import contextlib
import sqlite3
from hashlib import blake2b
from pathlib import Path

import structlog

from raftsched.core.state.model import ExecutionState

SCHEMA_VERSION = 9
"""A file of another version is moved aside and made anew, but for one of:"""
_VERSIONS_BEFORE = frozenset({6, 7, 8})
"""All had each body in ``bodies``, and successes in the index of states. Those before 8 found records by an index of
their keys, and the records of 6 lack what attempts before the last wrote."""
MAX_BODY_BYTES = 256
"""A body up to this size, as that of most successes, is kept with its record; a larger one for itself, so that queries
that look at many records do not read it."""
BODY = "coalesce(r.body, (SELECT b.body FROM bodies b WHERE b.seq = r.seq))"
"""The body of a record ``r``."""
UNUSUAL = f"state <> {int(ExecutionState.SUCCEEDED)}"
"""What the index ``records_state`` has: most executions succeed, and the order of time finds them. A query has to say
it in these words to be answered by that index."""
_WITHOUT_KEY_INDEX = 8
TIE_BITS = 21
_TIE = (1 << TIE_BITS) - 1
_MAX_MS = (1 << 42) - 1
_CACHE_KIB = 32 << 10
_log = structlog.get_logger(__name__)

_STATE_INDEX = f"CREATE INDEX records_state ON records (state, seq) WHERE {UNUSUAL};"
_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE tasks (tid INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE labels (
    key TEXT, value TEXT, tid INTEGER, PRIMARY KEY (key, value, tid)
) WITHOUT ROWID;
CREATE INDEX labels_tid ON labels (tid);
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    kind INTEGER NOT NULL,
    tid INTEGER NOT NULL,
    state INTEGER NOT NULL,
    trigger INTEGER NOT NULL,
    executor TEXT,
    duration_us INTEGER,
    exit_code INTEGER,
    late_bin INTEGER,
    duration_bin INTEGER,
    backfilled_ms INTEGER,
    has_text INTEGER,
    body BLOB
);
CREATE TABLE displaced (key BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX records_task ON records (tid, seq, state);
{_STATE_INDEX}
CREATE INDEX records_backfilled ON records (backfilled_ms) WHERE backfilled_ms IS NOT NULL;
CREATE INDEX records_changes ON records (tid, seq) WHERE kind = 3;
CREATE TABLE bodies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE VIRTUAL TABLE texts USING fts5 (
    error, output, content = '', tokenize = "unicode61 remove_diacritics 2"
);
CREATE TABLE rollups (
    what INTEGER, width_ms INTEGER, slot INTEGER, number INTEGER, count INTEGER NOT NULL,
    PRIMARY KEY (what, width_ms, slot, number)
) WITHOUT ROWID;
CREATE TABLE output_texts (seq INTEGER PRIMARY KEY, text BLOB NOT NULL);
CREATE TABLE wanted_outputs (seq INTEGER PRIMARY KEY, due_ms INTEGER NOT NULL, tries INTEGER NOT NULL);
CREATE INDEX wanted_due ON wanted_outputs (due_ms);
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, low INTEGER NOT NULL, high INTEGER NOT NULL, seq INTEGER NOT NULL
);
CREATE INDEX outbox_seq ON outbox (seq);
CREATE INDEX outbox_low ON outbox (low);
CREATE INDEX outbox_high ON outbox (high);
"""


_FROM_KEY_INDEX = f"""
ALTER TABLE records ADD COLUMN has_text INTEGER;
CREATE TABLE displaced (key BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO displaced SELECT key, seq FROM records WHERE seq != first_seq((seq >> {TIE_BITS}) * 1000, key);
DROP INDEX records_key;
"""  # noqa: S608 - ours
_FROM_BEFORE = f"ALTER TABLE records ADD COLUMN body BLOB; DROP INDEX records_state; {_STATE_INDEX}"


def first_seq(time_us: int, key: bytes) -> int:
    """Where a record of this time and key stands, unless another with the same bits took the place before it."""
    return time_floor(time_us) | int.from_bytes(blake2b(key, digest_size=4).digest(), "big") & _TIE


def time_floor(time_us: int) -> int:
    """The lowest ``seq`` of a time; times of the same millisecond have the same."""
    ms = time_us // 1000
    return (ms if 0 <= ms <= _MAX_MS else 0 if ms < 0 else _MAX_MS) << TIE_BITS


def seq_ms(seq: int) -> int:
    """The time of a record, in milliseconds since the Unix epoch."""
    return seq >> TIE_BITS


def open_writer(path: Path, cluster_id: str) -> sqlite3.Connection:
    """Open the index for writing; make it where there is none.

    One that is corrupt, of another version or of another cluster is moved aside, which the log tells.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _open_checked(path, cluster_id)
    except (sqlite3.DatabaseError, _Unfit) as error:
        _log.warning(
            "the history index cannot be used; it is moved aside and made anew from the replicated state",
            path=str(path),
            moved_to=str(move_aside(path)),
            reason=str(error),
        )
    return _open_checked(path, cluster_id)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the index for reading, in any thread. Raises sqlite3.OperationalError while there is none."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only = 1")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA mmap_size = 268435456")
    return connection


class _Unfit(Exception):
    """The file is sound, and not ours to go on with."""


def _open_checked(path: Path, cluster_id: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # Before the first page is written: retention gives pages back in small steps.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        # The cursor is in the same file: what a power failure takes from the end is indexed again.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not version and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _create(connection, cluster_id)
        elif version in _VERSIONS_BEFORE:
            _go_on_from(connection, version)
        elif version != SCHEMA_VERSION:
            raise _Unfit(f"it has version {version}; this is version {SCHEMA_VERSION}")
        _check(connection, cluster_id)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection, cluster_id: str) -> None:
    connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    connection.execute("INSERT INTO meta VALUES ('cluster_id', ?)", (cluster_id,))


def _go_on_from(connection: sqlite3.Connection, version: int) -> None:
    """What the state no longer has would be lost with the records of an index that is made anew."""
    connection.create_function("first_seq", 2, first_seq, deterministic=True)
    steps = (_FROM_KEY_INDEX if version < _WITHOUT_KEY_INDEX else "") + _FROM_BEFORE
    connection.executescript(f"BEGIN; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _check(connection: sqlite3.Connection, cluster_id: str) -> None:
    """A look at both ends of each index. A full check would take minutes; what it would find shows in use."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'cluster_id'").fetchone()
    if found is None or found[0] != cluster_id:
        raise _Unfit(f"it is that of the cluster {found and found[0]!r}")
    for column, index, those in (("tid", "records_task", "1"), ("state", "records_state", UNUSUAL)):
        for end in ("min", "max"):
            connection.execute(f"SELECT {end}({column}) FROM records INDEXED BY {index} WHERE {those}").fetchone()  # noqa: S608 - all parts are ours
    connection.execute("SELECT max(seq) FROM bodies").fetchone()
    connection.execute("SELECT rowid FROM texts WHERE texts MATCH 'a' LIMIT 1").fetchone()


def move_aside(path: Path) -> Path:
    """Give the file another name, in the place of one that was moved aside before."""
    aside = path.with_name(f"{path.name}.bad")
    for suffix in ("", "-wal", "-shm"):
        aside.with_name(aside.name + suffix).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside
