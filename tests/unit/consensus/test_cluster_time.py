"""The agreed time: what a majority of clocks says, and what one clock that is wrong cannot do."""

import re
from collections.abc import Callable
from itertools import pairwise

import pytest

from raftsched.consensus.cluster_time import (
    CONFIRM_S,
    HOLDOVER_S,
    LARGEST_OFFSET_US,
    SAMPLE_LIFE_S,
    SLEW,
    STEP_US,
    TOLERANCE_US,
    Bounds,
    ClusterTime,
    Resumed,
    agree,
)

TRUE_US = 1_800_000_000_000_000
S = 1_000_000
HOUR = 3600 * S
DELAY_S = 0.002


class Machine:
    """True time, and the clocks of one machine."""

    def __init__(self, error_us: int = 0) -> None:
        self.passed_s = 0.0
        self.error_us = error_us

    def now_us(self) -> int:
        return TRUE_US + round(self.passed_s * S) + self.error_us

    def monotonic(self) -> float:
        return 5_000.0 + self.passed_s

    def uniform(self, low: float, high: float) -> float:
        return low

    def token(self) -> str:
        return ""


class Lab:
    """One node, as seen by itself, and what its peers' clocks say."""

    def __init__(self, voters: str = "abc", *, error_us: int = 0, resumed: Resumed | None = None) -> None:
        self.machine = Machine(error_us)
        self.voters = tuple(voters)
        self.errors_us: dict[str, int] = dict.fromkeys(voters[1:], 0)
        self.silent: set[str] = set()
        self.time = ClusterTime(self.machine, "a", lambda: self.voters, resumed)

    def ask(self) -> None:
        for peer_id, error_us in self.errors_us.items():
            if peer_id not in self.silent:
                asked_at_s = self.machine.monotonic()
                self.machine.passed_s += DELAY_S / 2
                said_us = TRUE_US + round(self.machine.passed_s * S) + error_us
                self.machine.passed_s += DELAY_S / 2
                self.time.heard(peer_id, said_us, asked_at_s)

    def run(self, seconds: float, look: Callable[[], None] = lambda: None) -> None:
        end_s = self.machine.passed_s + seconds
        while self.machine.passed_s < end_s:
            self.ask()
            for _ in range(5):
                self.machine.passed_s += 0.2
                self.time.now_us()
                look()

    @property
    def off_us(self) -> int:
        """How far the agreed time is ahead of the true one."""
        return self.time.now_us() - TRUE_US - round(self.machine.passed_s * S)


def test_nobody_knows_the_time_before_a_majority_has_been_heard() -> None:
    lab = Lab("abcde")
    lab.silent = {"c", "d", "e"}
    lab.run(1)
    assert (lab.time.known, lab.time.certain) == (False, False)
    assert "c is not heard of" in lab.time.status().problem
    lab.silent = {"d", "e"}
    lab.run(1)
    assert (lab.time.known, lab.time.certain, lab.time.status().problem) == (True, True, "")
    assert abs(lab.off_us) < 2_000


@pytest.mark.parametrize("error_us", [30 * S, HOUR, 40 * 24 * HOUR, -HOUR, 600_000, -30 * S])
def test_the_own_clock_alone_moves_nothing(error_us: int) -> None:
    lab = Lab()
    lab.run(3)
    lab.machine.error_us = error_us
    offs = []
    lab.run(60, lambda: offs.append(lab.off_us))
    assert max(map(abs, offs)) < 2_000
    assert lab.time.better_placed() == ("b", "c")
    status = lab.time.status()
    assert (status.certain, status.agreeing) == (True, ("b", "c"))
    assert abs(status.offset_us - error_us) < 2_000
    assert f"{abs(error_us) / S:.1f} s {'ahead of' if error_us > 0 else 'behind'}" in status.problem


@pytest.mark.parametrize("error_us", [30 * S, -HOUR])
def test_a_node_that_starts_with_a_wrong_clock_takes_the_time_of_the_others(error_us: int) -> None:
    lab = Lab(error_us=error_us)
    lab.run(SAMPLE_LIFE_S + 2)
    assert abs(lab.off_us) < 2_000


