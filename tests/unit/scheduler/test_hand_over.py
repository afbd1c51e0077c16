"""When a leader whose clock is wrong hands over, and to whom."""

from collections.abc import Callable

from raftsched.scheduler.hand_over import _PAUSE_S, HandOver
from tests.unit.scheduler.test_scheduler import ManualClock


class _Clock(ManualClock):
    """A clock that others are better than."""

    def __init__(self, *better: str) -> None:
        super().__init__()
        self.better = better

    def better_placed(self) -> tuple[str, ...]:
        return self.better


class _Log:
    """Notes to whom the leadership was to go."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def transfer_leadership(self, peer_id: str, done: Callable[[str], None]) -> None:
        self.asked.append(peer_id)
        done("it is behind")


def asked(clock: _Clock, seconds: int) -> list[str]:
    """To whom a new leader hands over within so long."""
    log = _Log()
    hand_over = HandOver(log, clock)  # type: ignore[arg-type]  # the part of a log that it uses
    for _ in range(seconds):
        clock.advance(1.0)
        hand_over.step(clock.monotonic())
    return log.asked


def test_a_new_leader_looks_for_a_while_before_it_hands_over() -> None:
    clock = _Clock("b")
    assert asked(clock, int(_PAUSE_S) - 1) == []
    assert asked(clock, int(_PAUSE_S)) == ["b"]


def test_each_of_the_better_ones_is_asked_in_turn() -> None:
    assert asked(_Clock("b", "c"), 4 * int(_PAUSE_S)) == ["b", "c", "b", "c"]


def test_a_leader_whose_clock_is_right_hands_over_to_nobody() -> None:
    assert asked(_Clock(), 60) == []
