"""Saves the output of an execution to a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from raftsched.cli.failures import ExitCode, Failure


def save(pieces: Iterable[bytes], file: Path) -> int:
    """Write the file and return its size; it is there whole or not at all. Raises Failure: it cannot be written."""
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as opened:
            for piece in pieces:
                opened.write(piece)
            size = opened.tell()
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Failure(f"cannot write {file}: {error.strerror}", ExitCode.FAILURE) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return size
