"""Starts a program in a process group of its own, and watches it from the event loop."""

import asyncio
import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from raftsched.executor import inherited
from raftsched.executor.output import Output
from raftsched.ports import Clock

_READ_BYTES = 64 * 1024
_DRAIN_READS = 32
_EVENTS = 64
"""That are handled before other work of the event loop gets its turn."""
_YOUNG_S = 0.01
"""How long the output of a program that has just been started may wait: of one that ends sooner, it is read once."""
_GROUP_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Started:
    """A program that runs, and the descriptors that belong to us."""

    process: subprocess.Popen[bytes]
    pid_fd: int | None
    """None: it has ended, and somebody else knows how."""
    output_fd: int
    """Reads what the program writes to its standard output and standard error."""


def start(argv: list[str], env: Mapping[bytes, bytes], directory: str, stdin: bytes) -> Started:
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
                umask=inherited.umask_of_programs(),
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


class DescriptorWatch:
    """Tells an event loop which descriptors can be read; they may be added from any thread.

    The loop itself is asked to watch one descriptor only. Those of a program come and go within milliseconds, and what
    a loop does to take one in and let go of it takes longer than the kernel's part.
    """

    def __init__(self) -> None:
        """Raises OSError. It belongs to the loop in which the first program grows."""
        self._epoll = select.epoll()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readers: dict[int, Callable[[], None]] = {}
        self._young: list[Child] = []
        self._timer: asyncio.TimerHandle | None = None

    def grow(self, child: "Child") -> None:
        """Read the output of a program that is about to be started, from a moment later on: most have ended by then."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._epoll.fileno(), self._look)
        self._young.append(child)
        if self._timer is None:
            self._timer = self._loop.call_later(_YOUNG_S, self._grow_up)

    def _grow_up(self) -> None:
        young, self._young = self._young, []
        self._timer = None
        for child in young:
            if not child.read_on():
                self.grow(child)

    def add(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call from the loop whenever it can be read or is at its end, and now and then when neither.

        Nothing when it is watched already. Raises OSError.
        """
        if fd in self._readers:
            return
        self._readers[fd] = on_readable
        try:
            self._epoll.register(fd, select.EPOLLIN)
        except BaseException:
            del self._readers[fd]
            raise

    def remove(self, fd: int) -> None:
        """Watch it no longer, if it is watched: to be called by the loop, before it is closed."""
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def _look(self) -> None:
        for fd, _ in self._epoll.poll(0, _EVENTS):
            # An earlier one of these may have had it removed.
            if (on_readable := self._readers.get(fd)) is not None:
                on_readable()

    def close(self) -> None:
        """Watch nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()


class Child:
    """A program, watched from the running event loop: its output goes to the sink, its end to ``exited``."""

    def __init__(self, output: Output, clock: Clock, watch: DescriptorWatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._output = output
        self._clock = clock
        self._watch = watch
        self._started: Started | None = None
        self._is_begun = False
        self._is_output_over = False
        self.exited: asyncio.Future[int | None] = self._loop.create_future()
        """The exit code; negative: killed by that signal; None: it has ended, and nobody knows how.

        An error where it was not started."""

    def start(self, argv: list[str], env: Mapping[bytes, bytes], directory: str, stdin: bytes) -> None:
        """Start it, once, from any thread; see the function. Where that raises, ``fail`` is to follow."""
        self._started = start(argv, env, directory, stdin)
        if self._started.pid_fd is None:
            self._loop.call_soon_threadsafe(self.exited.set_result, None)
        else:
            # As many are watched as this user may have watched: it is asked for again until it can be.
            with suppress(OSError):
                self._watch.add(self._started.pid_fd, self._on_exit)
        self._is_begun = True

    def fail(self, error: Exception) -> None:
        """It was not started: have that raised where its end is awaited. From any thread."""
        # A closed loop has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.exited.set_exception, error)

    def read_on(self) -> bool:
        """From now on read its output whenever there is some, unless it is over; False: that is not possible yet."""
        if self.exited.done():
            return True
        if not self._is_begun:
            return False
        started = self._running
        try:
            if started.pid_fd is not None:
                self._watch.add(started.pid_fd, self._on_exit)
            self._watch.add(started.output_fd, self._on_output)
        except OSError:
            return False
        return True

    @property
    def group(self) -> int:
        """The id of its process group."""
        return self._running.process.pid

    @property
    def _running(self) -> Started:
        assert self._started is not None, "it has not been started"
        return self._started

    def _on_exit(self) -> None:
        pid_fd = self._running.pid_fd
        assert pid_fd is not None, "its end is not watched"
        # Not Popen.poll: it takes a program whose status somebody else has collected for one that succeeded.
        try:
            status = os.waitid(os.P_PIDFD, pid_fd, os.WEXITED | os.WNOHANG)
            if status is None:
                return
            code = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
        except ChildProcessError:
            code = None
        # It is collected: Popen has nothing left to wait for.
        self._running.process.returncode = -1 if code is None else code
        self._watch.remove(pid_fd)
        os.close(pid_fd)
        self.exited.set_result(code)

    def _on_output(self) -> None:
        with suppress(BlockingIOError):
            if not self._read():
                self._watch.remove(self._running.output_fd)

    def _read(self) -> bool:
        """Take one read of output; False at its end."""
        data = os.read(self._running.output_fd, _READ_BYTES)
        self._is_output_over = not data
        if data:
            self._output.write(data)
        return bool(data)

    def release(self) -> int | None:
        """Take what the program wrote before it exited.

        Returns the descriptor of its output, which is the caller's from now on, where processes that it left behind may
        write more; None at the end of it.
        """
        output_fd = self._running.output_fd
        self._watch.remove(output_fd)
        with suppress(BlockingIOError):
            for _ in range(_DRAIN_READS):
                if self._is_output_over or not self._read():
                    os.close(output_fd)
                    return None
        return output_fd

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
