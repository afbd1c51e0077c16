"""Checks of single fields. Each adds what is wrong to a list of violations and goes on."""

import re
from collections.abc import Collection
from enum import EnumType, IntEnum
from functools import cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.internal.containers import ScalarMap
from google.protobuf.timestamp_pb2 import Timestamp

from raftsched.core.state.model import SECOND_US
from raftsched.core.times.schedule import MAX_TIME_US
from raftsched.core.times.spans import in_words
from raftsched.definitions.violations import Violations

MAX_TIME_S = MAX_TIME_US // SECOND_US
"""The last second of the year 9999."""
MAX_LABELS = 32

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)
_LABEL_KEY = re.compile(r"[A-Za-z0-9._/-]{1,63}", re.ASCII)
_REQUEST_ID = re.compile(r"[!-~]{1,128}", re.ASCII)


def quoted(text: str) -> str:
    """The text as it may stand in a message: short and printable."""
    shown = ascii(text[:80])
    return shown if len(text) <= 80 and len(shown) <= 80 else shown[:76] + "...'"


def check_name(violations: Violations, field: str, name: str) -> None:
    """A task name."""
    if not _NAME.fullmatch(name):
        violations.add(
            field,
            f"{quoted(name)} is not a task name: 1 to 200 of [A-Za-z0-9._-], starting with a letter or digit",
        )


def check_request_id(violations: Violations, request_id: str) -> None:
    """An idempotency key; empty is allowed."""
    if request_id and not _REQUEST_ID.fullmatch(request_id):
        violations.add("request_id", "must be at most 128 printable ASCII characters without spaces")


def check_labels(violations: Violations, field: str, labels: ScalarMap[str, str]) -> None:
    """Labels of a task or those that it asks of its executors."""
    if len(labels) > MAX_LABELS:
        violations.add(field, f"{len(labels)} labels; at most {MAX_LABELS} are allowed")
        return
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            violations.add(field, f"key {quoted(key)} must be 1 to 63 characters of [A-Za-z0-9._/-]")
        if len(value) > 255:
            violations.add(field, f"the value of {quoted(key)} has {len(value)} characters; at most 255 are allowed")


def check_time(violations: Violations, field: str, value: Timestamp) -> None:
    """An instant; is cut to whole microseconds."""
    if not 0 <= value.seconds <= MAX_TIME_S or not 0 <= value.nanos < 1_000_000_000:
        violations.add(field, "must lie in the years 1970 to 9999")
    else:
        value.nanos -= value.nanos % 1000


def check_duration(violations: Violations, field: str, value: Duration, low_us: int, high_us: int) -> None:
    """A length of time between two bounds; is cut to whole microseconds."""
    total_us = value.seconds * SECOND_US + value.nanos // 1000
    well_formed = abs(value.nanos) < 1_000_000_000 and value.seconds * value.nanos >= 0
    if not well_formed or not low_us <= total_us <= high_us:
        violations.add(field, f"must lie between {in_words(low_us)} and {in_words(high_us)}")
    else:
        value.nanos -= value.nanos % 1000


def check_number(violations: Violations, field: str, value: int, low: int, high: int) -> None:
    """A whole number between two bounds."""
    if not low <= value <= high:
        violations.add(field, f"{value} must lie between {low} and {high}")


@cache
def _numbers(known: type[IntEnum]) -> frozenset[int]:
    return frozenset(map(int, known))


def check_enum(violations: Violations, field: str, value: int, known: Collection[int] | type[IntEnum]) -> None:
    """A value of an enum."""
    if value not in (_numbers(known) if isinstance(known, EnumType) else known):
        violations.add(field, f"{value} is not a known value")
