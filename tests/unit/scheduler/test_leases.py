"""When attempts are taken back from executors that are not heard of."""

from collections.abc import Iterable

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.envelope import Envelopes
from raftsched.commands.gate import Gate
from raftsched.core.machine import COMMAND_VERSION
from raftsched.core.state.rows import active_value
from raftsched.ports import Table
from raftsched.scheduler.assigned import Assigned
from raftsched.scheduler.executors import AttemptKey
from raftsched.scheduler.leases import Leases
from raftsched.scheduler.proposer import Proposer
from raftsched.store.memory_store import MemoryStore
from tests.unit.scheduler.test_scheduler import World

LEASE_S, LOOK_S = 5.0, 1.0
ATTEMPTS: list[AttemptKey] = [(b"a" * 16, 1), (b"b" * 16, 2)]


def held_by(executor_id: str, attempts: Iterable[AttemptKey]) -> Assigned:
    store = MemoryStore()
    for execution_id, attempt in attempts:
        store.batch().put(Table.ACTIVE, execution_id, active_value(attempt, executor_id))
    store.commit()
    with store.read() as reader:
        return Assigned(reader)


HELD, NOTHING = held_by("e1", ATTEMPTS), held_by("e1", [])


class Watch:
    """Leases, and the log that they propose to."""

    def __init__(self) -> None:
        world = World()
        self.log = world.log
        envelopes = Envelopes(world.log, world.clock, "n1", Gate(lambda: COMMAND_VERSION))
        proposer = Proposer(envelopes, world.clock, 1, lambda: None)
        self.leases = Leases(proposer, int(LEASE_S * 1000), LOOK_S)
        self.now_s = 100.0

    def look(self, seconds: float, assigned: Assigned = HELD) -> list[str]:
        """Look every second; who was found gone in the last look."""
        found: list[str] = []
        for _ in range(round(seconds / LOOK_S)):
            self.now_s += LOOK_S
            found = self.leases.expire(assigned, self.now_s)
        return found

    def proposed(self) -> Iterable[pb.Expire.Item]:
        return [item for command, _ in self.log.queue for item in pb.Command.FromString(command).expire.items]


def test_executor_that_holds_something_and_was_never_heard_has_one_lease() -> None:
    watch = Watch()
    assert watch.look(5) == []
    assert watch.look(1) == ["e1"]
    assert [(item.id, item.expected_attempt) for item in watch.proposed()] == ATTEMPTS
    assert {item.reason for item in watch.proposed()} == {"the executor e1 was not heard of for 5 s"}


def test_what_is_being_taken_back_is_not_taken_back_again_and_what_was_refused_is() -> None:
    watch = Watch()
    watch.look(8)
    assert len(watch.log.queue) == 1
    watch.log.refuse = True
    watch.log.pump()
    watch.look(1)
    assert len(watch.log.queue) == 1, "proposed again"


def test_what_an_executor_held_before_a_herd_is_taken_back_in_a_few_looks() -> None:
    many = [(number.to_bytes(16, "big"), 1) for number in range(20_000)]
    watch = Watch()
    watch.look(6, held_by("e1", many))
    assert [len(pb.Command.FromString(command).expire.items) for command, _ in watch.log.queue] == [1_000] * 8
    assert [(item.id, item.expected_attempt) for item in watch.proposed()] == many[:8_000]


def test_whoever_is_heard_keeps_what_it_holds() -> None:
    watch = Watch()
    for _ in range(10):
        assert watch.look(4) == []
        watch.leases.renew("e1", watch.now_s)
    assert watch.look(5) == ["e1"]


def test_lease_of_who_holds_nothing_ends_without_a_word() -> None:
    watch = Watch()
    watch.leases.renew("e2", watch.now_s)
    assert watch.leases.holders() == ["e2"]
    watch.look(5, NOTHING)
    assert (watch.leases.holders(), list(watch.proposed())) == ([], [])


def test_leader_that_stood_still_for_more_than_half_a_lease_gives_everyone_a_whole_one() -> None:
    watch = Watch()
    watch.look(1)
    watch.now_s += LOOK_S + LEASE_S / 2 + 0.1
    assert watch.leases.expire(HELD, watch.now_s) == []
    assert watch.look(4) == []
    assert watch.look(1) == ["e1"]


def test_leader_that_was_a_little_late_gives_nobody_more() -> None:
    watch = Watch()
    watch.look(1)
    watch.now_s += LOOK_S + LEASE_S / 2 - 0.1
    watch.leases.expire(HELD, watch.now_s)
    assert watch.look(2) == ["e1"]
