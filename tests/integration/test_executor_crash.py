"""An executor process that is killed and started again; the test plays the leader."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from raftsched.core.state.model import ExecutionState
from tests.support import executor_process
from tests.support.fake_leader import FakeLeader, assignment, key_of, noop, run, script
from tests.support.processes import alive


@asynccontextmanager
async def process(directory: Path, leader: FakeLeader, slots: int = 8) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running executor process; killed at the end if it still runs."""
    executor = await asyncio.create_subprocess_exec(
        sys.executable, executor_process.__file__, str(directory), leader.address, str(slots)
    )
    try:
        yield executor
    finally:
        if executor.returncode is None:
            executor.kill()
        await executor.wait()


async def kill(executor: asyncio.subprocess.Process) -> None:
    executor.kill()
    assert await executor.wait() == -signal.SIGKILL


def words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def which_live(path: Path) -> list[bool]:
    """Of each process whose id is in the file, whether it runs."""
    return [alive(int(word)) for word in words(path)]


def test_attempts_of_a_killed_executor_are_lost_and_not_run_again(tmp_path: Path) -> None:
    async def test() -> None:
        evidence = tmp_path / "evidence"
        async with FakeLeader() as leader:
            items = [
                assignment(key_of(1), script(f"echo one >> {evidence}; exec sleep 1000")),
                assignment(key_of(2), script(f"echo two >> {evidence}"), at_most_once=True),
                assignment(key_of(3), noop()),
            ]
            leader.acknowledges = False
            async with process(tmp_path / "data", leader) as executor:
                first = await leader.connected()
                leader.assign(*items)
                await leader.until(lambda: len(leader.ends) == 2 and "one" in words(evidence))
                await kill(executor)
            async with process(tmp_path / "data", leader):
                hello = await leader.connected(2)
                leader.assign(*items)
                end = await leader.end_of(key_of(1))
                await leader.until(lambda: all(len(leader.ends[key_of(number)]) >= 2 for number in (2, 3)))
                leader.acknowledge(*(key_of(number) for number in (1, 2, 3)))
                leader.assign(*items)
                leader.assign(assignment(key_of(1, 2), script(f"echo again >> {evidence}")))
                await leader.end_of(key_of(1, 2))
            assert hello.executor_id == first.executor_id
            assert hello.incarnation != first.incarnation
            assert {(held.execution_id, held.attempt) for held in hello.held} == {key_of(1), key_of(2), key_of(3)}
            assert (end.state, end.result.error) == (ExecutionState.LOST, "the executor restarted while it ran")
            assert {report.state for report in leader.ends[key_of(2)]} == {ExecutionState.SUCCEEDED}
            assert sorted(words(evidence)) == ["again", "one", "two"]

    run(test)


def test_processes_of_a_killed_executor_are_ended_before_it_reports_them_lost(tmp_path: Path) -> None:
    async def test() -> None:
        pids = tmp_path / "pids"
        loop = f"trap '' TERM; echo $$ >> {pids}; while :; do sleep 0.05; done"
        text = f'setsid sh -c "{loop.replace("$$", chr(92) + "$$")}" & {loop}'
        async with FakeLeader() as leader:
            async with process(tmp_path / "data", leader) as executor:
                await leader.connected()
                leader.assign(assignment(key_of(1), script(text)))
                await leader.until(lambda: len(words(pids)) == 2)
                await kill(executor)
            assert which_live(pids) == [True, True], "nobody ends the processes of a killed executor but its successor"
            async with process(tmp_path / "data", leader):
                assert (await leader.end_of(key_of(1))).state == ExecutionState.LOST
                assert which_live(pids) == [False, False]

    run(test)


def test_processes_of_another_executor_with_the_same_execution_ids_are_left_alone(tmp_path: Path) -> None:
    async def test() -> None:
        pids = tmp_path / "pids"
        item = assignment(key_of(1), script(f"echo $$ >> {pids}; exec sleep 1000"))
        async with FakeLeader() as one, FakeLeader() as other, process(tmp_path / "other", other):
            await other.connected()
            other.assign(item)
            await other.until(lambda: len(words(pids)) == 1)
            async with process(tmp_path / "one", one) as executor:
                await one.connected()
                one.assign(item)
                await one.until(lambda: len(words(pids)) == 2)
                await kill(executor)
            async with process(tmp_path / "one", one):
                assert (await one.end_of(key_of(1))).state == ExecutionState.LOST
            assert which_live(pids) == [True, False]
            other.cancel(key_of(1))
            assert (await other.end_of(key_of(1))).state == ExecutionState.CANCELLED

    run(test)


def test_an_executor_on_a_copy_of_a_directory_ends_nothing_of_the_original(tmp_path: Path) -> None:
    async def test() -> None:
        pids, go = tmp_path / "pids", tmp_path / "go"
        wait = f"while [ ! -e {go} ]; do sleep 0.05; done; exit 5"
        text = f"setsid sh -c 'echo $$ >> {pids}; exec sleep 1000' & echo $$ >> {pids}; {wait}"
        async with FakeLeader() as one, FakeLeader() as other, process(tmp_path / "data", one):
            await one.connected()
            one.assign(assignment(key_of(1), script(text)))
            await one.until(lambda: len(words(pids)) == 2)
            shutil.copytree(tmp_path / "data", tmp_path / "copy")
            async with process(tmp_path / "copy", other):
                # All that a predecessor left has been ended when it says that the attempt is lost.
                assert (await other.end_of(key_of(1))).state == ExecutionState.LOST
                assert which_live(pids) == [True, True]
            go.touch()
            end = await one.end_of(key_of(1))
            assert (end.state, end.result.exit_code) == (ExecutionState.FAILED, 5)
        for word in words(pids):
            with suppress(ProcessLookupError):
                os.kill(int(word), signal.SIGKILL)

    run(test)


