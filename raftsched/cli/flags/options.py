"""Options that several commands share."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from raftsched.cli.failures import usage
from raftsched.cli.session import complete_task, duration
from raftsched.cli.times import parse_instant


def instant(text: str) -> datetime:
    """A time, for typer."""
    try:
        return parse_instant(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


class GapChoice(StrEnum):
    """Short names of the gap policies."""

    SHIFT = "shift"
    SKIP = "skip"


class FoldChoice(StrEnum):
    """Short names of the fold policies."""

    FIRST = "first"
    LAST = "last"
    BOTH = "both"


class RetryOn(StrEnum):
    """Ends that another attempt may follow."""

    FAILED = "failed"
    TIMED_OUT = "timed-out"


class Pull(StrEnum):
    """Short names of the pull policies."""

    IF_NOT_PRESENT = "if-not-present"
    ALWAYS = "always"
    NEVER = "never"


_SIZE = re.compile(r"(\d{1,12})(|[KMGT])(i?B?)")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def size(text: str) -> int:
    """A number of bytes, for typer: ``512MiB`` is 512 * 1024 * 1024, ``512MB`` is 512 * 1000 * 1000."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size such as 512MiB")
    base = 1000 if match[3] == "B" and match[2] else 1024
    return int(match[1]) * int(base ** _POWERS[match[2]])


class TaskStateChoice(StrEnum):
    """States of a task."""

    ACTIVE = "active"
    PAUSED = "paused"
    FINISHED = "finished"


class TaskConditionChoice(StrEnum):
    """What a task is in need of."""

    FAILING = "failing"
    WAITING = "waiting"


class ExecutionStateChoice(StrEnum):
    """States of an execution."""

    PENDING = "pending"
    ARMED = "armed"
    ASSIGNED = "assigned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    LOST = "lost"
    EXPIRED = "expired"


TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="Name of the task.", autocompletion=complete_task, show_default=False)
]
ExecutionId = Annotated[
    str, typer.Argument(metavar="EXECUTION", help="Id of the execution, as `execution list` shows it.")
]
Since = Annotated[
    datetime | None,
    typer.Option(
        "--since", parser=instant, metavar="TIME", help="Nominal time at or after: RFC 3339 with an offset, or -1h."
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option("--until", parser=instant, metavar="TIME", help="Nominal time before; as for --since."),
]
Stale = Annotated[
    bool, typer.Option("--stale", help="Show what the node at hand knows; needs no quorum and may be behind.")
]
Limit = Annotated[int, typer.Option("--limit", min=0, help="Show at most this many; 0: all.")]
Watch = Annotated[bool, typer.Option("--watch", help="Show it again and again, until interrupted.")]
Interval = Annotated[
    timedelta | None,
    typer.Option("--interval", parser=duration, metavar="SPAN", help="Time between two readings. Default 1s."),
]


def parse_pairs(flag: str, given: list[str] | None) -> dict[str, str]:
    """``key=value`` arguments as a dict. Raises Failure: one has no ``=``, or a key comes twice."""
    found: dict[str, str] = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise usage(f"{flag}: {pair!r} is not key=value")
        if key in found:
            raise usage(f"{flag}: {key!r} is given twice")
        found[key] = value
    return found
