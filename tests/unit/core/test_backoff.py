"""The waits between the tries of something that fails."""

from raftsched.core.backoff import Backoff, Retries
from tests.support.raft_bench import ManualClock

SECONDS = Backoff(low_s=1, high_s=60)


class Edge(ManualClock):
    """Draws the highest or the lowest of what may be drawn."""

    highest = True

    def uniform(self, low: float, high: float) -> float:
        return high if self.highest else low


def test_waits_double_up_to_the_longest():
    clock = Edge()
    retries = Retries(SECONDS, clock)
    assert [retries.failed() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_up_to_a_half_is_taken_off_by_chance():
    clock = Edge()
    clock.highest = False
    assert [SECONDS.wait_s(failures, clock) for failures in (1, 2, 9)] == [0.5, 1, 30]


def test_a_million_failures_in_a_row_wait_no_longer_than_the_longest():
    assert SECONDS.ceiling_s(1_000_000) == 60


def test_waits_start_anew_after_what_went_on_for_as_long_as_the_longest():
    clock = Edge()
    retries = Retries(SECONDS, clock)
    waits = []
    for lived_s in (0, 0, 59.9, 60, 0):
        retries.began()
        clock.now += lived_s
        waits.append(retries.failed())
    assert waits == [1, 2, 4, 1, 2]


def test_time_in_which_nothing_went_on_counts_for_nothing():
    clock = Edge()
    retries = Retries(SECONDS, clock)
    retries.began()
    retries.failed()
    clock.now += 1000
    assert retries.failed() == 2


def test_waits_start_anew_after_a_success():
    clock = Edge()
    retries = Retries(SECONDS, clock)
    retries.failed()
    retries.succeeded()
    assert retries.failed() == 1
