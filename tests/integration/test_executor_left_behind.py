"""What a command leaves behind runs on, and writes on, whatever becomes of its executor."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from raftsched_proto.v1 import task_pb2

from raftsched.clock import SystemClock
from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions import drain
from raftsched.executor.actions.base import AttemptContext
from raftsched.executor.actions.command import CommandRunner
from tests.integration.test_executor_crash import kill, process, run
from tests.support.action_bench import DEADLINE_S, new_context, perform
from tests.support.fake_leader import FakeLeader, assignment, key_of, script
from tests.support.processes import alive

LATER = "while [ ! -e {go} ]; do sleep 0.05; done; seq 1 200000; seq 1 200000 >&2; echo alive > {done}"
"""Writes 2.6 MB, many times what a pipe holds, when the file ``go`` is there."""
WAYS = {
    "setsid": "setsid sh -c '{text}' & echo started",
    "nohup": "nohup sh -c '{text}' & echo started",
    "in the background": "sh -c '{text}' & echo started",
    "double fork": "( ( setsid sh -c '{text}' & ) & ); echo started",
}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - what is awaited happens elsewhere
            await asyncio.sleep(0.02)


def leaving(way: str, directory: Path) -> str:
    """A command that leaves a process behind; it begins to write when the file ``go`` is in the directory."""
    text = LATER.format(go=directory / "go", done=directory / "done")
    return f"cd {directory}; " + WAYS[way].format(text=f"echo $$ > {directory}/pid; {text}")


@pytest.mark.parametrize("way", WAYS)
def test_what_is_left_behind_writes_on_and_comes_to_its_end(way: str, tmp_path: Path) -> None:
    async def test() -> None:
        runner = CommandRunner(SystemClock(), 5.0)
        context = new_context()
        action = task_pb2.Action(command=task_pb2.CommandAction(argv=[leaving(way, tmp_path)], shell=True))
        result = await runner.run(action, context)
        size = context.output.size_bytes
        (tmp_path / "go").touch()
        await until((tmp_path / "done").exists)
        await runner.close()
        assert result.state == ExecutionState.SUCCEEDED
        assert context.output.tail().endswith(b"started\n")
        assert context.output.size_bytes == size, "what is written after the end is dropped"

    asyncio.run(test())


def test_what_is_left_behind_writes_on_after_its_executor_was_killed(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader:
            async with process(tmp_path / "data", leader) as executor:
                await leader.connected()
                leader.assign(assignment(key_of(1), script(leaving("setsid", tmp_path))))
                assert (await leader.end_of(key_of(1))).state == ExecutionState.SUCCEEDED
                # It has read the acknowledgement when it answers what was sent behind it.
                await leader.fetch(key_of(1))
                await kill(executor)
            async with process(tmp_path / "data", leader):
                await leader.connected(2)
                (tmp_path / "go").touch()
                await until((tmp_path / "done").exists)

    run(test)


@contextmanager
def left_behind(count: int) -> Iterator[list[int]]:
    """Pids of processes that hold the output of a command that has ended; killed at the end."""
    pids: list[int] = []

    async def test() -> None:
        runner = CommandRunner(SystemClock(), 5.0)
        action = task_pb2.Action(command=task_pb2.CommandAction(argv=["sleep 1000 & echo $!"], shell=True))
        contexts = [new_context() for _ in range(count)]
        for context in contexts:
            await runner.run(action, context)
        pids.extend(int(context.output.tail()) for context in contexts)
        await runner.close()

    with ExitStack() as stack:
        stack.callback(lambda: [_kill(pid) for pid in pids])
        asyncio.run(test())
        yield pids


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def drainers(pids: list[int], count: int = 1) -> list[int]:
    """The processes that read the output of those. Waits until there are so many: they are told of it by message."""
    asyncio.run(until(lambda: len(who_reads(pids)) == count))
    return list(who_reads(pids))


def who_reads(pids: list[int]) -> set[int]:
    """The processes, other than those, that have the output of one of them open."""
    pipes = {os.readlink(f"/proc/{pid}/fd/1") for pid in pids}
    readers = set()
    for directory in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            if any(os.readlink(each) in pipes for each in directory.iterdir()):
                readers.add(int(directory.parent.name))
    return readers - set(pids)


def test_the_executor_keeps_no_file_and_no_thread_for_what_is_left_behind() -> None:
    # What is loaded and started once.
    with left_behind(1):
        pass
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    with left_behind(20) as pids:
        assert len(os.listdir("/proc/self/fd")) <= files
        # The thread that waited for a process's end tells of it and ends a moment later.
        asyncio.run(until(lambda: threading.active_count() <= threads))
        [drainer] = drainers(pids)
        assert drainer != os.getpid()


def test_what_reads_it_ends_with_the_last_of_those_that_write() -> None:
    with left_behind(2) as pids:
        [drainer] = drainers(pids)
        _kill(pids[0])
        assert alive(drainer)
        _kill(pids[1])
        asyncio.run(until(lambda: not alive(drainer)))


def test_one_process_reads_a_bounded_number_of_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_PIPES", 2)
    with left_behind(5) as pids:
        assert os.getpid() not in drainers(pids, 3)


def test_another_process_takes_the_place_of_one_that_was_killed(tmp_path: Path) -> None:
    async def test() -> None:
        runner = CommandRunner(SystemClock(), 5.0)
        first, second = new_context(), new_context()
        sleeping = task_pb2.Action(command=task_pb2.CommandAction(argv=["sleep 1000 & echo $!"], shell=True))
        await runner.run(sleeping, first)
        pid = int(first.output.tail())
        await until(lambda: len(who_reads([pid])) == 1)
        [drainer] = who_reads([pid])
        os.kill(drainer, signal.SIGKILL)
        await until(lambda: not alive(drainer))
        _kill(pid)
        action = task_pb2.Action(command=task_pb2.CommandAction(argv=[leaving("setsid", tmp_path)], shell=True))
        await runner.run(action, second)
        (tmp_path / "go").touch()
        await until((tmp_path / "done").exists)
        await runner.close()

    asyncio.run(test())


IN_SESSIONS_OF_THEIR_OWN = """
setsid sh -c 'echo $$ up; exec sleep 1000' &
( ( setsid sh -c 'echo $$ up; exec sleep 1000' & ) & )
exec sleep 1000
"""


def test_a_time_limit_ends_what_a_running_command_left_behind() -> None:
    async def stop(context: AttemptContext) -> None:
        await until(lambda: context.output.tail().count(b"up\n") == 2)
        context.stop.request(ExecutionState.TIMED_OUT, "stopped")

    action = task_pb2.CommandAction(argv=[IN_SESSIONS_OF_THEIR_OWN], shell=True)
    result, output = perform(CommandRunner(SystemClock(), 5.0), task_pb2.Action(command=action), stop)
    pids = [int(word) for word in output.tail().split() if word.isdigit()]
    assert result.state == ExecutionState.TIMED_OUT
    assert len(pids) == 2
    asyncio.run(until(lambda: not any(map(alive, pids))))
