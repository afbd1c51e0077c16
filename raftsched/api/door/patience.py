"""How long a call waits for a leader."""

import asyncio

from raftsched.api.context import ApiContext
from raftsched.api.door.errors import ApiError
from raftsched.api.door.forward import Call

LEADER_PATIENCE_S = 3.0
"""An election takes about a second."""
_SHARE = 0.8
"""Of the time until the deadline; the rest is for telling the caller why."""
_POLL_S = 0.02
_RETRY_DELAY_S = 0.05


class LeaderWatch:
    """Waits for a leader to be known; all waiting calls share one poll of the shard's status."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._poll: asyncio.Task[None] | None = None

    async def settled(self, timeout_s: float) -> None:
        """Return when a leader is known or the time is up."""
        if self._poll is None or self._poll.done():
            self._poll = asyncio.create_task(self._poll_leader())
        await asyncio.wait([self._poll], timeout=timeout_s)

    def now_s(self) -> float:
        """Seconds on a clock that never goes back."""
        return self._api.clock.monotonic()

    async def _poll_leader(self) -> None:
        until_s = self.now_s() + LEADER_PATIENCE_S
        while not self._api.leader_address() and self.now_s() < until_s:  # noqa: ASYNC110 - the log reports no elections
            await asyncio.sleep(_POLL_S)


class Patience:
    """Bounds the attempts of one call. A node that was passed a call leaves the waiting to the node that passed it."""

    def __init__(self, elections: LeaderWatch, call: Call) -> None:
        self._elections = elections
        self._forwarded = call.hops > 0
        remaining_s = call.remaining_s()
        patience_s = LEADER_PATIENCE_S if remaining_s is None else min(LEADER_PATIENCE_S, _SHARE * remaining_s)
        self._until_s = elections.now_s() + patience_s

    async def wait(self, error: ApiError) -> None:
        """Wait a moment for another leader, or raise the error when it is final or the time is up."""
        left_s = self._until_s - self._elections.now_s() - _RETRY_DELAY_S
        if self._forwarded or not error.elsewhere or left_s <= 0:
            raise error
        await asyncio.sleep(_RETRY_DELAY_S)
        await self._elections.settled(left_s)
