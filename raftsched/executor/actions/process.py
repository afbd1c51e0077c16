"""Starts a program in a process group of its own, and watches it from the event loop."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from raftsched.executor import inherited
from raftsched.executor.output import Output
from raftsched.ports import Clock

_READ_BYTES = 64 * 1024
_DRAIN_READS = 32
_GROUP_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Started:
    """A program that runs, and the descriptors that belong to us."""

    process: subprocess.Popen[bytes]
    pid_fd: int | None
    """None: it has ended, and somebody else knows how."""
    output_fd: int
    """Reads what the program writes to its standard output and standard error."""


def start(argv: list[str], env: Mapping[str, str], directory: str, stdin: bytes) -> Started:
    """Start a program in a new session, hence in a process group of its own. Blocks for about a millisecond.

    Raises OSError or ValueError (a null byte in a string) when it cannot be started; then nothing is left behind.
    """
    if directory:
        # A file system that hangs shall hang here, and not in the fork, which holds the interpreter lock.
        os.stat(directory)
    output_fd, child_output_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # The program gets an ordinary blocking pipe.
        os.set_blocking(child_output_fd, True)
        with _Input(stdin) as stdin_fd:
            process = subprocess.Popen(
                argv,
                stdin=stdin_fd,
                stdout=child_output_fd,
                stderr=child_output_fd,
                env=env,
                cwd=directory or None,
                start_new_session=True,
            )
        inherited.unprotect(process.pid)
        try:
            return Started(process, os.pidfd_open(process.pid), output_fd)
        except ProcessLookupError:
            # It has ended, and its status has been collected.
            process.returncode = -1
            return Started(process, None, output_fd)
        except OSError:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    except BaseException:
        os.close(output_fd)
        raise
    finally:
        os.close(child_output_fd)


class _Input:
    """Standard input as a file in memory: the program reads at its own pace, and nobody has to feed a pipe."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._fd = -1

    def __enter__(self) -> int:
        if not self._data:
            return subprocess.DEVNULL
        self._fd = os.memfd_create("stdin")
        rest = memoryview(self._data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        os.lseek(self._fd, 0, os.SEEK_SET)
        return self._fd

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class Child:
    """A started program, watched from the running event loop: its output goes to the sink, its end to ``exited``."""

    def __init__(self, started: Started, output: Output, clock: Clock) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = started
        self._output = output
        self._clock = clock
        self.exited: asyncio.Future[int | None] = self._loop.create_future()
        """The exit code; negative: killed by that signal; None: it has ended, and nobody knows how."""
        if started.pid_fd is None:
            self.exited.set_result(None)
        else:
            self._loop.add_reader(started.pid_fd, self._on_exit, started.pid_fd)
        self._loop.add_reader(started.output_fd, self._on_output)

    @property
    def group(self) -> int:
        """The id of its process group."""
        return self._started.process.pid

    def _on_exit(self, pid_fd: int) -> None:
        # Not Popen.poll: it takes a program whose status somebody else has collected for one that succeeded.
        try:
            status = os.waitid(os.P_PIDFD, pid_fd, os.WEXITED | os.WNOHANG)
            if status is None:
                return
            code = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
        except ChildProcessError:
            code = None
        # It is collected: Popen has nothing left to wait for.
        self._started.process.returncode = -1 if code is None else code
        self._loop.remove_reader(pid_fd)
        os.close(pid_fd)
        self.exited.set_result(code)

    def _on_output(self) -> None:
        if not self._read():
            self._loop.remove_reader(self._started.output_fd)

    def _read(self) -> bool:
        """Take one read of output; False at its end."""
        data = os.read(self._started.output_fd, _READ_BYTES)
        self._output.write(data)
        return bool(data)

    def release(self) -> int | None:
        """Take what the program wrote before it exited.

        Returns the descriptor of its output, which is the caller's from now on, where processes that it left behind may
        write more; None at the end of it.
        """
        self._loop.remove_reader(self._started.output_fd)
        with suppress(BlockingIOError):
            for _ in range(_DRAIN_READS):
                if not self._read():
                    os.close(self._started.output_fd)
                    return None
        return self._started.output_fd

    async def terminate(self, grace_s: float, forced: "asyncio.Future[None]") -> None:
        """End the whole process group: TERM, then KILL when the grace is over or ``forced`` is done.

        Returns when the program has exited. One that is stuck in the kernel is waited for: its attempt is not over.
        """
        deadline = self._clock.monotonic() + grace_s
        self._signal(signal.SIGTERM)
        # A stopped process handles no TERM.
        self._signal(signal.SIGCONT)
        await asyncio.wait((self.exited, forced), timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        while not forced.done() and self._clock.monotonic() < deadline and self._signal(0):
            await asyncio.wait((forced,), timeout=_GROUP_POLL_S)
        self._signal(signal.SIGKILL)
        await self.exited

    def _signal(self, number: int) -> bool:
        """Send to the whole group; False when nobody is left in it."""
        try:
            os.killpg(self.group, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            # Only processes that changed their user are left; they are out of our reach.
            return False
        return True
