"""What is hashed, who is odd, and what a node remembers of the comparison of the state tables."""

import pytest
from raftsched_proto.internal.v1 import check_pb2, command_pb2

from raftsched.core.machine import COMMAND_VERSION, apply
from raftsched.core.machine.hashing import CHECKED_TABLES, FIRST, CheckStep, HashedRange, hash_range
from raftsched.ports import Table
from raftsched.statecheck.memory import CheckMemory, Origin, odd_ones
from raftsched.store.memory_store import MemoryStore

NODES = ("n1", "n2", "n3")


def filled() -> MemoryStore:
    store = MemoryStore()
    for number in range(10):
        store.batch().put(Table.TASKS, b"task-%d" % number, b"v%d" % number)
        store.batch().put(Table.OPEN, b"%d" % number, b"")
    store.commit()
    return store


def walk(store: MemoryStore, max_rows: int = 3, max_bytes: int = 1 << 20) -> list[HashedRange]:
    ranges, at = [], FIRST
    while at is not None:
        ranges.append(hash_range(store.batch(), len(ranges), at, max_rows, max_bytes))
        at = ranges[-1].next
    return ranges


def test_a_walk_hashes_every_row_of_every_table_once() -> None:
    ranges = [each for each in walk(filled()) if each.table]
    assert [(each.table, each.first_key, each.last_key) for each in ranges] == [
        ("tasks", b"task-0", b"task-2"),
        ("tasks", b"task-3", b"task-5"),
        ("tasks", b"task-6", b"task-8"),
        ("tasks", b"task-9", b"task-9"),
        ("open", b"0", b"2"),
        ("open", b"3", b"5"),
        ("open", b"6", b"8"),
        ("open", b"9", b"9"),
    ]


def test_a_range_is_bounded_by_bytes_too() -> None:
    assert hash_range(filled().batch(), 1, FIRST, 1000, 16).last_key == b"task-1"


def test_empty_tables_are_one_range() -> None:
    (only,) = walk(MemoryStore())
    assert (only.table, only.next) == ("", None)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        (Table.TASKS, b"task-4", b"v5"),
        (Table.TASKS, b"task-4", None),
        (Table.TASKS, b"task-41", b""),
        (Table.OPEN, b"4", None),
        (Table.REQUEST_EXPIRY, b"extra", b""),
    ],
    ids=["a changed value", "a lost row", "a row too many", "a lost index row", "a row in an empty table"],
)
def test_every_difference_changes_a_digest(table: Table, key: bytes, value: bytes | None) -> None:
    right, wrong = filled(), filled()
    if value is None:
        wrong.batch().delete(table, key)
    else:
        wrong.batch().put(table, key, value)
    assert [each.digest for each in walk(right)] != [each.digest for each in walk(wrong)]


def test_the_applied_index_which_differs_among_nodes_is_left_out() -> None:
    assert Table.META not in CHECKED_TABLES
    assert {Table.TASKS, Table.LEDGER, Table.REQUESTS} <= set(CHECKED_TABLES)


@pytest.mark.parametrize(
    ("digests", "odd"),
    [
        ({"n1": b"a", "n2": b"a", "n3": b"a"}, []),
        ({"n1": b"a"}, []),
        ({"n1": b"b", "n2": b"a", "n3": b"a"}, ["n1"]),
        ({"n1": b"a", "n2": b"a", "n3": b"b"}, ["n3"]),
        ({"n1": b"a", "n2": b"b"}, ["n1", "n2"]),
        ({"n1": b"a", "n2": b"b", "n3": b"c"}, ["n1", "n2", "n3"]),
        ({"n1": b"a", "n2": b"a", "n3": b"b", "n4": b"b"}, ["n1", "n2", "n3", "n4"]),
    ],
)
def test_who_differs_from_a_majority_is_odd(digests: dict[str, bytes], odd: list[str]) -> None:
    assert odd_ones(digests)[0] == odd


