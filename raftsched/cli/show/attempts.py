"""The attempts of an execution, for people: a table, and what each wrote last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from raftsched.cli.show import describe, tables
from raftsched.cli.times import show_instant

if TYPE_CHECKING:
    from raftsched_client import Attempt

_SHOWN_LINES = 10
"""Of what an attempt wrote."""


def parts(execution_id: str, attempts: Sequence[Attempt]) -> Iterator[tables.Part]:
    """A table of the attempts, and the last lines of each that wrote something."""
    columns = ("ATTEMPT#", "STATE~9", "STARTED~18", "ENDED", "RUN TIME#", "EXECUTOR", "ERROR~")
    yield tables.TextTable(columns, [_row(each) for each in attempts], ("ENDED", "EXECUTOR"))
    for each in attempts:
        if each.output_size_bytes:
            yield ""
            yield from _output(execution_id, each)


def _row(attempt: Attempt) -> tuple[str, ...]:
    return (
        str(attempt.attempt),
        describe.ending(attempt),
        show_instant(attempt.start_time),
        show_instant(attempt.end_time),
        describe.run_time(attempt),
        attempt.executor_id,
        " ".join(attempt.error.split()),
    )


def _output(execution_id: str, attempt: Attempt) -> Iterator[str]:
    lines = _lines(attempt.output_tail)
    whole = len(lines) <= _SHOWN_LINES and len(attempt.output_tail) == attempt.output_size_bytes
    wrote = f"attempt {attempt.attempt} wrote {attempt.output_size_bytes:,} bytes"
    if whole:
        yield f"{wrote}:"
    elif lines:
        more = f"raftsched execution output {execution_id} --attempt {attempt.attempt}"
        yield f"{wrote}, last ({more} prints more):"
    else:
        yield f"{wrote}, which are no longer kept"
    yield from (f"  {line}" for line in lines[-_SHOWN_LINES:])


def _lines(tail: bytes) -> list[str]:
    """What a terminal would show, without what would move its cursor or colour it."""
    from rich.text import Text

    lines = tail.decode(errors="replace").splitlines()
    shown = (Text.from_ansi(line).plain for line in lines)
    return ["".join(each if each.isprintable() else " " for each in line).rstrip() for line in shown]
