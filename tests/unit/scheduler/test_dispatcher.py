"""What is given to executors and taken from them, and how much of it is under way at a time."""

import pytest
from google.protobuf.duration_pb2 import Duration
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.v1 import policy_pb2, task_pb2

from raftsched.core.machine import COMMAND_VERSION
from raftsched.core.state.model import ExecutionState
from raftsched.ports import Table
from raftsched.scheduler import dispatch
from tests.unit.scheduler.test_groups import propose, put_group
from tests.unit.scheduler.test_scheduler import SECOND_US, START_US, World


def once(second: int = 1) -> task_pb2.Schedule:
    schedule = task_pb2.Schedule()
    schedule.at.FromMicroseconds(START_US + second * SECOND_US)
    return schedule


def waiting(count: int, *, group: str = "", **settings: int) -> World:
    """One-time executions wait, and no executor is connected."""
    world = World()
    world.lead(2, **settings)
    if group:
        put_group(world, group, max_running=2)
    for number in range(count):
        world.register(f"t{number}", schedule=once(), group=group)
    world.run(1.0)
    with world.store.read() as reader:
        assert reader.count(Table.GROUPED if group else Table.PENDING) == count
    return world


def proposed(world: World, kind: str) -> list[pb.Command]:
    commands = [pb.Command.FromString(command) for command, _ in world.log.queue]
    return [command for command in commands if command.WhichOneof("kind") == kind]


def step(world: World, times: int = 3) -> None:
    """Without a word from the log."""
    for _ in range(times):
        world.scheduler.step()


def test_no_more_commands_are_under_way_than_may_be_and_each_execution_is_in_one() -> None:
    world = waiting(5, fire_batch_items=1, pipeline_commands=2)
    link = world.connect("e1")
    step(world)
    assert [len(command.assign.items) for command in proposed(world, "assign")] == [1, 1]
    world.log.pump()
    step(world)
    assert [len(command.assign.items) for command in proposed(world, "assign")] == [1, 1]
    world.settle()
    assert len({item.key.execution_id for item in link.take_assignments()}) == 5


def test_an_assignment_that_the_log_refused_is_proposed_again() -> None:
    world = waiting(1)
    link = world.connect("e1")
    step(world)
    world.log.refuse = True
    world.log.pump()
    world.log.refuse = False
    world.settle()
    assert len(link.take_assignments()) == 1


def test_what_is_under_way_counts_against_the_limit_of_its_group() -> None:
    world = waiting(5, group="db", fire_batch_items=1)
    world.connect("e1")
    step(world)
    assert sum(len(command.assign.items) for command in proposed(world, "assign")) == 2
    world = waiting(5, group="db")
    world.connect("e1")
    step(world)
    assert sum(len(command.assign.items) for command in proposed(world, "assign")) == 2


def test_an_assignment_of_a_group_that_the_log_refused_counts_against_its_limit_no_more() -> None:
    world = waiting(2, group="db")
    link = world.connect("e1")
    step(world)
    world.log.refuse = True
    world.log.pump()
    world.log.refuse = False
    world.settle()
    assert len(link.take_assignments()) == 2


def test_a_limit_that_is_raised_while_the_group_is_full_lets_more_start() -> None:
    world = waiting(4, group="db")
    link = world.connect("e1")
    world.settle()
    assert len(link.take_assignments()) == 2
    put_group(world, "db", create=False, max_running=3)
    world.heartbeat("e1")
    world.run(1.0)
    world.run(0.1)
    assert len(link.take_assignments()) == 1


