"""The time that age is counted by, where what is too old is deleted."""

from raftsched.core.state.model import SECOND_US

PACE = 10
"""How many times as fast as time passes it may go, to catch up."""


class PacedTime:
    """Never ahead of the time that is given, and at most ``PACE`` times as fast as time passes.

    A time that jumps ahead, and comes back or not, makes nothing old at once.
    """

    def __init__(self, start_us: int = 0) -> None:
        """``start_us``: something is known to have been there then; 0: begin with the first time that is given."""
        self._time_us = start_us
        self._at_s: float | None = None

    def at(self, now_us: int, now_s: float) -> int:
        """Go on to the given time, or towards it; 0 while none was given (0)."""
        if not now_us:
            return 0
        passed_us = 0 if self._at_s is None else int((now_s - self._at_s) * PACE * SECOND_US)
        self._time_us = min(now_us, self._time_us + passed_us) if self._time_us else now_us
        self._at_s = now_s
        return self._time_us
