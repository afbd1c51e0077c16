"""The wall clock and the random source of a real process. Everything else takes a ``raftsched.ports.Clock``."""

import random
import secrets
import time


class SystemClock:
    """Time and chance from the operating system."""

    def now_us(self) -> int:
        """Wall clock, in microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return time.monotonic()

    def uniform(self, low: float, high: float) -> float:
        """A random number in [low, high)."""
        return random.uniform(low, high)

    def token(self) -> str:
        """128 random bits as 32 hexadecimal digits."""
        return secrets.token_hex(16)