def test_a_node_that_starts_puts_no_majority_together_from_what_was_said_at_different_moments() -> None:
    lab = Lab()
    lab.errors_us = dict.fromkeys("bc", -HOUR)
    lab.ask()
    lab.errors_us["b"] = 0
    lab.silent = {"b"}
    lab.run(SAMPLE_LIFE_S - 1)
    assert not lab.time.known
    lab.silent = set()
    lab.run(SAMPLE_LIFE_S + 2)
    assert lab.time.known
    assert abs(lab.off_us) < 2_000


def test_a_node_that_starts_where_all_agree_knows_the_time_at_once() -> None:
    lab = Lab()
    lab.ask()
    assert lab.time.known


@pytest.mark.parametrize("wrong", ["b", "c"])
def test_a_peer_that_is_wrong_moves_nothing_and_is_no_problem_of_this_node(wrong: str) -> None:
    lab = Lab()
    lab.run(3)
    lab.errors_us[wrong] = HOUR
    lab.run(30)
    assert abs(lab.off_us) < 2_000
    assert (lab.time.better_placed(), lab.time.status().problem) == ((), "")


def test_two_of_five_that_agree_with_each_other_move_nothing() -> None:
    lab = Lab("abcde", error_us=HOUR)
    lab.errors_us["b"] = HOUR
    lab.run(30)
    assert abs(lab.off_us) < 2_000
    assert lab.time.better_placed() == ("c", "d", "e")


def test_clocks_within_the_tolerance_agree_on_their_median() -> None:
    lab = Lab(error_us=-100_000)
    lab.errors_us = {"b": 0, "c": 150_000}
    lab.run(30)
    assert abs(lab.off_us) < 2_000
    assert lab.time.status().problem == ""


def test_a_small_difference_is_slewed_and_never_stepped() -> None:
    lab = Lab()
    lab.run(3)
    lab.errors_us = dict.fromkeys("bc", STEP_US - 100_000)
    lab.machine.error_us = STEP_US - 100_000
    times = [(lab.machine.passed_s, lab.time.now_us())]
    lab.run(20, lambda: times.append((lab.machine.passed_s, lab.time.now_us())))
    for (before_s, before_us), (after_s, after_us) in pairwise(times):
        passed_us = (after_s - before_s) * S
        assert passed_us * (1 - SLEW) - 50_000 <= after_us - before_us <= passed_us * (1 + SLEW) + 50_000
    assert abs(lab.off_us - (STEP_US - 100_000)) < 5_000


@pytest.mark.parametrize("step_us", [HOUR, -HOUR])
def test_a_majority_that_jumps_is_followed_when_it_lasts(step_us: int) -> None:
    lab = Lab()
    lab.run(3)
    lab.errors_us = dict.fromkeys("bc", step_us)
    lab.machine.error_us = step_us
    lab.run(CONFIRM_S - 3)
    assert abs(lab.off_us) < 2_000
    lab.run(6)
    assert abs(lab.off_us - step_us) < 5_000
    assert lab.machine.monotonic() - lab.time.stepped_at_s < 6


@pytest.mark.parametrize("hit", ["abc", "bc", "ab"])
def test_a_majority_that_jumps_and_comes_back_is_not_followed_and_nobody_hands_over(hit: str) -> None:
    lab = Lab()
    lab.run(3)
    offs: list[int] = []
    better: list[tuple[str, ...]] = []

    def look() -> None:
        offs.append(lab.off_us)
        better.append(lab.time.better_placed())

    for error_us in (HOUR, 0, HOUR, 0):
        lab.errors_us = {peer_id: error_us if peer_id in hit else 0 for peer_id in "bc"}
        lab.machine.error_us = error_us if "a" in hit else 0
        lab.run(CONFIRM_S - 3, look)
    assert max(map(abs, offs)) < 2_000
    assert not any(better), "all others are as wrong as this node, or more so"


def test_without_a_majority_time_goes_on_for_a_while_and_then_decides_nothing() -> None:
    lab = Lab()
    lab.run(3)
    lab.silent = {"b", "c"}
    lab.machine.error_us = HOUR
    lab.run(HOLDOVER_S - 10)
    assert (abs(lab.off_us) < 2_000, lab.time.certain) == (True, True)
    assert "nothing will be decided any more" in lab.time.status().problem
    lab.run(20)
    assert (lab.time.known, lab.time.certain) == (True, False)
    assert abs(lab.off_us) < 2_000
    lab.silent, lab.machine.error_us = {"c"}, 0
    lab.run(2)
    assert lab.time.certain


