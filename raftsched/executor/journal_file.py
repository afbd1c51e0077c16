"""The file that an executor's journal is kept in: appended to, synced, and replaced as a whole."""

import fcntl
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from raftsched.ports import StoreRefused


class JournalFile(Protocol):
    """One file of one owner. All methods but ``close`` raise OSError."""

    @property
    def path(self) -> Path:
        """For errors and logs."""

    def read(self) -> bytes:
        """All of it."""

    def cut(self, size_bytes: int) -> None:
        """Drop what lies behind."""

    def append(self, data: bytes) -> None:
        """Write at the end; after an error, a part of the data may be there. A crash of the process loses nothing."""

    def sync(self) -> None:
        """Put on the disk all that was appended. Blocks; may be called from another thread."""

    def write_new(self, parts: Iterable[bytes]) -> None:
        """Write and sync a file that is to take the place of this one. Blocks; may be called from another thread."""

    def replace(self, rest: bytes) -> int:
        """Let the new file, with this behind its content, take the place of this one, durably; its size in bytes."""

    def close(self) -> None:
        """Release the file and the directory."""


class DiskFile:
    """A file named ``journal`` in a directory that this object locks for its process."""

    def __init__(self, directory: Path) -> None:
        """Create what is missing. Raises StoreRefused: the directory is in use, or cannot be used."""
        self._path = directory / "journal"
        self._swapping = threading.Lock()
        self._lock_fd = _lock(directory)
        self._new_fd = -1
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            os.close(self._lock_fd)
            raise StoreRefused(f"{self._path} cannot be opened: {error.strerror}") from error

    @property
    def path(self) -> Path:
        """See JournalFile."""
        return self._path

    def read(self) -> bytes:
        """See JournalFile."""
        content = self._path.read_bytes()
        if not content:
            # It may be new: its name must be on the disk before anything in it counts.
            _sync_directory(self._path.parent)
        return content

    def cut(self, size_bytes: int) -> None:
        """See JournalFile."""
        os.ftruncate(self._fd, size_bytes)

    def append(self, data: bytes) -> None:
        """See JournalFile."""
        _write(self._fd, data)

    def sync(self) -> None:
        """See JournalFile."""
        with self._swapping:
            os.fdatasync(self._fd)

    def write_new(self, parts: Iterable[bytes]) -> None:
        """See JournalFile."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self._new_path, flags, 0o600)
        try:
            for part in parts:
                _write(fd, part)
            os.fdatasync(fd)
        except BaseException:
            os.close(fd)
            raise
        self._new_fd = fd

    def replace(self, rest: bytes) -> int:
        """See JournalFile."""
        _write(self._new_fd, rest)
        os.fdatasync(self._new_fd)
        with self._swapping:
            os.replace(self._new_path, self._path)
            os.close(self._fd)
            self._fd, self._new_fd = self._new_fd, -1
        _sync_directory(self._path.parent)
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """See JournalFile."""
        for fd in (self._fd, self._new_fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._new_fd = self._lock_fd = -1

    @property
    def _new_path(self) -> Path:
        return self._path.with_suffix(".new")


def _lock(directory: Path) -> int:
    """Create the directory if need be and lock it for this process."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreRefused(f"{directory} cannot be used as the executor's data directory: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise StoreRefused(
            f"{directory} is in use by another executor (process {owner}); stop it, or give each its own directory"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d" % os.getpid(), 0)
    return fd


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
