"""Watches what leaders hear of executors: nothing may be taken back from one that was heard of within its lease."""

from tests.simulation.consensus.world import Violation, World

_SHARE = 0.95
"""Clocks drift by up to 2 %."""
_UNDER_WAY_S = 4.0
"""A command that takes attempts back may be so long on its way, and the executor be heard of meanwhile."""

Ends = tuple[str, int, str]
"""Leader, its term, and the machine of an executor."""


class LeaseWatch:
    """When each leader last heard of each executor, and when it heard of it again after a whole lease."""

    def __init__(self, world: World, lease_ms: int) -> None:
        self._world = world
        self._shortest_s = _SHARE * lease_ms / 1000
        self._led: dict[tuple[str, int], float] = {}
        self._heard: dict[Ends, float] = {}
        self._back: dict[Ends, float] = {}

    def led(self, leader_id: str, term: int) -> None:
        """It begins to lead, and knows no deadlines."""
        self._led[leader_id, term] = self._world.now

    def heard(self, leader_id: str, term: int, machine: str) -> None:
        """The leader's process has read a message."""
        ends, now = (leader_id, term, machine), self._world.now
        if now - self._last(ends) >= self._shortest_s:
            self._back[ends] = now
        self._heard[ends] = now

    def check(self, leader_id: str, term: int, machine: str, what: str) -> None:
        """An attempt is taken back, as that leader has decided."""
        ends, now = (leader_id, term, machine), self._world.now
        silent = now - self._last(ends) >= self._shortest_s
        if not silent and now - self._back.get(ends, 0.0) > _UNDER_WAY_S:
            raise Violation(f"lease: {what} was taken from {machine}, heard of at {self._last(ends):.3f}")

    def _last(self, ends: Ends) -> float:
        return max(self._heard.get(ends, 0.0), self._led.get(ends[:2], 0.0))
