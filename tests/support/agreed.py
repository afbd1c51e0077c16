"""Clocks that a test moves, as clocks that everybody agrees with."""

from raftsched.ports import ClockStatus


class AgreedTime:
    """What ``raftsched.ports.AgreedClock`` adds to a clock. A test may say otherwise."""

    known = certain = True
    stepped_at_s = float("-inf")
    better: tuple[str, ...] = ()
    problem = ""

    def better_placed(self) -> tuple[str, ...]:
        return self.better

    def confirm(self) -> bool:
        return False

    def status(self) -> ClockStatus:
        return ClockStatus(self.known, self.certain, 0, 0, (), self.problem)
