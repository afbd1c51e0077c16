"""Virtual time, and everything random, of one simulated run."""

import heapq
import random
from collections.abc import Callable


class Violation(BaseException):
    """A checker found that a promise was broken. No code under test may swallow it."""


class World:
    """Runs events in the order of their time; those of one instant in the order in which they were planned."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        self.trace: list[tuple[object, ...]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0

    def random(self, what: str) -> random.Random:
        """A random source of its own for each use, so that one more draw here changes nothing there."""
        return random.Random(f"{self.seed}/{what}")

    def at(self, time: float, event: Callable[[], None]) -> None:
        self._planned += 1
        heapq.heappush(self._events, (max(time, self.now), self._planned, event))

    def after(self, delay: float, event: Callable[[], None]) -> None:
        self.at(self.now + delay, event)

    def run_until(self, end: float) -> None:
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, event = heapq.heappop(events)
            event()
        self.now = end

    def note(self, *what: object) -> None:
        self.trace.append((round(self.now, 6), *what))


class NodeClock:
    """The clocks of one process: a monotonic one that starts anywhere and drifts, and a wall clock that also steps."""

    def __init__(self, world: World, node_id: str, incarnation: int) -> None:
        self._world = world
        self._random = world.random(f"clock {node_id} {incarnation}")
        self._rate = self._random.uniform(0.98, 1.02)
        self._offset = self._random.uniform(0, 1e6)
        self.wall_error_us = 0

    def now_us(self) -> int:
        return 1_700_000_000_000_000 + int(self._world.now * 1e6) + self.wall_error_us

    def monotonic(self) -> float:
        return self._offset + self._world.now * self._rate

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def token(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def world_time(self, monotonic: float) -> float:
        """When the monotonic clock will show this."""
        return (monotonic - self._offset) / self._rate