def test_a_process_that_only_claims_to_be_of_an_attempt_is_left_alone(tmp_path: Path) -> None:
    async def test() -> None:
        pids, seen = tmp_path / "pids", tmp_path / "environment"
        text = f"env > {seen}; echo $$ >> {pids}; exec sleep 1000"
        async with FakeLeader() as leader:
            async with process(tmp_path / "data", leader) as executor:
                await leader.connected()
                leader.assign(assignment(key_of(1), script(text)))
                await leader.until(lambda: len(words(pids)) == 1)
                await kill(executor)
            variables = dict(line.split("=", 1) for line in seen.read_text().splitlines() if "=" in line)
            mark = variables["RAFTSCHED_PROCESS_MARK"]
            variables["RAFTSCHED_PROCESS_MARK"] = mark[:-4] + "".join(reversed(mark[-4:])) + "0"
            claims = await asyncio.create_subprocess_exec("sleep", "1000", env=variables)
            try:
                async with process(tmp_path / "data", leader):
                    assert (await leader.end_of(key_of(1))).state == ExecutionState.LOST
                assert which_live(pids) == [False]
                assert alive(claims.pid)
            finally:
                claims.kill()
                await claims.wait()

    run(test)


def test_programs_inherit_no_signals_from_who_started_their_executor(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader:
            executor = await asyncio.create_subprocess_exec(
                "raftsched", "executor", "--join", leader.address, "--data-dir", str(tmp_path / "data"),
                preexec_fn=_ignore_and_block,
                env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            )  # fmt: skip
            try:
                await leader.connected()
                text = "grep -E '^Sig(Blk|Ign)' /proc/self/status; env | grep ^LC_; exit 7"
                leader.assign(assignment(key_of(1), script(text)))
                end = await leader.end_of(key_of(1))
            finally:
                executor.kill()
                await executor.wait()
        assert end.result.exit_code == 7, "with SIGCHLD ignored nobody knows how a program ended"
        assert end.result.output_tail.split() == [b"SigBlk:", b"0" * 16, b"SigIgn:", b"0" * 16]

    run(test)


def _ignore_and_block() -> None:
    """As nohup, a shell's background and careless parents leave it."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGUSR2, signal.SIGCHLD))


def test_what_was_acknowledged_before_a_kill_is_not_reported_as_lost_when_it_is_assigned_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader:
            async with process(tmp_path / "data", leader) as executor:
                await leader.connected()
                leader.assign(assignment(key_of(1), noop()))
                await leader.until(lambda: key_of(1) in leader.ends)
                # It has read the acknowledgement when it answers what was sent behind it.
                await leader.fetch(key_of(1))
                await kill(executor)
            async with process(tmp_path / "data", leader):
                await leader.connected(2)
                leader.assign(assignment(key_of(1), noop()), assignment(key_of(2), noop()))
                await leader.end_of(key_of(2))
            assert [report.state for report in leader.ends[key_of(1)]] == [ExecutionState.SUCCEEDED]

    run(test)


def test_killed_at_random_moments_no_end_is_lost_and_nothing_runs_twice(tmp_path: Path) -> None:
    async def test() -> None:
        evidence = tmp_path / "evidence"
        total, rounds = 240, 6
        async with FakeLeader() as leader:
            items = [
                assignment(key_of(number), noop() if number % 2 else script(f"echo {number} >> {evidence}"))
                for number in range(total)
            ]
            for turn in range(rounds):
                async with process(tmp_path / "data", leader) as executor:
                    await leader.connected(turn + 1)
                    for start in range(0, total, 20):
                        leader.assign(*items[start : start + 20])
                    await leader.until(lambda n=turn: len(leader.ends) >= total * (n + 1) // (rounds + 1))
                    await kill(executor)
            async with process(tmp_path / "data", leader):
                await leader.connected(rounds + 1)
                leader.assign(*items)
                await leader.until(lambda: len(leader.ends) == total)
        counts = {number: words(evidence).count(f"{number}") for number in range(0, total, 2)}
        assert max(counts.values()) == 1
        for number in range(total):
            states = {report.state for report in leader.ends[key_of(number)]}
            assert len(states) == 1, "an attempt ends in one way, however often it is reported"
            if number % 2:
                assert states == {ExecutionState.SUCCEEDED}
            elif states == {ExecutionState.SUCCEEDED}:
                assert counts[number] == 1
            else:
                assert states == {ExecutionState.LOST}

    run(test)


def test_sigterm_drains_the_process(tmp_path: Path) -> None:
    async def test() -> None:
        go = tmp_path / "go"
        async with FakeLeader() as leader, process(tmp_path / "data", leader) as executor:
            await leader.connected()
            leader.assign(assignment(key_of(1), script(f"until [ -e {go} ]; do sleep 0.02; done; echo finished")))
            await leader.until(lambda: leader.running)
            executor.send_signal(signal.SIGTERM)
            await leader.until(lambda: any(beat.draining for beat in leader.heartbeats))
            go.touch()
            assert await executor.wait() == 0
            assert leader.ends[key_of(1)][0].result.output_tail == b"finished\n"

    run(test)


def test_second_process_on_the_directory_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, process(tmp_path / "data", leader) as executor:
            await leader.connected()
            second = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, executor_process.__file__, str(tmp_path / "data"), leader.address, "1"],
                capture_output=True,
                text=True,
                env=os.environ,
            )
            assert second.returncode == 3
            assert f"in use by another executor (process {executor.pid})" in second.stderr

    run(test)
