"""What the indexer was told and has not looked at yet."""

from raftsched.history.frames import ChangedRows


class Pending:
    """Entries in the order of the log, with each execution only in the first that names it.

    A row is read after all that was told of it by then, so the mentions between need no look of their own: in a herd an
    execution is named when it is decided, assigned and ended.
    """

    def __init__(self) -> None:
        self._entries: list[ChangedRows] = []
        self._last_mentions: dict[bytes, int] = {}
        self.rows = 0
        """How many are to be looked at."""

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: ChangedRows) -> None:
        """Take what one log entry changed. Entries come in the order of the log."""
        # One entry may change an execution several times, as one that ends and is given to the next executor does.
        named = dict.fromkeys(entry.executions, entry.index)
        new = [each for each in named if each not in self._last_mentions]
        self._last_mentions.update(named)
        self._entries.append(ChangedRows(entry.index, new, entry.tasks, entry.ledger))
        self.rows += _size(self._entries[-1])

    def take(self, rows: int) -> ChangedRows:
        """The oldest of them in one, up to so many rows and the rest of an entry.

        Once they have been looked at, all up to its index has been. The executions come in the order in which they were
        named last, in which they are shipped.
        """
        executions: list[bytes] = []
        tasks: list[str] = []
        ledger: list[bytes] = []
        count = taken = 0
        for entry in self._entries:
            size = _size(entry)
            if count >= rows and size:
                break
            executions += entry.executions
            tasks += entry.tasks
            ledger += entry.ledger
            count += size
            taken += 1
        index = self._entries[taken - 1].index
        del self._entries[:taken]
        self.rows -= count
        last = {each: self._last_mentions.pop(each) for each in executions}
        return ChangedRows(index, sorted(executions, key=last.__getitem__), tasks, ledger)

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._last_mentions.clear()
        self.rows = 0


def _size(entry: ChangedRows) -> int:
    return len(entry.executions) + len(entry.tasks) + len(entry.ledger)
