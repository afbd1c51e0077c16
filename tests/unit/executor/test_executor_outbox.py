"""What an executor tells leaders, and until when."""

import asyncio
import random
from pathlib import Path

import pytest
from raftsched_proto.internal.v1 import executor_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.core.state.model import ExecutionState
from tests.support.fake_leader import run
from tests.support.workload_bench import WorkloadBench, bench, key

RUNNING, SUCCEEDED = ExecutionState.RUNNING, ExecutionState.SUCCEEDED


def test_end_is_told_once_to_one_leader_and_again_to_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1), key(2))
            assert executor.told() == [(key(1), SUCCEEDED), (key(2), SUCCEEDED)]
            assert executor.told() == []
            executor.inbox.acknowledged([key(1)])
            executor.inbox.connected(2, [])
            assert executor.told() == [(key(2), SUCCEEDED)]

    run(test)


def test_end_is_told_to_the_next_leader_after_a_restart(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1))
        async with bench(tmp_path) as executor:
            assert executor.told() == []
            executor.inbox.connected(1, [])
            assert executor.told() == [(key(1), SUCCEEDED)]

    run(test)


def test_end_is_told_only_when_it_is_in_the_journal(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, slots=1) as executor:
            await executor.assign(key(1), key(2))
            executor.inbox.cancel([key(2)])
            assert executor.unended() == {key(1)}
            assert executor.told() == []
            await executor.turn()
            assert executor.told() == [(key(2), ExecutionState.CANCELLED)]

    run(test)


def test_only_what_was_told_long_ago_and_is_held_is_told_again_to_the_same_leader(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1), key(2))
            executor.told()
            executor.clock.moved_s += 60.0
            await executor.assign_noops(key(3))
            executor.told()
            executor.inbox.acknowledged([key(1)])
            executor.outbox.resend(30.0)
            assert executor.told() == [(key(2), SUCCEEDED)]
            executor.outbox.resend(30.0)
            assert executor.told() == []

    run(test)


def test_what_was_told_to_the_leader_before_does_not_make_it_be_told_to_the_next_twice(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1))
            executor.told()
            executor.clock.moved_s += 60.0
            executor.inbox.connected(2, [])
            assert executor.told() == [(key(1), SUCCEEDED)]
            executor.outbox.resend(30.0)
            assert executor.told() == []

    run(test)


def test_attempt_ends_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1))
            with pytest.raises(AssertionError, match="ended twice"):
                executor.outbox.spool(key(1), b"")

    run(test)


def test_messages_of_reports_are_bounded_by_their_number_and_their_bytes(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, report_batch_items=3) as executor:
            await executor.assign_noops(*map(key, range(5)))
            assert sizes(executor) == [3, 2]
        async with bench(tmp_path, report_batch_bytes=16 * 1024) as executor:
            await executor.assign(*map(key, range(10, 20)))
            for number in range(10, 20):
                attempt = executor.runs.find(key(number))
                assert attempt is not None
                attempt.context.output.write(bytes(4_000))
                await executor.release(number)
            assert sizes(executor) == [5, 5]

    run(test)


@pytest.mark.parametrize(("second_bytes", "expected"), [(8 * 1024, [2, 1]), (8 * 1024 - 1, [3])])
def test_message_of_reports_takes_no_further_one_once_it_is_as_large_as_it_may_be(
    tmp_path: Path, second_bytes: int, expected: list[int]
) -> None:
    async def test() -> None:
        async with bench(tmp_path, report_batch_bytes=16 * 1024) as executor:
            await executor.assign(key(1), key(2), key(3))
            for number, size_bytes in enumerate((8 * 1024, second_bytes, 1_000), start=1):
                executor.outbox.spool(key(number), report_of(size_bytes))
            executor.outbox.flush()
            assert sizes(executor) == expected

    run(test)


