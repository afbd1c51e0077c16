"""Brings committed entries into the state tables, and knows when that has to be committed."""

from collections.abc import Callable
from typing import Protocol

from raftsched.consensus.journal import Journal
from raftsched.consensus.membership import Membership
from raftsched.consensus.messages import COMMAND, CONFIG, LogEntry
from raftsched.consensus.settings import Settings
from raftsched.consensus.snapshot import APPLIED_INDEX_KEY, applied_index, encode_index
from raftsched.ports import Clock, Store, StoreRefused, Table

_NEVER = float("inf")


class StateMachine(Protocol):
    """What the log is for."""

    def apply(self, index: int, command: bytes) -> bytes:
        """Write what the command does to the store's open batch; the outcome. Raises when an invariant is broken."""

    def founded(self, shard_id: int) -> None:
        """A cluster begins, or goes on as another one with what is left: write what follows to the open batch."""

    def committed(self) -> None:
        """What was applied since the last call is durable, and in what ``Store.read`` shows."""

    def restored(self) -> None:
        """A snapshot has replaced the state tables."""


class Applier:
    """The state tables and the last entry that is in them.

    What a follower applied is no reason to commit for a while, since the log gives it again.
    """

    def __init__(
        self,
        *,
        shard_id: int,
        store: Store,
        journal: Journal,
        membership: Membership,
        machine: StateMachine,
        clock: Clock,
        settings: Settings,
    ) -> None:
        """Raises StoreRefused: the tables and the log do not fit."""
        self._shard_id = shard_id
        self._store = store
        self._journal = journal
        self._membership = membership
        self._machine = machine
        self._clock = clock
        self._settings = settings
        self.index = self._restored_index()
        """The last entry that is applied."""
        self._since = _NEVER
        """When what is applied and not committed began to be."""
        self._installed = False

    def apply(self, commit_index: int, on_applied: Callable[[int, int, bytes], None]) -> None:
        """Apply entries up to the commit index within the time budget.

        ``on_applied`` takes the index, term and outcome of each. Raises what the state machine raises.
        """
        begun, before = self._clock.monotonic(), self.index
        while self.index < commit_index:
            entry = self._journal.entry(self.index + 1)
            is_command = entry.data[0] == COMMAND[0]
            outcome = self._machine.apply(entry.index, entry.data[1:]) if is_command else b""
            if entry.data[:1] == CONFIG:
                self._take_members(entry)
            self.index = entry.index
            on_applied(entry.index, entry.term, outcome)
            if self._clock.monotonic() - begun >= self._settings.apply_budget_s:
                break
        if self.index != before:
            self._store.batch().put(Table.META, APPLIED_INDEX_KEY, encode_index(self.index))
            self._since = min(self._since, begun)

    def _take_members(self, entry: LogEntry) -> None:
        before = self._membership.applied_cluster_identity
        self._membership.applied(entry)
        if self._membership.applied_cluster_identity != before:
            self._machine.founded(self._shard_id)

    def installed(self, index: int) -> None:
        """A snapshot has taken the place of the state tables, in the store's open batch."""
        self.index = index
        self._membership.restored()
        self._installed = True

    @property
    def commit_due_at(self) -> float:
        """When what is applied has waited long enough for a commit."""
        return self._since + self._settings.apply_commit_delay_s

    def wants_commit(self, *, at_once: bool) -> bool:
        """Whether what is applied is a reason to commit: at once, or when it is due."""
        return self._since < _NEVER if at_once else self._clock.monotonic() >= self.commit_due_at

    def committed(self) -> None:
        """All is durable: tell the state machine."""
        if self._installed:
            self._installed = False
            self._machine.restored()
        if self._since < _NEVER:
            self._since = _NEVER
            self._machine.committed()

    def _restored_index(self) -> int:
        with self._store.read() as view:
            index = applied_index(view)
        if not self._journal.first_index <= index <= self._journal.last_index:
            raise StoreRefused(
                f"the state tables of the store stand at entry {index}, its Raft log has "
                f"{self._journal.first_index} to {self._journal.last_index}: the store is damaged"
            )
        return index
