"""Outputs of attempts in files, one for each attempt: those that an executor stores, and the copies that a node takes.

A file is a header and what is stored: the beginning of the output and, where something between was dropped, its end
behind it. The header is written when the attempt has ended, with the digest of what is stored, which is checked
whenever the file is read. A file without one belongs to an attempt that runs, or that a crash of its executor ended.
"""

import hashlib
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import structlog

from raftsched.core.state import ids
from raftsched.core.state.model import SECOND_US
from raftsched.core.times.paced_time import PacedTime

AttemptKey = tuple[bytes, int]
"""Execution id (16 bytes) and attempt (from 1)."""

MAX_STORED_BYTES = 8 << 20
"""The most that may be stored of one output: a message holds all of it."""
PIECE_BYTES = 256 << 10
"""The most that one read gives."""
_MAGIC = b"rsoutput"
_FIELDS = struct.Struct("<8sQQ32s")
"""Magic, size of the output, bytes of the beginning, SHA-256 of what is stored."""
_CHECK_BYTES = 8
_HEADER_BYTES = _FIELDS.size + _CHECK_BYTES
_STEP_FILES = 16
_log = structlog.get_logger(__name__)


class OutputDamaged(Exception):
    """What is stored is not what was written; the text says where."""


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """The stored output of an attempt that has ended."""

    size_bytes: int
    """What the attempt wrote in all."""
    head_bytes: int
    """How much of ``data`` is the beginning; the rest is the end."""
    data: bytes

    def __post_init__(self) -> None:
        """Raises ValueError when the numbers cannot be those of one output."""
        if not 0 <= self.head_bytes <= len(self.data) <= min(self.size_bytes, MAX_STORED_BYTES):
            raise ValueError(
                f"{len(self.data)} bytes, {self.head_bytes} of them the head, of {self.size_bytes}: no output is so"
            )

    def read(self, offset: int) -> tuple[int, bytes]:
        """Some of what is stored from the offset on, and the offset of its first byte, which is higher after a gap."""
        if offset < self.head_bytes:
            return offset, self.data[offset : min(self.head_bytes, offset + PIECE_BYTES)]
        tail_offset = self.size_bytes - (len(self.data) - self.head_bytes)
        start = min(max(offset, tail_offset), self.size_bytes)
        at = self.head_bytes + start - tail_offset
        return start, self.data[at : at + PIECE_BYTES]


class OutputFile:
    """The file of an attempt that runs. Methods raise OSError."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._sha256 = hashlib.sha256()
        self.head_bytes = 0
        try:
            os.pwrite(self._fd, bytes(_HEADER_BYTES), 0)
        except OSError:
            self.close()
            raise

    def append(self, data: bytes) -> None:
        """Store the next bytes of the beginning. After an error there are as many as ``head_bytes`` says."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._fd, rest, _HEADER_BYTES + self.head_bytes)
            self._sha256.update(rest[:written])
            self.head_bytes += written
            rest = rest[written:]

    def read(self, offset: int) -> bytes:
        """Some of the beginning from an offset on."""
        length = min(PIECE_BYTES, self.head_bytes - offset)
        return os.pread(self._fd, length, _HEADER_BYTES + offset) if length > 0 else b""

    def finish(self, size_bytes: int, tail: bytes) -> bytes:
        """Store the end of the output, and the header; the digest of what is stored."""
        head_bytes = self.head_bytes
        self.append(tail)
        digest = self._sha256.digest()
        os.pwrite(self._fd, _header(size_bytes, head_bytes, digest), 0)
        return digest

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


