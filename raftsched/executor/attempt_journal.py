"""Remembers, across crashes of the process, which attempts were accepted and how they ended.

A file that is only appended to. One commit is one write of one frame with a checksum: a crash of the process loses
nothing that was committed, and a crash of the machine loses the end of the file, never its beginning, and nothing that
was synced. So a synced at-most-once assignment is known after any crash, which a page-based file that is mostly written
without syncing cannot promise: its unsynced writes may land on the pages of what was synced.

Layout: a header line, then frames of a length, a CRC-32 and records. The state is small (what is held and the last tens
of thousands of executions), so it is kept in memory. A file that has grown is written anew with what still counts.
"""

import asyncio
import struct
import zlib
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path

import structlog

from raftsched.executor.journal_file import DiskFile, JournalFile
from raftsched.executor.journal_state import NO_KEY, Held, JournalState, RecordKind, pack
from raftsched.executor.keys import AttemptKey
from raftsched.ports import Clock, StoreFailed, StoreRefused

_HEADER = b"raftsched executor journal 2\n"
_FRAME = struct.Struct("<II")
"""Length and CRC-32 of the records that follow."""
_REWRITE_FRAME_RECORDS = 1_000

_log = structlog.get_logger(__name__)


class AssignmentVerdict(Enum):
    """What to do with an assignment."""

    NEW = "new"
    REPEATED = "repeated"
    """This assignment was accepted before, or the attempt is held."""
    STALE = "stale"
    """A later attempt or a higher fencing token has been seen."""


def _framed(records: bytes) -> bytes:
    return _FRAME.pack(len(records), zlib.crc32(records)) + records


class AttemptJournal:
    """The journal in one data directory, which it locks.

    Changes take effect in memory at once and are made safe by ``commit`` (against a crash of the process) and ``sync``
    (of the machine). Raises StoreRefused when the directory is in use or not ours, StoreFailed when the disk refuses.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        clock: Clock,
        remembered: int,
        rewrite_bytes: int,
        open_file: Callable[[Path], JournalFile] = DiskFile,
    ) -> None:
        """``name`` begins the executor's id when the directory is new."""
        self._rewrite_bytes = rewrite_bytes
        self._buffer: list[bytes] = []
        self._failure: StoreFailed | None = None
        self._since_rewrite: list[bytes] | None = None
        self._state = JournalState(remembered)
        self._file = open_file(directory)
        try:
            self._size_bytes = _load(self._file, self._state)
            if not self._state.executor_id:
                self._state.executor_id = f"{name}-{clock.token()[:8]}"
                self._put(RecordKind.IDENTITY, NO_KEY, 0, self._state.executor_id.encode())
            if not self._state.secret:
                self._state.secret = clock.token().encode()
                self._put(RecordKind.SECRET, NO_KEY, 0, self._state.secret)
                self.commit()
                self.sync()
        except BaseException:
            self.close()
            raise

    @property
    def executor_id(self) -> str:
        """Generated when the directory was new."""
        return self._state.executor_id

    @property
    def secret(self) -> bytes:
        """Drawn when the directory was new: it proves which processes an executor of this directory has started."""
        return self._state.secret

    @property
    def held(self) -> dict[AttemptKey, Held]:
        """What was accepted and not acknowledged, in the order of acceptance. Not to be changed."""
        return self._state.held

    @property
    def report_bytes(self) -> int:
        """Of the ends that are held."""
        return self._state.report_bytes

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self._size_bytes

    def judge(self, key: AttemptKey, fencing_token: int) -> AssignmentVerdict:
        """Whether an assignment may be accepted.

        One of an attempt that was accepted before, and is held no longer, may with a higher token: the leader gives it
        anew, for it was given back, or taken from here before its end was known.
        """
        newest = self._state.newest.get(key[0])
        if key in self._state.held:
            return AssignmentVerdict.REPEATED
        if newest is None:
            return AssignmentVerdict.NEW
        if key[1] == newest[0]:
            return AssignmentVerdict.NEW if fencing_token > newest[1] else AssignmentVerdict.REPEATED
        return AssignmentVerdict.NEW if key[1] > newest[0] and fencing_token > newest[1] else AssignmentVerdict.STALE

    def newest_attempt(self, execution_id: bytes) -> int:
        """The last attempt of an execution that was accepted here; 0: none is known."""
        return self._state.newest.get(execution_id, (0, 0))[0]

    def accept(self, key: AttemptKey, fencing_token: int) -> None:
        """Hold an attempt that was judged NEW."""
        self._state.accept(key, fencing_token)
        self._put(RecordKind.ACCEPT, key, fencing_token)

    def end(self, key: AttemptKey, report: bytes) -> None:
        """Spool the serialized report of the end of an attempt that is held."""
        self._state.end(key, report)
        self._put(RecordKind.END, key, 0, report)

    def forget(self, key: AttemptKey) -> None:
        """Hold the attempt no longer; its repetition is still recognised for a while. Nothing when it is not held."""
        held = self._state.held.get(key)
        if held is not None:
            self._state.forget(key, held.fencing_token)
            self._put(RecordKind.FORGET, key, held.fencing_token)

    def give_back(self, key: AttemptKey) -> None:
        """Hold an attempt no longer that has not started, as if it had not been accepted."""
        fencing_token = self._state.held[key].fencing_token
        self._state.give_back(key, fencing_token)
        self._put(RecordKind.GIVE_BACK, key, fencing_token)

    def _put(self, kind: RecordKind, key: AttemptKey, fencing_token: int, body: bytes = b"") -> None:
        self._buffer.append(pack(kind, key, fencing_token, body))

    def commit(self) -> None:
        """Write all changes since the last commit, all or none."""
        if self._failure is not None:
            raise self._failure
        if not self._buffer:
            return
        frame = _framed(b"".join(self._buffer))
        self._buffer.clear()
        if self._since_rewrite is not None:
            self._since_rewrite.append(frame)
        try:
            self._file.append(frame)
        except OSError as error:
            # Half a frame may have been written: nothing may follow it.
            self._failure = _failed(self._file.path, error)
            raise self._failure from error
        self._size_bytes += len(frame)

    def sync(self) -> None:
        """Put on the disk all that was committed. Blocks; may be called from another thread."""
        try:
            self._file.sync()
        except OSError as error:
            self._failure = _failed(self._file.path, error)
            raise self._failure from error

    @property
    def rewrite_due(self) -> bool:
        """Whether the file has grown enough to be written anew."""
        return self._size_bytes > self._rewrite_bytes

    async def rewrite(self) -> None:
        """Write the file anew with what still counts. Commits go on meanwhile; nothing else may rewrite."""
        self.commit()
        self._since_rewrite = []
        try:
            await asyncio.to_thread(self._file.write_new, _frames(self._state.copy()))
            self._size_bytes = self._file.replace(b"".join(self._since_rewrite))
        except OSError as error:
            raise _failed(self._file.path, error) from error
        finally:
            self._since_rewrite = None
        # A state that stays large must not be written anew all the time.
        self._rewrite_bytes = max(self._rewrite_bytes, 2 * self._size_bytes)

    def close(self) -> None:
        """Release the files. What was not committed is forgotten."""
        self._file.close()