def test_two_nodes_that_disagree_from_the_start_decide_nothing_and_say_who_says_what() -> None:
    lab = Lab("ab")
    lab.errors_us["b"] = -HOUR
    lab.run(5)
    assert not lab.time.known
    assert "b is at -3600.0 s" in lab.time.status().problem


def test_an_answer_that_took_long_says_little() -> None:
    lab = Lab()
    asked_at_s = lab.machine.monotonic()
    said_us = lab.machine.now_us()
    lab.machine.passed_s += 3.0
    lab.time.heard("b", said_us, asked_at_s)
    lab.time.heard("c", said_us, asked_at_s)
    # The true offset lies within the three seconds that the answer may have been on its way, and so does the own clock.
    assert abs(lab.off_us) <= 3 * S
    assert lab.time.status().error_us >= 1.5 * S
    lab.run(CONFIRM_S + 5)
    assert abs(lab.off_us) < 2_000


def test_the_node_that_is_alone_goes_by_the_time_that_has_passed_until_it_is_told() -> None:
    lab = Lab("a")
    lab.run(2)
    for error_us in (HOUR, -HOUR):
        lab.machine.error_us = error_us
        lab.run(120)
        assert abs(lab.off_us) < 2_000
        assert "raftsched cluster confirm-clock" in lab.time.status().problem
    assert lab.time.confirm()
    assert abs(lab.off_us + HOUR) < 2_000
    assert lab.time.status().problem == ""
    lab.machine.error_us = 0
    lab.run(120)
    assert abs(lab.off_us + HOUR) < 2_000


def test_a_confirmation_is_refused_where_a_majority_decides() -> None:
    lab = Lab()
    lab.run(3)
    lab.machine.error_us = HOUR
    assert not lab.time.confirm()
    lab.run(3)
    assert abs(lab.off_us) < 2_000


def test_the_node_that_is_alone_knows_after_a_restart_what_time_it_was() -> None:
    ahead = Lab("a", error_us=HOUR, resumed=Resumed(now_us=TRUE_US, not_before_us=TRUE_US - S))
    ahead.run(1)
    assert abs(ahead.off_us) < 2_000
    # After the machine was off nobody knows for how long: its clock counts, unless it has gone back.
    later = Lab("a", error_us=HOUR, resumed=Resumed(not_before_us=TRUE_US))
    later.run(1)
    assert abs(later.off_us - HOUR) < 2_000
    back = Lab("a", error_us=-HOUR, resumed=Resumed(not_before_us=TRUE_US))
    back.run(1)
    assert abs(back.off_us) < 2_000
    assert "behind" in back.time.status().problem


def test_what_is_remembered_counts_for_nothing_where_a_majority_decides() -> None:
    lab = Lab(resumed=Resumed(now_us=TRUE_US + HOUR, not_before_us=TRUE_US + HOUR))
    lab.run(1)
    assert abs(lab.off_us) < 2_000


def test_only_voters_count() -> None:
    lab = Lab("abc")
    lab.errors_us |= {"x": HOUR, "y": HOUR, "z": HOUR}
    lab.run(20)
    assert abs(lab.off_us) < 2_000


def point(offset_us: int) -> Bounds:
    return Bounds(offset_us, offset_us, 0.0)


@pytest.mark.parametrize(
    ("offsets_us", "quorum", "expected"),
    [
        ([0], 1, 0),
        ([0, 10], 2, 5),
        ([0, 2 * TOLERANCE_US], 2, TOLERANCE_US),
        ([0, 2 * TOLERANCE_US + 2], 2, None),
        ([0, 10, HOUR], 2, 5),
        ([-HOUR, 0, HOUR], 2, None),
        ([0, 20, 10, HOUR, -HOUR], 3, 10),
        ([0, 10, HOUR, HOUR + 10, 2 * HOUR], 3, None),
    ],
)
def test_the_agreement_is_the_median_of_those_that_overlap(
    offsets_us: list[int], quorum: int, expected: int | None
) -> None:
    found = agree({str(number): point(each) for number, each in enumerate(offsets_us)}, quorum)
    assert (None if found is None else found.offset_us) == expected


