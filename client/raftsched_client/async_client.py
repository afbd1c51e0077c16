"""The client for programs on an asyncio event loop."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Protocol, Self, TypeVar
from uuid import uuid4

import grpc
from raftsched_proto.v1.calendar_pb2 import Calendar
from raftsched_proto.v1.cluster_pb2 import CursorRepair, GetStatusResponse
from raftsched_proto.v1.execution_pb2 import (
    Attempt,
    Execution,
    ExecutionState,
    GetOutputRequest,
    GetOutputResponse,
    LedgerEntry,
    WaitingReason,
    WatchExecutionsRequest,
)
from raftsched_proto.v1.group_pb2 import Group
from raftsched_proto.v1.history_pb2 import (
    CountLogsResponse,
    DayCount,
    GetHistoryStatusResponse,
    LogKind,
    LogRecord,
    RecentRuns,
    TaskChange,
)
from raftsched_proto.v1.task_pb2 import (
    TASK_CONDITION_UNSPECIFIED,
    TASK_STATE_UNSPECIFIED,
    BackfilledTime,
    BatchCreateTaskResult,
    PreviewScheduleResponse,
    Schedule,
    Task,
    TaskCondition,
    TaskState,
)

from raftsched_client import _calls
from raftsched_client._base import DEFAULT_TIMEOUT_S, BaseClient, Metadata
from raftsched_client._batch import DEFAULT_BATCH_TASKS, DEFAULT_IN_FLIGHT, batches, check_batch_size
from raftsched_client._calls import Call, Item, Method, Paged, Req, Resp, T
from raftsched_client._dial import KeptChannels, Protection, dial_async
from raftsched_client._follow import Output, Watch, ended
from raftsched_client._retry import Reconnects
from raftsched_client.errors import NotFoundError, RaftschedError, UnavailableError
from raftsched_client.times import Timeout

_Item = TypeVar("_Item", covariant=True)


class _Stream(Protocol[_Item]):
    """The responses of a call, as they come."""

    def __aiter__(self) -> AsyncIterator[_Item]: ...

    async def initial_metadata(self) -> object: ...


class AsyncClient(BaseClient):
    """The same as ``Client``, on an asyncio event loop: calls are awaited, listings and streams take ``async for``.

    Make it, use it and close it on the same loop. Use ``contextlib.aclosing`` for a stream that you leave early.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout: Timeout = DEFAULT_TIMEOUT_S,
        metadata: Callable[[], Metadata] | None = None,
        on_failed_attempt: Callable[[str, RaftschedError], None] | None = None,
        tls: Protection = None,
    ) -> None:
        super().__init__(endpoints, timeout=timeout, metadata=metadata, on_failed_attempt=on_failed_attempt)
        self._channels = KeptChannels(dial_async, tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As ``Client.close``."""
        channels = self._channels.take_all()
        for channel in channels:
            await channel.close()

    async def create_task(
        self, task: Task, *, validate_only: bool = False, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Task:
        """As ``Client.create_task``."""
        return await self._unary(_calls.create_task(task, request_id, validate_only), timeout)

    def create_tasks(
        self,
        tasks: Iterable[Task],
        *,
        batch_size: int = DEFAULT_BATCH_TASKS,
        max_in_flight: int = DEFAULT_IN_FLIGHT,
        request_id: str | None = None,
        timeout: Timeout | None = None,
    ) -> AsyncIterator[BatchCreateTaskResult]:
        """As ``Client.create_tasks``, with up to ``max_in_flight`` calls under way at a time.

        They may take effect in any order. When one fails, tasks of up to ``max_in_flight - 1`` later calls may have
        been registered too.
        """
        check_batch_size(batch_size)
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight: must be at least 1, not {max_in_flight}")
        prefix = request_id or uuid4().hex
        return self._create_tasks(tasks, batch_size, max_in_flight, prefix, timeout)

    async def _create_tasks(
        self, tasks: Iterable[Task], batch_size: int, max_in_flight: int, prefix: str, timeout: Timeout | None
    ) -> AsyncIterator[BatchCreateTaskResult]:
        under_way: deque[asyncio.Task[list[BatchCreateTaskResult]]] = deque()
        try:
            for number, batch in enumerate(batches(tasks, batch_size)):
                call = _calls.create_tasks(batch, f"{prefix}-{number}")
                under_way.append(asyncio.create_task(self._unary(call, timeout)))
                if len(under_way) == max_in_flight:
                    for result in await under_way.popleft():
                        yield result
            while under_way:
                for result in await under_way.popleft():
                    yield result
        finally:
            for running in under_way:
                running.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def get_task(self, name: str, *, stale: bool = False, timeout: Timeout | None = None) -> Task:
        """As ``Client.get_task``."""
        return await self._unary(_calls.get_task(name, stale), timeout)

    def list_tasks(
        self,
        *,
        name_prefix: str = "",
        labels: Mapping[str, str] | None = None,
        state: TaskState.ValueType = TASK_STATE_UNSPECIFIED,
        order_by: str = "",
        condition: TaskCondition.ValueType = TASK_CONDITION_UNSPECIFIED,
        name_contains: str = "",
        page_size: int = 1000,
        stale: bool = False,
        timeout: Timeout | None = None,
    ) -> AsyncIterator[Task]:
        """As ``Client.list_tasks``."""
        return self._pages(
            _calls.list_tasks(name_prefix, labels, state, order_by, page_size, stale, condition, name_contains), timeout
        )

    async def update_task(
        self, changes: Task, mask: Iterable[str], *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Task:
        """As ``Client.update_task``."""
        return await self._unary(_calls.update_task(changes, mask, request_id), timeout)

    async def delete_task(
        self, name: str, *, etag: str = "", request_id: str | None = None, timeout: Timeout | None = None
    ) -> None:
        """As ``Client.delete_task``."""
        await self._unary(_calls.delete_task(name, etag, request_id), timeout)

    async def pause_task(
        self,
        name: str,
        *,
        until: datetime | None = None,
        request_id: str | None = None,
        timeout: Timeout | None = None,
    ) -> Task:
        """Stop firing by schedule, until it is resumed or until a time to come. Raises NotFoundError.

        Raises InvalidArgumentError when ``until`` has passed, and ValueError when it is naive.
        """
        return await self._unary(_calls.pause_task(name, until, request_id), timeout)

    async def resume_task(self, name: str, *, request_id: str | None = None, timeout: Timeout | None = None) -> Task:
        """As ``Client.resume_task``."""
        return await self._unary(_calls.resume_task(name, request_id), timeout)

    async def run_task(self, name: str, *, request_id: str | None = None, timeout: Timeout | None = None) -> Execution:
        """As ``Client.run_task``."""
        return await self._unary(_calls.run_task(name, request_id), timeout)

    async def backfill_task(
        self,
        name: str,
        *,
        start: datetime,
        end: datetime,
        dry_run: bool = False,
        max_executions: int = 0,
        max_running: int = 0,
        request_id: str | None = None,
        timeout: Timeout | None = None,
    ) -> list[BackfilledTime]:
        """As ``Client.backfill_task``."""
        call = _calls.backfill_task(name, start, end, dry_run, max_executions, max_running, request_id)
        return await self._unary(call, timeout)

    async def create_group(
        self, group: Group, *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Group:
        """Create a group of limits. Raises InvalidArgumentError, AlreadyExistsError, ResourceExhaustedError."""
        return await self._unary(_calls.create_group(group, request_id), timeout)

    async def get_group(self, name: str, *, stale: bool = False, timeout: Timeout | None = None) -> Group:
        """Read a group, with what runs and waits in it. Raises NotFoundError."""
        return await self._unary(_calls.get_group(name, stale), timeout)

    async def list_groups(self, *, stale: bool = False, timeout: Timeout | None = None) -> list[Group]:
        """All groups, ordered by name."""
        return await self._unary(_calls.list_groups(stale), timeout)

    async def update_group(
        self, changes: Group, mask: Iterable[str], *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Group:
        """Replace the limits of a group that ``mask`` names. Raises NotFoundError, InvalidArgumentError."""
        return await self._unary(_calls.update_group(changes, mask, request_id), timeout)

    async def delete_group(self, name: str, *, request_id: str | None = None, timeout: Timeout | None = None) -> None:
        """Remove a group. Raises NotFoundError, ConflictError while a task is in it."""
        await self._unary(_calls.delete_group(name, request_id), timeout)

    async def create_calendar(
        self, calendar: Calendar, *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Calendar:
        """Create a calendar. Raises InvalidArgumentError, AlreadyExistsError, ResourceExhaustedError."""
        return await self._unary(_calls.create_calendar(calendar, request_id), timeout)

    async def get_calendar(self, name: str, *, stale: bool = False, timeout: Timeout | None = None) -> Calendar:
        """Read a calendar, with its exclusions. Raises NotFoundError."""
        return await self._unary(_calls.get_calendar(name, stale), timeout)

    async def list_calendars(self, *, stale: bool = False, timeout: Timeout | None = None) -> list[Calendar]:
        """All calendars, ordered by name, without their exclusions."""
        return await self._unary(_calls.list_calendars(stale), timeout)

    async def update_calendar(
        self, calendar: Calendar, *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Calendar:
        """Replace the exclusions of a calendar; the next nominal times of its tasks follow at once.

        An ``etag`` must match. Raises NotFoundError, InvalidArgumentError, ConflictError.
        """
        return await self._unary(_calls.update_calendar(calendar, request_id), timeout)

    async def delete_calendar(
        self, name: str, *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> None:
        """Remove a calendar. Raises NotFoundError, ConflictError while a task names it."""
        await self._unary(_calls.delete_calendar(name, request_id), timeout)

    async def preview_schedule(
        self,
        schedule: Schedule,
        *,
        count: int = 10,
        after: datetime | None = None,
        task_name: str = "",
        timeout: Timeout | None = None,
    ) -> PreviewScheduleResponse:
        """As ``Client.preview_schedule``."""
        return await self._unary(_calls.preview_schedule(schedule, count, after, task_name), timeout)

    async def get_execution(
        self, execution_id: str, *, stale: bool = False, timeout: Timeout | None = None
    ) -> Execution:
        """As ``Client.get_execution``."""
        return await self._unary(_calls.get_execution(execution_id, stale), timeout)

    def list_attempts(
        self, execution_id: str, *, page_size: int = 100, stale: bool = False, timeout: Timeout | None = None
    ) -> AsyncIterator[Attempt]:
        """As ``Client.list_attempts``."""
        return self._pages(_calls.list_attempts(execution_id, page_size, stale), timeout)

    def list_executions(
        self,
        *,
        task: str = "",
        states: Iterable[ExecutionState.ValueType] = (),
        waiting_reasons: Iterable[WaitingReason.ValueType] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        page_size: int = 1000,
        stale: bool = False,
        timeout: Timeout | None = None,
    ) -> AsyncIterator[Execution]:
        """As ``Client.list_executions``."""
        return self._pages(_calls.list_executions(task, states, start, end, page_size, stale, waiting_reasons), timeout)

    async def watch_executions(
        self, *, task: str = "", execution_id: str = "", timeout: Timeout | None = None
    ) -> AsyncGenerator[Execution, None]:
        """As ``Client.watch_executions``."""
        request = WatchExecutionsRequest(task=task, id=execution_id)
        watch = Watch(datetime.now(UTC))
        reconnects = self._reconnects(timeout)
        read_again = bool(execution_id)
        while True:
            endpoint = self._endpoints.current
            try:
                changes = self._watch_once(endpoint, request, watch, reconnects, read_again)
                async with aclosing(changes):
                    async for execution in changes:
                        yield execution
                        if execution_id and ended(execution):
                            return
                cause: RaftschedError = UnavailableError("the node ended the stream")
            except grpc.RpcError as error:
                cause = self._broken(endpoint, error)
            await asyncio.sleep(reconnects.failed(endpoint, cause, time.monotonic()))
            read_again = True

    async def _watch_once(
        self,
        endpoint: str,
        request: WatchExecutionsRequest,
        watch: Watch,
        reconnects: Reconnects,
        read_again: bool,
    ) -> AsyncGenerator[Execution, None]:
        async with self._open(endpoint, _calls.WATCH_EXECUTIONS, request) as stream:
            # From the initial metadata on nothing is missed, so what is read after it closes every gap.
            await stream.initial_metadata()
            reconnects.opened(time.monotonic())
            if read_again:
                async for execution in self._reread(watch, request, reconnects.timeout_s):
                    yield execution
            async for response in stream:
                reconnects.progressed()
                if response.dropped:
                    watch.hear(response.execution)
                    async for execution in self._reread(watch, request, reconnects.timeout_s):
                        yield execution
                if watch.is_news(response.execution):
                    yield response.execution

    async def _reread(
        self, watch: Watch, request: WatchExecutionsRequest, timeout_s: float
    ) -> AsyncIterator[Execution]:
        known = [request.id] if request.id else watch.still_open()
        if not request.id:
            executions = self.list_executions(task=request.task, start=watch.reread_from(), timeout=timeout_s)
            missed = [execution async for execution in executions]
            for execution in filter(watch.is_news, reversed(missed)):
                yield execution
            listed = {execution.id for execution in missed}
            known = [each for each in known if each not in listed]
        for each in known:
            try:
                execution = await self.get_execution(each, timeout=timeout_s)
            except NotFoundError:
                if request.id:
                    raise
                continue  # Retention has removed it meanwhile.
            if watch.is_news(execution):
                yield execution

    async def get_output(
        self,
        execution_id: str,
        *,
        follow: bool = False,
        offset: int = 0,
        attempt: int = 0,
        timeout: Timeout | None = None,
    ) -> AsyncGenerator[GetOutputResponse, None]:
        """As ``Client.get_output``."""
        output = Output(offset)
        limit_s = None if follow else self._timeout_of(timeout)
        reconnects = self._reconnects(timeout)
        while True:
            endpoint = self._endpoints.current
            request = GetOutputRequest(id=execution_id, follow=follow, offset=output.offset, attempt=attempt)
            try:
                async with self._open(endpoint, _calls.GET_OUTPUT, request, limit_s) as stream:
                    reconnects.opened(time.monotonic())
                    async for response in stream:
                        reconnects.progressed()
                        if piece := output.take(response):
                            yield piece
                return
            except grpc.RpcError as error:
                await asyncio.sleep(reconnects.failed(endpoint, self._broken(endpoint, error), time.monotonic()))

    async def cancel_execution(
        self, execution_id: str, *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Execution:
        """As ``Client.cancel_execution``."""
        return await self._unary(_calls.cancel_execution(execution_id, request_id), timeout)

    def list_ledger(
        self,
        task: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        page_size: int = 1000,
        stale: bool = False,
        timeout: Timeout | None = None,
    ) -> AsyncIterator[LedgerEntry]:
        """As ``Client.list_ledger``."""
        return self._pages(_calls.list_ledger(task, start, end, page_size, stale), timeout)

    def list_ledgers(
        self,
        *,
        first_task: str = "",
        last_task: str = "",
        start: datetime | None = None,
        end: datetime | None = None,
        page_size: int = 1000,
        stale: bool = False,
        timeout: Timeout | None = None,
    ) -> AsyncIterator[LedgerEntry]:
        """As ``Client.list_ledgers``."""
        return self._pages(_calls.list_ledgers(first_task, last_task, start, end, page_size, stale), timeout)

    def search_logs(
        self,
        query: str = "",
        *,
        kinds: Iterable[LogKind.ValueType] = (),
        task: str = "",
        task_prefix: str = "",
        labels: Mapping[str, str] | None = None,
        states: Iterable[ExecutionState.ValueType] = (),
        executor_id: str = "",
        start: datetime | None = None,
        end: datetime | None = None,
        min_duration: timedelta | None = None,
        max_duration: timedelta | None = None,
        exit_codes: Iterable[int] = (),
        page_size: int = 100,
        timeout: Timeout | None = None,
    ) -> AsyncIterator[LogRecord]:
        """Executions, and nominal times that did not run, that meet all conditions, newest first, read page by page.

        ``query`` is a full-text search over errors, reasons and output, such as ``"connection refused" NOT dns``. Empty
        arguments do not filter. ``page_size`` is 1 to 1,000; ``timeout`` is that of one page. Answered from the index
        of one node, which follows the state within about a second. Raises ValueError for a naive datetime,
        InvalidArgumentError for a query that cannot be read.
        """
        request = _calls.search_request(
            query=query,
            kinds=kinds,
            task=task,
            task_prefix=task_prefix,
            labels=labels,
            states=states,
            executor_id=executor_id,
            start=start,
            end=end,
            min_duration=min_duration,
            max_duration=max_duration,
            exit_codes=exit_codes,
            page_size=page_size,
        )
        return self._pages(_calls.search_logs(request), timeout)

    async def count_logs(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        bucket: timedelta | None = None,
        task: str = "",
        labels: Mapping[str, str] | None = None,
        percentiles: bool = False,
        timeout: Timeout | None = None,
    ) -> CountLogsResponse:
        """Executions per bucket of time, by state; with ``percentiles`` their lateness and duration.

        By default the last hour in 60 buckets. Raises ValueError for a naive datetime.
        """
        return await self._unary(_calls.count_logs(start, end, bucket, task, labels, percentiles), timeout)

    async def count_days(
        self,
        task: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        time_zone: str = "",
        timeout: Timeout | None = None,
    ) -> list[DayCount]:
        """Executions of a task on each day of a time zone, by default of the last 365 days in UTC."""
        return await self._unary(_calls.count_days(task, start, end, time_zone), timeout)

    async def list_recent_runs(
        self, tasks: Iterable[str], *, per_task: int = 20, timeout: Timeout | None = None
    ) -> list[RecentRuns]:
        """The last executions (1 to 50) of each of up to 500 tasks, newest first."""
        return await self._unary(_calls.list_recent_runs(tasks, per_task), timeout)

    def list_task_changes(
        self, task: str, *, page_size: int = 100, timeout: Timeout | None = None
    ) -> AsyncIterator[TaskChange]:
        """The definitions that a task had and who made them so, newest first; ``timeout`` is that of one page."""
        return self._pages(_calls.list_task_changes(task, page_size), timeout)

    async def get_history_status(self, *, timeout: Timeout | None = None) -> GetHistoryStatusResponse:
        """What the history index of the node that answers holds, and how far it is."""
        return await self._unary(_calls.get_history_status(), timeout)

    async def get_status(self, *, local_only: bool = False, timeout: Timeout | None = None) -> GetStatusResponse:
        """As ``Client.get_status``."""
        return await self._unary(_calls.get_status(local_only), timeout)

    async def transfer_leadership(self, node_id: str = "", *, timeout: Timeout | None = None) -> str:
        """As ``Client.transfer_leadership``."""
        return await self._unary(_calls.transfer_leadership(node_id), timeout)

    async def confirm_clock(self, *, timeout: Timeout | None = None) -> timedelta:
        """As ``Client.confirm_clock``."""
        return await self._unary(_calls.confirm_clock(), timeout)

    def repair_cursors(
        self, *, dry_run: bool = False, page_size: int = 1000, timeout: Timeout | None = None
    ) -> AsyncIterator[CursorRepair]:
        """As ``Client.repair_cursors``."""
        return self._pages(_calls.repair_cursors(dry_run, page_size), timeout)

    async def _unary(self, call: Call[Req, Resp, T], timeout: Timeout | None) -> T:
        attempts = self._attempts(call, time.monotonic(), timeout)
        method = call.method
        while True:
            endpoint = self._endpoints.current
            send = self._channel(endpoint).unary_unary(
                method.path, method.request.SerializeToString, method.response.FromString
            )
            try:
                sent = send(
                    call.request,
                    timeout=attempts.attempt_timeout_s(time.monotonic()),
                    metadata=self._call_metadata(),
                )
                response = await sent
                trailing = await sent.trailing_metadata()
            except grpc.RpcError as error:
                delay = attempts.failed(endpoint, self._broken(endpoint, error), time.monotonic())
            else:
                self._served(endpoint, trailing)
                return call.result(response)
            await asyncio.sleep(delay)

    async def _pages(self, paged: Paged[Req, Resp, Item], timeout: Timeout | None) -> AsyncIterator[Item]:
        token = ""
        while True:
            items, token = await self._unary(paged.page(token), timeout)
            for item in items:
                yield item
            if not token:
                return

    @asynccontextmanager
    async def _open(
        self, endpoint: str, method: Method[Req, Resp], request: Req, timeout_s: float | None = None
    ) -> AsyncIterator[_Stream[Resp]]:
        open_stream = self._channel(endpoint).unary_stream(
            method.path, method.request.SerializeToString, method.response.FromString
        )
        stream = open_stream(request, timeout=timeout_s, metadata=self._call_metadata())
        try:
            yield stream
        finally:
            stream.cancel()

    def _channel(self, endpoint: str) -> grpc.aio.Channel:
        return self._channels.get(endpoint)
