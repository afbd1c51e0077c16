"""Which executor is given what, and what one is told that comes back."""

from raftsched.internal.v1 import command_pb2 as pb
from tests.unit.scheduler.test_groups import propose
from tests.unit.scheduler.test_scheduler import World


def test_the_executor_with_the_most_room_is_given_the_next() -> None:
    world = World()
    small, large = world.connect("small", slots=2), world.connect("large", slots=6)
    for number in range(4):
        world.register(f"t{number}")
    world.run(1.0)
    assert (len(small.take_assignments()), len(large.take_assignments())) == (0, 4)


def test_a_new_stream_of_an_executor_replaces_the_old_one_whose_end_then_means_nothing() -> None:
    world = World()
    old_link = world.connect("e1")
    old = world.sessions["e1"]
    link = world.connect("e1")
    assert (old_link.closed, link.closed) == (True, False)
    world.scheduler.disconnect(old)
    world.register("tick")
    world.run(1.0)
    assert len(link.take_assignments()) == 1


def test_an_executor_that_was_away_when_its_attempt_was_cancelled_is_told_when_it_is_back() -> None:
    world = World()
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    world.scheduler.disconnect(world.sessions["e1"])
    propose(world, pb.Command(cancel_execution=pb.CancelExecution(id=item.key.execution_id)))
    again = world.connect("e1", held=[(item.key.execution_id, 1)])
    assert [key for message in again.sent for key in message.cancel.keys] == [item.key]


def test_what_an_executor_held_is_taken_back_once_however_long_the_log_takes() -> None:
    world = World()
    world.connect("e1")
    world.register("tick")
    world.run(1.0)
    world.scheduler.disconnect(world.sessions["e1"])
    world.pass_time(3)
    for _ in range(3):
        world.clock.advance(1.5)
        world.scheduler.step()
    commands = [pb.Command.FromString(command) for command, _ in world.log.queue]
    assert [command.WhichOneof("kind") for command in commands].count("expire") == 1
