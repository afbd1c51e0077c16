"""Lengths of time in words."""

import pytest

from raftsched.core.times.spans import in_words

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("length_us", "words"),
    [
        (0, "0 s"),
        (1, "0.000001 s"),
        (999_999, "0.999999 s"),
        (10_000, "10 ms"),
        (1_500_000, "1.5 s"),
        (SECOND, "1 s"),
        (90 * SECOND, "90 s"),
        (60 * SECOND, "1 min"),
        (5_400 * SECOND, "90 min"),
        (7_200 * SECOND, "2 h"),
        (86_400 * SECOND, "1 day"),
        (366 * 86_400 * SECOND, "366 days"),
        (1_000_001 * SECOND, "1,000,001 s"),
        (-SECOND, "-1 s"),
    ],
)
def test_a_length_is_said_in_the_largest_unit_that_it_is_a_whole_number_of_or_else_in_seconds(
    length_us: int, words: str
) -> None:
    assert in_words(length_us) == words
