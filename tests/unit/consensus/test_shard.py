"""Proposals, reads, leadership and their ends."""

import pytest

from raftsched.consensus.messages import AppendEntries, AppendReply, AppendResult, TimeoutNow, Vote
from raftsched.consensus.settings import Settings
from raftsched.consensus.shard import ShardFailed
from raftsched.ports import Fate, Role, StoreFailed
from tests.support.raft_bench import ELECTION_TIMEOUT_S, HEARTBEAT_S, Bench, accept, append, appends_to, only


class TestProposals:
    def test_never_answers_inside_the_call(self) -> None:
        bench = Bench().start()
        bench.propose()
        assert bench.fates == []
        bench.tick()
        assert bench.fates == [Fate.NOT_LEADER]

    def test_alone_it_is_done_in_one_step_and_one_commit(self) -> None:
        bench = Bench(peers="").start()
        commits = bench.store.commits
        bench.propose(b"one")
        bench.tick()
        assert (bench.fates, bench.outcomes, bench.store.commits) == ([Fate.DONE], [b"done one"], commits + 1)

    def test_many_share_a_step_and_keep_their_order(self) -> None:
        bench = Bench(peers="").start()
        commits = bench.store.commits
        for number in range(50):
            bench.propose(b"%d" % number)
        bench.tick()
        assert bench.outcomes == [b"done %d" % number for number in range(50)]
        assert bench.store.commits == commits + 1

    def test_done_is_on_the_disk(self) -> None:
        bench = Bench(peers="").start()
        bench.propose(b"one")
        bench.tick()
        bench.restart()
        bench.tick()
        assert bench.machine.commands == []
        assert bench.shard.status().applied_index == 4

    def test_too_large_is_the_caller_s_mistake(self) -> None:
        bench = Bench(peers="", settings=Settings(max_command_bytes=10)).start()
        with pytest.raises(ValueError, match="at most 10 bytes"):
            bench.propose(b"x" * 11)

    @pytest.mark.parametrize("settings", [Settings(max_proposals=3), Settings(max_proposal_bytes=30)])
    def test_too_many_at_once_are_refused(self, settings: Settings) -> None:
        bench = Bench(settings=settings).start().become_leader()
        for _ in range(5):
            bench.propose(b"x" * 10)
        bench.tick()
        assert bench.fates == [Fate.OVERLOADED] * 2
        bench.acknowledge_all()
        bench.propose()
        bench.acknowledge_all()
        assert bench.fates == [Fate.OVERLOADED] * 2 + [Fate.DONE] * 4

    def test_unknown_when_leadership_is_lost(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose()
        bench.tick()
        bench.hear("b", Vote(9, granted=False))
        assert bench.fates == [Fate.UNKNOWN]

    def test_not_leader_when_it_was_never_appended(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose()
        bench.hear("b", Vote(9, granted=False))
        assert bench.fates == [Fate.NOT_LEADER]

    def test_unknown_at_the_deadline_and_never_answered_twice(self) -> None:
        bench = Bench(settings=Settings(proposal_deadline_s=0.5)).start().become_leader()
        bench.propose()
        [message] = appends_to("b", bench.tick())
        bench.wait(0.6)
        assert bench.fates == [Fate.UNKNOWN]
        bench.hear("b", accept(message))
        assert bench.machine.commands == [b"x"]
        assert bench.fates == [Fate.UNKNOWN]

    def test_a_callback_that_raises_hurts_nobody_else(self) -> None:
        bench = Bench(peers="").start()

        def fail(_fate: Fate, _outcome: bytes) -> None:
            raise RuntimeError("a caller's bug")

        bench.shard.propose(b"one", fail)
        bench.propose(b"two")
        bench.tick()
        assert bench.outcomes == [b"done two"]
        bench.propose(b"three")
        bench.tick()
        assert bench.outcomes == [b"done two", b"done three"]

    def test_a_callback_may_propose(self) -> None:
        bench = Bench().start()

        def again(_fate: Fate, _outcome: bytes) -> None:
            bench.propose()

        bench.shard.propose(b"one", again)
        bench.tick()
        assert bench.fates == []
        bench.tick()
        assert bench.fates == [Fate.NOT_LEADER]

    def test_applying_is_cut_into_steps(self) -> None:
        bench = Bench(settings=Settings(apply_budget_s=0)).start()
        bench.hear("b", append(1, (1, 0), [1] * 5, commit=6))
        assert len(bench.machine.commands) == 1
        assert bench.shard.next_wakeup() < bench.clock.now
        for _ in range(4):
            bench.tick()
        assert len(bench.machine.commands) == 5


class TestReads:
    def test_a_follower_refuses(self) -> None:
        bench = Bench().start()
        bench.read()
        bench.tick()
        assert bench.fates == [Fate.NOT_LEADER]

    def test_alone_it_answers_in_one_step(self) -> None:
        bench = Bench(peers="").start()
        bench.read()
        bench.tick()
        assert bench.fates == [Fate.DONE]

    def test_waits_for_a_majority_to_answer_a_later_heartbeat(self) -> None:
        bench = Bench().start().become_leader()
        [*_, old] = appends_to("b", bench.wait(1.5 * HEARTBEAT_S))
        bench.read()
        [new] = appends_to("b", bench.tick())
        bench.hear("b", accept(old))
        assert bench.fates == []
        bench.hear("b", accept(new))
        assert bench.fates == [Fate.DONE]

    def test_those_that_come_together_share_a_round(self) -> None:
        bench = Bench().start().become_leader()
        for _ in range(10):
            bench.read()
        sent = bench.tick()
        bench.read()
        assert len(sent) == 2
        assert only(bench.tick(), AppendEntries) == []
        [message] = appends_to("b", sent)
        sent = bench.hear("b", accept(message))
        assert bench.fates == [Fate.DONE] * 10
        [message] = appends_to("b", bench.tick())
        bench.hear("b", accept(message))
        assert bench.fates == [Fate.DONE] * 11

    def test_a_new_leader_commits_its_no_op_first(self) -> None:
        bench = Bench().start()
        bench.become_candidate()
        [no_op] = appends_to("b", bench.hear("b", Vote(bench.term, granted=True)))
        bench.read()
        bench.tick()
        bench.hear("c", AppendReply(no_op.term, no_op.epoch, no_op.round, AppendResult.REJECTED, 2))
        assert bench.fates == []
        bench.hear("b", accept(no_op))
        [message, *_] = appends_to("b", bench.tick())
        bench.hear("b", accept(message))
        assert bench.fates == [Fate.DONE]

    def test_sees_what_was_done_before(self) -> None:
        bench = Bench(settings=Settings(apply_budget_s=0)).start().become_leader()
        for _ in range(4):
            bench.propose()
        [message] = appends_to("b", bench.tick())
        bench.hear("b", accept(message))
        bench.read()
        [heartbeat] = appends_to("b", bench.tick())
        bench.hear("b", accept(heartbeat))
        while Fate.DONE not in bench.fates or len(bench.fates) < 5:
            bench.tick()
        assert len(bench.machine.commands) == 4

    def test_ends_with_the_leadership(self) -> None:
        bench = Bench().start().become_leader()
        bench.read()
        bench.tick()
        bench.hear("b", Vote(9, granted=False))
        assert bench.fates == [Fate.NOT_LEADER]

    def test_ends_at_the_deadline(self) -> None:
        bench = Bench(settings=Settings(proposal_deadline_s=0.5)).start().become_leader()
        bench.read()
        bench.tick()
        bench.read()
        bench.wait(0.6)
        assert bench.fates == [Fate.UNKNOWN] * 2

    def test_too_many_are_refused(self) -> None:
        bench = Bench(settings=Settings(max_reads=2)).start().become_leader()
        for _ in range(3):
            bench.read()
        bench.tick()
        assert bench.fates == [Fate.OVERLOADED]


class TestTransfer:
    @pytest.fixture
    def problems(self) -> list[str]:
        return []

    def test_waits_until_the_target_has_caught_up_and_takes_no_proposals_meanwhile(self, problems: list[str]) -> None:
        bench = Bench().start().become_leader()
        bench.propose()
        [message] = appends_to("b", bench.tick())
        bench.shard.transfer_leadership("b", problems.append)
        bench.propose()
        assert only(bench.tick(), TimeoutNow) == []
        assert bench.fates == [Fate.OVERLOADED]
        bench.shard.receive("b", accept(message))
        assert only(bench.tick() + bench.tick(), TimeoutNow) == [("b", TimeoutNow(1))]

    def test_is_over_when_another_leads(self, problems: list[str]) -> None:
        bench = Bench().start().become_leader()
        bench.shard.transfer_leadership("", problems.append)
        bench.tick()
        bench.hear("c", append(2, (2, 1)))
        bench.tick()
        assert problems == [""]

    def test_fails_after_an_election_timeout_and_the_leader_goes_on(self, problems: list[str]) -> None:
        bench = Bench().start().become_leader()
        bench.shard.transfer_leadership("b", problems.append)
        for _ in range(20):
            for peer_id, message in only(bench.wait(HEARTBEAT_S), AppendEntries):
                bench.shard.receive(peer_id, accept(message))
        assert len(problems) == 1
        assert "b did not take over" in problems[0]
        bench.propose()
        bench.acknowledge_all()
        assert (bench.role, bench.fates) == (Role.LEADER, [Fate.DONE])

    @pytest.mark.parametrize("target", ["x", "a"])
    def test_refuses_a_target_that_is_none(self, problems: list[str], target: str) -> None:
        bench = Bench().start().become_leader()
        bench.shard.transfer_leadership(target, problems.append)
        bench.tick()
        assert problems == [f"{target} is not another voting node of the shard"]

    def test_refuses_a_target_that_is_not_there(self, problems: list[str]) -> None:
        bench = Bench().start().become_leader()
        bench.shard.peer_disconnected("b")
        bench.tick()
        bench.shard.transfer_leadership("b", problems.append)
        bench.tick()
        assert problems == ["b is disconnected"]

    def test_refuses_when_it_does_not_lead(self, problems: list[str]) -> None:
        bench = Bench().start()
        bench.shard.transfer_leadership("", problems.append)
        bench.tick()
        assert problems == ["this node does not lead"]


class TestLeadership:
    def test_is_told_behind_the_commit_of_an_own_entry(self) -> None:
        bench = Bench().log(1, 1).start()
        bench.become_candidate()
        [no_op] = appends_to("b", bench.hear("b", Vote(2, granted=True)))
        assert (bench.role, bench.leadership) == (Role.LEADER, [])
        bench.hear("b", accept(no_op))
        assert bench.leadership == [2]
        assert bench.machine.commands == [b"own 2", b"own 3"]

    def test_ends_before_what_was_proposed_is_answered(self) -> None:
        bench = Bench().start().become_leader()
        order: list[object] = []
        bench.shard._on_leadership = order.append
        bench.shard.propose(b"x", lambda fate, _: order.append(fate))
        bench.tick()
        bench.hear("b", Vote(9, granted=False))
        assert order == [None, Fate.UNKNOWN]

    def test_whoever_waits_for_a_commit_that_fails_is_not_told_that_it_is_done(self) -> None:
        bench = Bench(peers="").start()
        bench.propose()
        bench.read()
        bench.store.fail_next_commit = True
        with pytest.raises(StoreFailed):
            bench.shard.tick()
        bench.shard.close()
        assert bench.fates == [Fate.UNKNOWN] * 2

    def test_ends_when_the_group_is_closed(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose()
        bench.tick()
        bench.shard.close()
        assert (bench.leadership, bench.fates) == ([1, None], [Fate.UNKNOWN])


class TestPipeline:
    def test_appends_leave_before_the_leader_has_them_on_disk(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose()
        bench.sent.clear()
        assert bench.shard.begin_tick()
        assert [peer_id for peer_id, _ in only(bench.sent, AppendEntries)] == ["b", "c"]
        assert bench.terms == [1]
        bench.store.commit()
        bench.shard.end_tick()
        assert bench.terms == [1, 1]

    def test_a_new_leader_says_nothing_before_its_term_is_on_disk(self) -> None:
        bench = Bench(peers="b").start()
        bench.become_candidate()
        bench.shard._durable_term = 0
        bench.shard.receive("b", Vote(bench.term, granted=True))
        bench.sent.clear()
        bench.shard.begin_tick()
        assert bench.role is Role.LEADER
        assert bench.sent == []

    def test_an_answer_of_a_follower_waits_for_its_disk(self) -> None:
        bench = Bench().start()
        bench.shard.receive("b", append(1, (1, 0), (1,)))
        assert bench.shard.begin_tick()
        assert bench.sent == []
        bench.store.commit()
        bench.shard.end_tick()
        assert [reply.index for _, reply in only(bench.sent, AppendReply)] == [2]

    def test_a_follower_answers_before_it_applies_what_is_committed_and_applies_next(self) -> None:
        bench = Bench().start()
        bench.hear("b", append(1, (1, 0), (1,)))
        bench.shard.receive("b", append(1, (2, 1), (1,), commit=2))
        assert [reply.index for _, reply in only(bench.tick(), AppendReply)] == [3]
        assert bench.machine.commands == []
        assert bench.shard.next_wakeup() <= bench.clock.now
        # More to acknowledge puts it off no further.
        bench.shard.receive("b", append(1, (3, 1), (1,), commit=2))
        assert [reply.index for _, reply in only(bench.tick(), AppendReply)] == [4]
        assert len(bench.machine.commands) == 1

    def test_proposals_gather_while_others_are_on_their_way(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose(b"one")
        [first] = appends_to("b", bench.tick())
        for command in (b"two", b"three"):
            bench.propose(command)
            assert appends_to("b", bench.tick()) == []
        [second] = [m for m in appends_to("b", bench.hear("b", accept(first))) if m.entries]
        assert [entry.data for entry in second.entries] == [b"\x10two", b"\x10three"]

    def test_proposals_do_not_gather_for_long(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose(b"one")
        bench.tick()
        bench.propose(b"two")
        assert bench.shard.next_wakeup() == bench.clock.now + Settings().gather_s
        assert [len(message.entries) for message in appends_to("b", bench.wait(0.03))] == [1]

    def test_a_proposal_that_gathers_asks_for_no_step(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose(b"one")
        [first] = appends_to("b", bench.tick())
        # Whoever sleeps until then wakes in time for what comes meanwhile.
        assert bench.shard.next_wakeup() == bench.clock.now + Settings().gather_s
        woken: list[str] = []
        bench.shard.on_work = lambda: woken.append("")
        bench.propose(b"two")
        assert woken == []
        assert [m for m in appends_to("b", bench.hear("b", accept(first))) if m.entries]
        assert len(woken) == 1

    def test_a_proposal_that_gathers_and_is_refused_or_too_much_asks_for_a_step(self) -> None:
        bench = Bench(settings=Settings(max_proposals=3, gather_bytes=10)).start().become_leader()
        bench.propose(b"one")
        bench.tick()
        woken: list[str] = []
        bench.shard.on_work = lambda: woken.append("")
        for command, asked in ((b"two", 0), (b"as large as the bound", 1), (b"one too many", 2)):
            bench.propose(command)
            assert len(woken) == asked
        bench.tick()
        assert bench.fates == [Fate.OVERLOADED]

    def test_when_a_majority_holds_all_nothing_is_waited_for_but_the_heartbeat(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose(b"one")
        [first] = appends_to("b", bench.tick())
        bench.hear("b", accept(first))
        bench.tick()
        assert bench.shard.next_wakeup() > bench.clock.now + Settings().gather_s

    def test_many_proposals_do_not_gather(self) -> None:
        bench = Bench(settings=Settings(gather_bytes=10)).start().become_leader()
        bench.propose(b"one")
        bench.tick()
        bench.propose(b"as large as the bound")
        assert [len(message.entries) for message in appends_to("b", bench.tick())] == [1]


class TestFailure:
    def test_a_failed_commit_ends_it_and_nothing_but_appends_leaves(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose()
        bench.store.fail_next_commit = True
        bench.sent.clear()
        with pytest.raises(StoreFailed):
            bench.tick()
        assert {type(message) for _, message in bench.sent} == {AppendEntries}
        assert bench.fates == []
        with pytest.raises(ShardFailed):
            bench.shard.tick()
        with pytest.raises(ShardFailed):
            bench.propose()

    def test_a_machine_that_raises_ends_it(self) -> None:
        bench = Bench(peers="").start()

        def broken(_index: int, _command: bytes) -> bytes:
            raise AssertionError("a broken invariant")

        bench.machine.apply = broken
        bench.propose()
        with pytest.raises(AssertionError, match="broken invariant"):
            bench.tick()
        with pytest.raises(ShardFailed):
            bench.shard.tick()

    def test_of_a_step_that_raises_every_call_is_answered_once_and_nobody_told_that_it_is_done(self) -> None:
        bench = Bench().start().become_leader()
        bench.propose(b"first", early=True)
        bench.propose(b"second")
        bench.tick()
        apply = bench.machine.apply

        def broken(index: int, command: bytes) -> bytes:
            assert command != b"second", "a broken invariant"
            return apply(index, command)

        bench.machine.apply = broken
        with pytest.raises(AssertionError, match="broken invariant"):
            bench.acknowledge_all()
        assert bench.fates == []
        bench.shard.close()
        assert bench.fates == [Fate.UNKNOWN] * 2


class TestInbound:
    def test_the_vote_of_one_who_is_no_member_does_not_count(self) -> None:
        bench = Bench().start()
        bench.become_candidate()
        bench.hear("x", Vote(bench.term, granted=True))
        assert bench.role is Role.CANDIDATE

    def test_a_flood_is_refused_until_it_is_worked_off(self) -> None:
        bench = Bench(settings=Settings(max_inbound_bytes=200)).start()
        taken = [bench.shard.receive("b", Vote(1, granted=False)) for _ in range(10)]
        assert taken == [True] * 4 + [False] * 6
        assert bench.shard.receive("c", Vote(1, granted=False))
        bench.tick()
        assert bench.shard.receive("b", Vote(1, granted=False))

    def test_it_asks_to_be_woken(self) -> None:
        bench = Bench().start()
        woken: list[int] = []
        bench.shard.on_work = lambda: woken.append(1)
        bench.shard.receive("b", Vote(1, granted=False))
        bench.propose()
        bench.read()
        assert len(woken) == 3

    def test_it_sleeps_until_the_next_timer(self) -> None:
        bench = Bench().start()
        assert bench.clock.now + 0.7 <= bench.shard.next_wakeup() <= bench.clock.now + ELECTION_TIMEOUT_S
        bench.become_leader()
        bench.tick()
        assert bench.clock.now < bench.shard.next_wakeup() <= bench.clock.now + HEARTBEAT_S
