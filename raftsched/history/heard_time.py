"""The time in the process of the history index: the node's, for the wall clock of one machine may be wrong."""

from raftsched.core.times.told_time import ToldTime
from raftsched.ports import Clock


class HeardTime:
    """What the node said about the time of the cluster, moved on by elapsed time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told = ToldTime()

    def hear(self, said_us: int) -> None:
        """Take what the time was when it was said: frames may wait in the pipe."""
        self._told.hear_at_least(said_us, self._clock.monotonic())

    def now_us(self) -> int:
        """Microseconds since the Unix epoch; 0 while nothing was heard."""
        return self._told.at(self._clock.monotonic()) or 0
