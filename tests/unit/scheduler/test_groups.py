"""Limits that tasks share, through the leader's work against real tables."""

import pytest
from google.protobuf.duration_pb2 import Duration
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import group_pb2

from raftsched.core import machine
from raftsched.core.machine import COMMAND_VERSION
from raftsched.core.state.model import ExecutionState
from raftsched.ports import Fate, Table
from tests.unit.scheduler.test_scheduler import START_US, Link, World

SUCCEEDED = ExecutionState.SUCCEEDED


def propose(world: World, command: pb.Command) -> pb.Outcome:
    command.version, command.now_us = COMMAND_VERSION, world.clock.now_us()
    outcomes: list[bytes] = []

    def done(fate: Fate, outcome: bytes) -> None:
        assert fate is Fate.DONE
        outcomes.append(outcome)

    world.log.propose(command.SerializeToString(), done)
    world.log.pump()
    return pb.Outcome.FromString(outcomes[0])


def put_group(world: World, name: str, *, create: bool = True, period_s: int = 0, **limits: int) -> pb.Outcome:
    group = group_pb2.Group(name=name, period=Duration(seconds=period_s), **limits)
    return propose(world, pb.Command(put_group=pb.PutGroup(group=group, create=create)))


def group(world: World, name: str) -> pb.GroupRow:
    with world.store.read() as reader:
        return pb.GroupRow.FromString(reader.get(Table.GROUPS, name.encode()) or b"")


def finish(world: World, link: Link, executor_id: str = "e1", count: int = 0) -> int:
    """Report success for what the executor was sent (as many as ``count``, 0: all); returns how many it was sent."""
    items = link.take_assignments()
    for item in items[: count or len(items)]:
        world.report(executor_id, item, SUCCEEDED)
    return len(items)


def test_no_more_of_a_group_run_than_it_allows_and_the_others_follow() -> None:
    world = World()
    link = world.connect("e1", slots=100)
    put_group(world, "db", max_running=2)
    for number in range(5):
        world.register(f"t{number}", group="db")
    world.register("free")
    world.run(1.0)
    items = link.take_assignments()
    assert sum(item.task != "free" for item in items) == 2
    assert sum(item.task == "free" for item in items) == 1
    assert group(world, "db").running == 2
    for item in items:
        world.report("e1", item, SUCCEEDED)
    assert [finish(world, link), finish(world, link)] == [2, 1]
    assert group(world, "db").running == 0
    with world.store.read() as reader:
        assert reader.count(Table.GROUPED) == reader.count(Table.HELD) == 0


def test_another_leader_keeps_to_the_limit_and_goes_on() -> None:
    world = World()
    link = world.connect("e1", slots=100)
    put_group(world, "db", max_running=1)
    for number in range(3):
        world.register(f"t{number}", group="db")
    world.run(1.0)
    (item,) = link.take_assignments()
    world.lead(2)
    link = world.connect("e1", slots=100, held=[(item.key.execution_id, 1)])
    world.run(0.1)
    assert link.take_assignments() == []
    world.report("e1", item, SUCCEEDED)
    assert [finish(world, link), finish(world, link)] == [1, 1]


def test_a_leader_that_saw_room_which_is_gone_is_refused_where_the_entry_is_applied() -> None:
    world = World()
    world.connect("e1", slots=100)
    put_group(world, "db", max_running=1)
    for number in range(2):
        world.register(f"t{number}", group="db")
    world.run(1.0)
    with world.store.read() as reader:
        (waiting,) = (key[-16:] for key, _ in reader.scan(Table.GROUPED))
    command = pb.Command()
    command.assign.items.add(id=waiting, expected_attempt=1, executor_id="e1")
    propose(world, command)
    assert world.execution(waiting).state == ExecutionState.PENDING
    assert group(world, "db").running == 1