@pytest.mark.parametrize("pipeline", [1, 3])
def test_an_execution_whose_task_is_gone_is_cancelled_once_with_the_reason(pipeline: int) -> None:
    world = waiting(1, fire_batch_items=1, pipeline_commands=pipeline)
    delete = pb.Command(version=COMMAND_VERSION, now_us=world.clock.now_us())
    delete.delete_task.name = "t0"
    world.log.propose(delete.SerializeToString(), lambda _fate, _outcome: None)
    world.log.pump()
    world.connect("e1")
    step(world)
    (command,) = proposed(world, "cancel_execution")
    world.settle()
    row = world.execution(command.cancel_execution.id)
    assert row.state == ExecutionState.CANCELLED
    assert row.result.error == "the task was deleted before this execution started"
    # It counts as under way, and no more once it is over.
    for number in range(5):
        world.register(f"u{number}", schedule=once(2))
    world.scheduler.disconnect(world.sessions["e1"])
    world.run(1.0)
    world.connect("e2")
    step(world)
    assert len(proposed(world, "assign")) == pipeline


def test_an_action_done_elsewhere_is_given_out_though_all_slots_stay_taken() -> None:
    world = World()
    link = world.connect("e1", slots=1)
    busy = task_pb2.Action(command=task_pb2.CommandAction(argv=["sleep", "9"]))
    world.register("busy", schedule=once(), action=busy)
    world.register("f", schedule=once(), action=task_pb2.Action(aws_lambda=task_pb2.AwsLambdaAction(function="f")))
    world.run(1.0)
    assert [item.task for item in link.take_assignments()] == ["busy"]
    world.sessions["e1"].remote_slots = 1
    for _ in range(20):
        world.run(0.01)
    assert [item.task for item in link.take_assignments()] == ["f"]


@pytest.mark.parametrize("at_most_once", [False, True])
def test_an_executor_is_told_what_may_start_at_most_once(at_most_once: bool) -> None:
    world = World()
    link = world.connect("e1")
    delivery = policy_pb2.DELIVERY_AT_MOST_ONCE if at_most_once else policy_pb2.DELIVERY_AT_LEAST_ONCE
    world.register("t", schedule=once(), delivery=delivery)
    world.run(1.0)
    (item,) = link.take_assignments()
    assert item.at_most_once == at_most_once


def given(world: World, executor_id: str, *, started: bool = True) -> xpb.AttemptKey:
    """A one-time execution that the executor has."""
    world.register(f"of-{executor_id}", schedule=once(), executor_labels={"name": executor_id})
    link = world.connect(executor_id, name=executor_id)
    world.clock.us = START_US + SECOND_US
    world.settle()
    (item,) = link.take_assignments()
    if started:
        world.report(executor_id, item, ExecutionState.RUNNING)
    return item.key


@pytest.mark.parametrize("started", [False, True])
def test_a_cancellation_is_told_to_the_executor_that_has_it_and_nothing_is_given_again(started: bool) -> None:
    world = World()
    key = given(world, "e1", started=started)
    link = world.connect("e1", held=[(key.execution_id, 1)])
    link.sent.clear()
    propose(world, pb.Command(cancel_execution=pb.CancelExecution(id=key.execution_id)))
    world.settle()
    assert [each for message in link.sent for each in message.cancel.keys] == [key]
    assert link.take_assignments() == []


@pytest.mark.parametrize("back", ["e1", "e2", "e3"])
def test_a_new_leader_gives_an_executor_what_it_lacks_while_others_are_away(back: str) -> None:
    world = World()
    keys = {executor_id: given(world, executor_id) for executor_id in ("e1", "e2", "e3")}
    world.lead(2)
    link = world.connect(back, name=back)
    world.settle()
    assert [item.key for item in link.take_assignments()] == [keys[back]]


@pytest.mark.parametrize("other", ["another attempt", "of another executor", "has ended", "unknown"])
def test_what_an_executor_holds_and_should_not_is_revoked_and_the_rest_is_its_own(other: str) -> None:
    world = World()
    good, bad = given(world, "e1"), given(world, "e2")
    wrong = {
        "another attempt": (good.execution_id, 2),
        "of another executor": (bad.execution_id, 1),
        "has ended": (bad.execution_id, 1),
        "unknown": (bytes(16), 1),
    }[other]
    if other == "has ended":
        item = xpb.Assignment(key=bad)
        world.report("e2", item, ExecutionState.SUCCEEDED)
    link = world.connect("e1", held=[wrong, (good.execution_id, 1)], name="e1")
    welcome = link.sent[0].welcome
    assert [(key.execution_id, key.attempt) for key in welcome.revoked] == [wrong]
    assert world.sessions["e1"].held.keys() == {(good.execution_id, 1)}


