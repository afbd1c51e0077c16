"""Ends the processes of attempts, wherever they went.

The commands of an executor that was killed run on without it, while the leader is about to be told that their attempts
are lost, and may start them again; and a process that made a session of its own is not in the process group that a time
limit ends. Every process of a command carries its attempt in its environment, so they can be found in /proc, whatever
session they moved to. Out of reach are those that cleaned their environment or changed their user.
"""

import asyncio
import os
import signal
from collections.abc import Collection, Set
from contextlib import suppress
from pathlib import Path

import structlog

from raftsched.core import ids
from raftsched.executor.keys import AttemptKey

_POLL_S = 0.05
_PROC = Path("/proc")

_Owner = tuple[bytes, bytes, bytes]
"""Executor id, execution id and attempt, as in the environment."""

_log = structlog.get_logger(__name__)


async def end(executor_id: str, attempts: Collection[AttemptKey], grace_s: float, *, apart_from_group: int = 0) -> None:
    """Send TERM to the processes of these attempts, and KILL to those that are still there after the grace.

    Those of one process group may be left to whoever ends it.

    The executor's id tells them from those of another cluster on this machine, whose execution ids may be the same.
    """
    wanted = {
        (executor_id.encode(), ids.to_text(execution_id).encode(), b"%d" % attempt)
        for execution_id, attempt in attempts
    }
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace_s
    signalled: set[int] = set()
    while found := await asyncio.to_thread(_find, wanted, apart_from_group):
        fresh = [pid for pid in found if pid not in signalled]
        if fresh:
            _log.warning("ending processes that attempts left running", pids=fresh)
        number = signal.SIGTERM if loop.time() < deadline else signal.SIGKILL
        for pid in found if number == signal.SIGKILL else fresh:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        signalled.update(found)
        await asyncio.sleep(_POLL_S)


def _find(wanted: Set[_Owner], apart_from_group: int) -> list[int]:
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    found = [pid for pid in pids if pid != os.getpid() and _owner(pid) in wanted]
    return [pid for pid in found if not apart_from_group or _group(pid) != apart_from_group]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _owner(pid: int) -> _Owner | None:
    """What a process has in its environment; None when it is a zombie or out of reach."""
    try:
        content = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    variables = dict(part.split(b"=", 1) for part in content.split(b"\0") if b"=" in part)
    return (
        variables.get(b"RAFTSCHED_EXECUTOR_ID", b""),
        variables.get(b"RAFTSCHED_EXECUTION_ID", b""),
        variables.get(b"RAFTSCHED_ATTEMPT", b""),
    )
