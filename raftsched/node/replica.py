"""Joins the replicated log to the state machine of this node, and passes on what changed once it is durable."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from raftsched.commands.versions import VERSIONS, Versions, cluster_version
from raftsched.consensus.snapshot import applied_index
from raftsched.core.machine import apply
from raftsched.core.machine.numbers import found
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import Store
from raftsched.statecheck.memory import CheckMemory

_log = structlog.get_logger(__name__)

Listener = Callable[[list[tuple[bytes, ExecutionRow]], list[str]], None]
"""Takes the executions and the names of the tasks that a commit changed."""


@dataclass(frozen=True, slots=True)
class EntryChanges:
    """Keys of the rows that one log entry changed; later entries may have changed them again."""

    index: int
    executions: list[bytes]
    tasks: list[str]
    ledger: list[bytes]
    """Keys of the ledger entries that stand for no execution that runs or ran."""


class TableFollower(Protocol):
    """Follows the state tables, from a cursor of its own."""

    def changed(self, entries: list[EntryChanges], index: int) -> None:
        """A commit has made these changes durable, the last of the entries up to ``index``.

        They come in the order of the log, and none is left out.
        """

    def replaced(self) -> None:
        """A snapshot has replaced the tables: anything may have changed."""


class Replica:
    """The state machine that a shard applies its entries to."""

    def __init__(self, store: Store, node_id: str, versions: Versions = VERSIONS) -> None:
        """Raises NodeOutdated: the tables are of a cluster version that came after ``versions``."""
        self.on_leadership: Callable[[int | None], None] = _ignore
        """Takes the term that this node leads in, or None when it no longer leads."""
        self.checks = CheckMemory(node_id)
        self._store = store
        self._versions = versions
        self.cluster_version = self._stored_version()
        """Of the state, with all that is applied."""
        self._listeners: list[Listener] = []
        self._executions: list[tuple[bytes, ExecutionRow]] = []
        self._tasks: list[str] = []
        self._entries: list[EntryChanges] = []
        self._followers: list[TableFollower] = []

    def follow(self, follower: TableFollower) -> None:
        """Tell ``follower`` which rows change."""
        self._followers.append(follower)

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` after every commit that changed something."""
        self._listeners.append(listener)

    def apply(self, index: int, command: bytes) -> bytes:
        """Apply one entry within the store's open batch; returns the outcome for its proposer."""
        applied = apply(self._store.batch(), index, command, self._versions)
        self.cluster_version = applied.cluster_version or self.cluster_version
        self._executions += applied.executions
        self._tasks += applied.tasks
        if applied.step is not None:
            for divergence in self.checks.applied(applied.step):
                _log.error("the state tables of the nodes differ", node=divergence.node_id, what=str(divergence))
        if self._followers and (applied.executions or applied.tasks or applied.ledger):
            ids = [key for key, _ in applied.executions]
            self._entries.append(EntryChanges(index, ids, applied.tasks, applied.ledger))
        return applied.outcome.SerializeToString()

    def founded(self, shard_id: int) -> None:
        """See StateMachine."""
        found(self._store.batch(), shard_id)

    def committed(self) -> None:
        """What was applied is durable: tell the listeners."""
        executions, self._executions = self._executions, []
        tasks, self._tasks = self._tasks, []
        entries, self._entries = self._entries, []
        if executions or tasks:
            for listener in self._listeners:
                listener(executions, tasks)
        if self._followers:
            # Nothing else commits before this returns, so the store holds what has been told and no more.
            with self._store.read() as reader:
                index = applied_index(reader)
            for follower in self._followers:
                follower.changed(entries, index)

    def restored(self) -> None:
        """A snapshot has replaced the tables: this node follows, and nobody waits for single changes."""
        self._executions.clear()
        self._tasks.clear()
        self.checks.forget_steps()
        self._entries.clear()
        self.cluster_version = self._stored_version()
        for follower in self._followers:
            follower.replaced()

    def _stored_version(self) -> int:
        with self._store.read() as reader:
            version = cluster_version(reader)
        self._versions.check("the state of this node", version)
        return version


def _ignore(_term: int | None) -> None:
    """Until somebody cares."""
