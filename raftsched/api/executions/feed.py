"""Changes of executions, from the state machine to those who watch."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator

from raftsched.api.door.errors import overloaded
from raftsched.core.state.rows import ExecutionRow

Change = tuple[bytes, ExecutionRow]
MAX_WATCHERS = 200
QUEUE_BYTES = 2 << 20
"""Of the changes that wait for one watcher."""
_CHANGE_BYTES = 200
"""What a change takes beside what it says."""


class Subscription:
    """The changes that one watcher has not taken yet; the oldest are dropped when it reads too slowly."""

    def __init__(self) -> None:
        self._changes: deque[tuple[Change, int]] = deque()
        self._size_bytes = self._dropped = 0
        self._arrived = asyncio.Event()

    def add(self, change: Change, size_bytes: int) -> None:
        """Queue a change that takes so much."""
        self._changes.append((change, size_bytes))
        self._size_bytes += size_bytes
        while self._size_bytes > QUEUE_BYTES:
            self._pop()
            self._dropped += 1
        self._arrived.set()

    def _pop(self) -> Change:
        change, size_bytes = self._changes.popleft()
        self._size_bytes -= size_bytes
        return change

    def take(self) -> tuple[Change, int] | None:
        """The next change and how many were dropped before it, or None when there is none."""
        if not self._changes:
            self._arrived.clear()
            return None
        dropped, self._dropped = self._dropped, 0
        return self._pop(), dropped

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
        self._next: asyncio.Future[None] | None = None

    def publish(self, changes: Iterable[Change]) -> None:
        """Queue changes that a commit made durable, in their order. The rows may not be changed afterwards."""
        if self._next is not None:
            self._next.set_result(None)
            self._next = None
        if not self.watchers:
            return
        for change in changes:
            wanting = [each for key in ("", change[1].task, change[0]) for each in self._groups.get(key, ())]
            size_bytes = _CHANGE_BYTES + change[1].ByteSize() if wanting else 0
            for subscription in wanting:
                subscription.add(change, size_bytes)

    def next_change(self) -> asyncio.Future[None]:
        """Done with the next commit that changes an execution, from when this is called."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return asyncio.shield(self._next)

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
