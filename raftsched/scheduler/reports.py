"""Takes what executors report into the log, in batches, and tells them when it is there."""

from collections import deque
from collections.abc import Callable, Iterable

from raftsched.core.model import ExecutionState
from raftsched.core.retry import RETRIED_STATES, WHOLE_PPM
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.internal.v1 import executor_pb2 as xpb
from raftsched.ports import Clock, Fate
from raftsched.scheduler.border import report_item
from raftsched.scheduler.executors import Executors
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings

_BATCH_BYTES = 1024 * 1024
_PATIENCE_S = 0.02
_FEW = 32
_MAX_QUEUED = 50_000
"""Each of about 5 KiB at most. An executor sends again what no leader has acknowledged."""


class Reporter:
    """Queues reports and proposes them."""

    def __init__(self, proposer: Proposer, clock: Clock, executors: Executors, settings: SchedulerSettings) -> None:
        self._proposer = proposer
        self._clock = clock
        self._executors = executors
        self._settings = settings
        self._queue: deque[pb.Report.Item] = deque()
        self._since_s = 0.0
        """When the queue was last begun."""
        self._commands = 0

    def take(self, executor_id: str, reports: Iterable[xpb.AttemptReport]) -> bool:
        """Queue reports of an executor, whose ids are well-formed. False: some were left out, for the queue is full."""
        self._begin()
        for report in reports:
            if len(self._queue) >= _MAX_QUEUED:
                return False
            self._queue_one(executor_id, report)
        return True

    def take_copied(self, executor_id: str, copied: xpb.OutputCopied) -> None:
        """Queue the news of a second copy; left out when the queue is full: whoever looks for it asks all nodes."""
        self._begin()
        if len(self._queue) < _MAX_QUEUED:
            key, node_id = copied.key, copied.node_id
            self._queue.append(
                pb.Report.Item(
                    id=key.execution_id, attempt=key.attempt, executor_id=executor_id, output_copy_node_id=node_id
                )
            )

    def _begin(self) -> None:
        if not self._queue:
            self._since_s = self._clock.monotonic()

    def _queue_one(self, executor_id: str, report: xpb.AttemptReport) -> None:
        item = report_item(executor_id, report)
        if report.state in RETRIED_STATES:
            item.jitter_ppm = int(self._clock.uniform(0, WHOLE_PPM))
        self._queue.append(item)

    def patience_s(self) -> float:
        """How long what is queued may wait for a Fire command, to share its way through the log; 0 when it may not.

        Where fires are frequent and few at a time, it halves the rounds of the log. A herd's reports make room for more
        of it, and go at once.
        """
        if not 0 < len(self._queue) < _FEW:
            return 0.0
        return max(0.0, self._since_s + _PATIENCE_S - self._clock.monotonic())

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
            size_bytes += len(item.output_tail) + len(item.error) + 100
            items.append(item)
        return items

    def _finisher(self, items: list[pb.Report.Item]) -> Callable[[Fate], None]:
        def finish(fate: Fate) -> None:
            self._commands -= 1
            if fate is Fate.DONE:
                self._acknowledge(items)
            else:
                # A repeated report finds the attempt ended and changes nothing.
                self._queue.extendleft(reversed(items))

        return finish

    def _acknowledge(self, items: list[pb.Report.Item]) -> None:
        messages: dict[str, xpb.ConnectResponse] = {}
        for item in items:
            if item.state == ExecutionState.RUNNING or item.output_copy_node_id:
                continue
            message = messages.setdefault(item.executor_id, xpb.ConnectResponse())
            message.acknowledge.keys.add(execution_id=item.id, attempt=item.attempt)
        for executor_id, message in messages.items():
            session = self._executors.get(executor_id)
            if session is not None:
                session.link.send(message)
                for key in message.acknowledge.keys:
                    session.let_go((key.execution_id, key.attempt))
