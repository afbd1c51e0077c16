"""Tables for people: fitted to a terminal, or one line per row, whole, where the output is piped."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from raftsched.cli.show.output import note

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
_GAP = 2
_LEAST_TEXT = 16
_LIST_LINES = 3
"""How many lines a text may take in a list on a terminal; the end of it is left out."""
_COLUMN = re.compile(r"(?P<name>[^#~^]*)(?P<right>#?)(?P<text>[~^]?)(?P<least>\d*)")


_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class TextTable:
    """Rows of cells.

    A column whose name ends in ``#`` is aligned to the right. One whose name ends in ``~``, or in ``~`` and a least
    width, is text that a terminal may show on several lines; with ``^`` in place of ``~`` it does so only when no
    other column is dispensable. The others are shown on one line, so that ids and names can be copied.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    dispensable: Sequence[str] = ()
    """Names of columns that a narrow terminal leaves out, the first of these first."""
    whole: bool = False
    """Text is shown to its end, however many lines it takes."""


@dataclass(frozen=True)
class _Column:
    name: str
    right: bool
    least: int
    """Width that it needs; 0: as much as its widest cell."""
    cells: list[str]
    reluctant: bool = False
    """Needs less than its widest cell only when nothing is dispensable."""

    @property
    def natural(self) -> int:
        return max(map(cell_width, [self.name, *self.cells]))

    @property
    def smallest(self) -> int:
        return max(min(self.natural, self.least), cell_width(self.name)) if self.least else self.natural


Part: TypeAlias = TextTable | str
"""A table, or a line."""


def counted(number: int, noun: str) -> str:
    """``1 task``, ``1,200 tasks``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def show(*parts: Part) -> None:
    """Print tables and lines."""
    if not sys.stdout.isatty():
        for part in parts:
            for line in [part] if isinstance(part, str) else plain(part):
                print(line)
        return
    width = get_terminal_size().columns
    for line in fitted(parts, width, bold=emphasis()):
        print(line)
    sys.stdout.flush()
    for line in remarks(parts, width):
        note(line)


def fields(rows: Sequence[tuple[str, str]]) -> TextTable:
    """The fields of one thing, whole."""
    return TextTable(("FIELD", "VALUE~"), rows, whole=True)


def show_fields(rows: Sequence[tuple[str, str]]) -> None:
    """Print the fields of one thing, whole."""
    show(fields(rows))


def print_rows(
    columns: Sequence[str], items: Iterable[T], row: Callable[[T], Sequence[str]], dispensable: Sequence[str] = ()
) -> None:
    """A table with one row per item."""
    show(TextTable(columns, [row(item) for item in items], dispensable))


def console(*, stderr: bool = False) -> Console:
    """A terminal."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False)


def emphasis() -> bool:
    """Whether standard output takes bold letters (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")


def fitted(parts: Iterable[Part], width: int, *, bold: bool = False) -> Iterator[str]:
    """Lines for a terminal of that width. What must not be broken may be longer than a line."""
    for part in parts:
        if isinstance(part, str):
            yield visible(part)
        else:
            yield from _fit(part, width, bold)


def remarks(parts: Iterable[Part], width: int) -> list[str]:
    """What a terminal of that width has no room for."""
    names = [name for part in parts if isinstance(part, TextTable) for name in _left_out(part, width)]
    shown = ", ".join(dict.fromkeys(names))
    return [f"[{width} columns have no room for {shown}; a pipe or -o json shows all]"] if names else []


def plain(table: TextTable) -> Iterator[str]:
    """One line per row, without blanks at the end."""
    columns = _columns(table)
    widths = [column.natural for column in columns]
    yield _line([column.name for column in columns], columns, widths)
    for number in range(len(table.rows)):
        yield _line([" ".join(column.cells[number].split("\n")) for column in columns], columns, widths)


def visible(text: str, kept: str = "\n") -> str:
    """Text whose control characters, but those that are kept, show as escapes: no task can steer the terminal."""
    if text.isprintable():
        return text
    return "".join(each if each in kept or not _steers(each) else ascii(each)[1:-1] for each in text)


def _steers(character: str) -> bool:
    """Controls, halves of surrogates, line and paragraph separators, and what turns the direction of writing."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTIONS


