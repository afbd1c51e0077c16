"""What becomes of the reports of executors on their way into the log."""

import pytest

from raftsched.core.model import ExecutionState
from raftsched.internal.v1 import executor_pb2 as xpb
from raftsched.scheduler import reports
from tests.unit.scheduler.test_scheduler import Link, World

SUCCEEDED = ExecutionState.SUCCEEDED


def acknowledged(link: Link) -> list[xpb.AttemptKey]:
    return [key for message in link.sent for key in message.acknowledge.keys]


def send(world: World, items: list[xpb.Assignment], state: ExecutionState = SUCCEEDED) -> None:
    message = xpb.ConnectRequest()
    for item in items:
        message.reports.items.add(key=item.key, state=state, start_us=world.clock.us, end_us=world.clock.us)
    world.scheduler.receive(world.sessions["e1"], message)


def test_an_end_that_the_log_refused_is_proposed_again_and_acknowledged_only_then() -> None:
    world = World()
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    send(world, [item])
    world.log.refuse = True
    world.scheduler.step()
    assert world.log.pump() == 1
    assert acknowledged(link) == []
    world.log.refuse = False
    world.settle()
    assert acknowledged(link) == [item.key]
    assert world.execution(item.key.execution_id).state == SUCCEEDED


def test_a_start_is_recorded_and_not_acknowledged_as_an_end_is() -> None:
    world = World()
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    send(world, [item], ExecutionState.RUNNING)
    world.settle()
    assert world.execution(item.key.execution_id).state == ExecutionState.RUNNING
    assert acknowledged(link) == []


def test_an_executor_whose_reports_find_no_room_is_cut_off_and_sends_them_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reports, "_MAX_QUEUED", 2)
    world = World()
    link = world.connect("e1")
    world.register("tick")
    world.run(3.0)
    first, second, third = link.take_assignments()
    send(world, [first, second, third])
    assert link.closed
    world.settle()
    assert acknowledged(link) == [first.key, second.key]
    again = world.connect("e1", held=[(third.key.execution_id, 1)])
    send(world, [third])
    world.settle()
    assert acknowledged(again) == [third.key]
