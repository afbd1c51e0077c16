"""Lets a leader whose own clock is wrong hand over to a node whose clock is right."""

import structlog

from raftsched.ports import AgreedClock, Log

_PAUSE_S = 5.0
"""Between two tries, and before the first of a new leader. Just after a step two nodes may hold each other's clock for
the better one: they would hand the leadership to and fro as fast as elections go."""
_log = structlog.get_logger(__name__)


class HandOver:
    """A leader decides by the agreed time, which its own clock cannot move: meanwhile nothing is early, late or silent.

    It hands over all the same. What its machine says beside that, to logs and to the people who read them, is wrong.
    """

    def __init__(self, log: Log, clock: AgreedClock) -> None:
        self._log = log
        self._clock = clock
        self._next_s = clock.monotonic() + _PAUSE_S
        self._tries = 0

    def step(self, now_s: float) -> None:
        """Ask the log to hand over, if this is the wrong node to lead: to each of the better ones in turn."""
        if now_s < self._next_s:
            return
        better = self._clock.better_placed()
        if not better:
            return
        self._next_s = now_s + _PAUSE_S
        node_id = better[self._tries % len(better)]
        self._tries += 1
        _log.warning("the clock of this leader is wrong: handing over", node=node_id, why=self._clock.status().problem)
        self._log.transfer_leadership(node_id, lambda problem: self._done(node_id, problem))

    def _done(self, node_id: str, problem: str) -> None:
        if problem:
            _log.warning("could not hand over", node=node_id, reason=problem)
