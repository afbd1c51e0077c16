"""Registers the tasks of many coroutines in shared requests."""

import asyncio
import copy
from collections import deque
from types import TracebackType
from typing import Self

from raftsched_proto.v1.task_pb2 import BatchCreateTaskResult, Task

from raftsched_client._batch import DEFAULT_BATCH_TASKS
from raftsched_client._decode import refusal
from raftsched_client.async_client import AsyncClient
from raftsched_client.errors import RaftschedError, ResourceExhaustedError

MAX_WAITING = 10_000

_Waiting = tuple[Task, "asyncio.Future[BatchCreateTaskResult]"]


class TaskGatherer:
    """Registers tasks one by one for callers, and many at a time for the cluster.

    What is asked for while requests are under way gathers, and goes with the next one: with 64 coroutines that each
    register one task after the other, that is several times as fast as ``AsyncClient.create_task``. A coroutine that is
    alone waits no longer than there. Use it within ``async with``, on the loop of its client, which stays open.
    """

    def __init__(self, client: AsyncClient, *, max_in_flight: int = 2) -> None:
        """Send at most ``max_in_flight`` requests at a time. Raises ValueError: less than 1."""
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight: must be at least 1, not {max_in_flight}")
        self._client = client
        self._max_in_flight = max_in_flight
        self._waiting: deque[_Waiting] = deque()
        self._senders: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait until what was asked for is answered."""
        await asyncio.gather(*self._senders)

    async def create_task(self, task: Task) -> str:
        """Register a task, durably, and return its uid.

        Raises what ``AsyncClient.create_task`` raises, with the first field of those that are refused, and
        ResourceExhaustedError when 10,000 tasks wait. The deadline of each request is that of the client.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise ResourceExhaustedError(f"{MAX_WAITING:,} tasks wait to be registered: nothing was done")
        answer: asyncio.Future[BatchCreateTaskResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((task, answer))
        if len(self._senders) < self._max_in_flight:
            # It starts in the next turn of the loop, and takes with it what others ask for in this one.
            sender = asyncio.create_task(self._send_all())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        result = await answer
        if result.code:
            raise refusal(result.code, result.message, result.field)
        return result.uid

    async def _send_all(self) -> None:
        while batch := self._next_batch():
            await self._send(batch)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < DEFAULT_BATCH_TASKS:
            task, answer = self._waiting.popleft()
            if not answer.done():
                batch.append((task, answer))
        return batch

    async def _send(self, batch: list[_Waiting]) -> None:
        unanswered = deque(answer for _, answer in batch)
        try:
            async for result in self._client.create_tasks([task for task, _ in batch]):
                answer = unanswered.popleft()
                if not answer.done():
                    answer.set_result(result)
        except RaftschedError as error:
            for answer in unanswered:
                if not answer.done():
                    # Each caller raises one of its own, since raising writes the way into it.
                    answer.set_exception(copy.copy(error))
        except BaseException:
            for answer in unanswered:
                answer.cancel()
            raise