def report_of(size_bytes: int) -> bytes:
    """Of an end, with an error that makes it as large."""
    report = pb.AttemptReport(state=ExecutionState.FAILED, result=AttemptResult(error="x" * (size_bytes - 8)))
    assert report.ByteSize() == size_bytes
    return report.SerializeToString()


def test_messages_of_what_runs_are_bounded_by_their_number(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, running_report_s=0.0, report_batch_items=3) as executor:
            await executor.assign(*map(key, range(5)))
            await executor.until(lambda: len(executor.runs.long) == 5)
            assert sizes(executor) == [3, 2]

    run(test)


def sizes(executor: WorkloadBench) -> list[int]:
    found = []
    while (message := executor.outbox.next_reports()) is not None:
        found.append(len(message.items))
    return found


def test_running_attempt_is_told_unless_it_has_ended_or_was_taken(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, running_report_s=0.0) as executor:
            await executor.assign(key(1), key(2), key(3))
            await executor.until(lambda: len(executor.runs.long) == 3)
            executor.inbox.connected(1, [key(2)])
            await executor.release(3)
            reported = dict(executor.told())
            assert reported == {key(1): RUNNING, key(2): ExecutionState.LOST, key(3): SUCCEEDED}

    run(test)


def test_attempt_that_is_being_killed_for_it_was_taken_is_not_told_as_running(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, running_report_s=0.0) as executor:
            executor.runner.is_stubborn = True
            await executor.assign(key(1))
            await executor.until(lambda: executor.runs.long)
            executor.inbox.connected(1, [key(1)])
            await executor.turn()
            assert executor.told() == []
            await executor.release(1)
            assert executor.told() == [(key(1), ExecutionState.LOST)]

    run(test)


