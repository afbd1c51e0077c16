"""A data directory of an older format becomes one of the newest, whole or not at all; one of a newer is left alone."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from raftsched.ports import NodeOutdated, Table
from raftsched.store import formats
from raftsched.store.lmdb_batch import LmdbBatch
from raftsched.store.lmdb_store import LmdbStore

NEXT = formats.FORMAT_VERSION + 1


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with contextlib.closing(LmdbStore(path)) as store:
        store.batch().put(Table.RAFT, b"key", b"value")
        store.commit()
    return path


def format_of(path: Path) -> str:
    return (path / "FORMAT").read_text().split()[-1]


def row(path: Path, key: bytes) -> bytes | None:
    with contextlib.closing(LmdbStore(path)) as store, store.read() as reader:
        return reader.get(Table.RAFT, key)


def rename(batch: LmdbBatch) -> None:
    batch.put(Table.RAFT, b"renamed", batch.get(Table.RAFT, b"key") or b"")
    batch.delete(Table.RAFT, b"key")


@contextlib.contextmanager
def next_version(monkeypatch: pytest.MonkeyPatch, step: object = rename) -> Iterator[None]:
    """The program of the version that brings the next format."""
    with monkeypatch.context() as patch:
        patch.setattr(formats, "FORMAT_VERSION", NEXT)
        patch.setattr(formats, "STEPS", {**formats.STEPS, NEXT - 1: step})
        yield


def test_an_older_format_is_brought_up_to_date_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with next_version(monkeypatch):
        assert row(made, b"renamed") == b"value"
        assert format_of(made) == str(NEXT)
        assert row(made, b"renamed") == b"value"
        assert row(made, b"key") is None


def test_the_version_before_refuses_it_then_and_says_what_to_do(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with next_version(monkeypatch):
        row(made, b"renamed")
    data = (made / "data.mdb").read_bytes()
    with pytest.raises(NodeOutdated, match=f"has store format {NEXT}.*Upgrade this node.*or a later one"):
        LmdbStore(made)
    assert (made / "data.mdb").read_bytes() == data


def test_a_step_that_breaks_off_leaves_no_half_and_is_done_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(batch: LmdbBatch) -> None:
        rename(batch)
        raise KeyboardInterrupt

    with next_version(monkeypatch, break_off), pytest.raises(KeyboardInterrupt):
        LmdbStore(made)
    # The version before does not touch what may be on its way.
    with pytest.raises(NodeOutdated):
        LmdbStore(made)
    with next_version(monkeypatch):
        assert row(made, b"renamed") == b"value"


def test_data_of_a_newer_format_are_refused_whatever_the_file_says(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with next_version(monkeypatch):
        row(made, b"renamed")
    (made / "FORMAT").write_text(f"raftsched store\nformat {formats.FORMAT_VERSION}\n")
    with pytest.raises(NodeOutdated):
        LmdbStore(made)


def test_format_2_which_did_not_say_so_in_the_data_is_brought_up_to_date(made: Path) -> None:
    (made / "FORMAT").write_text("raftsched store\nformat 2\n")
    with environment(made) as env, env.begin(write=True) as txn:
        assert txn.delete(b"format", db=env.open_db(b"store", txn))
    assert row(made, b"key") == b"value"
    assert format_of(made) == "3"
    with environment(made) as env, env.begin() as txn:
        assert (txn.get(b"format", db=env.open_db(b"store", txn)) or b"").startswith(b"3")


def environment(path: Path) -> "lmdb.Environment":
    return lmdb.open(str(path / "data.mdb"), subdir=False, max_dbs=99, lib_version=0)
