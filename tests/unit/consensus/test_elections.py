"""Elections as the Raft paper (5.2, 5.4.1) and dissertation (3.10, 4.2.3, 6.2, 9.6) tell them."""

import pytest

from raftsched.consensus.messages import (
    AppendEntries,
    AppendReply,
    AppendResult,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    Vote,
)
from raftsched.ports import Role, StoreFailed
from tests.support.raft_bench import ELECTION_TIMEOUT_S, HEARTBEAT_S, Bench, append, only


def test_a_node_starts_as_follower_of_nobody() -> None:
    bench = Bench().start()
    assert (bench.role, bench.term, bench.shard.status().leader_id) == (Role.FOLLOWER, 0, "")


def test_a_follower_that_hears_nothing_asks_for_pre_votes_in_its_own_term() -> None:
    bench = Bench().log(1, 2, term=3).start()
    sent = bench.wait(ELECTION_TIMEOUT_S)
    assert only(sent, PreVote)[:2] == [("b", PreVote(3, 3, 2)), ("c", PreVote(3, 3, 2))]
    assert bench.term == 3


def test_silent_peers_are_asked_again_every_heartbeat() -> None:
    bench = Bench().start()
    bench.wait(1.06)
    bench.hear("b", PreVoteReply(0, 1, granted=False))
    asked = only(bench.wait(HEARTBEAT_S), PreVote)
    assert [peer_id for peer_id, _ in asked] == ["b", "c"]


def test_a_majority_of_pre_votes_starts_the_election() -> None:
    bench = Bench().log(1, term=3).start()
    bench.wait(1.06)
    sent = bench.hear("b", PreVoteReply(3, 4, granted=True))
    assert only(sent, RequestVote) == [
        ("b", RequestVote(4, 2, 1, transfer=False)),
        ("c", RequestVote(4, 2, 1, transfer=False)),
    ]
    assert (bench.role, bench.term) == (Role.CANDIDATE, 4)


@pytest.mark.parametrize(
    "reply",
    [PreVoteReply(3, 4, granted=False), PreVoteReply(3, 3, granted=True), PreVoteReply(2, 3, granted=True)],
    ids=["refused", "for another term", "for an older term"],
)
def test_other_replies_do_not(reply: PreVoteReply) -> None:
    bench = Bench().log(1, term=3).start()
    bench.wait(1.06)
    bench.hear("b", reply)
    bench.hear("c", reply)
    assert bench.term == 3


def test_pre_votes_of_a_term_that_is_over_do_not_count() -> None:
    bench = Bench("bcde").start()
    bench.wait(1.06)
    bench.hear("b", PreVoteReply(0, 1, granted=True))
    bench.hear("c", RequestVote(1, 1, 0, transfer=False))
    bench.hear("d", PreVoteReply(1, 1, granted=True))
    assert (bench.role, bench.term) == (Role.FOLLOWER, 1)


def test_a_pre_vote_of_a_node_that_has_yet_to_learn_of_the_term_counts() -> None:
    bench = Bench().log(1, term=3).start()
    bench.wait(1.06)
    bench.hear("b", PreVoteReply(2, 4, granted=True))
    assert (bench.role, bench.term) == (Role.CANDIDATE, 4)


def test_a_leader_that_is_heard_ends_the_pre_vote() -> None:
    bench = Bench().start()
    bench.wait(1.06)
    bench.hear("b", append(1, (1, 0)))
    bench.hear("c", PreVoteReply(0, 1, granted=True))
    assert (bench.role, bench.term, bench.shard.status().leader_id) == (Role.FOLLOWER, 1, "b")


def test_a_leader_that_is_heard_after_a_majority_of_pre_votes_ends_them_too() -> None:
    bench = Bench().log(1, term=3).start()
    bench.wait(1.06)
    assert bench.shard.receive("b", PreVoteReply(3, 4, granted=True))
    bench.hear("c", append(3, (2, 1)))
    assert (bench.role, bench.term, bench.shard.status().leader_id) == (Role.FOLLOWER, 3, "c")


