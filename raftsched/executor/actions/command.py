"""Runs programs."""

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor

from raftsched_client.v1 import task_pb2

from raftsched.core.model import ExecutionState
from raftsched.executor import leftovers
from raftsched.executor.actions import process
from raftsched.executor.actions.base import AttemptContext, Result, Surroundings, first_of
from raftsched.executor.actions.identity import environment
from raftsched.executor.secrets import hide_from_children
from raftsched.ports import Clock

_SPAWN_THREADS = 2
"""Starting a program takes about a millisecond, most of it outside the interpreter lock: two threads keep two cores
busy and the event loop free."""


def create(surroundings: Surroundings) -> "CommandRunner":
    """The runner of commands."""
    return CommandRunner(surroundings.clock, surroundings.settings.kill_grace_s)


class CommandRunner:
    """Runs commands as subprocesses, each in a session of its own.

    An attempt ends when its program exits. Processes that the program leaves behind run on, as under cron, but what
    they write is no longer taken. At the time limit and when cancelled, all that it started is ended: its process
    group, and what moved to a session of its own.
    """

    def __init__(self, clock: Clock, kill_grace_s: float) -> None:
        self._clock = clock
        self._kill_grace_s = kill_grace_s
        self._environment = hide_from_children(os.environ)
        self._spawners = ThreadPoolExecutor(_SPAWN_THREADS, thread_name_prefix="spawn")

    async def run(self, action: task_pb2.Action, context: AttemptContext) -> Result:
        """Start the program and wait until it has exited."""
        command = action.command
        if not command.argv:
            return Result(ExecutionState.FAILED, error="the command has no argv: nothing was started")
        try:
            started = await asyncio.get_running_loop().run_in_executor(self._spawners, self._start, command, context)
        except (OSError, ValueError) as error:
            return Result(ExecutionState.FAILED, error=_start_error(command, error))
        child = process.Child(started, context.output, self._clock)
        if await first_of(child.exited, context.stop):
            child.release()
            return _result(child.exited.result())
        await self._end(child, context)
        child.release()
        stopped = context.stop.requested.result()
        return Result(stopped.state, exit_code=child.exited.result(), error=stopped.error)

    async def _end(self, child: process.Child, context: AttemptContext) -> None:
        attempts = [(context.execution_id, context.attempt)]
        elsewhere = asyncio.ensure_future(
            leftovers.end(context.executor_id, attempts, self._kill_grace_s, apart_from_group=child.group)
        )
        try:
            await child.terminate(self._kill_grace_s, context.stop.forced)
            await asyncio.wait((elsewhere, context.stop.forced), return_when=asyncio.FIRST_COMPLETED)
        finally:
            elsewhere.cancel()
        # Also what moved out of the group meanwhile. The grace is over for all.
        await leftovers.end(context.executor_id, attempts, grace_s=0)

    def _start(self, command: task_pb2.CommandAction, context: AttemptContext) -> process.Started:
        argv = list(command.argv)
        if command.shell:
            argv = ["/bin/sh", "-c", argv[0], "sh", *argv[1:]]
        env = {**self._environment, **command.env, **environment(context)}
        return process.start(argv, env, command.working_directory, command.stdin)

    async def close(self) -> None:
        """Let go of the threads."""
        self._spawners.shutdown(wait=False)


def _result(code: int) -> Result:
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
