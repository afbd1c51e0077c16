"""Changes of the members of a shard: what they may be, when they hold, and who counts (Raft dissertation 4)."""

import pytest

from raftsched.consensus.journal import Journal
from raftsched.consensus.matching import is_well_formed
from raftsched.consensus.membership import (
    MEMBERS_KEY,
    ChangeKind,
    MemberChange,
    Members,
    Membership,
    changed,
    config_entry,
)
from raftsched.consensus.messages import (
    CONFIG,
    AppendEntries,
    LogEntry,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    Vote,
)
from raftsched.consensus.settings import Settings
from raftsched.ports import NodeOutdated, Peer, Role, Table
from raftsched.store.memory_store import MemoryStore
from tests.support.raft_bench import ELECTION_TIMEOUT_S, Bench, accept, append, appends_to, only

A, B, C, X = (Peer(peer_id, f"{peer_id}:1") for peer_id in "abcx")
ADD, PROMOTE, REMOVE = ChangeKind.ADD_LEARNER, ChangeKind.PROMOTE, ChangeKind.REMOVE


def change(bench: Bench, kind: ChangeKind, peer_id: str) -> list[str]:
    """Ask for it; what is said, also later."""
    said: list[str] = []
    bench.shard.change_members(MemberChange(kind, Peer(peer_id, f"{peer_id}:1")), said.append)
    bench.shard.tick()
    return said


def with_learner(bench: Bench) -> Bench:
    """A leader, whose learner x has caught up."""
    said = change(bench, ADD, "x")
    bench.shard.peer_connected("x")
    bench.acknowledge_all()
    assert said == [""]
    return bench


def members_append(members: Members, *, prev: tuple[int, int] = (1, 0), commit: int = 1) -> AppendEntries:
    """A leader of term 3 sends other members."""
    entry = LogEntry(config_entry(members), prev[0] + 1, 3)
    return AppendEntries(3, *prev, (entry,), commit, epoch=5, round=9, oldest=False)


def test_what_a_program_does_not_know_of_members_stops_it_when_it_is_applied() -> None:
    bench = Bench().log(1, term=3).start()
    newer = LogEntry(config_entry(Members((A, B, C, X))) + b"\xfa\x7f\x01x", 3, 3)
    bench.hear("b", AppendEntries(3, 2, 1, (newer,), 2, epoch=5, round=9, oldest=False))
    news = AppendEntries(3, 3, 3, (), 3, epoch=5, round=10, oldest=False)
    with pytest.raises(NodeOutdated, match="log entry 3 has field 2047 of the members"):
        bench.hear("b", news)