def test_the_higher_priority_of_a_group_goes_first_and_then_the_older_nominal_time() -> None:
    world = World()
    put_group(world, "db", max_running=1)
    world.register("low", group="db", priority=-1)
    world.register("high", group="db", priority=5)
    world.run(2.0)
    link = world.connect("e1", slots=100)
    world.settle()
    order = []
    while items := link.take_assignments():
        order += [(item.task, (item.nominal_us - START_US) // 1_000_000) for item in items]
        for item in items:
            world.report("e1", item, SUCCEEDED)
    assert order == [("high", 1), ("high", 2), ("low", 1), ("low", 2)]


def test_starts_within_any_period_are_bounded_and_the_limit_outlives_the_leader() -> None:
    world = World()
    link = world.connect("e1", slots=100)
    put_group(world, "api", max_starts=2, period_s=10)
    world.register("t", group="api")
    starts: list[int] = []
    for tenth in range(300):
        world.heartbeat("e1")
        world.run(0.1)
        starts += [tenth] * finish(world, link)
        if tenth == 150:
            world.lead(2)
            link = world.connect("e1", slots=100)
    assert len(starts) == 6
    for first, third in zip(starts, starts[2:], strict=False):
        assert third - first >= 100, f"three starts within 10 s: {starts}"
    with world.store.read() as reader:
        assert reader.count(Table.GROUP_STARTS) <= 2


def test_what_no_executor_can_take_does_not_keep_others_of_the_group_waiting() -> None:
    world = World()
    link = world.connect("e1", slots=100)
    put_group(world, "db", max_running=1)
    world.register("aaa-nowhere", group="db", executor_labels={"zone": "mars"}, priority=9)
    world.register("here", group="db")
    world.run(1.0)
    assert [item.task for item in link.take_assignments()] == ["here"]


def test_a_start_deadline_holds_in_a_group() -> None:
    world = World()
    link = world.connect("e1", slots=100)
    put_group(world, "db", max_running=1)
    for name in ("first", "second"):
        world.register(name, group="db", start_deadline=Duration(seconds=2))
    world.run(1.0)
    (item,) = link.take_assignments()
    other = {"first": "second", "second": "first"}[item.task]
    world.heartbeat("e1")
    world.run(3.0)
    assert "start deadline" in world.ledger(other)[0][1].reason
    with world.store.read() as reader:
        waiting = [key[-16:] for key, _ in reader.scan(Table.GROUPED)]
    assert waiting
    assert all(world.execution(each).nominal_us > item.nominal_us for each in waiting)


def test_limits_that_were_raised_hold_within_a_second() -> None:
    world = World()
    link = world.connect("e1", slots=100)
    put_group(world, "db", max_running=1)
    for number in range(4):
        world.register(f"t{number}", group="db")
    world.run(1.0)
    assert len(link.take_assignments()) == 1
    put_group(world, "db", create=False, max_running=3)
    world.heartbeat("e1")
    world.run(0.9)
    world.run(0.2)
    assert len([item for item in link.take_assignments() if item.nominal_us == START_US + 1_000_000]) == 2


def test_a_group_is_not_deleted_while_a_task_is_in_it_and_must_exist() -> None:
    world = World()
    put_group(world, "db", max_running=1)
    assert put_group(world, "db", max_running=1).code == machine.ALREADY_EXISTS
    assert put_group(world, "no", create=False, max_running=1).code == machine.NOT_FOUND
    world.register("t", group="db")
    delete = pb.Command(delete_group=pb.DeleteGroup(name="db"))
    outcome = propose(world, delete)
    assert (outcome.code, outcome.message) == (
        machine.FAILED_PRECONDITION,
        "1 tasks are in the group 'db': change them first",
    )
    propose(world, pb.Command(delete_task=pb.DeleteTask(name="t")))
    assert propose(world, delete).code == machine.OK
    command = pb.Command()
    command.register_tasks.items.add().task.CopyFrom(pb.TaskRow().task)
    command.register_tasks.items[0].task.name = "u"
    command.register_tasks.items[0].task.group = "db"
    (result,) = propose(world, command).results
    assert (result.field, result.message) == ("task.group", "there is no group named 'db'")


def test_a_full_group_costs_no_look_at_what_waits_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.connect("e1", slots=100)
    put_group(world, "db", max_running=1)
    for number in range(50):
        world.register(f"t{number}", group="db")
    world.run(1.0)
    scans: list[Table] = []
    reader_type = type(world.store.batch())
    original = reader_type.scan

    def counted(self: object, table: Table, *arguments: object, **keywords: object) -> object:
        scans.append(table)
        return original(self, table, *arguments, **keywords)

    monkeypatch.setattr(reader_type, "scan", counted)
    world.scheduler._dispatcher.assign_pending(world.store.batch())
    assert Table.PENDING in scans
    assert Table.GROUPED not in scans
