"""What waits for one executor is bounded in bytes, and what finds no room waits in the table."""

import asyncio

from raftsched_proto.internal.v1 import executor_pb2 as xpb

from raftsched.core.state.model import ExecutionState
from raftsched.net.channels import MAX_MESSAGE_BYTES
from raftsched.scheduler.service import MAX_QUEUED_BYTES, StreamLink
from tests.unit.scheduler.test_scheduler import START_US, World

BIG = 200 << 10
"""Of one definition, in bytes: near its bound."""


def assignment(size_bytes: int) -> xpb.ConnectResponse:
    message = xpb.ConnectResponse()
    message.assignments.items.add(task="x" * size_bytes)
    return message


def is_closed(link: StreamLink) -> bool:
    return link._closed


def read(link: StreamLink, count: int | None = None) -> list[xpb.ConnectResponse]:
    """What the stream takes from the queue: all that is there, or so many."""

    async def take() -> list[xpb.ConnectResponse]:
        found: list[xpb.ConnectResponse] = []
        messages = link.messages()
        while link._queue.qsize() and len(found) != count:
            found.append(await anext(messages))
        return found

    return asyncio.run(take())


def test_link_that_nobody_reads_is_cut_off_at_its_bound() -> None:
    link = StreamLink()
    megabyte = assignment(1 << 20)
    sent = 0
    while not is_closed(link):
        link.send(megabyte)
        sent += 1
    assert sent == MAX_QUEUED_BYTES >> 20, "the last one found no room"
    link.send(megabyte)
    assert link._queue.qsize() == sent, "all but the last, and the end"


def test_small_messages_count_too() -> None:
    link = StreamLink()
    for _ in range(MAX_QUEUED_BYTES // 256):
        link.send(xpb.ConnectResponse())
    assert not is_closed(link)
    link.send(xpb.ConnectResponse())
    assert is_closed(link)


def test_half_full_link_has_no_room_for_assignments_until_it_is_read() -> None:
    link = StreamLink()
    while link.has_room:
        link.send(assignment(1 << 20))
    assert link._queue.qsize() == MAX_QUEUED_BYTES >> 21
    read(link, 1)
    assert link.has_room
    assert not is_closed(link)


def big_tasks(world: World, count: int) -> None:
    for number in range(count):
        world.register(f"t{number}", action={"command": {"argv": ["cat"], "stdin": b"x" * BIG}})


def test_definitions_that_together_exceed_a_message_are_sent_in_several() -> None:
    world = World()
    link = StreamLink()
    world.admit("e1", link, slots=200)
    big_tasks(world, 30)
    world.run(1.0)
    messages = [message for message in read(link) if message.HasField("assignments")]
    assert sum(len(message.assignments.items) for message in messages) == 30
    assert len(messages) == 5
    assert max(message.ByteSize() for message in messages) < MAX_MESSAGE_BYTES / 8


def test_what_finds_no_room_is_sent_when_the_executor_has_read() -> None:
    world = World()
    link = StreamLink()
    world.admit("e1", link, slots=200)
    big_tasks(world, 100)
    world.run(1.0)
    assert not is_closed(link)
    assert not link.has_room
    seen: list[xpb.Assignment] = []
    for _ in range(6):
        seen += [item for message in read(link) for item in message.assignments.items]
        world.heartbeat("e1")
        world.run(1.0)
    first = [item for item in seen if item.nominal_us == START_US + 1_000_000]
    assert sorted(item.task for item in first) == sorted(f"t{number}" for number in range(100))
    assert len({item.key.execution_id for item in seen}) == len(seen), "nothing is sent twice"
    assert {world.execution(item.key.execution_id).state for item in first} == {ExecutionState.ASSIGNED}


def test_executor_that_does_not_read_is_given_nothing_more() -> None:
    world = World()
    link = world.connect("e1", slots=8)
    other = world.connect("e2", slots=1)
    link.has_room = False
    for name in ("a", "b"):
        world.register(name)
    world.run(1.0)
    assert link.take_assignments() == []
    assert len(other.take_assignments()) == 1