def test_what_no_executor_fits_does_not_hold_up_others_however_much_of_it_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "_SCAN_ROWS", 2)
    world = World()
    for number in range(5):
        world.register(f"nowhere-{number}", schedule=once(1 + number), executor_labels={"zone": "nowhere"})
    world.register("fits", schedule=once(6))
    world.run(6.0)
    link = world.connect("e1")
    for _ in range(5):
        world.run()
    assert [item.task for item in link.take_assignments()] == ["fits"]


def test_when_there_is_room_again_the_oldest_that_fits_goes_first() -> None:
    world = World()
    world.register("a", schedule=once(1), executor_labels={"zone": "a"})
    for second, name in enumerate("bcd", start=2):
        world.register(name, schedule=once(second))
    world.run(4.0)
    link = world.connect("e1", slots=1)
    world.settle()
    (first,) = link.take_assignments()
    world.scheduler.step()
    world.report("e1", first, ExecutionState.SUCCEEDED)
    world.sessions["e1"].slots, world.sessions["e1"].burst = 1, 0
    (second_item,) = link.take_assignments()
    assert (first.task, second_item.task) == ("b", "c")
    other = world.connect("ea", slots=1, zone="a")
    world.settle()
    assert [item.task for item in other.take_assignments()] == ["a"]


def test_what_found_no_executor_is_tried_first_again_after_all_slots_were_taken() -> None:
    world = World()
    world.register("a", schedule=once(1), executor_labels={"zone": "a"})
    for second, name in enumerate("bcd", start=2):
        world.register(name, schedule=once(second))
    world.run(4.0)
    world.scheduler._dispatcher._full_steps = 1
    link = world.connect("e1", slots=1)
    world.scheduler.step()
    other = world.connect("ea", slots=1, zone="a")
    world.settle()
    assert [item.task for item in link.take_assignments()] == ["b"]
    assert [item.task for item in other.take_assignments()] == ["a"]


def test_an_attempt_that_is_tried_again_counts_as_finished_by_its_executor() -> None:
    world = World()
    link = world.connect("e1")
    policy = task_pb2.RetryPolicy(max_attempts=2, initial_backoff=Duration(seconds=60))
    world.register("t", schedule=once(), retry=policy)
    world.run(1.0)
    (item,) = link.take_assignments()
    world.report("e1", item, ExecutionState.FAILED)
    session = world.sessions["e1"]
    assert world.execution(item.key.execution_id).state == ExecutionState.PENDING
    assert not session.held
    assert session.ended_since + session.burst > 0


@pytest.mark.parametrize(
    ("grouped", "alone", "first"),
    [((0, 1), (5, 2), "alone"), ((0, 2), (-1, 1), "grouped"), ((5, 2), (0, 1), "grouped"), ((0, 2), (0, 1), "alone")],
    ids=["higher alone", "lower alone", "higher grouped", "older alone"],
)
def test_what_waits_in_a_group_and_what_waits_alone_go_by_priority_and_then_by_time(
    grouped: tuple[int, int], alone: tuple[int, int], first: str
) -> None:
    world = World()
    put_group(world, "db", max_running=5)
    for name, (priority, second), group in (("grouped", grouped, "db"), ("alone", alone, "")):
        world.register(name, schedule=once(second), priority=priority, group=group)
    world.run(2.0)
    link = world.connect("e1", slots=1)
    world.settle()
    assert [item.task for item in link.take_assignments()] == [first]


def test_what_an_executor_comes_back_with_takes_the_slots_that_it_took() -> None:
    world = World()
    key = given(world, "e1")
    world.lead(2)
    world.connect("e1", slots=3, held=[(key.execution_id, 1)], name="e1")
    session = world.sessions["e1"]
    assert (session.free, session.remote) == (2, set())
