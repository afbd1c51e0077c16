"""Ends the processes of attempts, wherever they went, and only those.

The commands of an executor that was killed run on without it, while the leader is about to be told that their attempts
are lost, and may start them again; and a process that made a session of its own is not in the process group that a time
limit ends. Every process of a command carries a mark in its environment, so they can be found in /proc, whatever
session they moved to. Out of reach are those that cleaned their environment or changed their user.

A mark proves two things: a keyed hash, that an executor of this very directory started the process for that attempt;
and the place in it, which process did: its boot, PID namespace, pid and start time. As long as that process lives, what
it started is no leftover. So an executor that is started on a copy of a directory ends nothing of the original's.
"""

import asyncio
import hashlib
import hmac
import os
import signal
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path

import structlog

from raftsched.core.state import ids
from raftsched.executor.keys import AttemptKey, describe

VARIABLE = "RAFTSCHED_PROCESS_MARK"
_POLL_S = 0.05
_PROC = Path("/proc")
_START_FIELD = 19
"""Of what follows the name in /proc/PID/stat: starttime, in clock ticks since the boot (proc(5), field 22)."""
_HASH_CHARACTERS = 32

_log = structlog.get_logger(__name__)


class Marks:
    """The marks that one executor puts on its processes. Raises OSError without /proc."""

    def __init__(self, executor_id: str, secret: bytes) -> None:
        """``secret`` is kept in the executor's directory."""
        self._executor_id = executor_id
        self._secret = secret
        self._boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        self._namespace = str((_PROC / "self/ns/pid").stat().st_ino)
        self._place = f"{self._boot}.{self._namespace}.{os.getpid()}.{_start_ticks(os.getpid())}"

    def of(self, key: AttemptKey) -> str:
        """The mark of the processes that this process starts for an attempt."""
        said = f"{self._place}.{ids.to_text(key[0])}.{key[1]}"
        return f"{said}.{self._hash(said)}"

    def _hash(self, said: str) -> str:
        content = f"{said} {self._executor_id}".encode()
        return hmac.digest(self._secret, content, hashlib.sha256).hex()[:_HASH_CHARACTERS]

    def key_of(self, mark: str) -> AttemptKey | None:
        """The attempt that an executor with this directory made the mark for; None when none did."""
        said, _, proof = mark.rpartition(".")
        if not hmac.compare_digest(proof.encode(), self._hash(said).encode()):
            return None
        execution_id, attempt = said.split(".")[-2:]
        return ids.from_text(execution_id), int(attempt)

    def is_left(self, mark: str) -> bool:
        """Whether it is certain that who made the mark is gone, of a mark that was found on a process of this machine.

        An earlier executor of this very process is gone: a directory has one at a time.
        """
        boot, namespace, pid, start = mark.split(".")[:4]
        if (boot, namespace) != (self._boot, self._namespace):
            return False
        return mark.startswith(f"{self._place}.") or _start_ticks(int(pid)) != int(start)

    def is_left_elsewhere(self, mark: str) -> bool:
        """As ``is_left``, of a mark found on a container, which outlives the boot and the namespace of who made it."""
        boot, namespace = mark.split(".")[:2]
        return (boot, namespace) != (self._boot, self._namespace) or self.is_left(mark)


EndLeftovers = Callable[[Marks, Collection[AttemptKey], float], Awaitable[None]]
"""Ends what earlier processes of the executor with these marks left running for these attempts; a grace (s)."""


async def end(mark: str, grace_s: float, *, apart_from_group: int = 0) -> None:
    """Send TERM to the processes with this mark, and KILL to those that are still there after the grace.

    Those of one process group may be left to whoever ends it.
    """
    wanted = mark.encode()
    await _end(lambda pid: _mark(pid) == wanted and (not apart_from_group or _group(pid) != apart_from_group), grace_s)


async def end_left(marks: Marks, attempts: Collection[AttemptKey], grace_s: float) -> None:
    """End, in the same way, what executors that are gone left running for these attempts."""
    wanted = frozenset(attempts)
    alive: set[AttemptKey] = set()

    def is_left(pid: int) -> bool:
        mark = (_mark(pid) or b"").decode("ascii", "replace")
        key = marks.key_of(mark) if mark else None
        if key is None or key not in wanted:
            return False
        if not marks.is_left(mark):
            alive.add(key)
            return False
        return True

    await _end(is_left, grace_s)
    for key in alive:
        _log.warning(
            "left alone: processes of an attempt whose executor is not known to have ended; is this directory a copy?",
            attempt=describe(key),
        )


async def _end(is_ours: Callable[[int], bool], grace_s: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace_s
    signalled: set[int] = set()
    while found := await asyncio.to_thread(_find, is_ours):
        fresh = [pid for pid in found if pid not in signalled]
        if fresh:
            _log.warning("ending processes that attempts left running", pids=fresh)
        number = signal.SIGTERM if loop.time() < deadline else signal.SIGKILL
        for pid in found if number == signal.SIGKILL else fresh:
            _signal(pid, number, is_ours)
        signalled.update(found)
        await asyncio.sleep(_POLL_S)


def _find(is_ours: Callable[[int], bool]) -> list[int]:
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and is_ours(pid)]


def _signal(pid: int, number: signal.Signals, is_ours: Callable[[int], bool]) -> None:
    """Signal the process if it is ours still: its pid may have gone to another one since it was found."""
    with suppress(ProcessLookupError, PermissionError):
        pid_fd = os.pidfd_open(pid)
        try:
            if is_ours(pid):
                signal.pidfd_send_signal(pid_fd, number)
        finally:
            os.close(pid_fd)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None: there is none, or it has ended (a zombie)."""
    try:
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[_START_FIELD])


def _mark(pid: int) -> bytes | None:
    """The mark of a process; None when it has none, is a zombie, or is out of reach."""
    try:
        content = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    name = f"{VARIABLE}=".encode()
    return next((part.removeprefix(name) for part in content.split(b"\0") if part.startswith(name)), None)