def test_of_two_groups_that_are_equally_large_the_nearer_one_counts() -> None:
    sources = {"a": point(0), "b": point(TOLERANCE_US * 2), "c": point(TOLERANCE_US * 4)}
    low, high = agree(sources, 2, 0), agree(sources, 2, TOLERANCE_US * 4)
    assert low is not None
    assert high is not None
    assert (low.offset_us, high.offset_us) == (TOLERANCE_US, TOLERANCE_US * 3)


def test_a_step_is_told_from_noise_by_bounds_that_contradict() -> None:
    before = Bounds(0, 10_000, 0.0)
    assert before.narrowed(Bounds(5_000, 25_000, 0.0)) == Bounds(5_000, 10_000, 0.0)
    stepped = Bounds(HOUR, HOUR + 10_000, 1.0)
    assert before.narrowed(stepped) == stepped


def test_an_offset_within_the_bound_is_no_reason_to_hand_over() -> None:
    lab = Lab()
    lab.run(3)
    lab.machine.error_us = LARGEST_OFFSET_US - 100_000
    lab.run(5)
    assert lab.time.better_placed() == ()


def test_what_peers_say_counts_as_it_comes() -> None:
    lab = Lab(error_us=100_000)
    lab.ask()
    assert lab.time.own_offset_us > 0


def test_the_time_that_is_known_is_nothing_before_a_majority_agrees() -> None:
    lab = Lab()
    assert lab.time.known_us() == 0
    lab.run(1)
    assert lab.time.known_us() == lab.time.now_us() > TRUE_US


def test_a_confirmation_before_the_first_look_is_of_that_moment_alone() -> None:
    lab = Lab("a", error_us=HOUR, resumed=Resumed(now_us=TRUE_US))
    assert lab.time.confirm()
    assert abs(lab.off_us - HOUR) < 2_000
    lab.machine.error_us = 0
    lab.run(60)
    assert abs(lab.off_us - HOUR) < 2_000


def test_a_bound_widens_by_what_clocks_may_drift() -> None:
    assert Bounds(0, 100, 20.0).aged(30.0) == Bounds(-5_000, 5_100, 30.0)


def test_what_a_peer_said_long_ago_does_not_narrow_what_it_says_now() -> None:
    lab = Lab()
    lab.silent = {"c"}
    lab.ask()
    assert lab.time.status().error_us < 10_000
    lab.machine.passed_s += SAMPLE_LIFE_S + 1
    asked_at_s, said_us = lab.machine.monotonic(), lab.machine.now_us()
    lab.machine.passed_s += 2.0
    lab.time.heard("b", said_us, asked_at_s)
    assert lab.time.status().error_us > S


@pytest.mark.parametrize(
    ("other", "median_us", "error_us"), [(Bounds(-10, 100, 0.0), 22, 78), (Bounds(-100, 10, 0.0), -23, 77)]
)
def test_an_agreement_is_off_by_at_most_what_lies_between_it_and_the_furthest_bound(
    other: Bounds, median_us: int, error_us: int
) -> None:
    found = agree({"a": point(0), "b": other}, 2)
    assert found is not None
    assert (found.offset_us, found.error_us) == (median_us, error_us)


def test_without_a_majority_the_status_names_nobody_more_error_and_the_time_that_is_left() -> None:
    lab = Lab()
    lab.run(3)
    assert lab.time.status().agreeing == ("a", "b", "c")
    lab.silent = {"b", "c"}
    lab.run(100)
    status = lab.time.status()
    assert status.agreeing == ()
    # 100 s less the 5 s for which the last answers counted, by 500 microseconds in a second.
    assert 45_000 < status.error_us < 55_000
    (left_s,) = re.findall(r"in (\d+) s nothing will be decided", status.problem)
    assert HOLDOVER_S - 100 <= int(left_s) <= HOLDOVER_S - 90


def test_the_only_voter_knows_the_time_when_it_is_first_asked_whether_it_does() -> None:
    assert Lab("a").time.known
