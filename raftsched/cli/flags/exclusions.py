"""From the values of ``--exclude`` to the exclusions of a schedule."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from raftsched.cli.failures import usage
from raftsched.cli.flags.actions import text_or_file
from raftsched.cli.times import parse_instant

if TYPE_CHECKING:
    from raftsched_client import Exclusion

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def read_exclusions(values: Iterable[str]) -> list[Exclusion]:
    """The exclusions that the values and the files among them name. Raises Failure, with the line that is wrong."""
    return [_exclusion(line) for value in values for line in _lines(value)]


def _lines(value: str) -> Iterator[str]:
    for line in _text(text_or_file("--exclude", value)).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def _text(data: bytes) -> str:
    """As editors write it: in UTF-8, with or without a mark, or as Windows does."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _exclusion(line: str) -> Exclusion:
    from raftsched_client import Exclusion, to_timestamp

    what, *words = line.split(None, 1)
    reason = "".join(words)
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
