"""Assignments that an executor holds until their time comes."""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from raftsched_proto.internal.v1 import executor_pb2 as pb

from raftsched.core.state.model import SECOND_US
from raftsched.executor.keys import AttemptKey
from raftsched.executor.leader_time import LeaderTime
from raftsched.ports import Clock

_PATIENCE_S = 0.1
"""How long one that is due waits for a slot here, before another executor may have it."""
TURN_ITEMS = 250
"""Assignments that are taken or started before other work of the event loop gets its turn."""
_LONGEST_SLEEP_S = 1.0
"""What is heard of the time meanwhile wakes; this is for a machine that slept."""


class Armed:
    """Starts assignments at their time, by the leader's clock, or gives them back.

    Nothing of it is in the journal: what is armed has not started, and a leader gives it again to an executor that was
    started anew.
    """

    # What holds whenever the event loop takes a turn:
    #
    # 1. What is armed was neither accepted nor given back. `_begin` accepts what it takes in the turn that it leaves.
    # 2. `_due` names what is armed and due, in the order of its time, and nothing else. `_times` names all that is not
    #    yet due, and may name what is gone, or came again with another time.
    # 3. `_bytes` is the size of what `_items` holds.
    # 4. Nothing starts before every reading of the leader's clock that fits what was heard says that its time has come.
    # 5. Nothing starts when the lease is over: leaders may have given it to another since.

    def __init__(
        self,
        time: LeaderTime,
        clock: Clock,
        limits: tuple[int, int],
        begin: Callable[[Iterable[pb.Assignment]], list[pb.Assignment]],
        give_back: Callable[[Iterable[pb.Assignment]], None],
    ) -> None:
        """``limits``: how many assignments are held, and their bytes. ``begin`` starts of those that are due, in their
        order, what there are slots for, up to ``TURN_ITEMS``, and returns these.
        """
        self._time = time
        self._clock = clock
        self._max_items, self._max_bytes = limits
        self._bytes = 0
        self._begin = begin
        self._give_back = give_back
        self._items: dict[AttemptKey, pb.Assignment] = {}
        self._times: list[tuple[int, int, AttemptKey]] = []
        self._due: dict[AttemptKey, None] = {}
        self._arrival = count()
        self._is_closed = False
        self._changed = asyncio.Event()
        self.leased_until_s = 0.0
        """On the clock that never steps: until then no leader gives to another what this executor holds."""

    @property
    def keys(self) -> list[AttemptKey]:
        """What is armed."""
        return list(self._items)

    def token_of(self, key: AttemptKey) -> int:
        """The fencing token of an attempt that is armed; 0: it is not."""
        item = self._items.get(key)
        return 0 if item is None else item.fencing_token

    def add(self, item: pb.Assignment) -> bool:
        """Hold an assignment until its time. False: as many are held as may be, or nothing is any longer."""
        key = _key(item)
        is_full = len(self._items) >= self._max_items or self._bytes >= self._max_bytes
        if self._is_closed or (is_full and key not in self._items):
            return False
        if self.token_of(key) < item.fencing_token:
            self._drop(key)
            self._items[key] = item
            self._bytes += item.ByteSize()
            heapq.heappush(self._times, (item.start_us, next(self._arrival), key))
            if self._times[0][2] == key:
                self._changed.set()
        return True

    def take_out(self, key: AttemptKey) -> pb.Assignment | None:
        """Hold it no longer; None: it is not armed."""
        return self._drop(key)

    def close(self) -> None:
        """Give all back, and hold nothing from now on."""
        self._is_closed = True
        items, self._items, self._bytes = self._items, {}, 0
        self._times.clear()
        self._due.clear()
        self._give_back(items.values())

    def look(self) -> None:
        """There is news of the time, of the lease or of slots."""
        if self._items:
            self._changed.set()

    async def run(self) -> None:
        """Start what is armed, each at its time, until cancelled."""
        while True:
            self._changed.clear()
            wait_s = self._step()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _step(self) -> float | None:
        """Start what is due; returns after how many seconds to look again, or None when nothing is armed."""
        now_us = self._time.earliest_us()
        while self._times and self._times[0][0] <= now_us:
            key = heapq.heappop(self._times)[2]
            if (item := self._items.get(key)) is not None and item.start_us <= now_us:
                # What was due stays due, though the time may be known less well since.
                self._due[key] = None
        if self._due and self._clock.monotonic() >= self.leased_until_s:
            self._give_some_back(list(self._that_are_due()))
        begun = self._begin(self._that_are_due()) if self._due else []
        for item in begun:
            self._drop(_key(item))
        is_cut_short = len(begun) >= TURN_ITEMS
        if not is_cut_short:
            past_us = now_us - _PATIENCE_S * SECOND_US
            self._give_some_back([item for item in self._that_are_due() if item.start_us <= past_us])
        if is_cut_short and self._due:
            return 0.0
        if not self._due and not self._times:
            return None
        longest_s = _PATIENCE_S / 2 if self._due else _LONGEST_SLEEP_S
        next_s = (self._times[0][0] - now_us) / SECOND_US if self._times else longest_s
        return min(longest_s, max(0.0, next_s))

    def _drop(self, key: AttemptKey) -> pb.Assignment | None:
        self._due.pop(key, None)
        item = self._items.pop(key, None)
        if item is not None:
            self._bytes -= item.ByteSize()
        return item

    def _that_are_due(self) -> Iterator[pb.Assignment]:
        return (self._items[key] for key in self._due)

    def _give_some_back(self, items: Sequence[pb.Assignment]) -> None:
        for item in items:
            self._drop(_key(item))
        self._give_back(items)


def _key(item: pb.Assignment) -> AttemptKey:
    return item.key.execution_id, item.key.attempt
