"""Definitions of the tasks that fired lately, as the committed table has them."""

from raftsched.core.state.model import Task
from raftsched.core.state.rows import calendars_of, decode_task
from raftsched.ports import Reader, Table

_MAX_TASKS = 50_000


class TaskCache:
    """Decoded rows of ``Table.TASKS``; ``forget`` must be called with every name that a commit changed."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}

    def get(self, reader: Reader, name: str, uid: int, revision: int = 0) -> Task | None:
        """The definition, or None when there is no such task. Of another uid it is when that is what the table holds.

        A row of the view may speak of a task that is newer than what is kept: a commit can be read some moments before
        it is told what it changed.
        """
        task = self._tasks.get(name)
        if task is None or task.uid != uid or revision not in (0, task.revision):
            row = reader.get(Table.TASKS, name.encode())
            if row is None:
                self.forget(name)
                return None
            if len(self._tasks) >= _MAX_TASKS:
                self._tasks.clear()
            task = self._tasks[name] = decode_task(row, calendars_of(reader))
        return task

    def forget(self, name: str) -> None:
        """Read this definition again the next time."""
        self._tasks.pop(name, None)
