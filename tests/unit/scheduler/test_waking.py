"""Rows whose time has come are named in one command at a time."""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.state import ids
from raftsched.core.state.rows import notice_key, timer_key
from raftsched.ports import Fate, Table
from raftsched.scheduler import waking
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.scheduler.waking import Waker
from tests.unit.scheduler.test_scheduler import START_US, World

FIRST, SECOND, THIRD = (ids.execution_id(number, 1, START_US) for number in (1, 2, 3))


def step(world: World, waker: Waker) -> list[pb.Command]:
    """What was proposed by a step; the log does not answer."""
    before = len(world.log.queue)
    with world.store.read() as reader:
        waker.step(reader)
    return [pb.Command.FromString(command) for command, _ in list(world.log.queue)[before:]]


def next_due(world: World, waker: Waker) -> int:
    with world.store.read() as reader:
        return waker.next_due_us(reader)


def test_what_is_due_by_now_is_named_and_nothing_more_until_the_log_has_answered() -> None:
    world = World()
    waker = waking.executions(world.scheduler._proposer, SchedulerSettings())
    assert (step(world, waker), next_due(world, waker)) == ([], 0)
    for due_us, execution_id in ((START_US - 5, FIRST), (START_US, SECOND), (START_US + 1, THIRD)):
        world.store.batch().put(Table.TIMERS, timer_key(due_us, execution_id), b"")
    world.store.commit()
    assert next_due(world, waker) == START_US - 5
    (command,) = step(world, waker)
    assert [(item.due_us, item.id) for item in command.wake.items] == [(START_US - 5, FIRST), (START_US, SECOND)]
    assert (step(world, waker), next_due(world, waker)) == ([], 0)
    _, done = world.log.queue.pop()
    done(Fate.NOT_LEADER, b"")
    (again,) = step(world, waker)
    assert len(again.wake.items) == 2


def test_a_command_names_no_more_than_a_batch() -> None:
    world = World()
    waker = waking.executions(world.scheduler._proposer, SchedulerSettings(fire_batch_items=2))
    for execution_id in (FIRST, SECOND, THIRD):
        world.store.batch().put(Table.TIMERS, timer_key(START_US, execution_id), b"")
    world.store.commit()
    (command,) = step(world, waker)
    assert len(command.wake.items) == 2


def test_a_watch_is_named_with_its_occasion() -> None:
    world = World()
    waker = waking.watches(world.scheduler._proposer, SchedulerSettings())
    world.store.batch().put(Table.WATCHES, notice_key(START_US - 1, FIRST, 3), b"")
    world.store.commit()
    (command,) = step(world, waker)
    assert [(item.due_us, item.id, item.occasion) for item in command.check_watches.items] == [(START_US - 1, FIRST, 3)]
