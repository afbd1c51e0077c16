"""How much of what waits in a group may start."""

import pytest
from google.protobuf.duration_pb2 import Duration
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import group_pb2

from raftsched.core.state.rows import group_start_key, grouped_key
from raftsched.ports import Table
from raftsched.scheduler import group_queues
from raftsched.scheduler.group_queues import GroupQueues
from raftsched.store.memory_store import MemoryStore

NOW_US = 1_800_000_000_000_000
PERIOD_US = 10_000_000


def execution(number: int) -> bytes:
    return number.to_bytes(16, "big")


class Tables:
    """Groups and what waits in them."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.queues = GroupQueues()

    def group(
        self, name: str, *, running: int = 0, starts: tuple[int, ...] = (), waiting: int = 1, **limits: int
    ) -> None:
        """``starts``: how long ago, in microseconds."""
        batch = self.store.batch()
        group = group_pb2.Group(name=name, period=Duration(seconds=PERIOD_US // 1_000_000), **limits)
        row = pb.GroupRow(group=group, running=running, starts=len(starts))
        batch.put(Table.GROUPS, name.encode(), row.SerializeToString())
        for number, ago_us in enumerate(starts):
            batch.put(Table.GROUP_STARTS, group_start_key(name, NOW_US - ago_us, execution(100 + number)), b"")
        for number in range(waiting):
            batch.put(Table.GROUPED, grouped_key(name, 0, execution(number)), b"")
        self.store.commit()
        self.queues.mark(name)

    def rooms(self) -> dict[str, int]:
        with self.store.read() as reader:
            return {queue.name: queue.room for queue in self.queues.open(reader, NOW_US)}

    def look(self) -> list[int]:
        """Numbers of what waits in the only group, as far as one look goes."""
        with self.store.read() as reader:
            (queue,) = self.queues.open(reader, NOW_US)
            return [int.from_bytes(found, "big") for _, found, _ in queue.waiting(reader)]


def test_a_group_in_which_nothing_waits_hides_no_other() -> None:
    tables = Tables()
    tables.group("a", max_running=1, waiting=0)
    tables.group("b", max_running=1)
    assert tables.rooms() == {"b": 1}


@pytest.mark.parametrize(("running", "reserved", "room"), [(0, 0, 3), (1, 1, 1), (2, 1, 0), (3, 0, 0)])
def test_what_runs_and_what_is_under_way_take_of_the_limit(running: int, reserved: int, room: int) -> None:
    tables = Tables()
    tables.group("a", running=running, max_running=3)
    tables.queues.reserve(["a"] * reserved, 1)
    assert tables.rooms() == ({"a": room} if room else {})
    tables.queues.reserve(["a"] * reserved, -1)
    if running < 3:
        assert tables.rooms() == {"a": 3 - running}


@pytest.mark.parametrize(
    ("starts", "reserved", "room"),
    [
        ((), 0, 2),
        ((), 1, 1),
        ((1,), 0, 1),
        ((1, 2), 0, 0),
        ((1, PERIOD_US - 1), 0, 0),
        ((1, PERIOD_US), 0, 1),
        ((PERIOD_US, PERIOD_US + 1), 0, 2),
        ((PERIOD_US, PERIOD_US + 1), 1, 1),
        ((-PERIOD_US, -PERIOD_US), 0, 0),
        ((-PERIOD_US - 1, -PERIOD_US - 1), 0, 1),
    ],
    ids=["none", "one under way", "one", "full", "all within", "one no longer", "none any more", "and one under way",
         "within a period ahead", "beyond a period ahead"],
)  # fmt: skip
def test_starts_count_for_a_period(starts: tuple[int, ...], reserved: int, room: int) -> None:
    tables = Tables()
    tables.group("a", starts=starts, max_starts=2)
    tables.queues.reserve(["a"] * reserved, 1)
    assert tables.rooms() == ({"a": room} if room else {})


def test_both_limits_hold_where_a_group_has_both() -> None:
    tables = Tables()
    tables.group("a", starts=(1,), max_starts=1, max_running=1)
    assert tables.rooms() == {}
    tables = Tables()
    tables.group("a", running=1, starts=(1,), max_starts=5, max_running=2)
    assert tables.rooms() == {"a": 1}


def test_a_look_that_is_cut_short_goes_on_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_queues, "_SCAN_ROWS", 2)
    tables = Tables()
    tables.group("a", waiting=5, max_running=2)
    assert [tables.look() for _ in range(4)] == [[0, 1], [2, 3], [4], [0, 1]]


def test_a_look_ends_where_the_room_does() -> None:
    tables = Tables()
    tables.group("a", waiting=5, max_running=2)
    with tables.store.read() as reader:
        (queue,) = tables.queues.open(reader, NOW_US)
        found = []
        for _, execution_id, of_queue in queue.waiting(reader):
            assert of_queue is queue
            queue.room -= 1
            found.append(int.from_bytes(execution_id, "big"))
    assert found == [0, 1]
