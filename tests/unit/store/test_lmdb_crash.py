"""A writer process that is killed, or whose disk refuses, leaves exactly a prefix of its commits."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from raftsched.ports import Table
from raftsched.store.lmdb_store import LmdbStore

WRITER = """
import sys
from pathlib import Path
from raftsched.ports import (STATE_TABLES, Table)
from raftsched.store.lmdb_store import LmdbStore

store = LmdbStore(Path(sys.argv[1]))
number = int(store.batch().get(Table.RAFT, b"last") or b"0")
while True:
    number += 1
    key = b"%08d" % number
    if number % 10 == 0:
        staging = store.stage()
        for table in STATE_TABLES:
            staging.put_many(table, [(b"%08d" % row, b"%d" % number) for row in range(number)])
        staging.install()
    batch = store.batch()
    for table in Table:
        batch.put(table, key, b"%d" % number)
    batch.put(Table.RAFT, b"last", b"%d" % number)
    store.commit()
    print(number, flush=True)
"""

READER = """
import sys
from pathlib import Path
from raftsched.ports import Table
from raftsched.store.lmdb_store import DEFAULT_MAX_SIZE_BYTES
from raftsched.store.lmdb_view import LmdbView

view = LmdbView(Path(sys.argv[1]), max_size_bytes=DEFAULT_MAX_SIZE_BYTES)
with view.read() as rows:
    print("reads", flush=True)
    sys.stdin.read()
    print(rows.count(Table.META), flush=True)
"""

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from raftsched.ports import (StoreFailed, Table)
from raftsched.store.lmdb_store import LmdbStore

store = LmdbStore(Path(sys.argv[1]))
limit = (Path(sys.argv[1]) / "data.mdb").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
number = 0
try:
    while True:
        store.batch().put(Table.LOG, b"%08d" % number, b"v" * 10_000)
        store.commit()
        number += 1
except StoreFailed as error:
    print(number)
    print(error)
"""


def check_is_at_commit(path: Path, number: int) -> None:
    """Every table is as the writer left it after the commit of that number."""
    with contextlib.closing(LmdbStore(path)) as store, store.read() as view:
        snapshot = number // 10 * 10
        logged = [b"%08d" % row for row in range(1, number + 1)]
        assert [key for key, _ in view.scan(Table.LOG)] == logged
        expected = [(b"%08d" % row, b"%d" % snapshot) for row in range(snapshot)]
        expected += [(b"%08d" % row, b"%d" % row) for row in range(max(snapshot, 1), number + 1)]
        for table in (Table.META, Table.LEDGER):
            assert list(view.scan(table)) == expected
            assert view.count(table) == len(expected)


def test_killed_writer_leaves_a_prefix_of_its_commits(tmp_path: Path) -> None:
    known = 0
    for acknowledged in (1, 9, 10, 11, 25, 40):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(acknowledged):
                known = int(writer.stdout.readline())
            writer.kill()
            rest = writer.stdout.read().split()
            known = int(rest[-1]) if rest else known
        with contextlib.closing(LmdbStore(tmp_path)) as store:
            last = int(store.batch().get(Table.RAFT, b"last") or b"0")
        assert last in (known, known + 1)
        check_is_at_commit(tmp_path, last)


def test_a_killed_writer_leaves_its_lock_to_the_next_while_another_process_reads(tmp_path: Path) -> None:
    LmdbStore(tmp_path).close()
    # It keeps LMDB's lock file in use, so that each writer finds the lock as the dead one before it left it.
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdin is not None
        reader.stdout.readline()
        last = 0
        for _ in range(5):
            with subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
            ) as writer:
                assert writer.stdout is not None
                numbers = [int(writer.stdout.readline()) for _ in range(3)]
                writer.kill()
            assert numbers[0] > last
            last = numbers[-1]
        reader.stdin.close()
        assert int(reader.stdout.readline()) == 0


def test_writer_whose_disk_is_full_stops_at_its_last_commit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    number, message = done.stdout.splitlines()
    assert "see to the disk (full, failing?)" in message
    with contextlib.closing(LmdbStore(tmp_path)) as store:
        assert [key for key, _ in store.batch().scan(Table.LOG)] == [b"%08d" % row for row in range(int(number))]
    assert int(number) > 10


@pytest.mark.parametrize("table", list(Table))
def test_every_table_survives_a_restart(tmp_path: Path, table: Table) -> None:
    with contextlib.closing(LmdbStore(tmp_path)) as store:
        store.batch().put(table, b"key", b"value")
        store.commit()
    with contextlib.closing(LmdbStore(tmp_path)) as store:
        assert store.batch().get(table, b"key") == b"value"
