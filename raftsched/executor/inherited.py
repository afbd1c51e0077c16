"""What a process inherits from whoever started it, and what the programs that it starts shall inherit of that.

A job must not run otherwise because its executor was started with nohup, from a shell's background or by a service
manager. Signals, the environment and the standard streams are set here and in ``actions.process``; what an operator
sets on purpose for all jobs of an executor (umask, working directory, niceness, limits, PATH, locale) is passed on.
"""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from raftsched import own_memory

_PREFIX = "RAFTSCHED_"
_PASSED_ON = frozenset(("RAFTSCHED_ENDPOINTS", "RAFTSCHED_CONFIG"))
"""They tell the command line where the cluster is: jobs use it too."""
_OF_THE_SERVICE_MANAGER = frozenset(
    # sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3): said to the executor and nobody else.
    ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "MAINPID")
)
_COERCED = "LC_CTYPE"
_LEFT = frozenset(
    (
        # These cannot be caught.
        signal.SIGKILL,
        signal.SIGSTOP,
        # Python ignores them by itself, and programs get them back when they are started.
        signal.SIGPIPE,
        signal.SIGXFSZ,
        # A handler would make reads and writes of a terminal repeat for ever.
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    )
)


_umask_of_programs = -1
"""As this process was started with; -1: it has not changed its own."""


def keep_files_private() -> None:
    """From now on others have no rights to the files that this process makes; programs get the umask that it had."""
    global _umask_of_programs
    found = os.umask(0o077)
    if _umask_of_programs < 0:
        _umask_of_programs = found


def close_memory() -> None:
    """Keep programs from reading what this process has in memory: see ``own_memory``."""
    # Only while this can still be read.
    _was_given(_COERCED)
    own_memory.close()


def umask_of_programs() -> int:
    """For ``subprocess.Popen``."""
    return _umask_of_programs


def restore_signals() -> None:
    """Undo what a process inherited of signals that were ignored or blocked; the main thread calls it at the start.

    Programs inherit ignored signals and no handlers: a handler that does nothing ignores a signal here, which is what
    nohup asks for, and leaves programs their default. Not so SIGCHLD: while it is ignored, the kernel forgets how
    programs ended.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - _LEFT:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else _nothing)


def _nothing(*_: object) -> None:
    """See ``restore_signals``."""


def for_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment that programs get of this one's.

    Without settings and secrets of raftsched (a setting may hold a password, too), and without what a service manager
    says to the executor alone. LC_CTYPE goes when Python has set it because there was no locale (PEP 538).
    """
    kept = {
        name: value
        for name, value in environment.items()
        if (not name.startswith(_PREFIX) or name in _PASSED_ON) and name not in _OF_THE_SERVICE_MANAGER
    }
    if _COERCED in kept and environment is os.environ and not _was_given(_COERCED):
        del kept[_COERCED]
    return kept


@cache
def _was_given(name: str) -> bool:
    """Whether a variable was there when this process was started."""
    try:
        given = Path("/proc/self/environ").read_bytes()
    except OSError:
        return True
    return any(part.startswith(f"{name}=".encode()) for part in given.split(b"\0"))


def unprotect(pid: int) -> None:
    """Leave a program none of the protection that its executor has from the kernel when memory is short."""
    with suppress(OSError):
        # Asked for each program, for it may be set while the executor runs; in the way that costs least.
        fd = os.open("/proc/self/oom_score_adj", os.O_RDONLY | os.O_CLOEXEC)
        try:
            is_protected = os.read(fd, 8).startswith(b"-")
        finally:
            os.close(fd)
        if is_protected:
            Path(f"/proc/{pid}/oom_score_adj").write_text("0")
