"""When a leader changes the members of its shard, whom it lets go, and which directory counts as a member's."""

import pytest

from raftsched.consensus.directory import Card, Directory, open_directory
from raftsched.consensus.membership import ChangeKind, MemberChange, Members, config_entry
from raftsched.consensus.messages import AppendEntries, LogEntry, PreVote, Vote
from raftsched.consensus.settings import Settings
from raftsched.ports import Peer, Role
from tests.support.raft_bench import ELECTION_TIMEOUT_S, HEARTBEAT_S, Bench, accept, appends_to, only

FAREWELL_S = 10.0
IDENTITY = "0f" * 16


def change(bench: Bench, kind: ChangeKind, peer_id: str) -> list[str]:
    """Ask for it; what is said, also later."""
    said: list[str] = []
    bench.shard.change_members(MemberChange(kind, Peer(peer_id, f"{peer_id}:1")), said.append)
    bench.shard.tick()
    return said


def go_on(bench: Bench, seconds: float) -> list[str]:
    """Let time pass while all answer; to whom the leader sent in its last heartbeat."""
    told: list[str] = []
    for _ in range(round(seconds / HEARTBEAT_S)):
        told = []
        for peer_id, message in only(bench.wait(HEARTBEAT_S), AppendEntries):
            told.append(peer_id)
            bench.shard.receive(peer_id, accept(message))
    return sorted(set(told))


def test_a_change_that_is_refused_is_answered_once() -> None:
    bench = Bench().start()
    said = change(bench, ChangeKind.ADD_LEARNER, "x")
    bench.tick()
    assert said == ["this node does not lead"]


def test_a_change_that_makes_no_sense_is_refused_by_the_leader() -> None:
    bench = Bench().start().become_leader()
    assert change(bench, ChangeKind.REMOVE, "x") == ["x is not a member of the shard"]
    assert bench.role is Role.LEADER


@pytest.mark.parametrize(("behind", "problem"), [(3, False), (4, True)])
def test_a_learner_has_caught_up_when_it_lags_by_no_more_than_the_bound(behind: int, problem: bool) -> None:
    bench = Bench(settings=Settings(learner_lag_entries=3, gather_s=0)).start().become_leader()
    change(bench, ChangeKind.ADD_LEARNER, "x")
    bench.shard.peer_connected("x")
    bench.acknowledge_all()
    for _ in range(behind):
        bench.propose()
    bench.tick()
    assert bool(change(bench, ChangeKind.PROMOTE, "x")) == problem


def test_who_left_first_is_left_alone_first_whoever_leaves_later() -> None:
    bench = Bench("bcde").start().become_leader()
    change(bench, ChangeKind.REMOVE, "d")
    assert "d" in go_on(bench, FAREWELL_S / 2)
    change(bench, ChangeKind.REMOVE, "e")
    assert "d" in go_on(bench, FAREWELL_S / 2 - 1)
    assert "d" not in go_on(bench, 2)


def test_who_has_left_is_not_the_next_leader_s_business() -> None:
    bench = Bench().start().become_leader()
    change(bench, ChangeKind.REMOVE, "c")
    assert "c" in go_on(bench, 1)
    bench.hear("b", Vote(bench.term + 1, granted=False))
    bench.become_leader()
    assert appends_to("c", bench.wait(2 * HEARTBEAT_S)) == []


class TestWanted:
    def test_a_new_leader_names_the_cluster_when_it_knows_what_is_committed_and_once(self) -> None:
        bench = Bench()
        bench.takes_in = True
        bench.start().become_candidate()
        bench.hear("b", Vote(bench.term, granted=True))
        assert (bench.role, bench.terms) == (Role.LEADER, [1])
        go_on(bench, 1)
        assert bench.shard.members.cluster_identity
        assert bench.terms == [1, 1]
        go_on(bench, 1)
        assert bench.terms == [1, 1]

    def test_who_was_taken_in_as_a_learner_votes_once_it_holds_all_though_nothing_else_is_committed(self) -> None:
        bench = Bench("b")
        bench.takes_in = True
        bench.directory = open_directory(bench.store, bench.clock, cluster_id="test")
        bench.directory.founds = True
        bench.start()
        card = Card("", "of b", 1, "run", 1)
        bench.shard.doorway.examine("b", card, None)
        bench.shard.doorway.answered("b", card, None)
        bench.wait(ELECTION_TIMEOUT_S)
        assert bench.shard.status().learners == ("b",)
        for _ in range(10):
            for _, message in only(bench.wait(HEARTBEAT_S), AppendEntries):
                bench.shard.receive("b", accept(message), card)
        assert bench.shard.status().voters == ("a", "b")


class TestDirectory:
    def bench(self, incarnation: str) -> Bench:
        """Follows a leader that says whose directory a's is."""
        bench = Bench()
        bench.directory = Directory()
        bench.directory.join(IDENTITY, 1)
        bench.directory.forget(bench.clock)
        bench.start()
        members = Members((Peer("a", "", incarnation), Peer("b", ""), Peer("c", "")), cluster_identity=IDENTITY)
        entry = LogEntry(config_entry(members), 2, 3)
        bench.hear("b", AppendEntries(3, 1, 0, (entry,), 1, epoch=5, round=9, oldest=False))
        return bench

    def test_only_the_directory_that_the_members_mean_stands_for_election(self) -> None:
        assert only(self.bench("0" * 32).wait(2 * ELECTION_TIMEOUT_S), PreVote)
        assert not only(self.bench("another").wait(10 * ELECTION_TIMEOUT_S), PreVote)

    def test_one_that_is_found_to_have_forgotten_something_stands_no_more(self) -> None:
        bench = self.bench("0" * 32)
        bench.clock.token = lambda: "1" * 32  # type: ignore[method-assign]  # the next directory has another name
        bench.shard.doorway.found_forgetful = True
        bench.tick()
        assert not only(bench.wait(10 * ELECTION_TIMEOUT_S), PreVote)
