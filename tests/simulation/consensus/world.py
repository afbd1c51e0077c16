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
        self.largest_drift = 0.02
        """Of the monotonic clocks of processes."""
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
        self._rate = self._random.uniform(1 - world.largest_drift, 1 + world.largest_drift)
        self._offset = self._random.uniform(0, 1e6)
        self.wall_error_us = 0
        self._stood_still = 0.0

    def now_us(self) -> int:
        return 1_700_000_000_000_000 + int(self._world.now * 1e6) + self.wall_error_us

    def monotonic(self) -> float:
        return self._offset + self._world.now * self._rate

    def stand_still(self, world_s: float) -> None:
        """The machine was suspended for so long, which ``loop_time`` has not seen."""
        self._stood_still += world_s * self._rate

    def loop_time(self) -> float:
        """What an event loop goes by: it does not count the time for which the machine was suspended."""
        return self.monotonic() - self._stood_still

    def world_time_of_loop(self, loop_time: float) -> float:
        """When ``loop_time`` will show this, if the machine is not suspended."""
        return self.world_time(loop_time + self._stood_still)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def token(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def world_time(self, monotonic: float) -> float:
        """When the monotonic clock will show this."""
        return (monotonic - self._offset) / self._rate
