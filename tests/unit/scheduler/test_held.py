"""What an executor says that it holds is looked up in parts, while the leader goes on."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2 as xpb

from raftsched.core.state.model import ExecutionState
from tests.unit.scheduler.test_dispatcher import given, propose
from tests.unit.scheduler.test_scheduler import Link, World


def hello(executor_id: str, *keys: xpb.AttemptKey) -> xpb.Hello:
    return xpb.Hello(executor_id=executor_id, incarnation="i", slots=8, labels={"name": executor_id}, held=keys)


@pytest.mark.parametrize("looked", [0, 1, 2])
def test_what_ends_while_others_are_looked_up_is_revoked(looked: int) -> None:
    world = World()
    key, other = given(world, "e1"), xpb.AttemptKey(execution_id=bytes(16), attempt=1)
    link = Link()
    with world.scheduler.look_up(hello("e1", key, other)) as held, world.store.read() as reader:
        held.look(reader, looked)
        world.report("e1", xpb.Assignment(key=key), ExecutionState.SUCCEEDED)
        session = world.scheduler.connect(hello("e1", key, other), held, link)
    assert list(link.sent[0].welcome.revoked) == [key, other]
    assert session.held == {}


@pytest.mark.parametrize("looked", [0, 1])
def test_what_is_cancelled_while_others_are_looked_up_is_cancelled_with_the_executor(looked: int) -> None:
    world = World()
    key = given(world, "e1")
    link = Link()
    with world.scheduler.look_up(hello("e1", key)) as held, world.store.read() as reader:
        held.look(reader, looked)
        propose(world, pb.Command(cancel_execution=pb.CancelExecution(id=key.execution_id)))
        world.settle()
        session = world.scheduler.connect(hello("e1", key), held, link)
    assert [each for message in link.sent for each in message.cancel.keys] == [key]
    assert session.held.keys() == {(key.execution_id, 1)}


def test_parts_are_as_large_as_is_asked_for() -> None:
    world = World()
    keys = [xpb.AttemptKey(execution_id=number.to_bytes(16, "big"), attempt=1) for number in range(5)]
    with world.scheduler.look_up(hello("e1", *keys)) as held, world.store.read() as reader:
        assert [held.look(reader, 2) for _ in range(3)] == [False, False, True]
