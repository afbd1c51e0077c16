"""What only the store in memory can do: crash, and fail when told to."""

import pytest

from raftsched.ports import StoreFailed, Table
from raftsched.store.memory_store import MemoryStore


def test_crash_returns_to_the_last_commit() -> None:
    store = MemoryStore()
    store.batch().put(Table.LOG, b"1", b"")
    store.commit()
    staging = store.stage()
    staging.put_many(Table.TASKS, [(b"a", b"")])
    store.batch().put(Table.LOG, b"2", b"")
    store.batch().delete(Table.LOG, b"1")
    staging.install()
    store.crash()
    assert list(store.batch().scan(Table.LOG)) == [(b"1", b"")]
    assert store.batch().count(Table.TASKS) == 0
    with pytest.raises(RuntimeError):
        staging.install()


def test_commit_fails_when_told_to_until_the_next_crash() -> None:
    store = MemoryStore()
    store.batch().put(Table.LOG, b"1", b"")
    store.commit()
    store.fail_next_commit = True
    assert not store.commit()
    store.batch().put(Table.LOG, b"2", b"")
    with pytest.raises(StoreFailed):
        store.commit()
    for use in (store.batch, store.commit, store.stage):
        with pytest.raises(StoreFailed):
            use()
    with store.read() as view:
        assert view.count(Table.LOG) == 1
    store.crash()
    store.batch().put(Table.LOG, b"2", b"")
    assert store.commit()
    assert store.batch().count(Table.LOG) == 2
