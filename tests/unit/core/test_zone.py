"""Time zones as stretches of one offset."""

import pytest

from raftsched.core.times.zone import DAY_S, stretch_at

BLOCK_BITS = 25


@pytest.mark.parametrize("zone", ["Europe/Lisbon", "Europe/Berlin", "Atlantic/Azores", "Asia/Kolkata"])
def test_only_where_the_offset_changes_was_another_local_time_reached(zone: str) -> None:
    """What is kept begins and ends at moments at which nothing changes."""
    seen = 0
    for block in range(40, 60):
        stretch = stretch_at(zone, block << BLOCK_BITS)
        if stretch.start_s == (block << BLOCK_BITS) - DAY_S:
            seen += 1
            assert stretch.reached_s == stretch.start_s + stretch.offset_s
    assert seen


def test_a_change_of_the_offset_tells_what_was_reached() -> None:
    """On 25 October 2026 the clocks of Berlin go back from 3:00 to 2:00 at 1:00 UTC."""
    change_s = 1_792_890_000
    before, after = stretch_at("Europe/Berlin", change_s - 1), stretch_at("Europe/Berlin", change_s)
    assert (before.end_s, before.offset_s) == (change_s, 7_200)
    assert (after.start_s, after.offset_s, after.reached_s) == (change_s, 3_600, change_s + 7_200)
