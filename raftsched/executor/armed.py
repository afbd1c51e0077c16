"""Assignments that an executor holds until their time comes."""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Sequence
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
    # 2. `_times` names all that is armed and not yet due, and may name what is gone; `_due` likewise all that is due.
    # 3. Nothing starts before every reading of the leader's clock that fits what was heard says that its time has come.
    # 4. Nothing starts when the lease is over: leaders may have given it to another since.

    def __init__(
        self,
        time: LeaderTime,
        clock: Clock,
        max_items: int,
        begin: Callable[[Sequence[pb.Assignment]], list[pb.Assignment]],
        give_back: Callable[[Iterable[pb.Assignment]], None],
    ) -> None:
        """``begin`` starts of those that are due, in their order, what there are slots for, and returns the others."""
        self._time = time
        self._clock = clock
        self._max_items = max_items
        self._begin = begin
        self._give_back = give_back
        self._items: dict[AttemptKey, pb.Assignment] = {}
        self._times: list[tuple[int, int, AttemptKey]] = []
        self._due: list[AttemptKey] = []
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
        if self._is_closed or (key not in self._items and len(self._items) >= self._max_items):
            return False
        if self.token_of(key) < item.fencing_token:
            self._items[key] = item
            heapq.heappush(self._times, (item.start_us, next(self._arrival), key))
            if self._times[0][2] == key:
                self._changed.set()
        return True

    def take_out(self, key: AttemptKey) -> pb.Assignment | None:
        """Hold it no longer; None: it is not armed."""
        return self._items.pop(key, None)

    def close(self) -> None:
        """Give all back, and hold nothing from now on."""
        self._is_closed = True
        items, self._items = self._items, {}
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
            self._due.append(heapq.heappop(self._times)[2])
        # What was due stays due, though the time may be known less well since. One that came twice is named twice.
        due = [item for key in dict.fromkeys(self._due) if (item := self._items.get(key)) is not None]
        if due and self._clock.monotonic() >= self.leased_until_s:
            self._give_some_back(due)
            due = []
        others = self._begin(due) if due else []
        kept = set(map(_key, others))
        for item in due:
            if (key := _key(item)) not in kept:
                del self._items[key]
        is_cut_short = len(due) - len(others) >= TURN_ITEMS
        if not is_cut_short:
            self._give_some_back([item for item in others if item.start_us + _PATIENCE_S * SECOND_US <= now_us])
        self._due = [key for key in map(_key, others) if key in self._items]
        if is_cut_short and self._due:
            return 0.0
        if not self._due and not self._times:
            return None
        longest_s = _PATIENCE_S / 2 if self._due else _LONGEST_SLEEP_S
        next_s = (self._times[0][0] - now_us) / SECOND_US if self._times else longest_s
        return min(longest_s, max(0.0, next_s))

    def _give_some_back(self, items: Sequence[pb.Assignment]) -> None:
        for item in items:
            del self._items[_key(item)]
        self._give_back(items)


def _key(item: pb.Assignment) -> AttemptKey:
    return item.key.execution_id, item.key.attempt
