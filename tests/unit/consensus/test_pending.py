"""How proposals and reads are counted while they are on their way, and that each ends once."""

import pytest

from raftsched.consensus.pending import Call, PendingProposals, PendingReads
from raftsched.consensus.settings import Settings
from raftsched.ports import Fate
from tests.support.raft_bench import ManualClock

DEADLINE_S = 5.0


class Proposals(PendingProposals):
    """With the ends in the order in which they come."""

    def __init__(self, **settings: int) -> None:
        self.clock = ManualClock()
        self.calls: list[Call] = []
        self.early_calls: list[Call] = []
        limits = Settings(proposal_deadline_s=DEADLINE_S, **settings)
        super().__init__(self.clock, limits, self.calls, self.early_calls)
        self.ends: list[tuple[bytes, Fate]] = []
        self.last_index = 0

    def propose(self, command: bytes) -> None:
        self.add(command, lambda fate, _outcome: self.ends.append((command, fate)))

    def track_entry(self, size_bytes: int) -> int:
        """Of an entry that somebody else appended; its index."""
        self.last_index += 1
        self.track(self.last_index, 1, size_bytes, lambda fate, _outcome: self.ends.append((b"tracked", fate)))
        return self.last_index

    def append_all(self) -> None:
        self.append_waiting(1, self._appended_at)

    def _appended_at(self, _command: bytes) -> int:
        self.last_index += 1
        return self.last_index

    def ended(self) -> list[tuple[bytes, Fate]]:
        """What has ended since it was asked last."""
        for call in self.calls:
            call()
        self.calls.clear()
        ended, self.ends = self.ends, []
        return ended


@pytest.mark.parametrize(("early", "durable_index", "is_early"), [(True, 2, True), (True, 1, False), (False, 2, False)])
def test_who_asks_is_answered_before_the_commit_if_the_entry_is_on_the_disk_here(
    early: bool, durable_index: int, is_early: bool
) -> None:
    proposals = Proposals()
    proposals.add(b"first", lambda fate, _outcome: None)
    proposals.add(b"x", lambda fate, _outcome: None, early=early)
    proposals.append_all()
    proposals.applied(1, 1, b"", durable_index)
    proposals.applied(2, 1, b"", durable_index)
    assert len(proposals.early_calls) == is_early
    assert len(proposals.early_calls) + len(proposals.calls) == 2


def is_room_for(proposals: Proposals, count: int, command: bytes = b"") -> bool:
    """Whether so many more commands are taken, and not one more."""
    for _ in range(count + 1):
        proposals.propose(command)
    return proposals.ended() == [(command, Fate.OVERLOADED)]


@pytest.mark.parametrize("settings", [{"max_proposals": 3}, {"max_proposal_bytes": 30}])
def test_an_entry_that_was_appended_elsewhere_counts_until_it_is_applied(settings: dict[str, int]) -> None:
    proposals = Proposals(**settings)
    index = proposals.track_entry(10)
    assert is_room_for(proposals, 2, b"x" * 10)
    proposals.refuse_waiting(Fate.NOT_LEADER)
    proposals.ended()
    proposals.applied(index, 1, b"", index)
    assert proposals.ended() == [(b"tracked", Fate.DONE)]
    assert is_room_for(proposals, 3, b"x" * 10)


@pytest.mark.parametrize("settings", [{"max_proposals": 3}, {"max_proposal_bytes": 30}])
@pytest.mark.parametrize("way", ["refused", "applied", "lost", "applied after its deadline"])
def test_what_has_ended_counts_no_more(settings: dict[str, int], way: str) -> None:
    proposals = Proposals(**settings)
    assert is_room_for(proposals, 3, b"x" * 10)
    if way == "refused":
        proposals.refuse_waiting(Fate.NOT_LEADER)
    else:
        proposals.append_all()
        if way == "applied after its deadline":
            proposals.clock.now += DEADLINE_S
            proposals.expire()
        if way == "lost":
            proposals.lose()
        else:
            for index in range(1, proposals.last_index + 1):
                proposals.applied(index, 1, b"", index)
    assert len(proposals.ended()) == 3
    assert is_room_for(proposals, 3, b"x" * 10)


