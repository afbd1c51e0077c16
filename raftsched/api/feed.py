"""Changes of executions, from the state machine to those who watch."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator

from raftsched.api.errors import overloaded
from raftsched.core.rows import ExecutionRow

Change = tuple[bytes, ExecutionRow]
MAX_WATCHERS = 200
QUEUE_CHANGES = 1_000


class Subscription:
    """The changes that one watcher has not taken yet; the oldest are dropped when it reads too slowly."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self._dropped = 0
        self._arrived = asyncio.Event()

    def add(self, change: Change) -> None:
        """Queue a change."""
        if len(self._changes) >= QUEUE_CHANGES:
            self._changes.popleft()
            self._dropped += 1
        self._changes.append(change)
        self._arrived.set()

    def take(self) -> tuple[Change, int] | None:
        """The next change and how many were dropped before it, or None when there is none."""
        if not self._changes:
            self._arrived.clear()
            return None
        dropped, self._dropped = self._dropped, 0
        return self._changes.popleft(), dropped

    async def arrived(self, timeout_s: float) -> None:
        """Wait for the next change, or until the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()


class ExecutionFeed:
    """Hands every change to the watchers that it concerns. Used from the event loop only."""

    def __init__(self) -> None:
        # By execution id, by task name, and under "" those that want all.
        self._groups: dict[str | bytes, set[Subscription]] = {}
        self.watchers = 0
        """How many are subscribed."""

    def publish(self, changes: Iterable[Change]) -> None:
        """Queue changes that a commit made durable, in their order. The rows may not be changed afterwards."""
        if not self.watchers:
            return
        for change in changes:
            for key in ("", change[1].task, change[0]):
                for subscription in self._groups.get(key, ()):
                    subscription.add(change)

    @contextlib.contextmanager
    def subscribe(self, key: str | bytes) -> Iterator[Subscription]:
        """Changes of one execution (its id), of one task (its name), or of all ("").

        Raises ApiError (RESOURCE_EXHAUSTED) when there are too many watchers.
        """
        if self.watchers >= MAX_WATCHERS:
            raise overloaded(f"{MAX_WATCHERS} watchers are connected to the leader")
        subscription = Subscription()
        group = self._groups.setdefault(key, set())
        group.add(subscription)
        self.watchers += 1
        try:
            yield subscription
        finally:
            self.watchers -= 1
            group.discard(subscription)
            if not group and self._groups.get(key) is group:
                del self._groups[key]
