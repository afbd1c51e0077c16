"""What a process keeps on the disk is for its owner alone: it has what programs were given and what they wrote."""

import contextlib
import os
import stat
from pathlib import Path

import structlog

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OURS = frozenset(
    [
        "state", "history", "executor", "outputs", "clock.json", "clock.new",
        "journal", "journal.new", "lock", "outputs-uncopied",
    ]
)  # fmt: skip
"""What a node or an executor makes in its data directory."""
_log = structlog.get_logger(__name__)


def make_private(directory: Path) -> None:
    """Make a data directory for its owner alone, and let nobody else into one that is there, nor what is ours in it.

    A directory that holds other files stays as wide as it is, for it may be one of the system; what is ours in it does
    not. Links are not followed. The log tells what was changed, and what could not be.
    """
    # Why it cannot be made is told by whoever opens it.
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # The operator may have named a link: what is at its end is what others get at.
        directory = directory.resolve()
        names = os.listdir(directory)
    except OSError:
        return
    ours = [directory / name for name in names if name in _OURS]
    changed, failed = 0, []
    # The outermost last: when it is closed, so is everything in it, and a start that was cut short is made up for.
    for path in [*(each for top in ours for each in _wide(top)), *([directory] if len(ours) == len(names) else [])]:
        try:
            changed += _close(path)
        except OSError as error:
            failed.append(f"{path}: {error.strerror}")
    if len(ours) < len(names) and _is_wide(directory):
        failed.append(f"{directory}: it holds files that are none of ours")
    if changed:
        _log.warning("other users could read the data directory; closed to them", path=str(directory), changed=changed)
    if failed:
        _log.warning("other users may read the data directory", path=str(directory), left=failed[:10])


def _wide(top: Path) -> list[Path]:
    """What is below, and it itself, innermost first: all when one of the directories lets others in, else none."""
    if not top.is_dir() or top.is_symlink():
        return [top]
    tree = list(os.walk(top, topdown=False))
    if not any(_is_wide(Path(each)) for each, _, _ in tree):
        return []
    return [path for each, _, files in tree for path in (*(Path(each, name) for name in files), Path(each))]


def _is_wide(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(path.lstat().st_mode & _OTHERS)
    return False


def _close(path: Path) -> bool:
    """Take the rights of others from a file or directory; whether there were any. Raises OSError."""
    found = path.lstat()
    if not found.st_mode & _OTHERS or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return False
    # In a directory that others could write to, the name may have become a link meanwhile.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fchmod(fd, stat.S_IMODE(found.st_mode) & ~_OTHERS)
    finally:
        os.close(fd)
    return True
