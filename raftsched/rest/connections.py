"""The open connections of the HTTP server: a bounded number, in which those that wait for nothing make room."""

import asyncio
from collections import OrderedDict


class Connections:
    """Up to ``most`` connections. A new one takes the place of the one that has been idle for longest.

    Idle is whoever is between two requests, or has not sent the headers of one. When none is, the new one is refused:
    those that are being answered have the files that they need.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: set[asyncio.Transport] = set()
        self._idle: OrderedDict[asyncio.Transport, None] = OrderedDict()

    def admit(self, transport: asyncio.Transport) -> bool:
        """Whether a new connection has a place; one that has not is to be hung up on."""
        if len(self._open) >= self.most and self._idle:
            oldest, _ = self._idle.popitem(last=False)
            self._open.discard(oldest)
            oldest.abort()
        if len(self._open) >= self.most:
            return False
        self._open.add(transport)
        self.idle(transport)
        return True

    def idle(self, transport: asyncio.Transport) -> None:
        """It waits for a request from now on."""
        if transport in self._open:
            self._idle[transport] = None
            self._idle.move_to_end(transport)

    def busy(self, transport: asyncio.Transport) -> None:
        """It has a request."""
        self._idle.pop(transport, None)

    def gone(self, transport: asyncio.Transport) -> None:
        """It is closed."""
        self._open.discard(transport)
        self._idle.pop(transport, None)