def cell_width(text: str) -> int:
    """Columns that the text takes on a terminal; of several lines, the longest."""
    if text.isascii() and "\n" not in text:
        return len(text)
    return max(sum(map(_character_width, line)) for line in text.split("\n"))


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _columns(table: TextTable) -> list[_Column]:
    found = [_COLUMN.fullmatch(column) for column in table.columns]
    assert all(found), table.columns
    parsed = [each.groupdict() for each in found if each]
    cells = list(zip(*table.rows, strict=True)) or [()] * len(parsed)
    return [
        _Column(
            each["name"],
            bool(each["right"]),
            int(each["least"] or _LEAST_TEXT) if each["text"] else 0,
            [visible(cell) for cell in column],
            each["text"] == "^",
        )
        for each, column in zip(parsed, cells, strict=True)
    ]


def _chosen(table: TextTable, width: int) -> list[_Column]:
    """The columns that there is room for."""
    columns = _columns(table)
    for name in table.dispensable:
        if _total([column.natural if column.reluctant else column.smallest for column in columns]) <= width:
            break
        columns = [column for column in columns if column.name != name]
    return columns


def _left_out(table: TextTable, width: int) -> list[str]:
    shown = {column.name for column in _chosen(table, width)}
    return [column.name for column in _columns(table) if column.name not in shown and any(column.cells)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _fit(table: TextTable, width: int, bold: bool) -> Iterator[str]:
    columns = _chosen(table, width)
    widths = [column.natural for column in columns]
    # The widest text gives way first.
    while (surplus := _total(widths) - width) > 0:
        texts = [at for at, column in enumerate(columns) if column.least and widths[at] > column.smallest]
        if not texts:
            break
        widest = max(texts, key=lambda at: widths[at])
        others = [widths[at] for at in texts if at != widest]
        step = max(1, min(surplus, widths[widest] - max(others, default=0), widths[widest] - columns[widest].smallest))
        widths[widest] -= step
    header = _line([column.name for column in columns], columns, widths)
    yield f"\x1b[1m{header}\x1b[0m" if bold else header
    for number in range(len(table.rows)):
        cells = [_folded(column, number, size, table.whole) for column, size in zip(columns, widths, strict=True)]
        for at in range(max(map(len, cells))):
            yield _line([lines[at] if at < len(lines) else "" for lines in cells], columns, widths)


def _folded(column: _Column, number: int, width: int, whole: bool) -> list[str]:
    lines = [piece for line in column.cells[number].split("\n") for piece in fold(line, width)]
    if whole or len(lines) <= _LIST_LINES or not column.least:
        return lines
    kept = lines[:_LIST_LINES]
    return [*kept[:-1], next(fold(kept[-1], max(width - 3, 1))) + "..."]


def fold(text: str, width: int) -> Iterator[str]:
    """Its lines of at most that width, broken at blanks, and within what is longer than a line."""
    line = ""
    for word in re.findall(r"\s*\S+", text):
        if line and cell_width(line + word) > width:
            yield line
            line = word.lstrip()
        else:
            line += word
        while cell_width(line) > width:
            cut = _cut(line, width)
            yield line[:cut]
            line = line[cut:]
    yield line


def _cut(line: str, width: int) -> int:
    """How many of its characters fit; at least one."""
    used = 0
    for number, character in enumerate(line):
        used += _character_width(character)
        if used > width and number:
            return number
    return len(line)


def _line(cells: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> str:
    padded = (
        " " * (width - cell_width(cell)) + cell if column.right else cell + " " * (width - cell_width(cell))
        for cell, column, width in zip(cells, columns, widths, strict=True)
    )
    return (" " * _GAP).join(padded).rstrip()
