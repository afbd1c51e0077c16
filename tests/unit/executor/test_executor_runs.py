"""What becomes of attempts that were accepted."""

import random
import threading
from pathlib import Path

import pytest

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.base import Result
from raftsched.executor.attempt_journal import AttemptJournal
from tests.support.fake_leader import run
from tests.support.workload_bench import WorkloadBench, bench, key

LOST, SUCCEEDED, CANCELLED, FAILED = (
    ExecutionState.LOST,
    ExecutionState.SUCCEEDED,
    ExecutionState.CANCELLED,
    ExecutionState.FAILED,
)


def test_what_a_process_left_running_is_ended_and_told_as_lost_by_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1))
            await executor.assign(key(2), key(3))
            await executor.until(lambda: len(executor.runner.started) == 2)
        async with bench(tmp_path) as executor:
            assert not executor.runs.idle.is_set()
            await executor.until(executor.runs.idle.is_set)
            assert executor.buried == [key(2), key(3)]
            await executor.turn()
            assert executor.told() == [(key(2), LOST), (key(3), LOST)]
            executor.inbox.connected(1, [])
            assert executor.told() == [(key(1), SUCCEEDED), (key(2), LOST), (key(3), LOST)]

    run(test)


def test_what_a_leader_had_forgotten_meanwhile_is_not_told_as_lost(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
        async with bench(tmp_path) as executor:
            executor.inbox.acknowledged([key(1)])
            await executor.until(executor.runs.idle.is_set)
            await executor.turn()
            assert executor.told() == []
            assert executor.outbox.settled.is_set()

    run(test)


def test_at_most_once_attempts_start_behind_a_sync_with_those_that_came_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        synced = threading.Event()
        async with bench(tmp_path) as executor:
            monkeypatch.setattr(AttemptJournal, "sync", lambda journal: synced.wait(20))
            gone = executor.item(key(5))
            gone.ClearField("action")
            items = [executor.item(key(1)), executor.item(key(2), at_most_once=True), executor.item(key(3))]
            await executor.inbox.take([*items, gone])
            await executor.assign(key(4))
            await executor.until(lambda: executor.runner.started == [4])
            executor.inbox.cancel([key(3), key(5)])
            synced.set()
            await executor.until(lambda: executor.runner.started == [4, 1, 2])
            assert executor.told() == [(key(3), CANCELLED), (key(5), CANCELLED)]

    run(test)


def test_attempt_without_an_action_or_a_runner_ends_without_starting(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            gone = executor.item(key(1))
            gone.ClearField("action")
            executor.kinds.clear()
            await executor.inbox.take([gone, executor.item(key(2))])
            await executor.turn()
            reports = executor.outbox.next_reports()
            assert reports is not None
            assert [(each.state, each.result.error) for each in reports.items] == [
                (CANCELLED, "the task was deleted before the attempt started"),
                (FAILED, "no command here"),
            ]
            assert executor.runs.idle.is_set()

    run(test)


def test_stored_output_is_made_known_with_its_digest(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            stored: list[tuple[object, bytes]] = []
            executor.runs.on_stored = lambda *told: stored.append(told)
            await executor.assign(key(1), key(2))
            attempt = executor.runs.find(key(1))
            assert attempt is not None
            attempt.context.output.write(bytes(5_000))
            await executor.release(1)
            await executor.release(2)
            reports = executor.outbox.next_reports()
            assert reports is not None
            assert stored == [(key(1), reports.items[0].result.output_sha256)]

    run(test)


@pytest.mark.parametrize(
    ("result", "exit_code"),
    [
        (Result(SUCCEEDED), None),
        (Result(SUCCEEDED, exit_code=0), 0),
        (Result(FAILED, exit_code=3), 3),
        (Result(FAILED), None),
    ],
)
def test_exit_code_is_told_where_the_runner_says_one(tmp_path: Path, result: Result, exit_code: int | None) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
            await executor.until(lambda: executor.runner.gates)
            executor.runner.gates[1].set_result(result)
            await executor.until(executor.runs.idle.is_set)
            await executor.turn()
            reports = executor.outbox.next_reports()
            assert reports is not None
            told = reports.items[0].result
            assert (told.exit_code if told.HasField("exit_code") else None) == exit_code

    run(test)


def test_the_journal_is_synced_once_for_at_most_once_attempts_that_come_together_and_else_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            syncs: list[int] = []
            monkeypatch.setattr(AttemptJournal, "sync", lambda _journal: syncs.append(1))
            await executor.assign(key(1))
            await executor.until(lambda: executor.runner.started == [1])
            await executor.turn()
            assert syncs == []
            await executor.assign(key(2), key(3), at_most_once=True)
            await executor.until(lambda: executor.runner.started == [1, 2, 3])
            await executor.release(1)
            await executor.turn()
            assert syncs == [1]

    run(test)


def test_what_is_cancelled_while_the_journal_is_synced_keeps_nothing_else_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        synced = threading.Event()
        async with bench(tmp_path) as executor:
            monkeypatch.setattr(AttemptJournal, "sync", lambda _journal: synced.wait(20))
            await executor.assign(key(1), key(2), key(3), at_most_once=True)
            executor.inbox.cancel([key(1)])
            synced.set()
            await executor.until(lambda: executor.runner.started == [2, 3])

    run(test)


def test_attempt_that_never_started_has_an_end_and_no_start(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, slots=1) as executor:
            await executor.assign(key(1), key(2))
            await executor.until(lambda: executor.runner.started == [1])
            executor.inbox.cancel([key(2)])
            await executor.turn()
            reports = executor.outbox.next_reports()
            assert reports is not None
            assert (reports.items[0].result.start_us, reports.items[0].result.end_us > 0) == (0, True)

    run(test)


def test_runner_is_told_what_it_runs(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1, 2), token=77, parent_execution_ids=[key(9)[0]], time_limit_us=5_000_000)
            attempt = executor.runs.find(key(1, 2))
            assert attempt is not None
            told = attempt.context
            assert (told.execution_id, told.attempt, told.fencing_token) == (key(1)[0], 2, 77)
            assert (told.parent_execution_ids, told.time_limit_us, told.task) == ((key(9)[0],), 5_000_000, "t")

    run(test)


def test_what_runs_when_the_executor_is_stopped_is_killed_and_kept_as_lost(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
            await executor.until(lambda: executor.runner.started)
            await executor.runs.stop()
            await executor.turn()
            assert executor.runs.idle.is_set()
            reports = executor.outbox.next_reports()
            assert reports is not None
            assert [(each.state, each.result.error) for each in reports.items] == [
                (LOST, "the executor was stopped while it ran")
            ]

    run(test)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_held_and_has_not_ended_is_what_waits_or_runs(tmp_path: Path, seed: int) -> None:
    """Whatever a leader says in whatever order."""

    async def test() -> None:
        dice = random.Random(seed)
        async with bench(tmp_path, slots=2, max_held=8) as executor:
            for _ in range(150):
                await one_step(executor, dice)
                running = {each for each in keys if executor.runs.find(each) is not None}
                assert executor.unended() == running
                assert executor.runs.idle.is_set() == (not running)
                assert len(executor.workload.held) <= 8

    keys = [key(number, attempt) for number in range(5) for attempt in range(1, 5)]
    run(test)


async def one_step(executor: WorkloadBench, dice: random.Random) -> None:
    some = [key(dice.randrange(5), dice.randrange(1, 5)) for _ in range(dice.randrange(1, 4))]
    step = dice.choice(("assign", "assign", "noops", "release", "cancel", "revoke", "acknowledge", "turn"))
    if step == "assign":
        await executor.assign(*some, at_most_once=dice.random() < 0.3)
    elif step == "noops":
        await executor.assign_noops(*some)
    elif step == "release" and executor.runner.gates:
        executor.let_go(dice.choice(list(executor.runner.gates)))
    elif step == "cancel":
        executor.inbox.cancel(some)
    elif step == "revoke":
        executor.inbox.connected(1, some)
    elif step == "acknowledge":
        executor.inbox.acknowledged([each for each, _ in executor.told()])
    else:
        await executor.turn()
