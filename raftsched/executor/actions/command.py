"""Runs programs."""

import asyncio
import errno
import os
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.executor import inherited, leftovers
from raftsched.executor.actions import process
from raftsched.executor.actions.base import AttemptContext, Result, Surroundings, first_of
from raftsched.executor.actions.drain import Drain
from raftsched.executor.actions.identity import environment
from raftsched.ports import Clock

_SPAWN_THREADS = 2
"""Starting a program takes about a millisecond, most of it outside the interpreter lock: two threads keep two cores
busy and the event loop free."""
_FULL = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
"""Nothing was started, because something else takes all files, processes or memory: often for a moment only."""
_FULL_PATIENCE_S = 10.0
_FULL_PAUSE_S = 0.1
_MARK = leftovers.VARIABLE.encode()


def create(surroundings: Surroundings) -> "CommandRunner":
    """The runner of commands."""
    return CommandRunner(surroundings.clock, surroundings.settings.kill_grace_s)


class CommandRunner:
    """Runs commands as subprocesses, each in a session of its own.

    An attempt ends when its program exits. Processes that the program leaves behind run on, as under cron; what they
    write is read on and dropped. At the time limit and when cancelled, all that it started is ended: its process
    group, and what moved to a session of its own.
    """

    def __init__(self, clock: Clock, kill_grace_s: float) -> None:
        self._clock = clock
        self._kill_grace_s = kill_grace_s
        self._environment = _encoded(inherited.for_programs(os.environ))
        self._drain = Drain()
        self._spawners = ThreadPoolExecutor(_SPAWN_THREADS, thread_name_prefix="spawn")
        self._watch = process.DescriptorWatch()

    async def run(self, action: task_pb2.Action, context: AttemptContext) -> Result:
        """Start the program and wait until it has exited."""
        command = action.command
        if not command.argv:
            return Result(ExecutionState.FAILED, error="the command has no argv: nothing was started")
        try:
            child = await self._ended_or_to_end(command, context)
        except (OSError, ValueError) as error:
            return Result(ExecutionState.FAILED, error=_start_error(command, error))
        if child is None:
            return context.stop.requested.result()
        if child.exited.done():
            output_fd = child.release()
            if output_fd is not None:
                await asyncio.to_thread(self._drain.take, output_fd)
            return _result(child.exited.result())
        await self._end(child, context)
        output_fd = child.release()
        if output_fd is not None:
            # What is out of our reach and writes on is told so by SIGPIPE.
            os.close(output_fd)
        stopped = context.stop.requested.result()
        return Result(stopped.state, exit_code=_code_of_stopped(child.exited.result()), error=stopped.error)

    async def _ended_or_to_end(self, command: task_pb2.CommandAction, context: AttemptContext) -> process.Child | None:
        """Start it, if need be when there is room, and wait until it has exited or shall stop.

        None: it shall stop, and was not started. Raises OSError, ValueError.
        """
        until_s = self._clock.monotonic() + _FULL_PATIENCE_S
        while True:
            try:
                child = process.Child(context.output, self._clock, self._watch)
                starting = self._spawners.submit(self._start, child, command, context)
                self._watch.grow(child)
                if not await first_of(child.exited, context.stop):
                    if starting.cancel():
                        child.exited.cancel()
                        return None
                    await asyncio.wrap_future(starting)
                if child.exited.done():
                    child.exited.result()
                return child
            except OSError as error:
                if error.errno not in _FULL or self._clock.monotonic() >= until_s:
                    raise
            await asyncio.wait((context.stop.requested,), timeout=_FULL_PAUSE_S)
            if context.stop.requested.done():
                return None

    async def _end(self, child: process.Child, context: AttemptContext) -> None:
        mark = context.process_mark
        if not mark:
            await child.terminate(self._kill_grace_s, context.stop.forced)
            return
        elsewhere = asyncio.ensure_future(leftovers.end(mark, self._kill_grace_s, apart_from_group=child.group))
        try:
            await child.terminate(self._kill_grace_s, context.stop.forced)
            await asyncio.wait((elsewhere, context.stop.forced), return_when=asyncio.FIRST_COMPLETED)
        finally:
            elsewhere.cancel()
        # Also what moved out of the group meanwhile. The grace is over for all.
        await leftovers.end(mark, grace_s=0)

    def _start(self, child: process.Child, command: task_pb2.CommandAction, context: AttemptContext) -> None:
        try:
            argv = list(command.argv)
            if command.shell:
                argv = ["/bin/sh", "-c", argv[0], "sh", *argv[1:]]
            env = {
                **self._environment,
                **_encoded(command.env),
                **_encoded(environment(context)),
                _MARK: context.process_mark.encode(),
            }
            child.start(argv, env, command.working_directory, command.stdin)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for the end of this program
            child.fail(error)

    async def close(self) -> None:
        """Let go of the threads. What was left behind runs on."""
        self._spawners.shutdown(wait=False)
        self._drain.close()
        self._watch.close()


def _encoded(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}


def _code_of_stopped(code: int | None) -> int | None:
    """The exit code to show of an attempt that was ended early: none where it would say that all went well."""
    return code or None


def _result(code: int | None) -> Result:
    if code is None:
        error = "how it ended is not known: something else in the executor's process has collected its exit status"
        return Result(ExecutionState.FAILED, error=error)
    if code == 0:
        return Result(ExecutionState.SUCCEEDED, exit_code=0)
    if code > 0:
        return Result(ExecutionState.FAILED, exit_code=code, error=f"exit code {code}")
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return Result(ExecutionState.FAILED, exit_code=code, error=f"killed by signal {-code}{name}")


def _start_error(command: task_pb2.CommandAction, error: OSError | ValueError) -> str:
    program = "/bin/sh" if command.shell else command.argv[0]
    if isinstance(error, ValueError):
        reason = f"{error} in its argv, environment or working directory"
    elif command.working_directory and error.filename == command.working_directory:
        reason = f"the working directory {command.working_directory!r} cannot be used: {error.strerror}"
    elif isinstance(error, FileNotFoundError) and "/" in program:
        reason = (
            f"there is no file {program!r} on this executor, or the interpreter that its first line names is missing"
        )
    elif isinstance(error, FileNotFoundError):
        reason = f"there is no program {program!r} in the PATH of this executor"
    elif isinstance(error, PermissionError):
        reason = f"{program!r} may not be executed by the user that this executor runs as"
    else:
        reason = f"{error.strerror or error}: {program!r}"
    return f"not started: {reason}"