def test_what_is_refused_is_refused_once() -> None:
    proposals = Proposals()
    proposals.propose(b"one")
    proposals.refuse_waiting(Fate.NOT_LEADER)
    proposals.refuse_waiting(Fate.NOT_LEADER)
    assert proposals.ended() == [(b"one", Fate.NOT_LEADER)]
    assert not proposals.waits


def test_what_is_lost_is_lost_once_and_no_later_entry_of_its_index_is_taken_for_it() -> None:
    proposals = Proposals()
    proposals.propose(b"one")
    proposals.append_all()
    proposals.lose()
    proposals.lose()
    proposals.applied(1, 2, b"of another leader", 1)
    assert proposals.ended() == [(b"one", Fate.UNKNOWN)]


def test_only_what_waits_counts_as_waiting() -> None:
    proposals = Proposals()
    proposals.propose(b"12345")
    assert proposals.waiting_bytes == 5
    proposals.append_all()
    assert proposals.waiting_bytes == 0
    proposals.propose(b"123")
    assert proposals.waiting_bytes == 3
    proposals.refuse_waiting(Fate.NOT_LEADER)
    assert proposals.waiting_bytes == 0


def test_what_is_past_its_deadline_is_unknown_at_the_moment_that_was_told() -> None:
    proposals = Proposals()
    proposals.propose(b"one")
    proposals.append_all()
    proposals.clock.now += 1
    proposals.propose(b"two")
    proposals.append_all()
    proposals.clock.now = proposals.next_deadline()
    proposals.expire()
    assert proposals.ended() == [(b"one", Fate.UNKNOWN)]
    assert proposals.next_deadline() == proposals.clock.now + 1


class TestReads:
    def reads(self) -> tuple[PendingReads, list[Call], ManualClock]:
        clock, calls = ManualClock(), list[Call]()
        return PendingReads(clock, Settings(proposal_deadline_s=DEADLINE_S), calls), calls, clock

    def test_all_end_with_the_leadership_those_of_a_round_and_those_that_wait_for_the_next(self) -> None:
        reads, calls, _ = self.reads()
        fates: list[Fate] = []
        reads.add(fates.append)
        reads.begin(1, 1)
        reads.add(fates.append)
        reads.refuse(Fate.NOT_LEADER)
        reads.refuse(Fate.NOT_LEADER)
        for call in calls:
            call()
        assert fates == [Fate.NOT_LEADER] * 2
        assert not reads.waits

    def test_the_oldest_is_of_the_round_else_of_those_that_wait(self) -> None:
        reads, _, clock = self.reads()
        assert reads.next_deadline() == float("inf")
        reads.add(lambda _fate: None)
        first = clock.now + DEADLINE_S
        assert reads.next_deadline() == first
        reads.begin(1, 1)
        assert reads.next_deadline() == first
        clock.now += 1
        reads.add(lambda _fate: None)
        assert reads.next_deadline() == first

    def test_those_of_a_round_and_those_that_wait_are_bounded_together(self) -> None:
        calls = list[Call]()
        reads = PendingReads(ManualClock(), Settings(max_reads=2), calls)
        fates: list[Fate] = []
        reads.add(fates.append)
        reads.begin(1, 1)
        reads.add(fates.append)
        assert calls == []
        reads.add(fates.append)
        for call in calls:
            call()
        assert fates == [Fate.OVERLOADED]

    def test_what_is_past_its_deadline_is_unknown_at_the_moment_that_was_told(self) -> None:
        reads, calls, clock = self.reads()
        fates: list[Fate] = []
        reads.add(fates.append)
        clock.now = reads.next_deadline()
        reads.expire()
        for call in calls:
            call()
        assert fates == [Fate.UNKNOWN]