class Cluster:
    """Three memories that see the same steps."""

    def __init__(self) -> None:
        self.stores = {node: filled() for node in NODES}
        self.memories = {node: CheckMemory(node) for node in NODES}
        self.index = 0
        self.news: list[str] = []

    def run_pass(self, pass_us: int, *, steps: int = 1000, late: str = "") -> None:
        """``late``: a node that misses the first three steps."""
        last: HashedRange | None = None
        for number in range(steps):
            last = self._step(pass_us, last, late if number < 3 else "")
            if last is None:
                return

    def _step(self, pass_us: int, last: HashedRange | None, absent: str) -> HashedRange | None:
        self.index += 1
        body = check_pb2.CheckState(pass_us=pass_us, max_rows=3, max_bytes=1 << 20)
        if last is not None:
            body.found.index = last.index
            for node, memory in self.memories.items():
                if digest := memory.digest(last.index):
                    origin = memory.origin()
                    body.found.nodes.add(
                        node_id=node,
                        digest=digest,
                        cluster_identity=origin.cluster_identity,
                        since_index=origin.since_index,
                    )
        at = FIRST if last is None else last.next
        body.ends_pass = at is None
        if at is not None:
            body.start.table, body.start.key = at
        command = command_pb2.Command(version=COMMAND_VERSION, now_us=pass_us + self.index, check_state=body)
        for node, memory in self.memories.items():
            if node == absent:
                continue
            applied = apply(self.stores[node].batch(), self.index, command.SerializeToString())
            assert not applied.outcome.code, applied.outcome
            assert applied.step is not None
            self.news += [f"{node}: {each}" for each in memory.applied(applied.step)]
        return self.memories["n1"].last


def test_equal_nodes_raise_no_alarm_and_know_when_the_pass_ended() -> None:
    cluster = Cluster()
    cluster.run_pass(1000)
    assert not cluster.news
    assert {memory.last_whole_end_us for memory in cluster.memories.values()} == {1000 + cluster.index}


@pytest.mark.parametrize("odd", NODES)
def test_all_nodes_name_the_odd_one_also_when_it_leads(odd: str) -> None:
    cluster = Cluster()
    cluster.stores[odd].batch().put(Table.TASKS, b"task-4", b"other")
    cluster.run_pass(1000)
    assert len(cluster.news) == 3
    assert all(f"the state of {odd} differs from that of" in each for each in cluster.news)
    assert all("table tasks, rows task-3 to task-5" in each for each in cluster.news)
    assert {node for node, memory in cluster.memories.items() if memory.problem()} == {odd}


def test_an_alarm_says_where_the_state_of_each_comes_from_and_does_not_judge_by_number() -> None:
    cluster = Cluster()
    for node, origin in {"n1": Origin("aa", 1), "n2": Origin("aa", 4711), "n3": Origin()}.items():
        cluster.memories[node].origin = lambda origin=origin: origin
    cluster.stores["n1"].batch().put(Table.TASKS, b"task-4", b"other")
    cluster.run_pass(1000)
    said = cluster.memories["n1"].problem()
    assert "n1 holds cluster aa since entry 1; n2 holds cluster aa since entry 4711; n3 holds a cluster without" in said
    assert "Which is right does not follow from how many agree" in said
    assert "If it is right, recover from it" in said


def test_an_alarm_is_raised_once_and_goes_after_a_pass_that_does_not_find_it_again() -> None:
    cluster = Cluster()
    cluster.stores["n2"].batch().put(Table.TASKS, b"task-4", b"other")
    cluster.run_pass(1000)
    cluster.run_pass(2000)
    assert len(cluster.news) == 3
    assert cluster.memories["n2"].problem()
    cluster.stores["n2"] = filled()
    cluster.run_pass(3000)
    assert len(cluster.news) == 3
    assert not cluster.memories["n2"].problem()


def test_a_node_that_missed_steps_is_not_compared_and_has_no_whole_pass() -> None:
    cluster = Cluster()
    cluster.stores["n3"].batch().put(Table.TASKS, b"task-0", b"other")
    cluster.run_pass(1000, late="n3")
    assert cluster.news == []
    assert [cluster.memories[node].last_whole_end_us > 0 for node in NODES] == [True, True, False]
    cluster.run_pass(2000)
    assert len(cluster.news) == 3
    assert all("the state of n3 differs" in each for each in cluster.news)


def test_after_a_snapshot_a_node_has_no_whole_pass_until_the_next() -> None:
    cluster = Cluster()
    cluster.run_pass(1000, steps=2)
    cluster.memories["n2"].forget_steps()
    memory = cluster.memories["n2"]
    memory.applied(CheckStep(1500, check_pb2.CheckState(pass_us=1000, ends_pass=True), None))
    assert memory.last_whole_end_us == 0
    cluster.run_pass(2000)
    assert memory.last_whole_end_us > 2000


@pytest.mark.parametrize(
    "start", [check_pb2.StatePosition(table="log"), check_pb2.StatePosition(table="tasks", key=bytes(512))]
)
def test_a_step_that_cannot_be_carried_out_is_rejected(start: check_pb2.StatePosition) -> None:
    command = command_pb2.Command(version=COMMAND_VERSION, check_state=check_pb2.CheckState(start=start))
    applied = apply(filled().batch(), 1, command.SerializeToString())
    assert applied.outcome.code
    assert applied.step is None
