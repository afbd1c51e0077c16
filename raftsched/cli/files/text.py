"""Text of files that people wrote: UTF-8, whatever the locale is, and errors that name the line."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path

from raftsched.cli.failures import Failure, usage

_OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32LE"),
    (codecs.BOM_UTF32_BE, "UTF-32BE"),
    (codecs.BOM_UTF16_LE, "UTF-16LE"),
    (codecs.BOM_UTF16_BE, "UTF-16BE"),
)


def at_line(file: str, line: int | None) -> str:
    """``file:line``, as editors and compilers write it; the file alone if the line is not known."""
    return f"{file}:{line}" if line else file


def read_bytes(file: str) -> bytes:
    """What is in the file, or comes on standard input (``-``). Raises Failure: it cannot be read."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as error:
        raise usage(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


def read_text(file: str) -> str:
    """The text of the file, or of standard input (``-``), without a byte order mark. Raises Failure."""
    return decode(read_bytes(file), file)


def decode(data: bytes, file: str) -> str:
    """UTF-8 text without a byte order mark. Raises Failure, with the line: it is none."""
    check_unicode_form(data, file)
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        byte = error.object[error.start]
        raise usage(
            f"{at_line(file, line)}: byte 0x{byte:02x} is not UTF-8; "
            f"if the file is in Latin-1, convert it: iconv -f ISO-8859-1 -t UTF-8"
        ) from error


def check_unicode_form(data: bytes, file: str) -> None:
    """Refuse what a byte order mark says is UTF-16 or UTF-32. Raises Failure."""
    for mark, encoding in _OTHER_ENCODINGS:
        if data.startswith(mark):
            raise _other(file, encoding)


def _other(file: str, encoding: str) -> Failure:
    return usage(f"{file} is in {encoding}, not UTF-8; convert it: iconv -f {encoding[:-2]} -t UTF-8")
