"""Standard streams that say by exceptions of our own when they cannot be written, and take any text."""

from __future__ import annotations

import io
import os
import signal
import sys

_STDIN, _STDOUT, _STDERR = 0, 1, 2


class OutputFailed(Exception):
    """Standard output takes nothing more; the message says why. No OSError: libraries handle those their own way."""


class ReaderGone(Exception):
    """Whoever read standard output has closed it, as ``head`` does."""


class _Raw(io.FileIO):
    """After the first failure what is written is dropped: what is buffered then must not fail again at the end."""

    failed = False

    def write(self, data: object, /) -> int:
        """Write some of it; return how many bytes. Raises OutputFailed, ReaderGone."""
        if self.failed:
            return len(data)  # type: ignore[arg-type]  # a buffer
        try:
            return super().write(data)  # type: ignore[arg-type]  # a buffer
        except BrokenPipeError as error:
            self.failed = True
            raise ReaderGone from error
        except OSError as error:
            self.failed = True
            raise OutputFailed(error.strerror or str(error)) from error


def prepare(*, output_matters: bool) -> None:
    """Open what the caller has closed, so that no other file comes to stand there; make standard output fail as above.

    A closed standard output is one that cannot be written, unless it does not matter. What an encoding cannot
    express is written as an escape.
    """
    _open_closed(_STDIN, os.O_RDONLY)
    closed = _open_closed(_STDOUT, os.O_RDONLY if output_matters else os.O_WRONLY)
    if _open_closed(_STDERR, os.O_WRONLY) or sys.stderr is None:
        sys.stderr = open(_STDERR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # as long as the process
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    encoding = sys.stdout.encoding if sys.stdout is not None and not closed else "utf-8"
    if sys.stdout is not None:
        sys.stdout.flush()
    raw = _Raw(_STDOUT, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=raw.isatty()
    )


def _open_closed(number: int, flags: int) -> bool:
    """Whether it was closed. The lower ones are open, so that it is the next one that is given."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, flags)
        return True
    return False


def end_by_broken_pipe() -> None:
    """End as other programs do when their reader has gone: in silence, by SIGPIPE."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
