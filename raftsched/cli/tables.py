"""Tables for people: fitted to a terminal by rich, or one line per row where the output is piped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table as RichTable

T = TypeVar("T")
MAX_FITTED_ROWS = 1000
"""Fitting a table to a terminal takes about a millisecond per row."""


@dataclass(frozen=True)
class Table:
    """Rows of cells. A column whose name ends in ``#`` is aligned to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def counted(number: int, noun: str) -> str:
    """``1 task``, ``1,200 tasks``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def show(*parts: Table | str) -> None:
    """Print tables and lines."""
    if sys.stdout.isatty() and all(isinstance(part, str) or len(part.rows) <= MAX_FITTED_ROWS for part in parts):
        console().print(fitted(parts))
        return
    for part in parts:
        for line in [part] if isinstance(part, str) else plain(part):
            print(line)


def print_rows(columns: Sequence[str], items: Iterable[T], row: Callable[[T], Sequence[str]]) -> None:
    """A table with one row per item."""
    show(Table(columns, [row(item) for item in items]))


def console(*, stderr: bool = False) -> Console:
    """A terminal."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False)


def fitted(parts: Iterable[Table | str]) -> Group:
    """The parts for a terminal, where long cells are folded."""
    from rich.console import Group

    return Group(*(part if isinstance(part, str) else _rich(part) for part in parts))


def plain(table: Table) -> Iterator[str]:
    """One line per row, without blanks at the end."""
    names = [column.rstrip("#") for column in table.columns]
    cells = list(zip(*[names, *table.rows], strict=True))
    widths = [max(map(len, column)) for column in cells]
    right = [column.endswith("#") for column in table.columns]
    for row in (names, *table.rows):
        padded = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        )
        yield "  ".join(padded).rstrip()


def _rich(table: Table) -> RichTable:
    from rich.table import Table as RichTable

    built = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns:
        built.add_column(column.rstrip("#"), justify="right" if column.endswith("#") else "left", overflow="fold")
    for row in table.rows:
        built.add_row(*row)
    return built
