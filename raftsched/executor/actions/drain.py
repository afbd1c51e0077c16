"""Hands the output of programs that were left behind to a process that reads it, and drops it."""

import os
import resource
import socket
import subprocess
import sys
import threading

import structlog

from raftsched.executor import drainer

_PIPES = 500
"""That one process is given. More begin another: the executor keeps no file open for any of them."""
_SEND_S = 5.0

_log = structlog.get_logger(__name__)


class Drain:
    """Starts a drainer when the first pipe is given away, and another when one has had as many as it may."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._given = 0

    def take(self, output_fd: int) -> None:
        """Give away, and close, a descriptor that reads what is left behind. Blocks; from any thread.

        Where no process can be started, whoever writes gets SIGPIPE, and the log says so.
        """
        with self._lock:
            try:
                self._give(output_fd)
            except OSError:
                # The drainer was killed: another one takes its place.
                self._let_go()
                try:
                    self._give(output_fd)
                except OSError as error:
                    _log.warning("what a command left behind cannot write any more", reason=str(error))
            finally:
                os.close(output_fd)

    def _give(self, output_fd: int) -> None:
        if self._control is None:
            self._control = _start()
        socket.send_fds(self._control, [b"p"], [output_fd])
        self._given += 1
        if self._given >= min(_PIPES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2):
            self._let_go()

    def _let_go(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control, self._given = None, 0

    def close(self) -> None:
        """Start no more. What was given away is read on."""
        with self._lock:
            self._let_go()


def _start() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            subprocess.run(
                [sys.executable, "-I", "-S", drainer.__file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                check=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        ours.close()
        raise OSError(f"{error}") from error
    # One that was stopped takes nothing.
    ours.settimeout(_SEND_S)
    return ours
