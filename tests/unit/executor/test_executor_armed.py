"""Assignments that wait for their time on an executor, against a real journal."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from raftsched_proto.internal.v1 import executor_pb2 as pb

from raftsched.core.state.model import ExecutionState
from raftsched.executor import armed
from raftsched.executor.armed import Armed
from raftsched.executor.leader_time import LeaderTime
from tests.support.fake_leader import noop
from tests.support.raft_bench import ManualClock
from tests.support.workload_bench import WorkloadBench, bench, key

LEASE_S = 1_000.0
_PENDING, _RUNNING, _SUCCEEDED = ExecutionState.PENDING, ExecutionState.RUNNING, ExecutionState.SUCCEEDED


def played(test: Callable[[WorkloadBench], Awaitable[None]], directory: Path, **settings: object) -> None:
    async def play() -> None:
        async with bench(directory, **settings) as made:
            now_s = made.clock.monotonic()
            made.workload.time.heard(made.clock.now_us(), now_s)
            made.inbox.armed.leased_until_s = now_s + LEASE_S
            await test(made)

    asyncio.run(play())


async def arm(made: WorkloadBench, number: int, in_s: float, *, token: int = 10, is_noop: bool = False) -> None:
    start_us = made.workload.time.earliest_us() + round(in_s * 1e6)
    item = made.item(key(number), noop() if is_noop else None, token=token, start_us=start_us)
    await made.inbox.take([item])
    await made.turn()


def withdrawal(number: int, token: int = 10) -> pb.Withdraw.Item:
    item = pb.Withdraw.Item(fencing_token=token)
    item.key.execution_id, item.key.attempt = key(number)
    return item


def pass_time(made: WorkloadBench, seconds: float) -> None:
    made.clock.moved_s += seconds
    made.inbox.armed.look()


def test_it_starts_at_its_time_and_is_accepted_then(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 100.0)
        assert not made.workload.held
        assert made.inbox.armed.keys == [key(1)]
        pass_time(made, 99.0)
        await made.turn()
        assert not made.workload.held
        pass_time(made, 1.2)
        await made.until(lambda: 1 in made.runner.gates)
        assert made.unended() == {key(1)}
        assert made.inbox.armed.keys == []

    played(test, tmp_path)


def test_it_does_not_start_while_the_leaders_clock_may_not_have_come_so_far(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        now_s = made.clock.monotonic()
        # The leader answered within the last 40 s: its clock shows up to 40 s more than it said.
        made.workload.time._told._told_us = None
        made.workload.time.heard(1_700_000_000_000_000, now_s - 40.0)
        item = made.item(key(1), token=10, start_us=1_700_000_000_000_000 + 10_000_000)
        await made.inbox.take([item])
        await made.turn()
        assert made.inbox.armed.keys == [key(1)]

    played(test, tmp_path)


def test_nothing_starts_once_the_lease_is_over(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 2 * LEASE_S)
        pass_time(made, 2.5 * LEASE_S)
        await made.turn()
        assert not made.workload.held
        assert made.told() == [(key(1), _PENDING)]

    played(test, tmp_path)


def test_what_was_withdrawn_is_given_back_with_its_token_and_does_not_start(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 100.0)
        made.inbox.withdraw([withdrawal(1)])
        [report] = made.outbox.next_reports().items
        assert (report.state, report.fencing_token) == (_PENDING, 10)
        pass_time(made, 200.0)
        await made.turn()
        assert not made.workload.held

    played(test, tmp_path)


def test_what_has_started_is_told_as_running_when_it_is_withdrawn(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 0.0)
        await made.until(lambda: 1 in made.runner.gates)
        made.inbox.withdraw([withdrawal(1)])
        assert made.told() == [(key(1), _RUNNING)]

    played(test, tmp_path)


async def hold_the_only_slot(made: WorkloadBench) -> None:
    await made.inbox.take([made.item(key(9), token=1)])
    await made.until(lambda: 9 in made.runner.gates)


def test_what_waits_for_a_slot_is_given_back_when_it_is_withdrawn_and_never_starts(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await hold_the_only_slot(made)
        await made.inbox.take([made.item(key(1), token=10)])
        for _ in range(2):
            made.inbox.withdraw([withdrawal(1)])
            assert made.told() == [(key(1), _PENDING)]
        await made.release(9)
        await made.until(lambda: made.told() == [(key(9), _SUCCEEDED)])
        assert not made.runner.gates
        assert not made.unended()

    played(test, tmp_path, slots=1)


def test_what_was_given_back_while_it_waited_starts_when_it_is_given_anew_and_not_when_it_is_told_again(
    tmp_path: Path,
) -> None:
    async def test(made: WorkloadBench) -> None:
        await hold_the_only_slot(made)
        await made.inbox.take([made.item(key(1), token=10)])
        made.inbox.withdraw([withdrawal(1)])
        await made.release(9)
        await made.inbox.take([made.item(key(1), token=10)])
        await made.turn()
        assert 1 not in made.runner.gates
        await made.inbox.take([made.item(key(1), token=11)])
        await made.until(lambda: 1 in made.runner.gates)

    played(test, tmp_path, slots=1)


def test_what_has_ended_is_told_as_ended_when_it_is_withdrawn(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 0.0, is_noop=True)
        await made.until(lambda: key(1) in made.workload.held)
        made.told()
        made.inbox.withdraw([withdrawal(1)])
        assert made.told() == [(key(1), _SUCCEEDED)]

    played(test, tmp_path)


def test_what_never_came_is_given_back_and_what_was_forgotten_is_not(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        made.inbox.withdraw([withdrawal(1)])
        assert made.told() == [(key(1), _PENDING)]
        await arm(made, 2, 0.0, is_noop=True)
        await made.until(lambda: key(2) in made.workload.held)
        made.told()
        made.inbox.acknowledged([key(2)])
        made.inbox.withdraw([withdrawal(2)])
        assert made.told() == [], "it ran: to say that it has not started would have it run twice"

    played(test, tmp_path)


def test_a_later_assignment_of_the_attempt_takes_the_place_of_an_earlier(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 100.0, token=10)
        await arm(made, 1, 100.0, token=30)
        await arm(made, 1, 100.0, token=20)
        assert made.inbox.armed.token_of(key(1)) == 30
        pass_time(made, 101.0)
        await made.until(lambda: 1 in made.runner.gates)
        assert made.workload.held[key(1)].fencing_token == 30

    played(test, tmp_path)


def test_one_that_comes_again_to_start_at_once_is_armed_no_longer(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 100.0)
        await made.inbox.take([made.item(key(1), token=10)])
        await made.until(lambda: 1 in made.runner.gates)
        assert made.inbox.armed.keys == []

    played(test, tmp_path)


def test_one_that_finds_no_slot_is_given_back_after_a_moment(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        for number in (1, 2):
            await arm(made, number, 10.0)
        pass_time(made, 10.05)
        await made.until(lambda: 1 in made.runner.gates)
        assert made.inbox.armed.keys == [key(2)]
        pass_time(made, 0.2)
        await made.turn()
        assert made.told() == [(key(2), _PENDING)]
        assert made.unended() == {key(1)}

    played(test, tmp_path, slots=1)


def test_one_that_finds_no_slot_starts_as_one_is_free(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        for number in (1, 2):
            await arm(made, number, 10.0)
        pass_time(made, 10.01)
        await made.release(1)
        await made.until(lambda: 2 in made.runner.gates)

    played(test, tmp_path, slots=1)


def test_one_that_is_due_while_as_many_are_held_as_may_be_is_given_back_and_not_lost(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        for number in range(3):
            await arm(made, number, 10.0, is_noop=True)
        pass_time(made, 10.05)
        await made.until(lambda: len(made.workload.held) == 2)
        assert made.inbox.armed.keys == [key(2)]
        made.told()
        pass_time(made, 0.2)
        await made.turn()
        assert made.told() == [(key(2), _PENDING)]

    played(test, tmp_path, max_held=2)


def test_a_noop_needs_no_slot(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 10.0)
        await arm(made, 2, 10.0, is_noop=True)
        await made.assign(key(3))
        await made.until(lambda: 3 in made.runner.gates)
        pass_time(made, 10.01)
        await made.until(lambda: key(2) in made.workload.held or made.inbox.armed.keys == [key(1)])

    played(test, tmp_path, slots=1)


def test_what_was_cancelled_is_given_back(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 100.0)
        made.inbox.cancel([key(1)])
        assert made.told() == [(key(1), _PENDING)]
        assert made.inbox.armed.keys == []

    played(test, tmp_path)


def test_what_is_no_longer_its_own_is_dropped_without_a_word(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 100.0)
        made.inbox.connected(2, [key(1)])
        assert made.inbox.armed.keys == []
        assert made.told() == []

    played(test, tmp_path)


def test_a_hello_says_what_is_armed_so_that_earlier_words_are_not_repeated_to_the_next_leader(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 100.0)
        made.inbox.withdraw([withdrawal(1)])
        made.outbox.introduce()
        made.inbox.withdraw([withdrawal(2)])
        made.inbox.connected(2, [])
        assert made.told() == [(key(2), _PENDING)]

    played(test, tmp_path)


def test_more_than_it_may_hold_is_given_back(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        for number in range(3):
            await arm(made, number, 100.0)
        assert made.inbox.armed.keys == [key(0), key(1)]
        assert made.told() == [(key(2), _PENDING)]

    played(test, tmp_path, max_armed=2)


def test_assignments_that_take_more_memory_than_they_may_are_given_back(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        for number in range(3):
            await arm(made, number, 100.0)
        assert made.inbox.armed.keys == [key(0)]
        assert made.told() == [(key(1), _PENDING), (key(2), _PENDING)]
        made.inbox.withdraw([withdrawal(0)])
        await arm(made, 3, 100.0)
        assert made.inbox.armed.keys == [key(3)], "what was withdrawn made room"

    played(test, tmp_path, max_armed_bytes=1)


def test_what_is_closed_gives_all_back_and_holds_nothing_any_longer(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await arm(made, 1, 100.0)
        made.inbox.armed.close()
        await arm(made, 2, 100.0)
        assert made.inbox.armed.keys == []
        assert made.told() == [(key(1), _PENDING), (key(2), _PENDING)]

    played(test, tmp_path)


def test_one_that_waits_for_a_slot_holds_up_no_other(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        for number in (1, 2):
            await arm(made, number, 10.0)
        pass_time(made, 10.01)
        await made.until(lambda: 1 in made.runner.gates)
        soon_us = made.workload.time.earliest_us() + 10_000
        await made.inbox.take([made.item(key(3), noop(), start_us=soon_us)])
        assert made.inbox.armed._step() <= 0.01

    played(test, tmp_path, slots=1)


def test_an_end_that_nobody_waits_for_is_told_with_the_next_that_somebody_does(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await made.inbox.take([made.item(key(1), noop(), unhurried=True)])
        assert made.told() == []
        await made.assign_noops(key(2))
        assert sorted(made.told()) == [(key(1), _SUCCEEDED), (key(2), _SUCCEEDED)]

    played(test, tmp_path, gather_unhurried_s=1_000.0)


def test_ends_that_nobody_waits_for_are_told_after_a_while(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        told: list[object] = []
        await made.inbox.take([made.item(key(1), noop(), unhurried=True)])
        await made.until(lambda: told.extend(made.told()) or told)
        assert told == [(key(1), _SUCCEEDED)]

    played(test, tmp_path, gather_unhurried_s=0.01)


@pytest.mark.parametrize(("passed_s", "is_told"), [(1.9, False), (2.1, True)])
def test_while_more_starts_ends_that_nobody_waits_for_are_told_behind_it_or_after_two_seconds(
    tmp_path: Path, passed_s: float, is_told: bool
) -> None:
    async def test(made: WorkloadBench) -> None:
        soon_us = made.workload.time.earliest_us() + 100_000_000
        items = [made.item(key(n), noop(), start_us=soon_us, token=1 + n, unhurried=True) for n in range(850)]
        await made.inbox.take(items)
        made.clock.moved_s += 101.0
        made.inbox.armed._step()
        made.inbox.armed._step()
        assert made.told() == []
        made.clock.moved_s += passed_s
        made.outbox._end_gathering()
        assert len(made.told()) == (500 if is_told else 0)
        while made.inbox.armed.keys:
            made.inbox.armed._step()
        made.outbox._end_gathering()
        assert len(made.told()) == (350 if is_told else 850)

    played(test, tmp_path, gather_unhurried_s=1_000.0)


def test_ends_of_a_herd_do_not_wait_when_no_more_of_it_starts(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        soon_us = made.workload.time.earliest_us() + 100_000_000
        items = [made.item(key(n), noop(), start_us=soon_us, token=1 + n, unhurried=True) for n in range(500)]
        await made.inbox.take(items)
        made.clock.moved_s += 101.0
        made.inbox.armed._step()
        assert made.told() == []
        made.inbox.armed._step()
        assert len(made.told()) == 500

    played(test, tmp_path, gather_unhurried_s=1_000.0)


def test_a_failure_is_told_at_once_whoever_waits(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        made.kinds = []
        await made.inbox.take([made.item(key(1), unhurried=True)])
        await made.until(lambda: made.workload.held[key(1)].report is not None)
        await made.turn()
        assert made.told() == [(key(1), ExecutionState.FAILED)]

    played(test, tmp_path, gather_unhurried_s=1_000.0)


def test_a_new_leader_is_told_all_ends_at_once(tmp_path: Path) -> None:
    async def test(made: WorkloadBench) -> None:
        await made.inbox.take([made.item(key(1), noop(), unhurried=True)])
        made.inbox.connected(2, [])
        assert made.told() == [(key(1), _SUCCEEDED)]

    played(test, tmp_path, gather_unhurried_s=1_000.0)


@pytest.mark.parametrize("count", [600])
def test_many_of_one_moment_all_start(tmp_path: Path, count: int) -> None:
    async def test(made: WorkloadBench) -> None:
        for number in range(count):
            await arm(made, number, 10.0, is_noop=True)
        pass_time(made, 10.01)
        await made.until(lambda: len(made.workload.held) == count)

    played(test, tmp_path)


NOW_US = 1_700_000_000_000_000


class Steps:
    """What is armed without an event loop: a test says how many slots are free, and takes the steps."""

    def __init__(self, *, max_items: int = 10, slots: int = 10) -> None:
        self.clock = ManualClock()
        self.time = LeaderTime(self.clock)
        self.time.heard(NOW_US, self.clock.now)
        self.slots = slots
        self.started: list[int] = []
        self.looked_at = 0
        self.given_back: list[int] = []
        self.armed = Armed(self.time, self.clock, (max_items, 1 << 20), self._begin, self._give_back)
        self.armed.leased_until_s = self.clock.now + LEASE_S

    def _begin(self, items: Iterable[pb.Assignment]) -> list[pb.Assignment]:
        begun = []
        for item in items:
            self.looked_at += 1
            if self.slots and len(begun) < armed.TURN_ITEMS:
                self.slots -= 1
                begun.append(item)
            if len(begun) == armed.TURN_ITEMS:
                break
        self.started += map(number_of, begun)
        return begun

    def _give_back(self, items: Iterable[pb.Assignment]) -> None:
        self.given_back += map(number_of, items)

    def add(self, number: int, in_s: float = 0.0, *, token: int = 10) -> bool:
        item = pb.Assignment(start_us=self.time.earliest_us() + round(in_s * 1e6), fencing_token=token)
        item.key.execution_id, item.key.attempt = key(number)
        return self.armed.add(item)

    def step(self) -> float | None:
        return self.armed._step()

    @property
    def is_woken(self) -> bool:
        """Whether there is to be a step at once; it is asked once."""
        is_woken = self.armed._changed.is_set()
        self.armed._changed.clear()
        return is_woken


def number_of(item: pb.Assignment) -> int:
    return int.from_bytes(item.key.execution_id, "big")


def test_it_looks_again_when_the_next_is_due_and_now_and_then_and_not_at_all_without_any() -> None:
    steps = Steps()
    assert steps.step() is None
    steps.add(1, 100.0)
    assert steps.step() == 1.0
    steps.add(2, 0.5)
    assert steps.step() == pytest.approx(0.5)
    assert steps.started == []
    steps.clock.now += 0.6
    assert steps.step() == 1.0
    steps.armed.take_out(key(1))
    steps.clock.now += 200.0
    assert steps.step() is None
    assert (steps.started, steps.given_back, steps.armed.keys) == ([2], [], [])


def test_what_is_due_starts_in_the_order_of_its_time_and_then_of_its_arrival() -> None:
    steps = Steps()
    for number, in_s in ((3, 0.2), (2, 0.1), (1, 0.1)):
        steps.add(number, in_s)
    steps.clock.now += 1.0
    steps.step()
    assert steps.started == [2, 1, 3]


def test_what_finds_no_slot_waits_for_one_and_is_given_back_when_it_has_waited_for_long_enough() -> None:
    steps = Steps(slots=1)
    for number in (1, 2, 3):
        steps.add(number)
    assert steps.step() == 0.05
    assert (steps.started, steps.armed.keys) == ([1], [key(2), key(3)])
    steps.slots = 1
    assert steps.step() == 0.05
    assert steps.started == [1, 2]
    steps.clock.now += 0.09
    assert steps.step() == 0.05
    assert steps.given_back == []
    steps.clock.now += 0.02
    assert steps.step() is None
    assert (steps.given_back, steps.armed.keys) == ([3], [])


def test_it_is_given_back_at_the_end_of_its_patience_and_not_after() -> None:
    steps = Steps(slots=0)
    steps.add(1, -0.1)
    steps.add(2, -0.099_999)
    steps.step()
    assert steps.given_back == [1]


def test_while_a_whole_turn_starts_nothing_is_given_back_and_the_next_turn_follows_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(armed, "TURN_ITEMS", 2)
    steps = Steps()
    for number in range(5):
        steps.add(number, -1.0)
    assert steps.step() == 0.0
    assert (steps.started, steps.given_back) == ([0, 1], [])
    assert steps.step() == 0.0
    steps.slots = 0
    assert steps.step() is None
    assert (steps.started, steps.given_back) == ([0, 1, 2, 3], [4])


def test_after_a_whole_turn_that_was_all_nothing_is_left_to_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(armed, "TURN_ITEMS", 2)
    steps = Steps()
    for number in range(2):
        steps.add(number)
    assert steps.step() is None


def test_each_of_a_herd_is_looked_at_once_however_many_turns_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(armed, "TURN_ITEMS", 10)
    steps = Steps(max_items=1_000, slots=1_000)
    for number in range(1_000):
        steps.add(number)
    while steps.step() is not None:
        pass
    assert len(steps.started) == steps.looked_at == 1_000


@pytest.mark.parametrize("was_due", [False, True])
def test_what_comes_again_for_a_later_time_does_not_start_at_the_earlier_one(was_due: bool) -> None:
    steps = Steps(slots=0)
    steps.add(1, 1.0, token=10)
    if was_due:
        steps.clock.now += 1.0
        steps.step()
    steps.add(1, 50.0, token=20)
    steps.slots, steps.clock.now = 1, steps.clock.now + 40.0
    steps.step()
    assert (steps.started, steps.given_back) == ([], [])
    steps.clock.now += 11.0
    steps.step()
    assert steps.started == [1]


def test_what_was_withdrawn_while_it_waited_for_a_slot_does_not_start_early_when_it_is_armed_again() -> None:
    steps = Steps(slots=0)
    steps.add(1)
    steps.step()
    steps.armed.take_out(key(1))
    steps.add(1, 50.0, token=20)
    steps.slots = 1
    steps.step()
    assert steps.started == []


@pytest.mark.parametrize(("lease_s", "starts"), [(0.0, False), (0.001, True)])
def test_it_starts_as_long_as_the_lease_lasts_and_no_longer(lease_s: float, starts: bool) -> None:
    steps = Steps()
    steps.armed.leased_until_s = steps.clock.now + lease_s
    steps.add(1)
    steps.add(2, 0.5)
    assert steps.step() == pytest.approx(0.5)
    assert (steps.started, steps.given_back) == (([1], []) if starts else ([], [1]))
    assert steps.armed.keys == [key(2)]


def test_before_a_leader_has_given_a_lease_nothing_starts() -> None:
    steps = Steps()
    fresh = Armed(steps.time, steps.clock, (10, 1 << 20), steps._begin, steps._give_back)
    steps.armed = fresh
    steps.add(1)
    steps.step()
    assert (steps.started, steps.given_back) == ([], [1])


def test_what_is_due_stays_due_though_the_time_is_known_less_well_since() -> None:
    steps = Steps(slots=0)
    steps.add(1)
    steps.step()
    steps.time._told._told_us = None
    assert steps.time.earliest_us() == 0
    steps.slots = 1
    steps.step()
    assert steps.started == [1]


def test_what_is_the_first_to_start_wakes_and_so_does_news_while_there_is_any() -> None:
    steps = Steps()
    steps.armed.look()
    assert not steps.is_woken
    for number, in_s, wakes in ((1, 5.0, True), (2, 6.0, False), (3, 4.0, True)):
        steps.add(number, in_s)
        assert steps.is_woken == wakes
    steps.armed.look()
    assert steps.is_woken


def test_no_more_are_held_than_may_be_and_a_later_word_about_one_that_is_held_counts() -> None:
    steps = Steps(max_items=2)
    assert [steps.add(number, 1.0) for number in (1, 2, 3)] == [True, True, False]
    assert steps.add(2, 1.0, token=11)
    assert steps.add(2, 1.0, token=9)
    assert (steps.armed.token_of(key(2)), steps.armed.token_of(key(3))) == (11, 0)
    steps.armed.take_out(key(1))
    assert steps.armed.take_out(key(1)) is None
    assert steps.add(3, 1.0)


def test_what_waits_for_a_slot_puts_off_nothing_that_is_due_sooner_than_the_next_look_for_one() -> None:
    steps = Steps(slots=0)
    steps.add(1)
    steps.add(2, 0.01)
    assert steps.step() == pytest.approx(0.01)
    steps.clock.now += 0.011
    assert steps.step() == 0.05


def test_all_of_it_is_given_back_at_the_end_and_no_more_is_taken() -> None:
    steps = Steps(slots=0)
    steps.add(1)
    steps.step()
    steps.add(2, 1.0)
    steps.armed.close()
    assert (steps.given_back, steps.armed.keys) == ([1, 2], [])
    assert not steps.add(3)
    steps.slots = 2
    steps.clock.now += 2.0
    assert steps.step() is None
    assert (steps.started, steps.given_back) == ([], [1, 2])
