"""Joins the replicated log to the state machine of this node, and passes on what changed once it is durable."""

from collections.abc import Callable

import structlog

from raftsched.core.machine import apply
from raftsched.core.rows import ExecutionRow
from raftsched.core.state_check import CheckMemory
from raftsched.ports import Store

_log = structlog.get_logger(__name__)

Listener = Callable[[list[tuple[bytes, ExecutionRow]], list[str]], None]
"""Takes the executions and the names of the tasks that a commit changed."""


class Replica:
    """The state machine that a Raft group applies its entries to."""

    def __init__(self, store: Store, node_id: str) -> None:
        self.on_leadership: Callable[[int | None], None] = _ignore
        """Takes the term that this node leads in, or None when it no longer leads."""
        self.checks = CheckMemory(node_id)
        self._store = store
        self._listeners: list[Listener] = []
        self._executions: list[tuple[bytes, ExecutionRow]] = []
        self._tasks: list[str] = []

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` after every commit that changed something."""
        self._listeners.append(listener)

    def apply(self, index: int, command: bytes) -> bytes:
        """Apply one entry within the store's open batch; returns the outcome for its proposer."""
        applied = apply(self._store.batch(), index, command)
        self._executions += applied.executions
        self._tasks += applied.tasks
        if applied.step is not None:
            for divergence in self.checks.applied(applied.step):
                _log.error("the state tables of the nodes differ", node=divergence.node_id, what=str(divergence))
        return applied.outcome.SerializeToString()

    def committed(self) -> None:
        """What was applied is durable: tell the listeners."""
        executions, self._executions = self._executions, []
        tasks, self._tasks = self._tasks, []
        if executions or tasks:
            for listener in self._listeners:
                listener(executions, tasks)

    def restored(self) -> None:
        """A snapshot has replaced the tables: this node follows, and nobody waits for single changes."""
        self._executions.clear()
        self._tasks.clear()
        self.checks.forget_steps()


def _ignore(_term: int | None) -> None:
    """Until somebody cares."""
