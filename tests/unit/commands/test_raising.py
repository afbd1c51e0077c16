"""When the leader raises the cluster version, and what a cluster is founded at."""

from collections.abc import Callable

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.envelope import Envelopes
from raftsched.commands.gate import Gate
from raftsched.commands.raising import VersionRaiser, founding, known_by_all, older_than
from raftsched.commands.versions import FIRST_VERSION, cluster_version
from raftsched.core.machine import apply
from raftsched.ports import Fate, Role, ShardStatus
from raftsched.store.memory_store import MemoryStore
from tests.support.versions import NEWER, NEWER_PROGRAM, OLDER
from tests.unit.scheduler.test_scheduler import ManualClock


def status(**newest: int) -> ShardStatus:
    return ShardStatus(
        Role.LEADER, 3, "a", 1, 1, 1, 1, 0, (), voters=("a", "b"), learners=("c",), newest_versions=newest
    )


class _Log:
    def __init__(self, **newest: int) -> None:
        self.newest = newest
        self.proposed: list[pb.Command] = []

    def status(self) -> ShardStatus:
        return status(**self.newest)

    def propose(self, command: bytes, done: Callable[[Fate, bytes], None], *, early: bool = False) -> None:
        self.proposed.append(pb.Command.FromString(command))
        done(Fate.DONE, b"")


def looks_once(log: _Log, term: int | None = 3, version: int = OLDER) -> list[pb.Command]:
    gate = Gate(lambda: version, NEWER_PROGRAM)
    envelopes = Envelopes(log, ManualClock(), "a", gate)  # type: ignore[arg-type]  # the part of a log that it uses
    raiser = VersionRaiser(log, envelopes, gate, ManualClock())  # type: ignore[arg-type]  # the part of a log that it uses
    raiser.lead(term)
    raiser._step()
    return log.proposed


def test_all_members_learners_too_must_have_said_that_they_know_it() -> None:
    assert known_by_all(status(a=NEWER, b=NEWER, c=NEWER)) == NEWER
    assert known_by_all(status(a=NEWER, b=NEWER, c=OLDER)) == OLDER
    assert known_by_all(status(a=NEWER, b=NEWER)) == FIRST_VERSION
    assert older_than(NEWER, status(a=NEWER, b=OLDER)) == ["b", "c"]


def test_the_leader_raises_it_once_all_members_know_a_newer_one() -> None:
    (command,) = looks_once(_Log(a=NEWER, b=NEWER, c=NEWER))
    assert (command.version, command.raise_version.to, command.term) == (NEWER, NEWER, 3)
    assert not looks_once(_Log(a=NEWER, b=OLDER, c=NEWER))
    assert not looks_once(_Log(a=NEWER, b=NEWER, c=NEWER), version=NEWER)
    assert not looks_once(_Log(a=NEWER, b=NEWER, c=NEWER), term=None)


def test_a_cluster_can_begin_at_a_newer_version() -> None:
    store = MemoryStore()
    outcome = apply(store.batch(), 3, founding(NEWER, "a", 1), NEWER_PROGRAM).outcome
    assert not outcome.code
    assert cluster_version(store.batch()) == NEWER
