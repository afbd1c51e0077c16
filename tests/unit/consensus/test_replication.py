"""How a leader fills its followers' logs, and how a follower takes it (Raft 5.3, 5.4.2), through the real engine."""

from dataclasses import replace

import pytest

from raftsched.consensus.matching import InvariantBroken
from raftsched.consensus.messages import COMMAND, AppendReply, AppendResult, Vote
from raftsched.consensus.settings import Settings
from raftsched.ports import Fate, Role, StoreFailed
from tests.support.raft_bench import HEARTBEAT_S, Bench, accept, append, appends_to, reject

ACCEPTED, REJECTED, BUSY = AppendResult.ACCEPTED, AppendResult.REJECTED, AppendResult.BUSY


def round_that_b_alone_confirms(bench: Bench) -> int:
    """The leader's last round, which c has not answered."""
    [heartbeat, *_] = appends_to("b", bench.wait(1.5 * HEARTBEAT_S))
    bench.hear("b", accept(heartbeat))
    assert bench.shard._guard.replicator.confirmed_round() == heartbeat.round
    return heartbeat.round


class TestFollower:
    def test_acknowledges_with_the_epoch_and_round_of_the_append(self) -> None:
        bench = Bench().start()
        sent = bench.hear("b", append(1, (1, 0), [1, 1]))
        assert sent == [("b", AppendReply(1, epoch=5, round=9, result=ACCEPTED, index=3))]
        assert bench.terms == [1, 1]

    def test_acknowledges_only_what_is_on_its_disk(self) -> None:
        bench = Bench().start()
        bench.store.fail_next_commit = True
        with pytest.raises(StoreFailed):
            bench.hear("b", append(1, (1, 0), [1]))
        assert bench.sent == []

    def test_late_and_shorter_append_cuts_nothing(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(1, (1, 0), [1, 1, 1]))
        sent = bench.hear("b", append(1, (1, 0), [1]))
        assert bench.terms == [1, 1, 1]
        assert sent == [("b", AppendReply(1, 5, 9, ACCEPTED, index=2))]

    def test_cuts_from_the_first_conflict(self) -> None:
        bench = Bench().log(1, 2, 2).start()
        bench.hear("b", append(3, (2, 1), [3]))
        assert bench.terms == [1, 3]

    def test_rejects_what_it_cannot_connect_and_says_where_to_try(self) -> None:
        bench = Bench().log(1, 2, 2).start()
        assert bench.hear("b", append(3, (4, 3), [3])) == [("b", AppendReply(3, 5, 9, REJECTED, index=3))]
        assert bench.hear("b", append(3, (9, 3), [3])) == [("b", AppendReply(3, 5, 9, REJECTED, index=5))]
        assert bench.terms == [1, 2, 2]

    def test_rejected_append_is_still_a_sign_of_life(self) -> None:
        bench = Bench().log(1).start()
        for _ in range(20):
            bench.hear("b", append(3, (9, 3)))
            bench.wait(HEARTBEAT_S)
        assert (bench.role, bench.term, bench.shard.status().leader_id) == (Role.FOLLOWER, 3, "b")

    def test_never_gives_up_a_committed_entry(self) -> None:
        bench = Bench().log(1, 1, committed=3, applied=3).start()
        with pytest.raises(InvariantBroken):
            bench.hear("b", append(2, (2, 1), [2]))
        assert bench.terms == [1, 1]

    def test_commits_no_further_than_what_was_compared(self) -> None:
        bench = Bench().log(1, 1, 1).start()
        bench.hear("b", append(2, (2, 1), commit=4))
        assert bench.shard.status().commit_index == 2

    def test_malformed_append_changes_nothing(self) -> None:
        bench = Bench().log(1).start()
        assert bench.hear("b", append(1, (2, 1), [3])) == []
        assert bench.terms == [1]

    def test_second_leader_of_a_term_is_not_believed(self) -> None:
        bench = Bench().start().become_leader()
        assert bench.hear("b", append(1, (1, 0))) == []
        assert bench.role is Role.LEADER

    def test_idle_heartbeats_never_reach_the_disk(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(1, (1, 0), [1, 1], commit=3))
        bench.wait(1.0)
        commits = bench.store.commits
        for _ in range(10):
            bench.hear("b", append(1, (3, 1), commit=3))
        assert bench.store.commits == commits

    def test_commit_index_alone_never_reaches_the_disk(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(1, (1, 0), [1, 1]))
        commits = bench.store.commits
        bench.hear("b", append(1, (3, 1), commit=3))
        assert (bench.machine.commands, bench.store.commits) == (
            [b"entry 2 of term 1", b"entry 3 of term 1"],
            commits,
        )

    def test_what_it_applied_is_committed_soon_even_when_nothing_else_is(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(1, (1, 0), [1], commit=2))
        bench.hear("b", append(1, (2, 1), commit=2))
        bench.wait(bench.settings.apply_commit_delay_s)
        assert bench.machine.committed_calls == 1

    def test_takes_no_more_while_too_much_waits_to_be_applied(self) -> None:
        bench = Bench(settings=Settings(max_unapplied_bytes=10, apply_budget_s=0)).start()
        bench.hear("b", append(1, (1, 0), [1] * 5, commit=6))
        [(_, reply)] = bench.hear("b", append(1, (6, 1), [1], commit=6))
        assert reply.result is BUSY
        assert bench.terms == [1] * 5
        bench.wait(0.01)
        [(_, reply)] = bench.hear("b", append(1, (6, 1), [1], commit=6))
        assert (reply.result, reply.index) == (ACCEPTED, 7)

    @pytest.mark.parametrize(("step", "term"), [(1 << 32, 3 + (1 << 32)), ((1 << 32) + 1, 3)])
    def test_follows_in_no_term_that_elections_cannot_have_reached(self, step: int, term: int) -> None:
        bench = Bench().log(1, term=3).start()
        bench.hear("b", append(3 + step, (2, 1)))
        assert bench.term == term

    def test_takes_the_checksum_of_what_its_snapshot_ended_with_from_the_leader(self) -> None:
        bench = Bench().log(1, 1, 1, committed=4, applied=4).start()
        bench.shard._journal.restart_at(4, 1)
        before_the_base = replace(append(2, (3, 1)), prev_chain=55)
        bench.hear("b", before_the_base)
        assert bench.shard._journal.chain_at(4) == 0
        bench.hear("b", replace(append(2, (4, 1)), prev_chain=77))
        assert bench.shard._journal.chain_at(4) == 77

    def test_asks_for_a_snapshot_when_the_leader_has_nothing_older(self) -> None:
        bench = Bench().start()
        [(_, reply)] = bench.hear("b", append(4, (70, 3), oldest=True))
        assert reply.result is BUSY
        assert bench.shard.snapshot_source == "b"


