"""What executions wait for, as the API tells it."""

import asyncio
from collections.abc import Callable, Iterable

from raftsched_proto.v1 import execution_pb2

from raftsched.api.context import ApiContext
from raftsched.core.state.rows import ExecutionRow
from raftsched.scheduler.waiting import MAX_LOOKED_AT, NOTHING, UNKNOWN, Explainer, Survey, Wait, overdue

_ROWS_PER_TURN = 100
_SHORTEST_PAUSE_S = 1.0
_PAUSE_SHARE = 20
"""A survey is used for at least so many times what it took: watching a herd costs no more than 5 % of the time."""


class Waits:
    """Surveys of what waits too long; one at a time, and what it found is used for a while."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._last: Survey | None = None
        self._until_s = 0.0
        self._lock = asyncio.Lock()

    async def survey(self) -> Survey | None:
        """What has waited for more than 10 s; None when this node does not lead."""
        async with self._lock:
            clock = self._api.clock
            if self._last is None or clock.monotonic() >= self._until_s:
                begin_s = clock.monotonic()
                self._last = await self._look()
                took_s = clock.monotonic() - begin_s
                self._until_s = clock.monotonic() + max(_SHORTEST_PAUSE_S, _PAUSE_SHARE * took_s)
            return self._last if self._api.leads() else None

    async def _look(self) -> Survey | None:
        with self._api.store.read() as reader:
            explainer = self._api.explainer(reader)
            if explainer is None:
                return None
            survey = Survey()
            for looked_at, (_, row) in enumerate(overdue(reader, self._api.clock.now_us())):
                if looked_at >= MAX_LOOKED_AT:
                    survey.incomplete = True
                    break
                if row is not None and (why := explainer.why(row)) != NOTHING:
                    survey.add(row, why)
                if looked_at % _ROWS_PER_TURN == _ROWS_PER_TURN - 1:
                    await asyncio.sleep(0)
            return survey


def show_waits(waits: Iterable[Wait]) -> list[execution_pb2.WaitingExecutions]:
    """As messages of the API."""
    shown = []
    for wait in waits:
        message = execution_pb2.WaitingExecutions(
            reason=wait.reason, detail=wait.detail, count=wait.count, tasks=sorted(wait.tasks)
        )
        message.oldest_nominal_time.FromMicroseconds(wait.oldest_us)
        shown.append(message)
    return shown


Explain = Callable[[execution_pb2.Execution, ExecutionRow], None]
"""Writes down what an execution waits for."""


def untold(_execution: execution_pb2.Execution, _row: ExecutionRow) -> None:
    """Of an answer that says what has changed, not what is."""


def explain_with(explainer: Explainer | None) -> Explain:
    """By what the leader knows; None: this node does not lead."""

    def explain(execution: execution_pb2.Execution, row: ExecutionRow) -> None:
        pending = row.state == execution_pb2.EXECUTION_STATE_PENDING
        why = explainer.why(row) if explainer is not None else UNKNOWN if pending else NOTHING
        execution.waiting_reason, execution.waiting_detail = why

    return explain
