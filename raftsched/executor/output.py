"""Keeps the end of what attempts wrote."""

from collections import OrderedDict

from raftsched.executor.keys import AttemptKey
from raftsched.executor.secrets import Redactor

KEPT_BYTES = 64 * 1024
REPORTED_BYTES = 4 * 1024
_OVERHEAD_BYTES = 512


class Output:
    """What one attempt wrote: all is counted, the last 64 KiB are kept. Offsets count from the first byte written."""

    __slots__ = ("_kept", "ended", "redactor", "size_bytes")

    def __init__(self) -> None:
        self._kept = bytearray()
        self.redactor: Redactor | None = None
        """Takes secrets out of what is written; to be set before anything is."""
        self.size_bytes = 0
        self.ended = False

    def write(self, data: bytes) -> None:
        """Append, and drop what is further than 64 KiB from the end."""
        self._append(data if self.redactor is None else self.redactor.feed(data))

    def _append(self, data: bytes) -> None:
        self.size_bytes += len(data)
        self._kept += data
        # Cutting at twice the size makes the cost per byte constant.
        if len(self._kept) > 2 * KEPT_BYTES:
            del self._kept[:-KEPT_BYTES]

    @property
    def first_offset(self) -> int:
        """Offset of the oldest byte that is kept; above 0 when bytes were dropped."""
        return self.size_bytes - min(len(self._kept), KEPT_BYTES)

    def tail(self, limit_bytes: int = REPORTED_BYTES) -> bytes:
        """The last bytes, for the report."""
        return bytes(self._kept[-limit_bytes:])

    def read(self, offset: int) -> tuple[int, bytes]:
        """What is kept from the offset on, and the offset of its first byte.

        That is the offset asked for, or a higher one when bytes were dropped, or the size when nothing is there yet.
        """
        start = min(max(offset, self.first_offset), self.size_bytes)
        length = self.size_bytes - start
        return start, bytes(self._kept[-length:]) if length else b""

    def end(self) -> None:
        """Nothing more will be written: give back spare memory."""
        if self.redactor is not None:
            self._append(self.redactor.flush())
        self.ended = True
        del self._kept[:-KEPT_BYTES]

    @property
    def memory_bytes(self) -> int:
        """About what it takes in memory."""
        return len(self._kept) + _OVERHEAD_BYTES


class Outputs:
    """The outputs of running attempts and, up to a number of bytes, of those that ended; the oldest are dropped."""

    def __init__(self, kept_bytes: int) -> None:
        self._limit_bytes = kept_bytes
        self._running: dict[AttemptKey, Output] = {}
        self._ended: OrderedDict[AttemptKey, Output] = OrderedDict()
        self._ended_bytes = 0

    def open(self, key: AttemptKey) -> Output:
        """The empty output of an attempt that is about to run."""
        output = self._running[key] = Output()
        return output

    def close(self, key: AttemptKey) -> None:
        """The attempt has ended."""
        output = self._running.pop(key)
        output.end()
        self._ended[key] = output
        self._ended_bytes += output.memory_bytes
        while self._ended_bytes > self._limit_bytes and self._ended:
            _, dropped = self._ended.popitem(last=False)
            self._ended_bytes -= dropped.memory_bytes

    def get(self, key: AttemptKey) -> Output | None:
        """The output, or None when it is not or no longer kept."""
        return self._running.get(key) or self._ended.get(key)
