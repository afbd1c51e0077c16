"""Takes what executors report into the log, in batches, and tells them when it is there."""

from collections import deque
from collections.abc import Callable, Iterable

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2 as xpb

from raftsched.core.policy.retry import RETRIED_STATES, WHOLE_PPM
from raftsched.core.state.model import ExecutionState
from raftsched.ports import Clock, Fate
from raftsched.scheduler.border import report_item
from raftsched.scheduler.executors import AttemptKey, Executors
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings

_BATCH_BYTES = 1024 * 1024
_PATIENCE_S = 0.02
_FEW = 32
_NOT_ENDS = (ExecutionState.PENDING, ExecutionState.RUNNING)
MAX_QUEUED_BYTES = 64 << 20
"""Of reports that are not in the log. An executor sends again what no leader has acknowledged."""
_ITEM_BYTES = 400
"""What a report takes beside its texts."""


class Reporter:
    """Queues reports and proposes them."""

    def __init__(self, proposer: Proposer, clock: Clock, executors: Executors, settings: SchedulerSettings) -> None:
        self._proposer = proposer
        self._clock = clock
        self._executors = executors
        self._settings = settings
        self._queue: deque[pb.Report.Item] = deque()
        self._is_hurried = False
        """Whether somebody waits for something of what is queued."""
        self._since_s = 0.0
        """When the queue was last begun."""
        self._commands = 0
        self.given_back: set[tuple[AttemptKey, int]] = set()
        """Attempts, with their fencing tokens, that reports which are queued or under way give back."""
        self._held_bytes = 0
        """Of what is queued or under way."""

    def take(self, executor_id: str, reports: Iterable[xpb.AttemptReport], *, unhurried: bool = False) -> bool:
        """Queue reports of an executor, whose ids are well-formed. False: some were left out, for the queue is full.

        ``unhurried``: nobody waits for them.
        """
        self._begin()
        self._is_hurried = self._is_hurried or not unhurried
        for report in reports:
            item = report_item(executor_id, report)
            if report.state in RETRIED_STATES:
                item.jitter_ppm = int(self._clock.uniform(0, WHOLE_PPM))
            if not self._add(item):
                return False
        return True

    def take_copied(self, executor_id: str, copied: xpb.OutputCopied) -> None:
        """Queue the news of a second copy; left out when the queue is full: whoever looks for it asks all nodes."""
        self._begin()
        key, node_id = copied.key, copied.node_id
        self._add(
            pb.Report.Item(
                id=key.execution_id, attempt=key.attempt, executor_id=executor_id, output_copy_node_id=node_id
            )
        )

    def _begin(self) -> None:
        if not self._queue:
            self._since_s = self._clock.monotonic()
            self._is_hurried = False

    def _add(self, item: pb.Report.Item) -> bool:
        """Queue it, if there is room."""
        size_bytes = _size_bytes(item)
        if self._held_bytes + size_bytes > MAX_QUEUED_BYTES:
            return False
        self._held_bytes += size_bytes
        self._queue.append(item)
        if item.state == ExecutionState.PENDING:
            self.given_back.add(((item.id, item.attempt), item.fencing_token))
        return True

    def patience_s(self) -> float:
        """How long what is queued may wait: for a Fire command, to share its way through the log, and what nobody waits
        for also for more of its kind. 0 when it may not.

        Where fires are frequent and few at a time, it halves the rounds of the log. A herd's reports make room for more
        of it, and go at once.
        """
        if not 0 < len(self._queue) < (_FEW if self._is_hurried else self._settings.report_batch_items):
            return 0.0
        return max(0.0, self._since_s + _PATIENCE_S - self._clock.monotonic())

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for something of what is queued."""
        return self._is_hurried

    def step(self) -> None:
        """Propose what is queued, as far as the pipeline has room; while a command is under way, only whole batches."""
        while self._queue and (not self._commands or self._may_follow()):
            items = self._next_batch()
            command = self._proposer.command()
            command.report.items.extend(items)
            self._commands += 1
            self._proposer.propose(command, self._finisher(items))

    def _may_follow(self) -> bool:
        is_whole = len(self._queue) >= self._settings.report_batch_items
        return is_whole and self._commands < self._settings.pipeline_commands

    def _next_batch(self) -> list[pb.Report.Item]:
        items: list[pb.Report.Item] = []
        size_bytes = 0
        while self._queue and len(items) < self._settings.report_batch_items and size_bytes < _BATCH_BYTES:
            item = self._queue.popleft()
            size_bytes += _size_bytes(item)
            items.append(item)
        return items

    def _finisher(self, items: list[pb.Report.Item]) -> Callable[[Fate], None]:
        def finish(fate: Fate) -> None:
            self._commands -= 1
            if fate is Fate.DONE:
                self._held_bytes -= sum(map(_size_bytes, items))
                for item in items:
                    if item.state == ExecutionState.PENDING:
                        self.given_back.discard(((item.id, item.attempt), item.fencing_token))
                self._acknowledge(items)
            else:
                # A repeated report finds the attempt ended and changes nothing.
                self._queue.extendleft(reversed(items))

        return finish

    def _acknowledge(self, items: list[pb.Report.Item]) -> None:
        messages: dict[str, xpb.ConnectResponse] = {}
        for item in items:
            if item.state in _NOT_ENDS or item.output_copy_node_id:
                continue
            message = messages.setdefault(item.executor_id, xpb.ConnectResponse())
            message.acknowledge.keys.add(execution_id=item.id, attempt=item.attempt)
        for executor_id, message in messages.items():
            session = self._executors.get(executor_id)
            if session is not None:
                session.link.send(message)
                for key in message.acknowledge.keys:
                    session.let_go((key.execution_id, key.attempt))


def _size_bytes(item: pb.Report.Item) -> int:
    return _ITEM_BYTES + len(item.result.output_tail) + len(item.result.error)
