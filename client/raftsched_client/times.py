"""Between Python's times and protobuf's."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

Timeout: TypeAlias = float | timedelta
"""A time span: seconds, or a timedelta. More than zero."""


def to_timestamp(moment: datetime, field: str = "datetime") -> Timestamp:
    """The instant, to the microsecond. Raises ValueError, naming ``field``: the datetime is naive."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{field}: {moment.isoformat()} has no time zone; give an aware datetime")
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def to_datetime(stamp: Timestamp) -> datetime:
    """The instant as an aware datetime in UTC, to the microsecond."""
    return stamp.ToDatetime(tzinfo=UTC)


def to_duration(span: timedelta) -> Duration:
    """The time span, to the microsecond."""
    duration = Duration()
    duration.FromTimedelta(span)
    return duration


def to_timedelta(duration: Duration) -> timedelta:
    """The time span, to the microsecond."""
    return duration.ToTimedelta()


def to_seconds(timeout: Timeout, field: str = "timeout") -> float:
    """Raises ValueError, naming ``field``: not more than zero."""
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    if not seconds > 0:
        raise ValueError(f"{field}: must be more than 0, not {timeout}")
    return seconds