class TestMembers:
    def test_a_node_joins_as_a_learner_and_is_made_a_voter(self) -> None:
        members = changed(Members((A, B)), MemberChange(ADD, X))
        assert (members.voter_ids, members.learner_ids) == (("a", "b"), ("x",))
        assert changed(members, MemberChange(PROMOTE, X)) == Members((A, B, X))
        assert changed(members, MemberChange(REMOVE, X)) == Members((A, B))

    @pytest.mark.parametrize(
        ("asked", "problem"),
        [
            (MemberChange(ADD, A), "a is a member already"),
            (MemberChange(ADD, C), "c is a member already"),
            (MemberChange(PROMOTE, A), "a is not a learner"),
            (MemberChange(PROMOTE, X), "x is not a learner"),
            (MemberChange(REMOVE, X), "x is not a member"),
            (MemberChange(REMOVE, A), "a is the only voter"),
            (MemberChange(ChangeKind.REJOIN, X), "x is not a member"),
            (MemberChange(ChangeKind.REJOIN, A), "a is the only voter"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, asked: MemberChange, problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            changed(Members((A,), (C,)), asked)

    def test_there_are_not_too_many(self) -> None:
        many = Members(tuple(Peer(f"n{number}", "") for number in range(9)))
        with pytest.raises(ValueError, match="at most 9"):
            changed(many, MemberChange(ADD, X))

    def test_they_come_back_from_the_log(self) -> None:
        members = Members((A, B), (X,))
        assert Members.decode(members.encode()) == members

    @pytest.mark.parametrize("data", [b"", b"\xff\xff", Members((), (A,)).encode(), Members((A, A)).encode()])
    def test_an_entry_that_makes_no_group_is_not_taken(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="members"):
            Members.decode(data)
        bad = AppendEntries(3, 1, 0, (LogEntry(CONFIG + data, 2, 3),), 1, epoch=1, round=1, oldest=False)
        assert not is_well_formed(bad)


class TestLeader:
    def test_a_change_waits_for_the_leaders_own_no_op(self) -> None:
        bench = Bench().start()
        bench.become_candidate()
        bench.hear("b", Vote(bench.term, granted=True))
        assert bench.role is Role.LEADER
        assert "does not know yet what is committed" in change(bench, ADD, "x")[0]
        bench.acknowledge_all()
        assert change(bench, ADD, "x") == []

    def test_one_change_at_a_time(self) -> None:
        bench = Bench().start().become_leader()
        first = change(bench, ADD, "x")
        assert "another change is under way" in change(bench, REMOVE, "c")[0]
        bench.acknowledge_all()
        assert first == [""]
        assert change(bench, REMOVE, "c") == []

    def test_a_node_that_does_not_lead_refuses(self) -> None:
        assert change(Bench().start(), ADD, "x") == ["this node does not lead"]

    def test_a_learner_gets_entries_and_commits_nothing(self) -> None:
        bench = with_learner(Bench().start().become_leader())
        commit_index = bench.shard.status().commit_index
        bench.propose()
        [message] = appends_to("x", bench.tick())
        assert message.entries
        bench.hear("x", accept(message))
        assert bench.shard.status().commit_index == commit_index
        assert bench.fates == []

    def test_a_learner_that_lags_makes_no_proposal_wait(self) -> None:
        bench = with_learner(Bench().start().become_leader())
        bench.propose(b"first")
        (append_to_b,) = appends_to("b", bench.tick())
        bench.hear("b", accept(append_to_b))
        bench.propose(b"second")
        bench.tick()
        assert bench.terms == [1] * 4, "no-op, members, and both proposals: the voters a and b hold the first"

    def test_a_learner_that_holds_all_does_not_count_as_a_majority(self) -> None:
        bench = with_learner(Bench("bcd").start().become_leader())
        bench.propose(b"first")
        sent = bench.tick()
        for peer_id in "bx":
            bench.hear(peer_id, *map(accept, appends_to(peer_id, sent)))
        bench.propose(b"second")
        bench.tick()
        assert bench.terms == [1] * 3, "only a and b of four voters hold the first: the second waits for company"
        assert bench.machine.commands == []

    def test_a_learner_is_no_contact_to_a_majority(self) -> None:
        bench = with_learner(Bench().start().become_leader())
        answered = 0
        for _ in range(30):
            for message in appends_to("x", bench.wait(0.1)):
                bench.shard.receive("x", accept(message))
                answered += 1
        assert answered > 5
        assert bench.role is not Role.LEADER

    def test_a_learner_confirms_no_read(self) -> None:
        bench = with_learner(Bench().start().become_leader())
        bench.read()
        [message] = appends_to("x", bench.tick())
        bench.hear("x", accept(message))
        assert bench.fates == []

    def test_only_a_learner_that_has_caught_up_becomes_a_voter(self) -> None:
        bench = Bench(settings=Settings(learner_lag_entries=3)).start().become_leader()
        change(bench, ADD, "x")
        for peer_id, message in only(bench.wait(0.2), AppendEntries):
            if peer_id != "x":
                bench.hear(peer_id, accept(message))
        for _ in range(3):
            bench.propose()
            bench.tick()
        assert "x has not caught up" in change(bench, PROMOTE, "x")[0]
        bench.shard.peer_connected("x")
        bench.acknowledge_all()
        said = change(bench, PROMOTE, "x")
        bench.acknowledge_all()
        assert said == [""]
        assert bench.shard.status().voters == ("a", "b", "c", "x")

    def test_the_majority_is_that_of_the_new_voters(self) -> None:
        bench = with_learner(Bench().start().become_leader())
        change(bench, PROMOTE, "x")
        commit_index = bench.shard.status().commit_index
        sent = list(bench.sent)
        for peer_id in ("b", "x"):
            assert bench.shard.status().commit_index == commit_index
            [message] = appends_to(peer_id, sent)
            bench.hear(peer_id, accept(message))
        assert bench.shard.status().commit_index == commit_index + 1

    def test_a_leader_that_is_to_be_removed_hands_over_first(self) -> None:
        bench = Bench().start().become_leader()
        said: list[str] = []
        bench.shard.change_members(MemberChange(REMOVE, A), said.append)
        sent = bench.wait(0.2)
        (target,) = {peer_id for peer_id, _ in only(sent, TimeoutNow)}
        bench.hear(target, append(bench.term + 1, (2, bench.term)))
        assert "has handed over; ask the new leader" in said[0]
        assert bench.shard.status().voters == ("a", "b", "c")

    def test_the_leadership_goes_to_no_learner(self) -> None:
        bench = with_learner(Bench().start().become_leader())
        said: list[str] = []
        bench.shard.transfer_leadership("x", said.append)
        bench.tick()
        assert "x is not another voting node" in said[0]

    def test_a_removed_node_is_told_so_by_the_entry_and_left_alone_after_a_while(self) -> None:
        bench = Bench().start().become_leader()
        change(bench, REMOVE, "c")
        told = [m for peer_id, m in only(bench.wait(0.2), AppendEntries) if peer_id == "c"]
        assert told
        bench.acknowledge_all()
        for _ in range(110):
            for peer_id, message in only(bench.wait(0.1), AppendEntries):
                bench.shard.receive(peer_id, accept(message))
        assert "c" not in {peer_id for peer_id, _ in bench.wait(0.3)}
        assert bench.role is Role.LEADER

    def test_a_change_whose_leader_falls_may_have_been_made(self) -> None:
        bench = Bench().start().become_leader()
        said = change(bench, ADD, "x")
        bench.hear("b", append(bench.term + 1, (2, bench.term)))
        assert "may have been made" in said[0]


class TestFollower:
    def test_members_hold_as_soon_as_they_are_in_the_log(self) -> None:
        bench = Bench().start()
        bench.hear("b", members_append(Members((A, B, C, X))))
        assert bench.shard.status().voters == ("a", "b", "c", "x")

    def test_members_go_with_their_entry(self) -> None:
        bench = Bench().start()
        bench.hear("b", members_append(Members((A, B, C, X))))
        bench.hear("c", append(4, (1, 0), [4]))
        assert bench.shard.status().voters == ("a", "b", "c")

    def test_other_members_of_another_leader_take_the_place_of_those_at_the_same_entry(self) -> None:
        bench = Bench().start()
        bench.hear("b", members_append(Members((A, B, C, X))))
        entry = LogEntry(config_entry(Members((A, B, C), (X,))), 2, 4)
        bench.hear("c", AppendEntries(4, 1, 0, (entry,), 1, epoch=5, round=9, oldest=False))
        assert (bench.shard.status().voters, bench.shard.status().learners) == (("a", "b", "c"), ("x",))

    def test_members_of_a_snapshot_are_those_in_force(self) -> None:
        store = MemoryStore()
        membership = Membership(store, Journal(store, "a"), (A, B, C))
        told: list[Members] = []
        membership.on_applied = told.append
        members = Members((A, B), (X,), "identity")
        store.batch().put(Table.META, MEMBERS_KEY, (40).to_bytes(8, "big") + members.encode())
        membership.restored()
        assert membership.refresh()
        assert (membership.members, membership.index, told) == (members, 40, [members])
        assert membership.applied_cluster_identity == "identity"

    def test_members_are_there_after_a_restart_from_the_log_and_from_the_state(self) -> None:
        bench = Bench(settings=Settings(log_keep_entries=2, log_keep_bytes=1)).start()
        bench.hear("b", members_append(Members((A, B, X)), commit=1))
        bench.restart()
        assert bench.shard.status().voters == ("a", "b", "x")
        bench.hear("b", append(3, (2, 3), [3] * 30, commit=32))
        bench.wait(0.5)
        assert bench.shard.status().first_index > 2
        bench.restart()
        assert bench.shard.status().voters == ("a", "b", "x")

    def test_who_is_no_voter_never_stands(self) -> None:
        bench = Bench().start()
        bench.hear("b", members_append(Members((B, C), (A,))))
        sent = bench.wait(10 * ELECTION_TIMEOUT_S)
        assert not only(sent, PreVote)
        assert not only(sent, RequestVote)
        assert not only(bench.hear("b", TimeoutNow(bench.term)), RequestVote)

    def test_who_is_no_voter_names_a_leader_that_fell_silent_no_longer(self) -> None:
        bench = Bench().start()
        bench.hear("b", members_append(Members((B, C), (A,))))
        assert bench.shard.status().leader_id == "b"
        bench.wait(2 * ELECTION_TIMEOUT_S)
        assert bench.shard.status().leader_id == ""
        assert "no leader" in bench.shard.plight()
        bench.hear("b", append(3, (2, 3), []))
        assert bench.shard.status().leader_id == "b"

    def test_who_is_no_voter_votes_all_the_same_since_it_may_not_know_yet_that_it_is_one(self) -> None:
        bench = Bench().start()
        bench.hear("b", members_append(Members((B, C), (A,))))
        bench.wait(2 * ELECTION_TIMEOUT_S)
        ((_, vote),) = only(bench.hear("x", RequestVote(bench.term + 1, 9, 3, transfer=False)), Vote)
        assert vote.granted

    def test_a_candidate_asks_and_counts_voters_only(self) -> None:
        bench = Bench().start()
        bench.hear("b", members_append(Members((A, B, C), (X,))))
        sent = only(bench.wait(3 * ELECTION_TIMEOUT_S), PreVote)
        assert {peer_id for peer_id, _ in sent} == {"b", "c"}
        bench.hear("x", PreVoteReply(bench.term, bench.term + 1, granted=True))
        assert not only(bench.tick(), RequestVote)
        assert bench.term == 3


class TestTold:
    def told(self, bench: Bench) -> list[tuple[str, ...]]:
        """Ids of all members, whenever others are in force."""
        told: list[tuple[str, ...]] = []
        bench.shard.on_members = lambda members: told.append(members.voter_ids + members.learner_ids)
        return told

    def test_the_members_are_told_once_they_are_on_the_disk_and_not_again(self) -> None:
        bench = Bench().start().become_leader()
        told = self.told(bench)
        bench.shard.change_members(MemberChange(ADD, X), lambda _problem: None)
        assert bench.shard.begin_tick()
        assert told == []
        bench.store.commit()
        bench.shard.end_tick()
        bench.acknowledge_all()
        assert told == [("a", "b", "c", "x")]
        assert bench.shard.members.learner_ids == ("x",)

    def test_members_whose_entry_is_cut_are_told_to_be_no_more(self) -> None:
        bench = Bench().start()
        told = self.told(bench)
        bench.hear("b", members_append(Members((A, B, C), (X,))))
        bench.hear("c", append(4, (1, 0), (4,)))
        assert told == [("a", "b", "c", "x"), ("a", "b", "c")]
