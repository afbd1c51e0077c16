"""What an executor says that it holds when it connects, against what the tables say."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from raftsched.core.state.model import ACTIVE_STATES, ExecutionState
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import Reader, Table
from raftsched.scheduler.executors import AttemptKey, holds_slot
from raftsched.scheduler.task_cache import TaskCache


class HeldAttempt(NamedTuple):
    """An attempt that the executor holds by right."""

    fencing_token: int
    slot: bool
    """Whether it takes a slot."""
    start_us: int
    """Its nominal time if it is armed; 0: it is not."""
    cancelled: bool
    withdrawn: bool


class HeldAttempts:
    """Tens of thousands of attempts are looked up in parts, between which the leader has its turn.

    What changes meanwhile is looked up again.
    """

    def __init__(self, executor_id: str, held: Iterable[AttemptKey], tasks: TaskCache) -> None:
        self._executor_id = executor_id
        self._tasks = tasks
        self._keys = list(dict.fromkeys(held))
        self._looked = 0
        self._found: dict[AttemptKey, HeldAttempt | None] = {}
        self._attempts: dict[bytes, list[AttemptKey]] = {}
        for key in self._keys:
            self._attempts.setdefault(key[0], []).append(key)

    def look(self, reader: Reader, most: int) -> bool:
        """Look up so many more; whether all have been looked up."""
        for key in self._keys[self._looked : self._looked + most]:
            self._found[key] = self._look_up(reader, key)
        self._looked += most
        return self._looked >= len(self._keys)

    def forget(self, execution_ids: Iterable[bytes]) -> None:
        """These have changed."""
        for execution_id in execution_ids:
            for key in self._attempts.get(execution_id, ()):
                self._found.pop(key, None)

    def all(self, reader: Reader) -> Iterator[tuple[AttemptKey, HeldAttempt | None]]:
        """All of them; those that are not the executor's own with None."""
        for key in self._keys:
            yield key, self._found[key] if key in self._found else self._look_up(reader, key)

    def _look_up(self, reader: Reader, key: AttemptKey) -> HeldAttempt | None:
        found = reader.get(Table.EXECUTIONS, key[0])
        row = ExecutionRow() if found is None else ExecutionRow.FromString(found)
        if row.state not in ACTIVE_STATES or row.attempt != key[1] or row.executor_id != self._executor_id:
            return None
        task = self._tasks.get(reader, row.task, row.uid)
        return HeldAttempt(
            fencing_token=row.fencing_token,
            slot=task is None or holds_slot(task),
            start_us=row.nominal_us if row.state == ExecutionState.ARMED else 0,
            cancelled=row.cancel_requested,
            withdrawn=bool(row.withdrawn),
        )
