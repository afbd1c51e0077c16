"""What an executor makes of what leaders assign and take back."""

import asyncio
from pathlib import Path

import pytest

from raftsched.core.state.model import ExecutionState
from tests.support.fake_leader import run
from tests.support.workload_bench import bench, key

LOST, SUCCEEDED, CANCELLED = ExecutionState.LOST, ExecutionState.SUCCEEDED, ExecutionState.CANCELLED


def test_attempt_that_is_assigned_again_while_it_runs_is_not_run_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
            await executor.assign(key(1), key(1))
            await executor.release(1)
            assert executor.runner.started == [1]
            assert executor.told() == [(key(1), SUCCEEDED)]

    run(test)


def test_attempt_that_is_assigned_again_after_its_end_is_told_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1))
            assert executor.told() == [(key(1), SUCCEEDED)]
            await executor.assign_noops(key(1))
            assert executor.told() == [(key(1), SUCCEEDED)]

    run(test)


def test_attempt_that_was_acknowledged_is_neither_run_nor_told_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
            await executor.release(1)
            executor.inbox.acknowledged([key(1)])
            await executor.assign(key(1))
            assert executor.told() == []
            assert not executor.workload.held
            assert executor.runner.started == [1]

    run(test)


@pytest.mark.parametrize(("attempt", "token"), [(1, 99), (3, 20), (3, 19)])
def test_assignment_that_is_not_later_than_what_was_seen_is_refused(tmp_path: Path, attempt: int, token: int) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1, 2), token=20)
            await executor.assign(key(1, attempt), token=token)
            await executor.turn()
            assert list(executor.workload.held) == [key(1, 2)]
            assert executor.runner.started == [1]

    run(test)


def test_later_attempt_takes_the_place_of_one_that_runs_and_of_one_that_waits(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, slots=1) as executor:
            await executor.assign(key(1), key(2))
            await executor.until(lambda: executor.runner.started == [1])
            await executor.assign(key(2, 2))
            await executor.turn()
            assert executor.told() == [(key(2), LOST)]
            await executor.assign(key(1, 2))
            await executor.until(lambda: executor.runner.started == [1, 2])
            await executor.release(2)
            await executor.until(lambda: executor.runner.started == [1, 2, 1])
            assert executor.told() == [(key(1), LOST), (key(2, 2), SUCCEEDED)]

    run(test)


def test_later_attempt_starts_when_the_one_before_is_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            executor.runner.is_stubborn = True
            await executor.assign(key(1))
            await executor.until(lambda: executor.runner.started == [1])
            await executor.assign(key(1, 2))
            await executor.turn()
            assert executor.runner.started == [1]
            executor.runner.is_stubborn = False
            await executor.release(1)
            assert executor.runner.started == [1, 1]

    run(test)


def test_noops_end_as_they_are_accepted(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1), key(2))
            assert executor.told() == [(key(1), SUCCEEDED), (key(2), SUCCEEDED)]
            assert executor.runs.idle.is_set()
            assert not executor.outbox.settled.is_set()

    run(test)


def test_what_is_beyond_the_bound_is_left_out_until_half_is_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, max_held=4) as executor:
            await executor.assign_noops(*map(key, range(6)))
            assert list(executor.workload.held) == [key(number) for number in range(4)]
            assert executor.inbox.left_out
            executor.inbox.acknowledged([key(0)])
            assert not executor.inbox.wants_left_out
            executor.inbox.acknowledged([key(1)])
            assert executor.inbox.wants_left_out
            executor.inbox.connected(1, [])
            assert not executor.inbox.wants_left_out

    run(test)


def test_ends_that_take_more_memory_than_they_may_are_acknowledged_before_more_is_accepted(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, max_held_bytes=1) as executor:
            await executor.assign_noops(key(0))
            await executor.assign_noops(key(1))
            assert list(executor.workload.held) == [key(0)]
            assert executor.inbox.left_out
            assert not executor.inbox.wants_left_out
            executor.inbox.acknowledged([key(0)])
            assert executor.inbox.wants_left_out
            await executor.assign_noops(key(1))
            assert list(executor.workload.held) == [key(1)]

    run(test)


def test_executor_that_holds_more_than_a_lowered_bound_accepts_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(*map(key, range(6)))
        async with bench(tmp_path, max_held=4) as executor:
            await executor.assign_noops(key(7))
            assert key(7) not in executor.workload.held
            assert executor.inbox.left_out

    run(test)


def test_acknowledgement_of_what_still_runs_kills_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
            await executor.until(lambda: executor.runner.started)
            executor.inbox.acknowledged([key(1)])
            await executor.turn()
            assert executor.told() == [(key(1), LOST)]
            executor.inbox.acknowledged([key(1)])
            assert not executor.workload.held

    run(test)


def test_cancellation_ends_what_runs_and_leaves_what_is_over(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1))
            await executor.assign(key(2))
            executor.inbox.cancel([key(1), key(2), key(3)])
            await executor.turn()
            assert executor.told() == [(key(1), SUCCEEDED), (key(2), CANCELLED)]

    run(test)


def test_what_a_leader_revokes_is_killed_and_told_to_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1), key(2))
            await executor.until(lambda: len(executor.runner.started) == 2)
            executor.inbox.connected(3, [key(1), key(9)])
            await executor.turn()
            assert executor.inbox.term == 3
            assert executor.told() == [(key(1), LOST)]
            assert executor.unended() == {key(2)}

    run(test)


def test_what_is_accepted_is_in_the_journal_before_it_starts(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1), key(2))
            assert executor.runner.started == []
        async with bench(tmp_path) as executor:
            assert executor.unended() == {key(1), key(2)}

    run(test)


def test_new_executor_takes_a_leader_of_any_term_and_has_left_out_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            assert executor.inbox.term == 0
            assert not executor.inbox.wants_left_out

    run(test)


def test_other_work_gets_its_turns_while_many_assignments_are_taken(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, max_held=1_000) as executor:
            taken = asyncio.ensure_future(executor.assign_noops(*map(key, range(700))))
            held = []
            while not taken.done():
                await asyncio.sleep(0)
                held.append(len(executor.workload.held))
            assert [count for count in dict.fromkeys(held) if count] == [250, 500, 700]
            assert len(held) < 20

    run(test)
