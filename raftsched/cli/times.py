"""Times on the command line: read with their zone, shown with their zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from raftsched.clock import SystemClock

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp
    from raftsched_client import Task

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.fromtimestamp(SystemClock().now_us() / 1e6, UTC)


def parse_duration(text: str) -> timedelta:
    """Such as 10s, 1.5s, 5m, 1h30m, 2d. Raises ValueError: it is not one, not more than zero, or too long."""
    if not re.fullmatch(f"({_PART.pattern})+", text):
        raise ValueError(f"{text!r} is not a time span; write 10s, 5m, 1h30m or 2d")
    try:
        span = timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    except OverflowError:
        raise ValueError(f"{text!r}: a time span has at most {timedelta.max.days:,} days") from None
    if not span:
        raise ValueError(f"{text!r}: a time span must be more than 0")
    return span


def parse_instant(text: str) -> datetime:
    """RFC 3339 with an offset, or a time span from now: +30s, -1h, or ``now``. Raises ValueError."""
    if text == "now":
        return now()
    if text[:1] in ("+", "-"):
        span = parse_duration(text[1:])
        try:
            return now() + span if text[0] == "+" else now() - span
        except OverflowError:
            raise ValueError(f"{text!r} is not within the years 1 to 9999") from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write 2026-01-31T09:00:00+01:00 or +30s") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; add an offset such as Z or +01:00")
    return moment


def show_instant(stamp: Timestamp | None, zone: tzinfo | None = None) -> str:
    """Date, time and offset in a zone (None: this machine's); empty for an unset stamp."""
    if stamp is None or not (stamp.seconds or stamp.nanos):
        return ""
    moment = stamp.ToDatetime(tzinfo=UTC).astimezone(zone)
    return moment.isoformat(sep=" ", timespec="milliseconds" if moment.microsecond else "seconds")


def show_relative(stamp: Timestamp, at: datetime) -> str:
    """How far away it is: ``in 3h 2m``, ``5s ago``."""
    seconds = (stamp.ToDatetime(tzinfo=UTC) - at).total_seconds()
    return f"in {show_seconds(seconds)}" if seconds >= 0 else f"{show_seconds(-seconds)} ago"


def show_duration(duration: Duration) -> str:
    """Its two largest units."""
    return show_seconds(duration.ToTimedelta().total_seconds())


def show_seconds(seconds: float) -> str:
    """Its two largest units: ``2d 3h``, ``1m 30s``, ``0.25s``."""
    if seconds < 10:
        return f"{round(seconds, 3 if seconds < 1 else 1):g}s"
    whole, parts = round(seconds), []
    for unit in ("d", "h", "m", "s"):
        count, whole = divmod(whole, round(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def zone_of(task: Task) -> tzinfo | None:
    """The zone of its schedule, of the first of a union that has one; None (this machine's) when none has."""
    for part in task.schedule.union.schedules if task.schedule.HasField("union") else [task.schedule]:
        if part.HasField("cron") or part.HasField("rrule"):
            name = part.cron.time_zone if part.HasField("cron") else part.rrule.time_zone
            try:
                return ZoneInfo(name or "UTC")
            except (ZoneInfoNotFoundError, ValueError):
                # The cluster knows a zone that this machine does not.
                return UTC
    return None
