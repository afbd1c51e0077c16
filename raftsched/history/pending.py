"""What the indexer was told and has not looked at yet."""

from raftsched.history.frames import ChangedRows

NO_ID = b"\xff" * 17
"""Above all ids of executions."""


class Pending:
    """Entries in the order of the log, with each execution only in the first that names it.

    A row is read after all that was told of it by then, so the mentions between need no look of their own: in a herd an
    execution is named when it is decided, assigned and ended.

    What was decided ahead of its time is set aside until it is named again or released: nothing becomes of it before.
    """

    def __init__(self) -> None:
        self._entries: list[ChangedRows] = []
        self._last_mentions: dict[bytes, int] = {}
        self._ahead: dict[bytes, int] = {}
        """What is set aside, and the entries that named it, in their order."""
        self._lowest_ahead = NO_ID
        self._told = 0
        self.rows = 0
        """How many are to be looked at, without those that are set aside."""

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def kept(self) -> int:
        """How many rows there are in all."""
        return self.rows + len(self._ahead)

    @property
    def lowest_ahead(self) -> bytes:
        """No execution with an id below it is set aside; above all ids when none is."""
        return self._lowest_ahead

    def reaches(self, index: int) -> int:
        """Up to where all has been looked at, or waits in an entry here, of what was told up to a log index."""
        first = next(iter(self._ahead.values()), None)
        return index if first is None else min(index, first - 1)

    def add(self, entry: ChangedRows, ahead: tuple[bytes, bytes] = (NO_ID, NO_ID)) -> None:
        """Take what one log entry changed. Entries come in the order of the log.

        Executions that are named for the first time are set aside if their ids lie between those of ``ahead``, the
        first of which counts as between.
        """
        # One entry may change an execution several times, as one that ends and is given to the next executor does.
        named = dict.fromkeys(entry.executions, entry.index)
        if self._ahead:
            self._look_at([each for each in named if each in self._ahead])
        new = [each for each in named if each not in self._last_mentions]
        low, high = ahead
        if new and max(new) >= low:
            for each in [each for each in new if low <= each < high]:
                self._ahead[each] = named.pop(each)
                self._lowest_ahead = min(self._lowest_ahead, each)
            new = [each for each in new if each in named]
        self._told = entry.index
        self._last_mentions.update(named)
        self._entries.append(ChangedRows(entry.index, new, entry.tasks, entry.ledger))
        self.rows += _size(self._entries[-1])

    def release(self, below: bytes) -> None:
        """No longer set aside the executions whose ids are below this one."""
        self._look_at([each for each in self._ahead if each < below])
        self._lowest_ahead = min(self._ahead, default=NO_ID)

    def _look_at(self, ids: list[bytes]) -> None:
        """What was set aside is to be looked at, before the index passes the entry that named it."""
        released = {each: self._ahead.pop(each) for each in ids}
        if not self._ahead:
            self._lowest_ahead = NO_ID
        if released:
            self._last_mentions.update(released)
            self._entries.insert(0, ChangedRows(min(released.values()), ids, [], []))
            self.rows += len(ids)

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
        del self._entries[:taken]
        # Released executions come first, and may belong to any entry.
        index = min((each.index for each in self._entries), default=self._told + 1) - 1
        self.rows -= count
        last = {each: self._last_mentions.pop(each) for each in executions}
        return ChangedRows(self.reaches(index), sorted(executions, key=last.__getitem__), tasks, ledger)

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._last_mentions.clear()
        self._ahead.clear()
        self._lowest_ahead = NO_ID
        self.rows = 0


def _size(entry: ChangedRows) -> int:
    return len(entry.executions) + len(entry.tasks) + len(entry.ledger)
