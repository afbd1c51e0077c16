"""Stores what attempts wrote: the beginning on the disk, the end in memory until the attempt has ended."""

from collections import OrderedDict
from collections.abc import Callable

import structlog

from raftsched.executor.keys import AttemptKey, describe
from raftsched.executor.secrets import Redactor
from raftsched.outputs.files import PIECE_BYTES, OutputDamaged, OutputFile, OutputFiles

KEPT_BYTES = 64 * 1024
REPORTED_BYTES = 4 * 1024
DEFAULT_LIMIT_BYTES = 1 << 20
_OVERHEAD_BYTES = 512
_log = structlog.get_logger(__name__)


class Output:
    """What one attempt wrote. All is counted; offsets count from the first byte written.

    Up to 4 KiB it is in memory alone, for the log will hold it. Of more, the beginning goes into a file as it is
    written, up to 64 KiB below the limit, and the last 64 KiB stay in memory; they follow into the file at the end.
    Where there is no file, or the disk refuses, the last 64 KiB are what is kept.
    """

    __slots__ = ("_file", "_head_limit", "_kept", "_open_file", "ended", "redactor", "sha256", "size_bytes")

    def __init__(
        self, open_file: Callable[[], OutputFile] | None = None, limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        """``open_file`` makes the file, or raises OSError."""
        self._kept = bytearray()
        self._open_file = open_file
        self._head_limit = limit_bytes - KEPT_BYTES
        self._file: OutputFile | None = None
        self.redactor: Redactor | None = None
        """Takes secrets out of what is written; to be set before anything is."""
        self.size_bytes = 0
        self.ended = False
        self.sha256 = b""
        """Of what is in the file, after the end; empty: there is none."""

    def write(self, data: bytes) -> None:
        """Append. Beyond the limit, what is between the beginning and the end is dropped."""
        self._append(data if self.redactor is None else self.redactor.feed(data))

    def _append(self, data: bytes) -> None:
        self.size_bytes += len(data)
        self._kept += data
        if self._open_file is not None and self.size_bytes > REPORTED_BYTES:
            self._store(data)
        # Cutting at twice the size makes the cost per byte constant.
        if len(self._kept) > 2 * KEPT_BYTES:
            del self._kept[:-KEPT_BYTES]

    def _store(self, data: bytes) -> None:
        assert self._open_file is not None
        try:
            if self._file is None:
                # All that was written so far is in memory still.
                self._file, data = self._open_file(), bytes(self._kept)
            self._file.append(data[: max(0, self._head_limit - self._file.head_bytes)])
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        _log.warning("output is not stored", reason=str(error), kept_bytes=KEPT_BYTES)
        self._open_file = None
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def first_offset(self) -> int:
        """Offset of the oldest byte in memory; above 0 when there is no longer all."""
        return self.size_bytes - min(len(self._kept), KEPT_BYTES)

    @property
    def stored_bytes(self) -> int:
        """How much of it is in the file, after the end."""
        return self._file.head_bytes if self._file is not None else 0

    def tail(self, limit_bytes: int = REPORTED_BYTES) -> bytes:
        """The last bytes, for the report."""
        return bytes(self._kept[-limit_bytes:])

    def read(self, offset: int) -> tuple[int, bytes]:
        """Some of what is kept from the offset on, and the offset of its first byte.

        That is the offset asked for, or a higher one when bytes were dropped, or the size when nothing is there yet.
        """
        if self._file is not None and not self.ended and offset < min(self._file.head_bytes, self.first_offset):
            return offset, self._file.read(offset)
        start = min(max(offset, self.first_offset), self.size_bytes)
        length = self.size_bytes - start
        return start, bytes(self._kept[-length:])[:PIECE_BYTES] if length else b""

    def end(self) -> None:
        """Nothing more will be written: finish the file, and give back spare memory."""
        if self.redactor is not None:
            self._append(self.redactor.flush())
        self.ended = True
        del self._kept[:-KEPT_BYTES]
        if self._file is not None:
            try:
                missing = self.size_bytes - self._file.head_bytes
                self.sha256 = self._file.finish(
                    self.size_bytes, self.tail(min(missing, KEPT_BYTES)) if missing else b""
                )
                self._file.close()
            except OSError as error:
                self._give_up(error)

    @property
    def memory_bytes(self) -> int:
        """About what it takes in memory."""
        return len(self._kept) + _OVERHEAD_BYTES


class Outputs:
    """The outputs of running attempts and of those that ended.

    Those that are in no file are kept in memory up to a number of bytes; the oldest are dropped.
    """

    def __init__(
        self, kept_bytes: int, files: OutputFiles | None = None, limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        self._limit_bytes = kept_bytes
        self._files = files
        self._output_limit_bytes = limit_bytes
        self._running: dict[AttemptKey, Output] = {}
        self._ended: OrderedDict[AttemptKey, Output] = OrderedDict()
        self._ended_bytes = 0

    def open(self, key: AttemptKey) -> Output:
        """The empty output of an attempt that is about to run."""
        files = self._files
        open_file = None if files is None else lambda: files.create(key)
        output = self._running[key] = Output(open_file, self._output_limit_bytes)
        return output

    def close(self, key: AttemptKey) -> None:
        """The attempt has ended."""
        output = self._running.pop(key)
        output.end()
        if output.sha256 and self._files is not None:
            self._files.keep(key)
            return
        if self._files is not None and output.size_bytes > REPORTED_BYTES:
            self._files.discard(key)
        self._ended[key] = output
        self._ended_bytes += output.memory_bytes
        while self._ended_bytes > self._limit_bytes and self._ended:
            _, dropped = self._ended.popitem(last=False)
            self._ended_bytes -= dropped.memory_bytes

    def get(self, key: AttemptKey) -> Output | None:
        """The output as far as it is in memory, or None when it is not."""
        return self._running.get(key) or self._ended.get(key)

    def read_stored(self, key: AttemptKey, offset: int, sha256: bytes) -> tuple[int, bytes] | None:
        """Some of an output that is in a file, as ``Output.read``; None when none is that is sound. Blocks."""
        if self._files is None:
            return None
        try:
            stored = self._files.load(key, sha256)
        except (OSError, OutputDamaged) as error:
            _log.error("a stored output cannot be used", attempt=describe(key), reason=str(error))
            return None
        return None if stored is None else stored.read(offset)
