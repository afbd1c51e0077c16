"""The time that age is counted by."""

from raftsched.core.times.paced_time import PACE, PacedTime

NOW_US = 1_800_000_000_000_000
DAY_US = 86_400_000_000


def test_it_begins_with_the_first_time_that_is_given_and_follows_it() -> None:
    paced = PacedTime()
    assert paced.at(0, 1.0) == 0
    assert paced.at(NOW_US, 2.0) == NOW_US
    assert paced.at(NOW_US + 5_000_000, 7.0) == NOW_US + 5_000_000


def test_it_follows_a_jump_at_its_pace_and_comes_back_at_once() -> None:
    paced = PacedTime()
    paced.at(NOW_US, 0.0)
    assert paced.at(NOW_US + DAY_US, 30.0) == NOW_US + 30_000_000 * PACE
    assert paced.at(NOW_US + 31_000_000, 31.0) == NOW_US + 31_000_000


def test_what_was_there_before_the_start_is_where_it_begins() -> None:
    paced = PacedTime(NOW_US)
    assert paced.at(NOW_US + DAY_US, 0.0) == NOW_US
    assert paced.at(NOW_US + DAY_US, 60.0) == NOW_US + 60_000_000 * PACE
    assert PacedTime(NOW_US + DAY_US).at(NOW_US, 0.0) == NOW_US, "it was written by a clock that was ahead"
