"""Random use of both stores at once, compared with plain dictionaries."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from raftsched.ports import Reader, Staging, Table
from raftsched.store.lmdb_store import LmdbStore
from raftsched.store.memory_store import MemoryStore

TABLES = (Table.LOG, Table.META, Table.TASKS)
STAGED = (Table.META, Table.TASKS)
Rows = dict[Table, dict[bytes, bytes]]
Views = tuple[contextlib.ExitStack, list[Reader], Rows]

tables = st.sampled_from(TABLES)
keys = st.binary(min_size=1, max_size=3)
bounds = st.none() | st.binary(max_size=3)
values = st.binary(max_size=5) | st.just(b"v" * 3000)


def copy(rows: Rows) -> Rows:
    return {table: dict(content) for table, content in rows.items()}


def expected(rows: Rows, table: Table, start: bytes, stop: bytes | None, reverse: bool) -> list[tuple[bytes, bytes]]:
    inside = ((key, value) for key, value in rows[table].items() if start <= key and (stop is None or key < stop))
    return sorted(inside, reverse=reverse)


class StoresAgree(RuleBasedStateMachine):
    views: Bundle[Views] = Bundle("views")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.lmdb = LmdbStore(self.directory / "store")
        self.memory = MemoryStore()
        self.open_views: list[contextlib.ExitStack] = []
        self.committed: Rows = {table: {} for table in TABLES}
        self.forget_staging()
        self.begin()

    @initialize()
    def begin(self) -> None:
        self.current = copy(self.committed)
        self.batch_open = self.batch_staged = self.installed = False

    def forget_staging(self) -> None:
        self.stagings: list[Staging] = []
        self.staged: Rows = {}

    @property
    def stores(self) -> tuple[LmdbStore, MemoryStore]:
        return self.lmdb, self.memory

    @rule(table=tables, key=keys, value=values)
    def put(self, table: Table, key: bytes, value: bytes) -> None:
        for store in self.stores:
            store.batch().put(table, key, value)
        self.current[table][key] = value
        self.batch_open = True

    @rule(table=tables, key=keys)
    def delete(self, table: Table, key: bytes) -> None:
        present = self.current[table].pop(key, None) is not None
        assert [store.batch().delete(table, key) for store in self.stores] == [present, present]
        self.batch_open = True

    @rule(table=tables, data=st.data())
    def delete_present(self, table: Table, data: st.DataObject) -> None:
        if self.current[table]:
            self.delete(table, data.draw(st.sampled_from(sorted(self.current[table]))))

    @rule(table=tables, start=bounds, stop=bounds, reverse=st.booleans())
    def scan(self, table: Table, start: bytes | None, stop: bytes | None, reverse: bool) -> None:
        want = expected(self.current, table, start or b"", stop, reverse)
        for store in self.stores:
            assert list(store.batch().scan(table, start or b"", stop, reverse=reverse)) == want
        self.batch_open = True

    @rule()
    def commit(self) -> None:
        results = [store.commit() for store in self.stores]
        assert results[0] == results[1]
        if self.installed:
            self.forget_staging()
        self.committed = self.current
        self.begin()

    @rule()
    def rollback(self) -> None:
        for store in self.stores:
            store.rollback()
        if self.batch_staged:
            self.forget_staging()
        self.begin()

    @rule()
    def restart(self) -> None:
        for stack in self.open_views:
            stack.close()
        self.open_views = []
        self.lmdb.close()
        self.lmdb = LmdbStore(self.directory / "store")
        self.memory.crash()
        self.forget_staging()
        self.begin()

    @rule(target=views)
    def open_view(self) -> Views:
        stack = contextlib.ExitStack()
        self.open_views.append(stack)
        readers: list[Reader] = [stack.enter_context(self.lmdb.read()), stack.enter_context(self.memory.read())]
        return stack, readers, copy(self.committed)

    @rule(view=views, table=tables, start=bounds, stop=bounds, reverse=st.booleans())
    def scan_view(self, view: Views, table: Table, start: bytes | None, stop: bytes | None, reverse: bool) -> None:
        stack, readers, rows = view
        if stack in self.open_views:
            want = expected(rows, table, start or b"", stop, reverse)
            for reader in readers:
                assert list(reader.scan(table, start or b"", stop, reverse=reverse)) == want
                assert reader.count(table) == len(rows[table])
                assert all(reader.get(table, key) == value for key, value in rows[table].items())

    @rule(view=consumes(views))
    def close_view(self, view: Views) -> None:
        if view[0] in self.open_views:
            self.open_views.remove(view[0])
            view[0].close()

    @precondition(lambda self: not self.installed)
    @rule()
    def stage(self) -> None:
        self.stagings = [store.stage() for store in self.stores]
        self.staged = {table: {} for table in STAGED}
        self.batch_staged = self.batch_staged or self.batch_open

    @precondition(lambda self: self.stagings and not self.installed)
    @rule(table=st.sampled_from(STAGED), rows=st.dictionaries(keys, values))
    def put_many(self, table: Table, rows: dict[bytes, bytes]) -> None:
        last = max(self.staged[table], default=b"")
        later = sorted((key, value) for key, value in rows.items() if key > last)
        for staging in self.stagings:
            staging.put_many(table, later)
        self.staged[table].update(later)
        self.batch_staged = self.batch_staged or self.batch_open

    @precondition(lambda self: self.stagings and not self.installed)
    @rule()
    def install(self) -> None:
        for staging in self.stagings:
            staging.install()
        self.current.update(copy(self.staged))
        self.batch_open = self.installed = True

    @precondition(lambda self: self.stagings and not self.installed)
    @rule()
    def discard(self) -> None:
        for staging in self.stagings:
            staging.discard()
        self.forget_staging()

    @invariant()
    def counts_agree(self) -> None:
        if self.batch_open:
            for table in TABLES:
                assert [store.batch().count(table) for store in self.stores] == [len(self.current[table])] * 2

    def teardown(self) -> None:
        for stack in self.open_views:
            stack.close()
        self.lmdb.close()
        shutil.rmtree(self.directory)


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
