"""The pool with actions that a test can hold and let go."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from raftsched_proto.v1 import task_pb2

from raftsched.clock import SystemClock
from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.base import AttemptContext, Result, StopSignal
from raftsched.executor.leader_time import LeaderTime
from raftsched.executor.pool import Attempt, Pool
from raftsched.executor.secrets import Secrets
from raftsched.executor.settings import ExecutorSettings
from tests.support.fake_leader import run
from tests.support.held_runner import SUCCEEDED, HeldRunner


class Bench:
    """A pool and what it told."""

    def __init__(self, slots: int, running_report_s: float = 100.0) -> None:
        self.runner = HeldRunner()
        self.remote = HeldRunner()
        self.remote.holds_slot = False
        self.ended: list[tuple[int, Result]] = []
        self.long: list[int] = []
        settings = ExecutorSettings(Path(), slots=slots, running_report_s=running_report_s, remote_slots=2)
        clock = SystemClock()
        self.pool = Pool(settings, self, self, clock, LeaderTime(clock), Secrets(environment={}))

    def get(self, kind: str) -> HeldRunner:
        return self.runner if kind == "command" else self.remote

    def why_not(self, kind: str) -> str:
        raise AssertionError(kind)

    def on_long(self, attempt: Attempt) -> None:
        self.long.append(attempt.context.nominal_us)

    def on_end(self, attempt: Attempt, result: Result) -> None:
        self.ended.append((attempt.context.nominal_us, result))

    def submit(
        self, number: int, *, time_limit_us: int = 0, after: Attempt | None = None, kind: str = "command"
    ) -> Attempt:
        key = (number.to_bytes(16, "big"), 1)
        context = AttemptContext("e", "t", key[0], number, 1, 1, StopSignal(asyncio.get_running_loop()))
        attempt = Attempt(key, kind, task_pb2.Action(), time_limit_us, context, after=after)
        self.pool.add(attempt)
        self.pool.start(attempt)
        return attempt

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is awaited happens elsewhere
                await asyncio.sleep(0.001)

    def states(self) -> list[tuple[int, ExecutionState]]:
        return [(number, result.state) for number, result in self.ended]


def test_no_more_run_than_there_are_slots_and_the_rest_follows_in_order() -> None:
    async def test() -> None:
        bench = Bench(slots=2)
        for number in range(5):
            bench.submit(number)
        await bench.until(lambda: len(bench.runner.started) == 2)
        for number in range(5):
            await bench.until(lambda n=number: n in bench.runner.gates)
            assert bench.runner.started == list(range(min(5, number + 2)))
            assert bench.pool.slots_used == min(2, 5 - number)
            bench.runner.gates[number].set_result(SUCCEEDED)
            await bench.until(lambda n=number: len(bench.ended) == n + 1)
            await bench.until(lambda n=number: len(bench.runner.started) == min(5, n + 3))
        assert bench.states() == [(number, ExecutionState.SUCCEEDED) for number in range(5)]
        assert bench.pool.slots_used == 0
        assert not bench.pool.attempts

    run(test)


def test_time_limit_ends_a_running_attempt() -> None:
    async def test() -> None:
        bench = Bench(slots=1)
        bench.submit(1, time_limit_us=10_000)
        await bench.until(lambda: bench.ended)
        assert bench.ended[0][1].state == ExecutionState.TIMED_OUT
        assert bench.ended[0][1].error == "the time limit of 10 ms has passed"

    run(test)


def test_time_limit_does_not_run_while_an_attempt_waits() -> None:
    async def test() -> None:
        bench = Bench(slots=1)
        bench.submit(1)
        bench.submit(2, time_limit_us=1)
        await bench.until(lambda: bench.runner.started == [1])
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not bench.ended
        bench.runner.gates[1].set_result(SUCCEEDED)
        await bench.until(lambda: len(bench.ended) == 2)
        assert bench.states() == [(1, ExecutionState.SUCCEEDED), (2, ExecutionState.TIMED_OUT)]

    run(test)


def test_attempt_that_waits_is_stopped_without_starting() -> None:
    async def test() -> None:
        bench = Bench(slots=1)
        bench.submit(1)
        waiting = bench.submit(2)
        bench.pool.stop(waiting, ExecutionState.CANCELLED, "cancelled")
        assert bench.ended == [(2, Result(ExecutionState.CANCELLED, error="cancelled"))]
        assert waiting.start_us == 0
        await bench.until(lambda: bench.runner.started)
        bench.runner.gates[1].set_result(SUCCEEDED)
        await bench.until(lambda: len(bench.ended) == 2)
        assert bench.runner.started == [1]

    run(test)


def test_attempt_stopped_before_it_may_start_never_starts() -> None:
    async def test() -> None:
        bench = Bench(slots=1)
        context = AttemptContext("e", "t", bytes(16), 7, 1, 1, StopSignal(asyncio.get_running_loop()))
        attempt = Attempt((bytes(16), 1), "command", task_pb2.Action(), 0, context)
        bench.pool.add(attempt)
        bench.pool.stop(attempt, ExecutionState.CANCELLED, "cancelled")
        bench.pool.start(attempt)
        await asyncio.sleep(0)
        assert bench.states() == [(7, ExecutionState.CANCELLED)]
        assert bench.runner.started == []

    run(test)


def test_first_reason_to_stop_counts() -> None:
    async def test() -> None:
        bench = Bench(slots=1)
        attempt = bench.submit(1)
        await bench.until(lambda: bench.runner.started)
        bench.pool.stop(attempt, ExecutionState.CANCELLED, "first")
        bench.pool.stop(attempt, ExecutionState.LOST, "second", at_once=True)
        await bench.until(lambda: bench.ended)
        assert bench.ended == [(1, Result(ExecutionState.CANCELLED, error="first"))]

    run(test)


def test_slot_stays_occupied_by_what_an_attempt_left_behind() -> None:
    async def test() -> None:
        bench = Bench(slots=1)
        bench.submit(1)
        bench.submit(2)
        await bench.until(lambda: 1 in bench.runner.gates)
        busy = asyncio.get_running_loop().create_future()
        bench.runner.gates[1].set_result(Result(ExecutionState.TIMED_OUT, busy=busy))
        await bench.until(lambda: bench.ended)
        assert bench.pool.slots_used == 1
        assert bench.runner.started == [1]
        busy.set_result(None)
        await bench.until(lambda: bench.runner.started == [1, 2])
        await bench.pool.stop_all("over")
        assert bench.pool.slots_used == 0

    run(test)


def test_newer_attempt_waits_until_the_older_is_gone() -> None:
    async def test() -> None:
        bench = Bench(slots=2)
        older = bench.submit(1)
        await bench.until(lambda: bench.runner.started == [1])
        bench.submit(2, after=older)
        for _ in range(5):
            await asyncio.sleep(0)
        assert bench.runner.started == [1]
        assert (older.forsaken, older.long) == (False, False)
        bench.pool.forsake(older)
        assert older.forsaken
        await bench.until(lambda: bench.runner.started == [1, 2])
        assert bench.states() == [(1, ExecutionState.CANCELLED)]
        await bench.pool.stop_all("over")

    run(test)


def test_long_attempt_is_told_once_and_a_short_one_is_not() -> None:
    async def test() -> None:
        bench = Bench(slots=2, running_report_s=0.02)
        long, short = bench.submit(1), bench.submit(2)
        await bench.until(lambda: len(bench.runner.gates) == 2)
        bench.runner.gates[2].set_result(SUCCEEDED)
        await bench.until(lambda: bench.long)
        bench.runner.gates[1].set_result(SUCCEEDED)
        await bench.until(lambda: len(bench.ended) == 2)
        await asyncio.sleep(0.03)
        assert bench.long == [1]
        assert (long.long, short.long) == (True, False)

    run(test)


def test_defect_of_a_runner_fails_the_attempt_and_frees_the_slot() -> None:
    async def test() -> None:
        bench = Bench(slots=1)
        bench.submit(1)
        await bench.until(lambda: 1 in bench.runner.gates)
        bench.runner.gates[1].set_exception(RuntimeError("broken"))
        await bench.until(lambda: bench.ended)
        assert bench.ended[0][1].state == ExecutionState.FAILED
        assert "RuntimeError: broken" in bench.ended[0][1].error
        assert bench.pool.slots_used == 0

    run(test)


@pytest.mark.parametrize("slots", [1, 3])
def test_stop_all_ends_everything_as_lost(slots: int) -> None:
    async def test() -> None:
        bench = Bench(slots=slots)
        for number in range(4):
            bench.submit(number)
        await bench.until(lambda: len(bench.runner.started) == slots)
        await bench.pool.stop_all("over")
        assert sorted(bench.states()) == [(number, ExecutionState.LOST) for number in range(4)]
        assert len(bench.runner.started) == slots

    run(test)


def test_work_done_elsewhere_takes_no_slot_and_has_a_bound_of_its_own() -> None:
    async def test() -> None:
        bench = Bench(slots=1)
        for number in (1, 2):
            bench.submit(number)
        for number in (11, 12, 13):
            bench.submit(number, kind="remote")
        await bench.until(lambda: len(bench.remote.started) == 2)
        assert bench.runner.started == [1]
        assert bench.pool.slots_used == 1
        bench.remote.gates[11].set_result(SUCCEEDED)
        await bench.until(lambda: bench.remote.started == [11, 12, 13])
        assert bench.runner.started == [1]
        bench.runner.gates[1].set_result(SUCCEEDED)
        await bench.until(lambda: bench.runner.started == [1, 2])
        await bench.pool.stop_all("over")

    run(test)
