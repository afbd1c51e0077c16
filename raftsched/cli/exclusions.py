"""From the values of ``--exclude`` to the exclusions of a schedule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from raftsched.cli.action_flags import text_or_file
from raftsched.cli.failures import usage
from raftsched.cli.times import parse_instant

if TYPE_CHECKING:
    from raftsched_client import Exclusion

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def read_exclusions(values: Iterable[str]) -> list[Exclusion]:
    """The exclusions that the values and the files among them name. Raises Failure, with the line that is wrong."""
    return [_exclusion(line) for value in values for line in _lines(value)]


def _lines(value: str) -> Iterator[str]:
    for line in text_or_file("--exclude", value).decode(errors="replace").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def _exclusion(line: str) -> Exclusion:
    from raftsched_client import Exclusion, to_timestamp

    what, _, reason = line.partition(" ")
    first, slash, last = what.partition("/")
    if _DAY.fullmatch(first) and (not slash or _DAY.fullmatch(last)):
        return Exclusion(date=first, last_date=last, reason=reason.strip())
    try:
        begin, end = parse_instant(first), parse_instant(last)
    except ValueError as error:
        raise usage(f"--exclude: {what!r} is no day, no two days, and no two times with an offset: {error}") from error
    return Exclusion(
        start_time=to_timestamp(begin, "start_time"), end_time=to_timestamp(end, "end_time"), reason=reason.strip()
    )
