"""The time of the cluster in a process that is told it: what was said, moved on by a clock that never steps."""

from raftsched.core.state.model import SECOND_US

_DRIFT_PPM = 500
"""How fast what was heard grows uncertain: as fast as NTP may slew a clock."""


class ToldTime:
    """An instant that was said, how far it may be off, and when it was heard. No wall clock of this machine counts."""

    def __init__(self) -> None:
        self._told_us: int | None = None
        self._heard_s = 0.0
        self._error_us = 0

    def hear(self, said_us: int, asked_s: float, now_s: float) -> None:
        """Take an answer that was asked for at ``asked_s`` and has come now, both on the clock that never steps.

        It was given some time between, so the middle is off by half of that at most (Cristian 1989). A word that was
        long on its way does not replace a better one, unless both cannot be true.
        """
        error_us = max(0, round((now_s - asked_s) * SECOND_US / 2))
        told_us = said_us + error_us
        known_us = self.at(now_s)
        if known_us is not None:
            known_error_us = self._error_at(now_s)
            if error_us > known_error_us and abs(told_us - known_us) <= error_us + known_error_us:
                return
        self._told_us, self._heard_s, self._error_us = told_us, now_s, error_us

    def hear_at_least(self, said_us: int, now_s: float) -> None:
        """Take an instant that is over by now, however long ago it was."""
        known_us = self.at(now_s)
        if known_us is None or said_us > known_us:
            self._told_us, self._heard_s, self._error_us = said_us, now_s, 0

    def at(self, now_s: float) -> int | None:
        """Microseconds since the Unix epoch; None: nothing was said yet."""
        if self._told_us is None:
            return None
        return self._told_us + round((now_s - self._heard_s) * SECOND_US)

    def earliest_at(self, now_s: float) -> int | None:
        """The least that it may be, in microseconds since the Unix epoch; None: nothing was said yet."""
        known_us = self.at(now_s)
        return None if known_us is None else known_us - self._error_at(now_s)

    def _error_at(self, now_s: float) -> int:
        """By how much ``at`` may be off, in microseconds."""
        return self._error_us + round((now_s - self._heard_s) * _DRIFT_PPM)