@pytest.mark.parametrize(
    ("last_index", "last_term", "granted"),
    [(3, 2, True), (9, 1, False), (2, 2, False), (1, 3, True)],
    ids=["an equal log", "an older last term", "a shorter log of the same term", "a newer last term"],
)
def test_only_a_log_that_is_as_new_gets_a_vote(last_index: int, last_term: int, granted: bool) -> None:
    bench = Bench().log(1, 2, term=3).start()
    sent = bench.hear("b", PreVote(3, last_index, last_term))
    assert sent == [("b", PreVoteReply(3, 4, granted))]
    sent = bench.hear("b", RequestVote(4, last_index, last_term, transfer=False))
    assert sent == [("b", Vote(4, granted))]


def test_a_pre_vote_changes_nothing() -> None:
    bench = Bench().log(1, term=1).start()
    commits = bench.store.commits
    bench.hear("b", PreVote(7, 9, 7))
    assert (bench.term, bench.store.commits) == (1, commits)


def test_a_node_votes_once_in_a_term() -> None:
    bench = Bench().start()
    assert bench.hear("b", RequestVote(1, 1, 0, transfer=False)) == [("b", Vote(1, granted=True))]
    assert bench.hear("c", RequestVote(1, 1, 0, transfer=False)) == [("c", Vote(1, granted=False))]


def test_it_repeats_its_vote_to_whom_it_gave_it() -> None:
    bench = Bench().start()
    bench.hear("b", RequestVote(1, 1, 0, transfer=False))
    assert bench.hear("b", RequestVote(1, 1, 0, transfer=False)) == [("b", Vote(1, granted=True))]


def test_a_vote_survives_a_crash() -> None:
    bench = Bench().start()
    bench.hear("b", RequestVote(1, 1, 0, transfer=False))
    bench.restart()
    assert bench.term == 1
    assert bench.hear("c", RequestVote(1, 1, 0, transfer=False)) == [("c", Vote(1, granted=False))]
    assert bench.hear("b", RequestVote(1, 1, 0, transfer=False)) == [("b", Vote(1, granted=True))]


def test_a_vote_is_on_the_disk_before_it_is_sent() -> None:
    bench = Bench().start()
    bench.store.fail_next_commit = True
    with pytest.raises(StoreFailed):
        bench.hear("b", RequestVote(1, 1, 0, transfer=False))
    assert bench.sent == []


def test_a_follower_with_a_leader_refuses_and_keeps_its_term() -> None:
    bench = Bench().start()
    bench.hear("b", append(1, (1, 0)))
    assert bench.hear("c", PreVote(1, 9, 1)) == [("c", PreVoteReply(1, 2, granted=False))]
    assert bench.hear("c", RequestVote(5, 9, 1, transfer=False)) == [("c", Vote(1, granted=False))]
    assert bench.term == 1


def test_it_votes_again_once_the_leader_was_silent_for_the_shortest_timeout() -> None:
    bench = Bench().start()
    bench.hear("b", append(1, (1, 0)))
    bench.clock.now += bench.settings.election_timeout_min_s
    assert bench.hear("c", RequestVote(2, 9, 1, transfer=False)) == [("c", Vote(2, granted=True))]


def test_it_votes_at_once_when_the_leader_asked_for_the_election() -> None:
    bench = Bench().start()
    bench.hear("b", append(1, (1, 0)))
    assert bench.hear("c", RequestVote(2, 9, 1, transfer=True)) == [("c", Vote(2, granted=True))]


def test_a_majority_of_votes_makes_a_leader_that_appends_at_once() -> None:
    bench = Bench().log(1, term=1).start()
    bench.become_candidate()
    sent = bench.hear("b", Vote(2, granted=True))
    assert bench.role is Role.LEADER
    assert [peer_id for peer_id, _ in only(sent, AppendEntries)] == ["b", "c"]
    for peer_id, message in only(sent, AppendEntries):
        assert (message.prev_index, message.prev_term) == (2, 1), peer_id
        assert [(entry.index, entry.term, entry.data) for entry in message.entries] == [(3, 2, b"\x01")]


def test_who_voted_in_an_election_that_failed_counts_in_the_next() -> None:
    bench = Bench("bcde").start()
    bench.become_candidate()
    first = bench.term
    bench.hear("b", Vote(first, granted=True))
    bench.wait(ELECTION_TIMEOUT_S)
    for peer_id in "bc":
        bench.hear(peer_id, PreVoteReply(first, first + 1, granted=True))
    assert (bench.role, bench.term) == (Role.CANDIDATE, first + 1)
    bench.hear("b", Vote(first + 1, granted=True))
    bench.hear("c", Vote(first + 1, granted=True))
    assert bench.role is Role.LEADER


