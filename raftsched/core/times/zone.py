"""The local time of IANA zones, as stretches of constant UTC offset.

Instants and local times are whole seconds: an instant since the Unix epoch, a local time since 1970-01-01 00:00 on the
wall clock of the zone. Reads the time zone database through ``zoneinfo``, and no clock.
"""

from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

HOUR_S = 3_600
DAY_S = 86_400
LAST_INSTANT_S = 253_402_300_800 - 2 * DAY_S
"""Two days before the year 10000, where neither instant nor local time leaves the range of ``datetime``."""

MAX_CLOCK_CHANGE_S = 3 * HOUR_S
"""cron(8): a change of more than 3 hours is a correction of the clock, and the new time is used at once."""

# Links to the setting of one machine, and zones that count leap seconds: other nodes would read them otherwise.
_MACHINE_DEPENDENT = ("localtime", "posixrules", "Factory", "posix/", "right/")
_MAX_NAME_CHARS = 64
_BLOCK_BITS = 25
"""Stretches are kept in blocks of 2**25 s, about 388 days."""


class Stretch(NamedTuple):
    """The instants ``start_s <= t < end_s``, in which the local time is ``t + offset_s``."""

    start_s: int
    end_s: int
    offset_s: int
    reached_s: int
    """The local time that the stretch before came to. Greater than ``start_s + offset_s``: the clock was put back, and
    local times below it come twice. Less: it was put forward, and local times from it on were left out. Equal: the
    offset did not change, or by more than ``MAX_CLOCK_CHANGE_S``."""


def is_known(name: str) -> bool:
    """Whether the time zone database has a zone of that name that means the same on every machine."""
    return 0 < len(name) <= _MAX_NAME_CHARS and not name.startswith(_MACHINE_DEPENDENT) and _is_in_database(name)


@lru_cache(maxsize=1024)
def _is_in_database(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def stretch_at(name: str, instant_s: int) -> Stretch:
    """The stretch that holds the instant, at most ``LAST_INSTANT_S``. The zone must be known."""
    for stretch in _stretches(name, instant_s >> _BLOCK_BITS):
        if instant_s < stretch.end_s:
            return stretch
    raise AssertionError(f"no stretch of {name} holds {instant_s}")


@lru_cache(maxsize=4096)
def _stretches(name: str, block: int) -> tuple[Stretch, ...]:
    """The stretches that cover a block, and the day before it, so that a change just before it is seen."""
    zone = ZoneInfo(name)
    first_s = (block << _BLOCK_BITS) - DAY_S
    end_s = (block + 1) << _BLOCK_BITS
    changes = _changes(zone, first_s, end_s)
    bounds = [first_s, *changes, end_s]
    stretches = []
    reached_s = first_s + _offset_s(zone, first_s)
    for start_s, stop_s in pairwise(bounds):
        offset_s = _offset_s(zone, start_s)
        if abs(reached_s - start_s - offset_s) > MAX_CLOCK_CHANGE_S:
            reached_s = start_s + offset_s
        stretches.append(Stretch(start_s, stop_s, offset_s, reached_s))
        reached_s = stop_s + offset_s
    return tuple(stretches)


def _changes(zone: tzinfo, first_s: int, end_s: int) -> list[int]:
    """The instants after first_s and before end_s at which the offset changes.

    Looks every other day: since 1970, no zone of the database has changed its offset twice within six days.
    """
    looks = [(look_s, _offset_s(zone, look_s)) for look_s in (*range(first_s, end_s, 2 * DAY_S), end_s - 1)]
    return [
        _change_between(zone, low_s, high_s) for (low_s, before), (high_s, after) in pairwise(looks) if before != after
    ]


def _change_between(zone: tzinfo, low_s: int, high_s: int) -> int:
    before = _offset_s(zone, low_s)
    while high_s - low_s > 1:
        middle_s = (low_s + high_s) // 2
        if _offset_s(zone, middle_s) == before:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s


def _offset_s(zone: tzinfo, instant_s: int) -> int:
    offset = datetime.fromtimestamp(min(instant_s, LAST_INSTANT_S), zone).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)
