"""The time that a process is told, and what it makes of words that were long on their way."""

from hypothesis import given
from hypothesis import strategies as st

from raftsched.core.times.told_time import ToldTime

DAY_US = 86_400_000_000
NOW_US = 1_800_000_000_000_000


def test_nothing_is_known_before_it_is_told() -> None:
    assert ToldTime().at(5.0) is None


def test_it_goes_on_by_elapsed_time() -> None:
    told = ToldTime()
    told.hear(NOW_US, 10.0, 10.0)
    assert told.at(13.5) == NOW_US + 3_500_000


@given(st.floats(0, 5), st.floats(0, 1))
def test_it_is_off_by_half_of_the_way_there_and_back_at_most(round_trip_s: float, there: float) -> None:
    told = ToldTime()
    answered_s = 100 + round_trip_s * there
    told.hear(NOW_US + round(answered_s * 1e6), 100.0, 100 + round_trip_s)
    assert abs(told.at(200.0) - (NOW_US + 200_000_000)) <= round_trip_s * 1e6 / 2 + 2


def test_a_word_that_was_long_on_its_way_does_not_replace_a_better_one() -> None:
    told = ToldTime()
    told.hear(NOW_US, 0.0, 0.002)
    told.hear(NOW_US + 1_000_000, 1.0, 5.0)
    assert told.at(5.0) == NOW_US + 5_000_000 - 1_000


def test_a_word_that_contradicts_what_was_known_counts_however_long_it_took() -> None:
    told = ToldTime()
    told.hear(NOW_US + DAY_US, 0.0, 0.002)
    told.hear(NOW_US, 1.0, 5.0)
    assert told.at(5.0) == NOW_US + 2_000_000


def test_what_is_known_grows_old() -> None:
    told = ToldTime()
    told.hear(NOW_US, 0.0, 0.002)
    told.hear(NOW_US + 1_000_000_000, 1000.0, 1000.2)
    assert told.at(1000.2) == NOW_US + 1_000_000_000 + 100_000


def test_what_is_over_by_now_moves_it_forward_only() -> None:
    told = ToldTime()
    told.hear_at_least(NOW_US, 0.0)
    told.hear_at_least(NOW_US - DAY_US, 1.0)
    assert told.at(1.0) == NOW_US + 1_000_000
    told.hear_at_least(NOW_US + DAY_US, 1.0)
    assert told.at(2.0) == NOW_US + DAY_US + 1_000_000