def test_who_follows_asks_nobody_that_connects_for_a_vote() -> None:
    bench = Bench().start()
    bench.hear("b", append(1, (1, 0)))
    bench.shard.peer_disconnected("c")
    bench.shard.peer_connected("c")
    sent = bench.tick()
    assert only(sent, PreVote) == only(sent, RequestVote) == []


def test_a_follower_wakes_by_itself_to_stand_and_to_ask_the_silent_again() -> None:
    bench = Bench().start()
    assert bench.clock.now < bench.shard.next_wakeup() <= bench.clock.now + ELECTION_TIMEOUT_S
    bench.wait(1.06)
    assert bench.clock.now < bench.shard.next_wakeup() <= bench.clock.now + HEARTBEAT_S


def test_each_peer_counts_once() -> None:
    bench = Bench("bcde").start()
    bench.wait(1.06)
    for peer_id in "bc":
        bench.hear(peer_id, PreVoteReply(0, 1, granted=True))
    for _ in range(3):
        bench.hear("b", Vote(1, granted=True))
    assert bench.role is Role.CANDIDATE
    bench.hear("c", Vote(1, granted=True))
    assert bench.role is Role.LEADER


@pytest.mark.parametrize("vote", [Vote(2, granted=False), Vote(1, granted=True)], ids=["refused", "of an older term"])
def test_other_votes_do_not_count(vote: Vote) -> None:
    bench = Bench().log(1, term=1).start()
    bench.become_candidate()
    bench.hear("b", vote)
    bench.hear("c", vote)
    assert bench.role is Role.CANDIDATE


def test_votes_are_asked_for_again_and_after_a_reconnect() -> None:
    bench = Bench().start()
    bench.become_candidate()
    assert [peer_id for peer_id, _ in only(bench.wait(HEARTBEAT_S), RequestVote)] == ["b", "c"]
    bench.shard.peer_disconnected("c")
    bench.shard.peer_connected("c")
    assert [peer_id for peer_id, _ in only(bench.tick(), RequestVote)] == ["c"]


def test_a_candidate_follows_the_leader_of_its_term() -> None:
    bench = Bench().start()
    bench.become_candidate()
    bench.hear("c", append(1, (1, 0)))
    assert (bench.role, bench.term, bench.shard.status().leader_id) == (Role.FOLLOWER, 1, "c")


def test_a_candidate_without_a_majority_asks_for_pre_votes_before_the_next_term() -> None:
    bench = Bench().start()
    bench.become_candidate()
    sent = bench.wait(ELECTION_TIMEOUT_S)
    assert only(sent, PreVote)
    assert bench.term == 1


