"""Shows something again and again until it is interrupted (``--watch``)."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from shutil import get_terminal_size
from typing import NoReturn, TypeVar

from raftsched.cli.show.output import Format
from raftsched.cli.show.tables import Part, cell_width, emphasis, fitted, remarks, show

T = TypeVar("T")
DEFAULT_INTERVAL = timedelta(seconds=1)
_ALTERNATE, _MAIN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(
    read: Callable[[], T],
    view: Callable[[T], list[Part]],
    form: Format,
    document: Callable[[T], None],
    interval: timedelta | None,
) -> NoReturn:
    """Read and show until interrupted: on a terminal in place, else one after the other, a blank line between tables.

    On a terminal an error is shown in place, too, and the next reading may succeed; else it ends the command.
    """
    pause_s = (interval or DEFAULT_INTERVAL).total_seconds()
    if form is Format.TABLE and sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb"):
        _in_place(read, view, pause_s)
    first = True
    while True:
        found = read()
        if form is Format.TABLE:
            show(*([] if first else [""]), *view(found))
        else:
            document(found)
        first = False
        sys.stdout.flush()
        time.sleep(pause_s)


def _in_place(read: Callable[[], T], view: Callable[[T], list[Part]], pause_s: float) -> NoReturn:
    from raftsched_client import RaftschedError

    def parts() -> list[Part]:
        try:
            return view(read())
        except RaftschedError as error:
            return [f"error: {error}"]

    # Whatever is to be said about the first attempts to reach the cluster stays on the terminal.
    first = parts()
    with _screen():
        _paint(first)
        while True:
            time.sleep(pause_s)
            _paint(parts())


@contextmanager
def _screen() -> Iterator[None]:
    """The other screen of the terminal; what was on it before is there again in the end."""
    sys.stdout.write(_ALTERNATE)
    try:
        yield
    finally:
        sys.stdout.write(_MAIN)
        sys.stdout.flush()


def _paint(parts: list[Part]) -> None:
    size = get_terminal_size()
    lines = [*fitted(parts, size.columns, bold=emphasis()), *remarks(parts, size.columns)]
    if len(lines) > size.lines:
        hidden = len(lines) - size.lines + 1
        lines = [*lines[: size.lines - 1], f"[{hidden:,} more lines; a taller terminal or --limit]"]
    cut = (line if cell_width(line) <= size.columns or "\x1b" in line else line[: size.columns] for line in lines)
    sys.stdout.write(_HOME + "\n".join(line + _REST_OF_LINE for line in cut) + _REST_OF_SCREEN)
    sys.stdout.flush()
