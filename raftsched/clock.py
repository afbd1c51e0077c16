"""The wall clock and the random source of a real process. Everything else takes a ``raftsched.ports.Clock``."""

import random
import secrets
import time

_UNSTEPPING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux's CLOCK_MONOTONIC stands still in a suspended machine: time since the last look would count for nothing."""


class SystemClock:
    """Time and chance from the operating system."""

    def now_us(self) -> int:
        """Wall clock, in microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds since some fixed point, those that the machine was suspended for included where it can tell."""
        return time.clock_gettime(_UNSTEPPING)

    def uniform(self, low: float, high: float) -> float:
        """A random number in [low, high)."""
        return random.uniform(low, high)

    def token(self) -> str:
        """128 random bits as 32 hexadecimal digits."""
        return secrets.token_hex(16)