class OutputFiles:
    """A directory of outputs, bounded by age and total size. May be used from several threads.

    The oldest files go when there is too much, a few for each that is added and for each call of ``sweep``. Ages are
    by the time that it is given, at a pace that makes nothing old at once when that jumps. Nothing goes by age while
    there is none; the machine's clock counts for nothing.
    """

    def __init__(
        self, directory: Path, *, keep_s: int, max_bytes: int, now_us: Callable[[], int], monotonic: Callable[[], float]
    ) -> None:
        """Looks at what is there. The directory is made with the first file.

        ``now_us`` gives 0 while the time is not known, ``monotonic`` seconds on a clock that never steps.
        """
        self._directory = directory
        self._keep_us = keep_s * SECOND_US
        self._max_bytes = max_bytes
        self._now_us = now_us
        self._monotonic = monotonic
        self._paced = PacedTime()
        self._lock = threading.Lock()
        self._files: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Sizes and times (microseconds since the Unix epoch), oldest first."""
        self._total_bytes = 0
        self.deleted = 0
        """Files that retention deleted since the start."""
        self._look()

    def _look(self) -> None:
        if not self._directory.is_dir():
            return
        found = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name.endswith(".new"):
                    os.unlink(entry.path)
                else:
                    status = entry.stat()
                    found.append((status.st_mtime_ns // 1000, entry.name, status.st_size))
        for time_us, name, size_bytes in sorted(found):
            self._files[name] = (size_bytes, time_us)
            self._total_bytes += size_bytes
        if found:
            self._paced = PacedTime(max(found)[0])

    def create(self, key: AttemptKey) -> OutputFile:
        """The file of an attempt that begins. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        return OutputFile(self._path(key))

    def keep(self, key: AttemptKey) -> None:
        """Count the file of an attempt that has ended."""
        self._count(file_name(key), self._path(key).stat().st_size)

    def discard(self, key: AttemptKey) -> None:
        """Delete a file, if it is there."""
        with self._lock:
            self._delete(file_name(key))

    def put(self, key: AttemptKey, output: StoredOutput, sha256: bytes) -> None:
        """Store a copy, all or nothing. Raises OutputDamaged when the digest is another, OSError."""
        if hashlib.sha256(output.data).digest() != sha256:
            raise OutputDamaged("the data is not that of the digest")
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        new = path.with_suffix(f".{threading.get_ident()}.new")
        try:
            with new.open("wb") as file:
                file.write(_header(output.size_bytes, output.head_bytes, sha256))
                file.write(output.data)
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        self._count(path.name, _HEADER_BYTES + len(output.data))

    def load(self, key: AttemptKey, sha256: bytes = b"") -> StoredOutput | None:
        """What is stored of an attempt that is over; None when nothing is. Raises OutputDamaged, OSError."""
        return load(self._path(key), sha256)

    def sweep(self) -> int:
        """Delete some of what is too old or too much; how many files."""
        with self._lock:
            return self._make_room()

    def _count(self, name: str, size_bytes: int) -> None:
        with self._lock:
            self._total_bytes += size_bytes - self._files.pop(name, (0, 0))[0]
            now_us = self._now_us()
            self._files[name] = (size_bytes, now_us)
            if now_us:
                # So that a restart finds the age by the same clock. Without it, the file has that of the machine.
                with suppress(OSError):
                    os.utime(self._directory / name, ns=(now_us * 1000, now_us * 1000))
            self._make_room()

    def _make_room(self) -> int:
        now_us = self._now_us()
        cutoff_us = self._paced.at(now_us, self._monotonic()) - self._keep_us
        deleted = 0
        while self._files and deleted < _STEP_FILES:
            name, (_, time_us) = next(iter(self._files.items()))
            if self._total_bytes <= self._max_bytes and time_us >= cutoff_us:
                if time_us > now_us > 0:
                    # Written by a clock that was ahead: its age begins now.
                    self._files[name] = (self._files[name][0], now_us)
                break
            self._delete(name)
            deleted += 1
        self.deleted += deleted
        return deleted

    def _delete(self, name: str) -> None:
        size_bytes, _ = self._files.pop(name, (0, 0))
        self._total_bytes -= size_bytes
        # What cannot be deleted now is found again at the next start.
        with suppress(OSError):
            (self._directory / name).unlink()

    def _path(self, key: AttemptKey) -> Path:
        return self._directory / file_name(key)


def file_name(key: AttemptKey) -> str:
    """What the file of an attempt is called."""
    return f"{ids.to_text(key[0])}-{key[1]}"


def key_of(name: str) -> AttemptKey | None:
    """The attempt whose file is called so; None for any other name."""
    text, _, attempt = name.rpartition("-")
    try:
        return ids.from_text(text), int(attempt)
    except ValueError:
        return None


def _header(size_bytes: int, head_bytes: int, digest: bytes) -> bytes:
    fields = _FIELDS.pack(_MAGIC, size_bytes, head_bytes, digest)
    return fields + blake2b(fields, digest_size=_CHECK_BYTES).digest()


def find(directories: tuple[Path, ...], key: AttemptKey, sha256: bytes) -> StoredOutput | None:
    """The first sound file of an attempt in some directories."""
    for directory in directories:
        try:
            output = load(directory / file_name(key), sha256)
        except (OSError, OutputDamaged) as error:
            _log.warning("a stored output cannot be used", directory=str(directory), reason=str(error))
            continue
        if output is not None:
            return output
    return None


def load(path: Path, sha256: bytes = b"") -> StoredOutput | None:
    """What a file holds, whose digest must be the one that is given; None when there is no file.

    Without a digest, one that was never finished is taken as far as it goes. Raises OutputDamaged, OSError.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_HEADER_BYTES + MAX_STORED_BYTES + 1)
    except FileNotFoundError:
        return None
    data = content[_HEADER_BYTES:]
    if not sha256 and not any(content[:_HEADER_BYTES]):
        return StoredOutput(len(data), len(data), data)
    if len(content) < _HEADER_BYTES:
        raise OutputDamaged(f"{path} ends within its header")
    _, size_bytes, head_bytes, _ = _FIELDS.unpack_from(content)
    actual = hashlib.sha256(data).digest()
    if content[:_HEADER_BYTES] != _header(size_bytes, head_bytes, actual) or (sha256 and actual != sha256):
        raise OutputDamaged(f"{path} does not have the digest that was reported")
    try:
        return StoredOutput(size_bytes, head_bytes, data)
    except ValueError as error:
        raise OutputDamaged(f"{path}: {error}") from None