def test_what_was_acknowledged_is_not_told_after_a_restart(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign_noops(key(1), key(2))
            executor.inbox.acknowledged([key(1)])
        async with bench(tmp_path) as executor:
            executor.inbox.connected(1, [])
            assert executor.told() == [(key(2), SUCCEEDED)]

    run(test)


def test_second_copies_are_told_once_and_the_oldest_are_dropped_beyond_the_bound(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            for number in range(10_001):
                executor.outbox.copied(key(number), "n2")
            assert executor.woken == 10_001
            first = executor.outbox.next_copied()
            assert first == pb.OutputCopied(key=pb.AttemptKey(execution_id=key(1)[0], attempt=1), node_id="n2")
            for _ in range(9_999):
                assert executor.outbox.next_copied() is not None
            assert executor.outbox.next_copied() is None

    run(test)


def test_output_is_read_while_an_attempt_runs_and_after_it_from_the_disk(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
            attempt = executor.runs.find(key(1))
            assert attempt is not None
            attempt.context.output.write(b"x" * 5_000)
            wanted = pb.FetchOutput(call=7, key=pb.AttemptKey(execution_id=key(1)[0], attempt=1), offset=10)
            running = await executor.outbox.output(wanted)
            assert (running.call, running.offset, len(running.data), running.ended) == (7, 10, 4_990, False)
            await executor.release(1)
            ended = await executor.outbox.output(wanted)
            assert (ended.offset, len(ended.data), ended.ended) == (10, 4_990, True)
            wanted.key.attempt = 2
            assert not (await executor.outbox.output(wanted)).found

    run(test)


def test_what_has_run_for_long_is_told_to_a_leader_that_is_connected_and_again_to_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, running_report_s=0.0) as executor:
            executor.inbox.connected(1, [])
            await executor.assign(key(1))
            woken = executor.woken
            await executor.until(lambda: executor.runs.long)
            assert executor.woken == woken + 1
            assert executor.told() == [(key(1), RUNNING)]
            assert executor.told() == []
            executor.inbox.connected(2, [])
            assert executor.told() == [(key(1), RUNNING)]

    run(test)


def test_sender_is_woken_when_an_end_is_in_the_journal_and_left_alone_afterwards(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
            await executor.turn()
            woken = executor.woken
            await executor.turn()
            assert executor.woken == woken
            await executor.release(1)
            assert executor.woken == woken + 1
            await executor.turn()
            assert executor.woken == woken + 1

    run(test)


def test_what_was_spooled_is_in_the_journal_before_a_new_leader_is_told_of_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
            executor.outbox.spool(key(1), report_of(1_000))
            assert executor.told() == []
            executor.inbox.connected(1, [])
            assert executor.told() == [(key(1), ExecutionState.FAILED)]
        async with bench(tmp_path) as executor:
            assert executor.unended() == set()

    run(test)


def test_ends_of_the_next_moment_share_a_commit(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1), key(2))
            await executor.turn()
            woken = executor.woken
            for number in (1, 2):
                executor.outbox.spool(key(number), report_of(1_000))
                executor.outbox.flush_soon()
                await asyncio.sleep(0)
            await executor.turn()
            assert len(executor.told()) == 2
            assert executor.woken == woken + 1

    run(test)


def test_ends_that_fill_a_message_wait_for_no_company(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, gather_s=1.0, report_batch_items=2) as executor:
            await executor.assign(key(1), key(2))
            for number in (1, 2):
                executor.outbox.spool(key(number), report_of(1_000))
            executor.outbox.flush_soon()
            await executor.turn()
            assert len(executor.told()) == 2

    run(test)


def test_report_of_what_runs_says_since_when(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, running_report_s=0.0) as executor:
            await executor.assign(key(1))
            await executor.until(lambda: executor.runs.long)
            message = executor.outbox.next_reports()
            attempt = executor.runs.find(key(1))
            assert message is not None
            assert attempt is not None
            assert message.items[0].result.start_us == attempt.start_us > 0

    run(test)


def test_output_that_is_kept_is_found_while_the_attempt_runs_and_afterwards(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            await executor.assign(key(1))
            attempt = executor.runs.find(key(1))
            assert attempt is not None
            attempt.context.output.write(b"x" * 5_000)
            wanted = pb.FetchOutput(call=7, key=pb.AttemptKey(execution_id=key(1)[0], attempt=1))
            assert (await executor.outbox.output(wanted)).found
            await executor.release(1)
            assert (await executor.outbox.output(wanted)).found

    run(test)


def test_executor_is_settled_while_it_holds_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as executor:
            assert executor.outbox.settled.is_set()
            await executor.assign_noops(key(1))
            assert not executor.outbox.settled.is_set()
        async with bench(tmp_path) as executor:
            assert not executor.outbox.settled.is_set()
            executor.inbox.acknowledged([key(1)])
            assert executor.outbox.settled.is_set()

    run(test)


@pytest.mark.parametrize("seed", range(20))
def test_no_end_is_forgotten_before_it_is_acknowledged(tmp_path: Path, seed: int) -> None:
    """Whatever is sent, lost, repeated and acknowledged: in the end all that is held is told."""

    async def test() -> None:
        dice = random.Random(seed)
        async with bench(tmp_path, report_batch_items=2) as executor:
            executor.inbox.connected(1, [])
            for _ in range(200):
                await one_step(executor, dice)
                assert executor.outbox.settled.is_set() == (not executor.workload.held)
            executor.clock.moved_s += 100.0
            executor.outbox.resend(50.0)
            assert {each for each, _ in executor.told()} == set(executor.workload.held)

    run(test)


async def one_step(executor: WorkloadBench, dice: random.Random) -> None:
    some = [key(dice.randrange(30)) for _ in range(dice.randrange(1, 4))]
    step = dice.choice(("noops", "noops", "told", "message", "acknowledge", "resend", "connect"))
    executor.clock.moved_s += 1.0
    if step == "noops":
        await executor.assign_noops(*some)
    elif step == "told":
        executor.told()
    elif step == "message":
        executor.outbox.next_reports()
    elif step == "acknowledge":
        executor.inbox.acknowledged(some)
    elif step == "resend":
        executor.outbox.resend(dice.uniform(0.0, 5.0))
    elif dice.random() < 0.2:
        executor.inbox.connected(1, [])
