"""Which directories a store opens, and what it says about the others."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from raftsched.ports import StoreRefused, Table
from raftsched.store.lmdb_store import LmdbStore

HOLD = """
import sys
from pathlib import Path
from raftsched.store.lmdb_store import LmdbStore
store = LmdbStore(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A store of 1,000 rows that is closed."""
    path = tmp_path / "store"
    with contextlib.closing(LmdbStore(path)) as store:
        for number in range(1000):
            store.batch().put(Table.TASKS, b"%04d" % number, b"v" * 200)
        store.commit()
    return path


def refusal(path: Path) -> str:
    """Why the store refuses; checks that it changes nothing."""
    before = {file.name: file.read_bytes() for file in path.iterdir() if file.name not in ("LOCK", "data.mdb-lock")}
    with pytest.raises(StoreRefused) as caught:
        LmdbStore(path)
    after = {file.name: file.read_bytes() for file in path.iterdir() if file.name not in ("LOCK", "data.mdb-lock")}
    assert before == after
    return str(caught.value)


def opens(path: Path, count: int) -> None:
    with contextlib.closing(LmdbStore(path)) as store:
        assert store.batch().count(Table.TASKS) == count


def test_missing_directories_are_made(tmp_path: Path) -> None:
    opens(tmp_path / "a" / "b", 0)
    opens(tmp_path / "a" / "b", 0)


def test_data_is_for_its_owner_only(made: Path) -> None:
    assert (made.stat().st_mode & 0o077, (made / "data.mdb").stat().st_mode & 0o077) == (0, 0)


def test_directory_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    (tmp_path / "cv.odt").write_bytes(b"")
    assert "not a raftsched data directory: it holds cv.odt, holiday.jpg;" in refusal(tmp_path)
    assert not (tmp_path / "LOCK").exists()


def test_path_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreRefused, match="cannot use the data directory"):
        LmdbStore(tmp_path / "file")


def test_environment_of_others_is_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "data.mdb"), subdir=False, lib_version=0) as env, env.begin(write=True) as txn:
        txn.put(b"key", b"value")
    assert "not that of a raftsched store" in refusal(tmp_path)


def test_a_format_that_no_step_begins_with_is_refused(made: Path) -> None:
    format_, advice = 1, "choose a new data directory"
    (made / "FORMAT").write_text(f"raftsched store\nformat {format_}\n")
    words = refusal(made)
    assert f"has store format {format_}, this version of raftsched reads formats 2 to 3" in words
    assert advice in words


@pytest.mark.parametrize("text", ["", "raftsched store\n", "raftsched store\nformat x\n", "other\nformat 1\n"])
def test_broken_format_file_is_refused(made: Path, text: str) -> None:
    (made / "FORMAT").write_text(text)
    assert "is not the format file" in refusal(made)


@pytest.mark.parametrize("content", [None, b""])
def test_lost_database_is_not_taken_for_a_new_one(made: Path, content: bytes | None) -> None:
    (made / "data.mdb").unlink()
    if content is not None:
        (made / "data.mdb").write_bytes(content)
    assert "is missing or empty" in refusal(made)


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 8192), (0, 4096), (16, 4), (24, 100), (4096 + 16, 4), (3 * 4096, 4096), (20 * 4096, 2048)]
)
def test_overwritten_database_is_refused(made: Path, offset: int, size: int) -> None:
    with (made / "data.mdb").open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * size)
    assert "corrupt" in refusal(made)


@pytest.mark.parametrize("size", [1, 4095, 4096, 8192, 10_000, 16 * 4096, 40 * 4096 + 1])
def test_truncated_database_is_refused(made: Path, size: int) -> None:
    os.truncate(made / "data.mdb", size)
    assert "corrupt" in refusal(made)


def test_creation_that_was_cut_short_is_done_again(made: Path) -> None:
    (made / "data.mdb").rename(made / "new.mdb")
    os.truncate(made / "new.mdb", 100)
    (made / "new.mdb-lock").write_bytes(b"")
    (made / "FORMAT").rename(made / "FORMAT.new")
    opens(made, 0)
    assert {file.name for file in made.iterdir()} == {"LOCK", "FORMAT", "data.mdb", "data.mdb-lock"}


def test_creation_that_lacked_only_the_format_file_is_completed(made: Path) -> None:
    (made / "FORMAT").unlink()
    opens(made, 1000)
    assert (made / "FORMAT").read_text() == "raftsched store\nformat 3\n"


def test_second_store_in_one_process_is_refused(made: Path) -> None:
    with contextlib.closing(LmdbStore(made)):
        assert f"is in use by process {os.getpid()}" in refusal(made)
    opens(made, 1000)


def test_second_process_is_refused_until_the_first_is_gone(made: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(made)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        assert f"is in use by process {holder.pid}" in refusal(made)
        holder.kill()
    opens(made, 1000)


def test_refused_store_is_not_left_locked(made: Path) -> None:
    whole = (made / "data.mdb").read_bytes()
    (made / "data.mdb").write_bytes(b"garbage")
    assert "corrupt" in refusal(made)
    (made / "data.mdb").write_bytes(whole)
    opens(made, 1000)
