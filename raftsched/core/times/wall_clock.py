"""From local times to instants: what becomes of a rule for the wall clock on the days on which the clock changes.

Debian's cron(8) is the default. A wildcard rule follows the wall clock: it fires in both occurrences of a repeated hour
(the fold, as in PEP 495), and not in a missing one (the gap). Every other rule fires once: in the first occurrence, and
at the end of the gap. Changes of more than three hours are corrections: every rule follows the new time.
"""

from typing import Protocol

from raftsched.core.state.model import FoldPolicy, GapPolicy
from raftsched.core.times.zone import DAY_S, LAST_INSTANT_S, Stretch, stretch_at

NEVER_S = 1 << 60
"""Later than every local time."""


class WallClockRule(Protocol):
    """Something that fires at local times."""

    @property
    def wildcard(self) -> bool:
        """Whether it follows the wall clock, rather than being meant for single times."""

    def next_local(self, local_s: int) -> int:
        """The first local time of the rule at or after ``local_s``; ``NEVER_S`` when there is none."""


def next_instant(
    rule: WallClockRule, zone: str, after_s: int, gap: GapPolicy | None = None, fold: FoldPolicy | None = None
) -> int:
    """The first instant after ``after_s`` at which the rule fires in the zone; 0 if none up to the year 9999.

    Both are seconds since the Unix epoch. The zone must be known. A policy that is None is cron(8)'s.
    """
    gap = gap or (GapPolicy.SKIP if rule.wildcard else GapPolicy.SHIFT)
    fold = fold or (FoldPolicy.BOTH if rule.wildcard else FoldPolicy.FIRST)
    at_s = after_s + 1
    # No local time matches from searched_s up to, not including, found_s, which does.
    searched_s, found_s = 1, 0
    while at_s <= LAST_INSTANT_S:
        stretch = stretch_at(zone, at_s)
        local_s = at_s + stretch.offset_s
        if gap is GapPolicy.SHIFT and at_s == stretch.start_s and stretch.reached_s < local_s:
            if rule.next_local(stretch.reached_s) < local_s:
                return at_s
        elif fold is FoldPolicy.FIRST:
            local_s = max(local_s, stretch.reached_s)
        if not searched_s <= local_s <= found_s:
            searched_s, found_s = local_s, rule.next_local(local_s)
        end_s = _repeated_from(zone, stretch) if fold is FoldPolicy.LAST else stretch.end_s
        if found_s - stretch.offset_s < end_s:
            return found_s - stretch.offset_s
        at_s = stretch.end_s
        # Offsets differ by less than two days, so the local times in between are all within what was searched.
        if at_s + stretch.offset_s - 2 * DAY_S >= searched_s:
            at_s = max(at_s, found_s - 2 * DAY_S)
    return 0


def _repeated_from(zone: str, stretch: Stretch) -> int:
    """The instant from which the local times of the stretch come again in the next one; its end when none do."""
    if stretch.end_s > LAST_INSTANT_S:
        return stretch.end_s
    following = stretch_at(zone, stretch.end_s)
    if following.start_s != stretch.end_s:
        return stretch.end_s
    return min(stretch.end_s, following.start_s + following.offset_s - following.reached_s + stretch.end_s)