def _failed(path: Path, error: OSError) -> StoreFailed:
    return StoreFailed(
        f"{path}: {error.strerror}; what this executor accepts can no longer be made safe, so it must stop"
    )


def _load(file: JournalFile, state: JournalState) -> int:
    """Bring the state to what the file says; returns the size in bytes of what is whole, behind which it is cut."""
    try:
        content = file.read()
        if _HEADER.startswith(content):
            # New, or the machine went down while it was: nothing can have been accepted yet.
            file.cut(0)
            file.append(_HEADER)
            return len(_HEADER)
        good = _replay(file.path, content, state)
        if good < len(content):
            _log.warning("journal cut", path=str(file.path), kept_bytes=good, dropped_bytes=len(content) - good)
            file.cut(good)
    except OSError as error:
        raise StoreRefused(f"{file.path} cannot be used: {error.strerror}") from error
    return good


def _replay(path: Path, content: bytes, state: JournalState) -> int:
    """Apply all whole frames; returns where they end."""
    if not content.startswith(_HEADER):
        raise StoreRefused(f"{path} is not a journal of this version of raftsched; nothing was changed")
    position = len(_HEADER)
    while position + _FRAME.size <= len(content):
        length, checksum = _FRAME.unpack_from(content, position)
        begin = position + _FRAME.size
        records = content[begin : begin + length]
        if not length or len(records) < length or zlib.crc32(records) != checksum:
            break
        try:
            state.replay(records)
        except (struct.error, LookupError, ValueError) as error:
            raise StoreRefused(f"{path} cannot be read at byte {position}: {error}; nothing was changed") from error
        position = begin + length
    return position


def _frames(state: JournalState) -> Iterator[bytes]:
    """The content of a file with that state."""
    yield _HEADER
    records = state.records()
    for start in range(0, len(records), _REWRITE_FRAME_RECORDS):
        yield _framed(b"".join(records[start : start + _REWRITE_FRAME_RECORDS]))