class TestLeader:
    def test_sends_nothing_to_a_peer_whose_link_is_down_and_all_when_it_is_back(self) -> None:
        bench = Bench().start().become_leader()
        bench.shard.peer_disconnected("b")
        bench.tick()
        bench.propose()
        sent = bench.wait(3 * HEARTBEAT_S)
        assert appends_to("b", sent) == []
        assert appends_to("c", sent)
        bench.shard.peer_connected("b")
        assert appends_to("b", bench.wait(HEARTBEAT_S))

    def test_sends_a_proposal_in_the_step_that_takes_it(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose(b"one")
        bench.propose(b"two")
        sent = bench.tick()
        for peer_id in "bc":
            [message] = appends_to(peer_id, sent)
            assert [entry.data for entry in message.entries] == [COMMAND + b"one", COMMAND + b"two"]

    def test_commits_and_answers_once_a_majority_has_it(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose(b"one")
        [message] = appends_to("b", bench.tick())
        assert bench.fates == []
        bench.hear("b", accept(message))
        assert (bench.fates, bench.outcomes) == ([Fate.DONE], [b"done one"])

    def test_commits_entries_of_earlier_terms_only_behind_one_of_its_own(self) -> None:
        """Raft 5.4.2, figure 8."""
        bench = Bench().log(1, 2, term=3).start()
        bench.become_candidate()
        sent = bench.hear("b", Vote(4, granted=True))
        [message] = appends_to("b", sent)
        only_old = AppendReply(4, message.epoch, message.round, ACCEPTED, index=3)
        bench.hear("b", only_old)
        assert bench.shard.status().commit_index == 1
        bench.hear("b", accept(message))
        assert bench.shard.status().commit_index == 4

    def test_probes_with_one_batch_then_pipelines(self) -> None:
        bench = Bench(settings=Settings(batch_bytes=100)).start().become_leader()
        bench.shard.peer_disconnected("b")
        bench.shard.peer_connected("b")
        for number in range(6):
            bench.propose(b"%030d" % number)
        [probe] = [message for message in appends_to("b", bench.tick()) if message.entries]
        more = [message for message in appends_to("b", bench.hear("b", accept(probe))) if message.entries]
        assert len(more) > 1

    def test_what_is_in_flight_is_bounded(self) -> None:
        bench = Bench(settings=Settings(batch_bytes=200, in_flight_bytes=1000)).start().become_leader()
        for number in range(100):
            bench.propose(b"%0100d" % number)
        sent = [message for message in appends_to("b", bench.tick()) if message.entries]
        size_bytes = sum(len(entry.data) for message in sent for entry in message.entries)
        assert 0 < size_bytes <= 1200
        rest = [message for message in appends_to("b", bench.hear("b", accept(sent[0]))) if message.entries]
        assert rest[0].prev_index == sent[-1].entries[-1].index

    def test_who_has_too_much_in_flight_still_gets_heartbeats(self) -> None:
        bench = Bench(settings=Settings(in_flight_bytes=1)).start().become_leader()
        bench.propose(b"one")
        bench.tick()
        assert appends_to("b", bench.wait(1.5 * HEARTBEAT_S))

    def test_an_entry_over_the_batch_size_goes_alone(self) -> None:
        bench = Bench(settings=Settings(batch_bytes=100)).start().become_leader()
        for size in (10, 1000, 10):
            bench.propose(b"x" * size)
        sent = [message for message in appends_to("b", bench.tick()) if message.entries]
        assert [len(message.entries) for message in sent] == [1, 1, 1]

    def test_probes_where_the_hint_says(self) -> None:
        bench = Bench().log(1, 1, 1, 1).start().become_leader()
        bench.propose(b"one")
        [message] = appends_to("b", bench.tick())
        sent = bench.hear("b", reject(message, hint=3))
        assert [(m.prev_index, m.epoch > message.epoch) for m in appends_to("b", sent)] == [(2, True)]

    def test_one_probe_is_reset_once(self) -> None:
        """Several rejections of one probe in flight: only the first counts."""
        bench = Bench().log(1, 1, 1, 1).start().become_leader()
        bench.propose(b"one")
        [message] = appends_to("b", bench.tick())
        bench.hear("b", reject(message, hint=4))
        assert [m for m in appends_to("b", bench.hear("b", reject(message, hint=2))) if m.entries] == []

    def test_an_acknowledgement_never_moves_next_index_back(self) -> None:
        bench = Bench(settings=Settings(gather_s=0)).start().become_leader()
        messages = []
        for number in range(3):
            bench.propose(b"%d" % number)
            messages += appends_to("b", bench.tick())
        sent = bench.hear("b", accept(messages[0]))
        assert [m for m in appends_to("b", sent) if m.entries] == []

    @pytest.mark.parametrize("change", ["term", "epoch", "index"])
    def test_replies_to_something_else_are_dropped(self, change: str) -> None:
        bench = Bench().start().become_leader()
        bench.propose(b"one")
        [message] = appends_to("b", bench.tick())
        reply = accept(message)
        values = {"term": reply.term, "epoch": reply.epoch, "index": reply.index}
        values[change] += 10 if change == "index" else -1
        bench.hear("b", AppendReply(values["term"], values["epoch"], reply.round, ACCEPTED, values["index"]))
        assert bench.fates == []

    def test_after_a_reconnect_it_sends_again_what_was_not_acknowledged(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose(b"one")
        [lost] = appends_to("b", bench.tick())
        bench.shard.peer_disconnected("b")
        bench.shard.peer_connected("b")
        [again] = [m for m in appends_to("b", bench.tick()) if m.entries]
        assert again.entries == lost.entries
        assert again.epoch > lost.epoch

    def test_a_follower_that_lost_its_disk_is_counted_on_no_more(self) -> None:
        bench = Bench().start().become_leader()
        bench.shard.peer_disconnected("b")
        bench.shard.peer_connected("b")
        [probe, *_] = appends_to("b", bench.tick())
        bench.hear("b", reject(probe, hint=2))
        assert bench.shard.status().links[0].match_index == 1

    def test_a_follower_behind_the_log_is_told_of_the_oldest_entry(self) -> None:
        settings = Settings(log_keep_entries=5, log_hard_factor=1)
        bench = Bench(settings=settings).start().become_leader()
        for number in range(50):
            bench.propose(b"%d" % number)
        for message in appends_to("b", bench.tick()):
            bench.shard.receive("b", accept(message))
        bench.wait(HEARTBEAT_S)
        first = bench.shard.status().first_index
        assert first > 2
        bench.shard.peer_disconnected("c")
        bench.shard.peer_connected("c")
        [probe, *_] = appends_to("c", bench.tick())
        sent = appends_to("c", bench.hear("c", reject(probe, hint=2)))
        assert [(m.prev_index, m.oldest, m.entries) for m in sent] == [(first, True, ())]

    def test_a_follower_that_has_fetched_a_snapshot_gets_what_follows_on_it(self) -> None:
        settings = Settings(log_keep_entries=5, log_hard_factor=1)
        bench = Bench(settings=settings).start().become_leader()
        for number in range(50):
            bench.propose(b"%d" % number)
        for message in appends_to("b", bench.tick()):
            bench.shard.receive("b", accept(message))
        bench.wait(HEARTBEAT_S)
        bench.shard.peer_disconnected("c")
        bench.shard.peer_connected("c")
        [probe, *_] = appends_to("c", bench.tick())
        [told] = appends_to("c", bench.hear("c", reject(probe, hint=2)))
        bench.hear("c", replace(accept(told), result=BUSY))
        [*_, heartbeat] = appends_to("c", bench.wait(1.5 * HEARTBEAT_S))
        assert (heartbeat.entries, heartbeat.oldest) == ((), True)
        [following, *_] = appends_to("c", bench.hear("c", accept(heartbeat)))
        status = bench.shard.status()
        assert [entry.index for entry in following.entries] == list(
            range(status.first_index + 1, status.last_index + 1)
        )

    def test_a_connected_follower_holds_compaction_back_to_the_hard_bound(self) -> None:
        settings = Settings(log_keep_entries=10, log_hard_factor=3)
        bench = Bench(settings=settings).start().become_leader()
        for number in range(100):
            bench.propose(b"%d" % number)
            for message in appends_to("b", bench.tick()):
                bench.shard.receive("b", accept(message))
        bench.tick()
        status = bench.shard.status()
        assert 29 <= status.applied_index - status.first_index <= 32

    def test_the_log_is_compacted_to_what_is_kept_when_nobody_lags(self) -> None:
        bench = Bench(settings=Settings(log_keep_entries=10)).start().become_leader()
        for number in range(100):
            bench.propose(b"%d" % number)
            bench.acknowledge_all()
        status = bench.shard.status()
        assert 10 <= status.applied_index - status.first_index <= 12

    def test_the_engine_s_own_reply_and_forwarding_never_leave(self) -> None:
        bench = Bench().start()
        bench.propose(b"one")
        bench.tick()
        assert bench.fates == [Fate.NOT_LEADER]
        assert bench.sent == []

    def test_what_a_peer_held_and_confirmed_with_another_directory_counts_no_more(self) -> None:
        bench = Bench().start().become_leader()
        guard = bench.shard._guard
        guard.set_incarnations({"b": "first"})
        confirmed = round_that_b_alone_confirms(bench)
        guard.set_incarnations({"b": "second"})
        assert guard.engine.match_index("b") == 0
        assert guard.replicator.confirmed_round() < confirmed

    def test_what_a_peer_confirmed_before_it_left_counts_no_more_when_it_joins_again(self) -> None:
        bench = Bench().start().become_leader()
        guard = bench.shard._guard
        confirmed = round_that_b_alone_confirms(bench)
        guard.set_members(("a", "c"), ())
        guard.set_members(("a", "b", "c"), ())
        assert guard.replicator.confirmed_round() < confirmed

    @pytest.mark.parametrize("change", ["another directory", "leaves and joins"])
    def test_a_peer_that_is_new_gets_entries_though_the_one_before_it_was_held_back(self, change: str) -> None:
        bench = Bench(settings=Settings(in_flight_bytes=1, gather_s=0)).start().become_leader()
        guard = bench.shard._guard
        guard.set_incarnations({"b": "first"})
        bench.propose(b"one")
        [held] = [message for message in appends_to("b", bench.tick()) if message.entries]
        if change == "another directory":
            guard.set_incarnations({"b": "second"})
        else:
            guard.set_members(("a", "c"), ())
            guard.set_members(("a", "b", "c"), ())
        bench.propose(b"two")
        [again] = [message for message in appends_to("b", bench.tick()) if message.entries]
        assert again.epoch > held.epoch
