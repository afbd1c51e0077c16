"""Where a data directory is: what is the same for as long as it stays there, and another for a copy of it.

A copy has other files, with inodes and times of birth of their own, even where it takes the very place of the original
and the file system hands out the old inode again. A disk that is carried to another machine keeps them; so the machine
counts as well, where it has an id (machine-id(5); containers mostly have none).
"""

import ctypes
import os
import struct
from pathlib import Path

_MACHINE_ID = Path("/etc/machine-id")
_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_MASK_AT, _BTIME_AT = 0, 80
"""Offsets in struct statx, see statx(2)."""


def place_of(data: Path) -> str:
    """The place of a file that is never replaced while its directory is used: path, machine, inode and time of birth.

    Raises OSError: it is not there.
    """
    status = data.stat()
    return "\n".join((str(data.parent.resolve()), _machine(), f"{status.st_ino}:{_born_ns(data)}"))


def elsewhere(before: str, now: str) -> str:
    """Why a directory that was last opened ``before`` is a copy, or in another machine, ``now``; "" when it is not.

    Another path alone is no reason: directories are moved. ``before`` may be "": nobody noted it.
    """
    if not before:
        return ""
    path, machine, file = before.split("\n")
    _, machine_now, file_now = now.split("\n")
    if file != file_now:
        return f"its files are copies: the directory was last opened at {path}, with other files"
    if machine and machine_now and machine != machine_now:
        return f"it was last opened on another machine, at {path}"
    return ""


def _machine() -> str:
    try:
        return _MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _born_ns(path: Path) -> int:
    """When the file was made; 0 where the file system or the C library cannot tell."""
    statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if statx is None:
        return 0
    found = ctypes.create_string_buffer(_STATX_BYTES)
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found):
        return 0
    (mask,) = struct.unpack_from("<I", found, _MASK_AT)
    seconds, nanoseconds = struct.unpack_from("<qI", found, _BTIME_AT)
    return seconds * 1_000_000_000 + nanoseconds if mask & _STATX_BTIME else 0
