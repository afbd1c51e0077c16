"""The time on an executor: the leader's, for what executors report stands beside what leaders decide."""

from raftsched.core.times.told_time import ToldTime
from raftsched.ports import Clock


class LeaderTime:
    """What leaders said about the time, moved on by elapsed time. A wall clock that is wrong changes nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told = ToldTime()

    def heard(self, said_us: int, asked_s: float) -> None:
        """A leader answered what it was asked at ``asked_s`` of the monotonic clock; 0: it said no time."""
        if said_us > 0:
            self._told.hear(said_us, asked_s, self._clock.monotonic())

    def heard_at_least(self, said_us: int) -> None:
        """A leader said, some time ago, that it was this late; 0: it said no time."""
        if said_us > 0:
            self._told.hear_at_least(said_us, self._clock.monotonic())

    def known_us(self) -> int:
        """Microseconds since the Unix epoch; 0 while no leader was heard."""
        return self._told.at(self._clock.monotonic()) or 0

    def now_us(self) -> int:
        """As above; by this machine's own clock while no leader was heard. The leader bounds what it is told."""
        return self.known_us() or self._clock.now_us()

    def earliest_us(self) -> int:
        """The least that the leader's clock may show; 0 while no leader was heard."""
        return self._told.earliest_at(self._clock.monotonic()) or 0