@pytest.mark.parametrize(
    "message",
    [
        Vote(7, granted=False),
        PreVoteReply(7, 2, granted=False),
        AppendReply(7, 0, 0, AppendResult.BUSY, 0),
        append(7, (1, 0)),
        RequestVote(7, 9, 6, transfer=True),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_leader_steps_down_before_a_higher_term(message: Vote) -> None:
    bench = Bench().start().become_leader()
    bench.hear("c", message)
    assert (bench.role, bench.term) == (Role.FOLLOWER, 7)
    assert bench.leadership == [1, None]


def test_who_steps_down_waits_a_whole_timeout() -> None:
    bench = Bench().start().become_leader()
    bench.wait(10 * HEARTBEAT_S)
    bench.hear("c", Vote(7, granted=False))
    assert only(bench.wait(bench.settings.election_timeout_min_s), PreVote) == []


def test_a_leader_keeps_its_place_before_a_candidate_that_it_outlives() -> None:
    bench = Bench().start().become_leader()
    assert bench.hear("c", RequestVote(9, 99, 8, transfer=False)) == [("c", Vote(1, granted=False))]
    assert bench.hear("c", PreVote(9, 99, 8)) == [("c", PreVoteReply(1, 10, granted=False))]
    assert bench.role is Role.LEADER


def test_a_stale_leader_is_told_the_term() -> None:
    bench = Bench().log(1, term=5).start()
    [(peer_id, reply)] = bench.hear("b", append(4, (2, 1), [4]))
    assert (peer_id, reply.term) == ("b", 5)
    assert bench.terms == [1]


def test_a_stale_candidate_is_told_the_term() -> None:
    bench = Bench().log(1, term=5).start()
    assert bench.hear("b", RequestVote(4, 9, 4, transfer=False)) == [("b", Vote(5, granted=False))]
    assert bench.hear("b", PreVote(4, 9, 4)) == [("b", PreVoteReply(5, 5, granted=False))]


def test_a_leader_that_no_majority_answers_steps_down_after_an_election_timeout() -> None:
    bench = Bench().start().become_leader()
    bench.wait(ELECTION_TIMEOUT_S + 2 * HEARTBEAT_S)
    assert bench.role is not Role.LEADER
    assert bench.leadership == [1, None]


def test_answers_to_old_heartbeats_are_no_contact() -> None:
    """A leader that slept finds old answers waiting; they say nothing about who leads meanwhile."""
    bench = Bench().start().become_leader()
    [*_, (_, heartbeat)] = only(bench.wait(1.5 * HEARTBEAT_S), AppendEntries)
    bench.clock.now += ELECTION_TIMEOUT_S + 0.01
    reply = AppendReply(1, heartbeat.epoch, heartbeat.round, AppendResult.ACCEPTED, heartbeat.prev_index)
    bench.hear("c", reply)
    assert bench.role is not Role.LEADER


def test_a_leader_that_one_of_two_answers_stays() -> None:
    bench = Bench().start().become_leader()
    for _ in range(30):
        for peer_id, heartbeat in only(bench.wait(HEARTBEAT_S), AppendEntries):
            if peer_id == "c":
                reply = AppendReply(1, heartbeat.epoch, heartbeat.round, AppendResult.ACCEPTED, heartbeat.prev_index)
                bench.shard.receive("c", reply)
    assert bench.role is Role.LEADER


def test_timeout_now_of_the_leader_starts_an_election_at_once() -> None:
    bench = Bench().start()
    bench.hear("b", append(1, (1, 0)))
    sent = bench.hear("b", TimeoutNow(1), append(1, (1, 0)))
    assert [message.transfer for _, message in only(sent, RequestVote)] == [True, True]
    assert (bench.role, bench.term) == (Role.CANDIDATE, 2)


def test_an_election_that_the_leader_asked_for_and_that_failed_is_followed_by_an_ordinary_one() -> None:
    bench = Bench().start()
    bench.hear("b", append(1, (1, 0)))
    asked = only(bench.hear("b", TimeoutNow(1)), RequestVote)
    assert {message.transfer for _, message in asked} == {True}
    bench.wait(ELECTION_TIMEOUT_S)
    asked = only(bench.hear("c", PreVoteReply(2, 3, granted=True)), RequestVote)
    assert {message.transfer for _, message in asked} == {False}


def test_timeout_now_of_another_is_ignored() -> None:
    bench = Bench().start()
    bench.hear("b", append(1, (1, 0)))
    bench.hear("c", TimeoutNow(1))
    assert (bench.role, bench.term) == (Role.FOLLOWER, 1)


def test_one_node_alone_leads_at_once() -> None:
    bench = Bench(peers="").start()
    assert (bench.role, bench.leadership) == (Role.LEADER, [1])


def test_an_election_that_no_peer_can_hear_of_is_not_made_up_for_when_one_connects() -> None:
    bench = Bench().start()
    bench.wait(1.06)
    assert bench.shard.receive("b", PreVoteReply(0, 1, granted=True))
    for peer_id in "bc":
        bench.shard.peer_disconnected(peer_id)
    bench.tick()
    assert bench.term == 0
    assert bench.clock.now < bench.shard.next_wakeup()
    bench.shard.peer_connected("b")
    assert only(bench.tick(), RequestVote) == []
    assert bench.term == 0


def test_the_only_voter_leads_again_after_a_timeout_when_a_higher_term_deposed_it() -> None:
    bench = Bench(peers="").start()
    bench.hear("x", Vote(7, granted=False))
    assert (bench.role, bench.term) == (Role.FOLLOWER, 7)
    bench.wait(ELECTION_TIMEOUT_S)
    assert (bench.role, bench.term, bench.leadership) == (Role.LEADER, 8, [1, None, 8])
