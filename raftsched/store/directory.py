"""The directory of an LMDB store: whose it is, which format it has, and that only one process uses it.

LOCK       locked (flock) for as long as a process has the store open; holds its process id and, once the data were
           found sound, the run of the machine and the files in which they were; nothing after a clean end
FORMAT     the format version; written last, so that a directory with it was once complete
data.mdb   the LMDB environment
"""

import errno
import fcntl
import os
from pathlib import Path

from raftsched.ports import StoreRefused
from raftsched.store import formats

ADVICE_TO_REPLACE = (
    "Restore the directory from a backup, or wipe all of it while every other node is up and healthy: "
    "the leader then takes this node in anew, and sends it everything."
)
_FORMAT_TITLE = "raftsched store"
_DATA, _NEW_DATA = "data.mdb", "new.mdb"
_LOCK, _FORMAT, _NEW_FORMAT = "LOCK", "FORMAT", "FORMAT.new"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Drawn anew by Linux at each start of the machine (random(4))."""
_MAY_PRECEDE_FORMAT = {_LOCK, _NEW_FORMAT, _DATA, f"{_DATA}-lock", _NEW_DATA, f"{_NEW_DATA}-lock"}


class StoreDirectory:
    """A directory that this process owns until ``close``."""

    def __init__(self, path: Path) -> None:
        """Make the directory if need be, and lock it.

        Raises StoreRefused: it holds files of others, has too old a format, is in use, or cannot be written.
        NodeOutdated: it has a newer format.
        """
        self.path = path
        self.format = min(formats.STEPS)
        """As the file says."""
        self.ended_cleanly = True
        """Whether the last process that had the store open closed it; also when there was none."""
        self.was_only_killed = False
        """Whether that process found the data sound, and all that it wrote since is here although it did not close
        them: the machine runs on, and the directory is no copy."""
        self.data = path / _DATA
        self.new_data = path / _NEW_DATA
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.complete = self._check_format()
            self._lock = self._take_lock()
        except OSError as error:
            raise StoreRefused(f"cannot use the data directory {path}: {error.strerror or error}") from error
        try:
            self._check_data()
        except BaseException:
            self.close()
            raise

    def remove_new_data(self) -> None:
        """Remove what a creation left behind that did not end."""
        for path in (self.new_data, Path(f"{self.new_data}-lock")):
            path.unlink(missing_ok=True)

    def adopt_new_data(self) -> None:
        """Give the new environment, which is closed and on disk, its place."""
        Path(f"{self.new_data}-lock").unlink(missing_ok=True)
        self.new_data.rename(self.data)
        self._sync()

    def vouch(self) -> None:
        """Note that the data are sound, as far as a look at all of them or a clean end can tell."""
        os.pwrite(self._lock, f"{_where(self._lock, self.data)}\n".encode(), os.fstat(self._lock).st_size)

    def mark_complete(self) -> None:
        """Write the format file: the newest format from now on."""
        new = self.path / _NEW_FORMAT
        with new.open("w", encoding="ascii") as file:
            file.write(f"{_FORMAT_TITLE}\nformat {formats.FORMAT_VERSION}\n")
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.path / _FORMAT)
        self._sync()
        self.complete, self.format = True, formats.FORMAT_VERSION

    def close(self, *, clean: bool = False) -> None:
        """Let others use it. Clean: the data need no more than the usual checks at the next start."""
        if self._lock >= 0:
            # Of what failed nobody vouches any more.
            os.ftruncate(self._lock, 0 if clean else len(_pid_line()))
            os.close(self._lock)
            self._lock = -1

    def _check_format(self) -> bool:
        try:
            text = (self.path / _FORMAT).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            self._check_no_foreign_files()
            return False
        title, _, rest = text.partition("\n")
        word, _, number = rest.strip().partition(" ")
        if title != _FORMAT_TITLE or word != "format" or not number.isdecimal():
            raise StoreRefused(
                f"{self.path / _FORMAT} is not the format file of a raftsched store; nothing was changed. "
                "Choose another data directory, or restore this one."
            )
        self.format = int(number)
        formats.check_format(self.path, self.format)
        return True

    def _check_no_foreign_files(self) -> None:
        foreign = sorted({entry.name for entry in self.path.iterdir()} - _MAY_PRECEDE_FORMAT)
        if foreign:
            shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
            raise StoreRefused(
                f"{self.path} is not a raftsched data directory: it holds {shown}; nothing was changed. "
                "Choose an empty directory or one that does not exist yet."
            )

    def _check_data(self) -> None:
        empty = not self.data.is_file() or not self.data.stat().st_size
        if empty and (self.complete or self.data.exists()):
            raise StoreRefused(f"{self.data} is missing or empty; nothing was changed. {ADVICE_TO_REPLACE}")

    def _take_lock(self) -> int:
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _owner, _, vouched = os.pread(lock, 256, 0).decode(errors="replace").partition("\n")
            self.ended_cleanly = not os.fstat(lock).st_size
            self.was_only_killed = bool(vouched.strip()) and vouched == f"{_where(lock, self.data)}\n"
            os.ftruncate(lock, 0)
            os.pwrite(lock, _pid_line(), 0)
            os.fsync(lock)
        except OSError as error:
            owner = os.pread(lock, 32, 0).decode(errors="replace").partition("\n")[0]
            os.close(lock)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise StoreRefused(
                f"{self.path} is in use by process {owner or 'unknown'}; nothing was changed. "
                "Stop that process, or give this node a data directory of its own."
            ) from error
        return lock

    def _sync(self) -> None:
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _pid_line() -> bytes:
    return f"{os.getpid()}\n".encode()


def _where(lock: int, data: Path) -> str:
    """The run of the kernel, and the files on it, which are others for a copy; "" where they cannot be told."""
    try:
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        files = [os.fstat(lock), data.stat()]
    except OSError:
        return ""
    return " ".join([boot_id, *(f"{file.st_dev}:{file.st_ino}" for file in files)])
