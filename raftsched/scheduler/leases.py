"""Takes attempts back from executors that are gone."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

from raftsched.ports import Fate
from raftsched.scheduler.assigned import Assigned
from raftsched.scheduler.executors import AttemptKey
from raftsched.scheduler.proposer import Proposer

_BATCH_ITEMS = 1_000
_BATCHES = 8
"""Of one executor at a time."""


class Leases:
    """One lease per executor, renewed by everything that is heard from it.

    A broken stream is not the end of a lease. A leader that takes over knows no deadlines and gives every executor that
    holds something a whole lease to report again. So does one that stood still, as a process that is paused does: what
    executors sent meanwhile is yet to be read.
    """

    def __init__(self, proposer: Proposer, lease_ms: int, look_interval_s: float) -> None:
        """``expire`` is called every ``look_interval_s``, or sooner."""
        self._proposer = proposer
        self._lease_s = lease_ms / 1000
        self._standstill_s = look_interval_s + self._lease_s / 2
        self._looked_s: float | None = None
        self._deadlines: dict[str, float] = {}
        self._under_way: Counter[str] = Counter()
        """Commands by executor."""

    def renew(self, executor_id: str, now_s: float) -> None:
        """The executor was heard of."""
        self._deadlines[executor_id] = now_s + self._lease_s

    def holders(self) -> list[str]:
        """Executors whose lease has not run out, connected or not."""
        return list(self._deadlines)

    def expire(self, assigned: Assigned, now_s: float) -> list[str]:
        """Propose to take back what executors with a lease that ran out hold; returns their ids."""
        if self._looked_s is not None and now_s - self._looked_s > self._standstill_s:
            for executor_id in self._deadlines:
                self.renew(executor_id, now_s)
        self._looked_s = now_s
        for executor_id in assigned:
            if executor_id not in self._deadlines:
                self.renew(executor_id, now_s)
        expired = [executor_id for executor_id, deadline in self._deadlines.items() if deadline <= now_s]
        for executor_id in expired:
            keys = assigned.of(executor_id)
            if not keys:
                del self._deadlines[executor_id]
            elif not self._under_way[executor_id]:
                some = list(islice(keys, _BATCHES * _BATCH_ITEMS))
                for start in range(0, len(some), _BATCH_ITEMS):
                    self._take_back(executor_id, some[start : start + _BATCH_ITEMS])
        return expired

    def _take_back(self, executor_id: str, keys: Sequence[AttemptKey]) -> None:
        command = self._proposer.command()
        reason = f"the executor {executor_id} was not heard of for {self._lease_s:g} s"
        for execution_id, attempt in keys:
            command.expire.items.add(id=execution_id, expected_attempt=attempt, reason=reason)
        self._under_way[executor_id] += 1
        self._proposer.propose(command, self._finisher(executor_id))

    def _finisher(self, executor_id: str) -> Callable[[Fate], None]:
        def finish(_fate: Fate) -> None:
            self._under_way[executor_id] -= 1

        return finish
