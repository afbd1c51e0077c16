"""What the command line writes to a terminal: nothing that others named may steer it."""

import os
import pty
import subprocess
import sys
from pathlib import Path

STEERS = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202ename"


def on_terminal(*arguments: str) -> bytes:
    """What the command writes to standard output and standard error, which are a terminal."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "raftsched.cli.main", *arguments], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 65536):
            written += data
    except OSError:
        # So ends a terminal that nobody has open any more.
        pass
    finally:
        os.close(ours)
        child.wait(60)
    return written


def test_an_error_shows_the_control_characters_that_it_quotes(tmp_path: Path) -> None:
    file = tmp_path / f"{STEERS.replace('/', '')}.yaml"
    written = on_terminal("apply", "-f", str(file))
    assert b"error: " in written
    assert rb"\x1b]0;owned\x07\x1b[2J\x9b31m\u202ename" in written.replace(b"\r\n", b"")
    for steering in ("\x1b", "\x07", "\x9b", "\u202e"):
        assert steering.encode() not in written
