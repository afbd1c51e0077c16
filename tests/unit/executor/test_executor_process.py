"""Programs that are started from threads and watched from the event loop."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from raftsched_proto.v1 import task_pb2

from raftsched.clock import SystemClock
from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions import command, process
from raftsched.executor.actions.base import Result, StopSignal, first_of
from raftsched.executor.actions.command import CommandRunner
from tests.support.action_bench import DEADLINE_S, new_context, perform
from tests.support.fake_leader import run


def action(text: str) -> task_pb2.Action:
    return task_pb2.Action(command=task_pb2.CommandAction(argv=[text], shell=True))


def test_a_command_that_shall_stop_while_it_waits_to_be_started_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    go = threading.Event()
    real = process.start

    def held(argv: list[str], *others: Any) -> process.Started:
        started.append(argv[2])
        assert go.wait(DEADLINE_S)
        return real(argv, *others)

    monkeypatch.setattr(process, "start", held)

    async def test() -> None:
        runner = CommandRunner(SystemClock(), 5.0)
        contexts = [new_context() for _ in range(command._SPAWN_THREADS + 1)]
        texts = [f"exit {number}" for number in range(len(contexts))]
        runs = [
            asyncio.ensure_future(runner.run(action(text), context))
            for text, context in zip(texts, contexts, strict=True)
        ]
        await asyncio.sleep(0)
        contexts[-1].stop.request(ExecutionState.CANCELLED, "cancelled")
        assert await runs[-1] == Result(ExecutionState.CANCELLED, error="cancelled")
        go.set()
        assert [(await each).exit_code for each in runs[:-1]] == list(range(command._SPAWN_THREADS))
        assert sorted(started) == texts[:-1]
        await runner.close()

    run(test)


def test_a_command_that_shall_stop_while_it_is_being_started_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    real = process.start

    def held(*args: Any) -> process.Started:
        begun.set()
        assert go.wait(DEADLINE_S)
        return real(*args)

    monkeypatch.setattr(process, "start", held)

    async def test() -> None:
        runner = CommandRunner(SystemClock(), 5.0)
        context = new_context()
        running = asyncio.ensure_future(runner.run(action("exec sleep 1000"), context))
        assert await asyncio.to_thread(begun.wait, DEADLINE_S)
        context.stop.request(ExecutionState.TIMED_OUT, "stopped")
        go.set()
        assert (await running).state == ExecutionState.TIMED_OUT
        await runner.close()

    run(test)


def test_an_unforeseen_error_of_a_start_is_raised_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> process.Started:
        raise RuntimeError("a defect")

    monkeypatch.setattr(process, "start", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        perform(CommandRunner(SystemClock(), 5.0), action("true"))


def test_a_program_that_cannot_be_watched_for_a_moment_is_watched_later(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[int] = []
    real = process.DescriptorWatch.add

    def add(watch: process.DescriptorWatch, fd: int, on_readable: Callable[[], None]) -> None:
        if len(refused) < 5:
            refused.append(fd)
            raise OSError(errno.ENOSPC, "as many are watched as may be")
        real(watch, fd, on_readable)

    monkeypatch.setattr(process.DescriptorWatch, "add", add)
    before = len(os.listdir("/proc/self/fd"))
    # More than a pipe holds: it must be read while the program runs.
    result, output = perform(CommandRunner(SystemClock(), 5.0), action("seq 1 100000; exit 3"))
    assert result.exit_code == 3
    assert output.size_bytes == 588_895
    assert len(refused) == 5
    assert len(os.listdir("/proc/self/fd")) <= before


def test_what_was_removed_in_the_same_turn_is_not_told_of() -> None:
    async def test() -> None:
        watch = process.DescriptorWatch()
        pipes = [os.pipe() for _ in range(2)]
        told: list[int] = []

        def tell(number: int) -> None:
            told.append(number)
            for read, _ in pipes:
                watch.remove(read)

        for number, (read, write) in enumerate(pipes):
            os.write(write, b"x")
            watch.add(read, partial(tell, number))
        watch._look()
        assert len(told) == 1
        watch.close()
        for fd in sum(pipes, ()):
            os.close(fd)

    run(test)


@pytest.mark.parametrize("ends", [True, False])
def test_the_first_of_work_and_stop_is_waited_for(ends: bool) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        work: asyncio.Future[int] = loop.create_future()
        stop = StopSignal(loop)
        waiting = asyncio.ensure_future(first_of(work, stop))
        await asyncio.sleep(0)
        if ends:
            work.set_result(1)
        stop.request(ExecutionState.CANCELLED, "")
        assert await waiting is ends
        assert await first_of(work, stop) is ends, "what is done already is not waited for"

    run(test)
