"""Days and windows in which a schedule has no nominal times: holidays, freezes, maintenance.

What is excluded is no nominal time, as a Saturday is none of a weekday schedule: nothing is decided or recorded for it,
so that a freeze of months costs nothing.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from raftsched.core.times.zone import DAY_S, LAST_INSTANT_S, stretch_at

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Whole days of the wall clock, or the instants ``start_us <= t < end_us`` when ``end_us`` is not 0."""

    first_day: int = 0
    """Days since 1970-01-01."""
    last_day: int = 0
    """Inclusive."""
    start_us: int = 0
    end_us: int = 0


@dataclass(frozen=True)
class Exclusions:
    """What a schedule leaves out; its days are those of ``time_zone``, which must be known when it is asked."""

    items: tuple[Exclusion, ...]
    time_zone: str = "UTC"
    calendar: str = ""
    """The name of the calendar that they are of; "": the schedule's own."""

    def end_of(self, at_us: int) -> int:
        """The end of the window that holds the instant, the first that it does not; 0 when none holds it."""
        starts, ends = self._windows
        at = bisect_right(starts, at_us) - 1
        return ends[at] if at >= 0 and at_us < ends[at] else 0

    @cached_property
    def _windows(self) -> tuple[list[int], list[int]]:
        """Starts and ends of disjoint windows, ascending, in microseconds."""
        starts: list[int] = []
        ends: list[int] = []
        for start_us, end_us in sorted(map(self._window, self.items)):
            if ends and start_us <= ends[-1]:
                ends[-1] = max(ends[-1], end_us)
            else:
                starts.append(start_us)
                ends.append(end_us)
        return starts, ends

    def _window(self, item: Exclusion) -> tuple[int, int]:
        if item.end_us:
            return item.start_us, item.end_us
        return tuple(_begin_s(self.time_zone, day) * _SECOND_US for day in (item.first_day, item.last_day + 1))  # type: ignore[return-value]  # a generator over two days makes two


def _begin_s(zone: str, day: int) -> int:
    """The first instant from which on the wall clock shows that day or a later one."""
    local_s = day * DAY_S
    at_s = max(local_s - 2 * DAY_S, 0)
    found_s = at_s
    while at_s <= min(local_s + 2 * DAY_S, LAST_INSTANT_S):
        stretch = stretch_at(zone, at_s)
        # Where midnight comes twice, the day begins with the second, after which it does not end again.
        if at_s + stretch.offset_s < local_s:
            found_s = min(local_s - stretch.offset_s, stretch.end_s)
        at_s = stretch.end_s
    return found_s
