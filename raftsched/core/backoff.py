"""How long to wait before something that failed is tried again: one rule for every loop that does.

The first wait is short, each further one twice as long, up to a bound. A random part of up to a half is taken off, so
that those that failed together do not come back together. See the rules in docs/architecture.md.
"""

from dataclasses import dataclass

from raftsched.ports import Clock


@dataclass(frozen=True, slots=True)
class Backoff:
    """The shortest and the longest wait, in seconds."""

    low_s: float
    high_s: float

    def ceiling_s(self, failures: int) -> float:
        """The wait after so many failures in a row, of which there is at least one, before the random part goes off."""
        return min(self.high_s, self.low_s * 2.0 ** min(failures - 1, 32))

    def wait_s(self, failures: int, clock: Clock) -> float:
        """From half of the ceiling to all of it."""
        ceiling_s = self.ceiling_s(failures)
        return clock.uniform(ceiling_s / 2, ceiling_s)


class Retries:
    """The failures in a row of what is tried again for ever.

    That something has begun proves little: a process or a stream that ends at once would begin again without a pause.
    So the waits start anew when it has gone on for as long as the longest wait, or has done what it is for.
    """

    def __init__(self, backoff: Backoff, clock: Clock) -> None:
        self._backoff = backoff
        self._clock = clock
        self._failures = 0
        self._since_s = float("inf")

    def began(self) -> None:
        """It goes on since now."""
        self._since_s = self._clock.monotonic()

    def succeeded(self) -> None:
        """It has done what it is for: the next failure is the first again."""
        self._failures = 0

    def failed(self) -> float:
        """It has ended or failed: the seconds to wait before the next try."""
        if self._clock.monotonic() - self._since_s >= self._backoff.high_s:
            self._failures = 0
        self._since_s = float("inf")
        self._failures += 1
        return self._backoff.wait_s(self._failures, self._clock)
