"""What is assigned to each executor, kept in memory by what is applied."""

from collections.abc import Iterable, Iterator, KeysView

from raftsched.core.state.model import ACTIVE_STATES
from raftsched.core.state.rows import ExecutionRow, parse_active
from raftsched.ports import Reader, Table
from raftsched.scheduler.executors import AttemptKey


class Assigned:
    """The attempts that are armed, assigned or running, by executor id: what ``Table.ACTIVE`` says.

    The leader asks once a second. To read the table for that costs as much as all that is armed, each second.
    """

    def __init__(self, reader: Reader) -> None:
        """Read what the table says. ``follow`` must be called with everything that is applied after that."""
        self._by_executor: dict[str, dict[AttemptKey, None]] = {}
        self._where: dict[bytes, tuple[str, AttemptKey]] = {}
        for execution_id, value in reader.scan(Table.ACTIVE):
            attempt, executor_id = parse_active(value)
            self._add(execution_id, attempt, executor_id)

    def __iter__(self) -> Iterator[str]:
        """The executors that something is assigned to."""
        return iter(self._by_executor)

    def of(self, executor_id: str) -> KeysView[AttemptKey]:
        """What is assigned to an executor, in the order that it came to be."""
        return self._by_executor.get(executor_id, {}).keys()

    def follow(self, changes: Iterable[tuple[bytes, ExecutionRow]]) -> None:
        """Take executions as a commit left them."""
        for execution_id, row in changes:
            before = self._where.pop(execution_id, None)
            if before is not None:
                self._remove(*before)
            if row.state in ACTIVE_STATES:
                self._add(execution_id, row.attempt, row.executor_id)

    def _add(self, execution_id: bytes, attempt: int, executor_id: str) -> None:
        key = (execution_id, attempt)
        self._where[execution_id] = (executor_id, key)
        self._by_executor.setdefault(executor_id, {})[key] = None

    def _remove(self, executor_id: str, key: AttemptKey) -> None:
        keys = self._by_executor[executor_id]
        del keys[key]
        if not keys:
            del self._by_executor[executor_id]
