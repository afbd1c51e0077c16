"""The client for programs without an event loop."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from raftsched_client._batch import DEFAULT_BATCH_TASKS, batches, check_batch_size
from raftsched_client._calls import Call, Item, Method, Paged, Req, Resp, T
from raftsched_client._dial import KeptChannels, Protection, dial
from raftsched_client._follow import Output, Watch, ended
from raftsched_client._retry import Reconnects
from raftsched_client.errors import NotFoundError, RaftschedError, UnavailableError
from raftsched_client.times import Timeout

_Item = TypeVar("_Item", covariant=True)


class _Stream(Protocol[_Item]):
    """The responses of a call, as they come."""

    def __iter__(self) -> Iterator[_Item]: ...

    def initial_metadata(self) -> object: ...


class Client(BaseClient):
    """Talks to a cluster. May be shared between threads. Close it, or use it as a context manager.

    Args:
        endpoints: ``host:port`` of one or more nodes, as a sequence or separated by commas. Any node takes any call;
            the client goes on with the leader once a call had to be passed on to it, and with the next when one fails.
        timeout: default deadline of a call, retries included; seconds or a timedelta. 10 s when not given.
        metadata: called before every attempt for the gRPC metadata to send along.
        on_failed_attempt: called with the endpoint and the error of each attempt that failed, whether or not another
            follows. What it raises ends the call.
        tls: ``Tls`` with the files of an authority and a certificate, or credentials of gRPC; None for plain text.

    Raises ValueError for endpoints, a timeout or files of ``tls`` that cannot be.

    Every method takes a ``timeout`` of its own, and raises a ``RaftschedError``. Methods that change something take a
    ``request_id`` (one is made up when none is given); all attempts of a call carry the same, so a retry never acts
    twice. Reads see every change acknowledged before them, unless ``stale=True`` asks for whatever the node at hand
    has, which needs no quorum.
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
        self._channels = KeptChannels(dial, tls)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections. Calls in progress end with an error."""
        with self._lock:
            channels = self._channels.take_all()
        for channel in channels:
            channel.close()

    def create_task(
        self, task: Task, *, validate_only: bool = False, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Task:
        """Register a task; return it as registered, with ``warnings`` about what may not be meant.

        ``validate_only``: check it, create nothing, and return it as it would be.

        Raises InvalidArgumentError, AlreadyExistsError, ResourceExhaustedError.
        """
        return self._unary(_calls.create_task(task, request_id, validate_only), timeout)

    def create_tasks(
        self,
        tasks: Iterable[Task],
        *,
        batch_size: int = DEFAULT_BATCH_TASKS,
        request_id: str | None = None,
        timeout: Timeout | None = None,
    ) -> Iterator[BatchCreateTaskResult]:
        """Register many tasks; yield one result per task, in their order, as the batches are done.

        A task that is refused does not stop the others: look at ``code`` of its result. One call takes up to
        ``batch_size`` tasks (1 to 10,000) and 3 MiB; ``timeout`` is that of one call. When a call fails, its error is
        raised after the results of the calls before it, and the tasks after it are not sent. Batches have the
        request ids ``<request_id>-0``, ``-1``, ...: repeat with the same arguments to go on where it failed.
        """
        check_batch_size(batch_size)
        prefix = request_id or uuid4().hex
        return self._create_tasks(tasks, batch_size, prefix, timeout)

    def _create_tasks(
        self, tasks: Iterable[Task], batch_size: int, prefix: str, timeout: Timeout | None
    ) -> Iterator[BatchCreateTaskResult]:
        for number, batch in enumerate(batches(tasks, batch_size)):
            yield from self._unary(_calls.create_tasks(batch, f"{prefix}-{number}"), timeout)

    def get_task(self, name: str, *, stale: bool = False, timeout: Timeout | None = None) -> Task:
        """Read a task. Raises NotFoundError."""
        return self._unary(_calls.get_task(name, stale), timeout)

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
    ) -> Iterator[Task]:
        """Tasks, read page by page (``page_size`` 1 to 1,000); ``timeout`` is that of one page.

        Tasks must carry all ``labels``; an empty value matches any value of that key. ``order_by`` is ``name`` (the
        default) or ``next_fire_time``, or one of them and `` desc``. ``condition``: only tasks that fail, or whose
        executions wait. ``name_contains``: only names with this in them, in upper or lower case.
        """
        return self._pages(
            _calls.list_tasks(name_prefix, labels, state, order_by, page_size, stale, condition, name_contains), timeout
        )

    def update_task(
        self, changes: Task, mask: Iterable[str], *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Task:
        """Replace the top-level fields named in ``mask`` by those of ``changes``; return the task as it is then.

        ``changes.name`` says which task; ``changes.etag``, if set, must match (else ConflictError).
        Raises NotFoundError, InvalidArgumentError.
        """
        return self._unary(_calls.update_task(changes, mask, request_id), timeout)

    def delete_task(
        self, name: str, *, etag: str = "", request_id: str | None = None, timeout: Timeout | None = None
    ) -> None:
        """Remove a task; its executions and ledger stay until retention removes them.

        Raises NotFoundError; ConflictError when an ``etag`` is given and does not match, or other tasks run after it.
        """
        self._unary(_calls.delete_task(name, etag, request_id), timeout)

    def pause_task(
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
        return self._unary(_calls.pause_task(name, until, request_id), timeout)

    def resume_task(self, name: str, *, request_id: str | None = None, timeout: Timeout | None = None) -> Task:
        """Fire by schedule again; what passed meanwhile is recorded as skipped. Raises NotFoundError."""
        return self._unary(_calls.resume_task(name, request_id), timeout)

    def run_task(self, name: str, *, request_id: str | None = None, timeout: Timeout | None = None) -> Execution:
        """Fire the task at once, paused or not; return the new execution.

        That is the first of several with placement EVERY; the ledger entry of its nominal time names all. Raises
        NotFoundError, and ConflictError when a task with placement EVERY finds no executor.
        """
        return self._unary(_calls.run_task(name, request_id), timeout)

    def backfill_task(
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
        """Run each nominal time from ``start`` until before ``end``, which may not lie in the future.

        With ``dry_run`` only say which there are, each with what was decided for it. More than ``max_executions`` (100;
        at most 1,000) are refused. ``max_running`` is how many executions of backfills of the task may be open for a
        further one to start. What was decided before stays on record.

        Raises NotFoundError, InvalidArgumentError, ConflictError while executions of another backfill between these
        times have not ended, ResourceExhaustedError, and ValueError for a naive datetime.
        """
        call = _calls.backfill_task(name, start, end, dry_run, max_executions, max_running, request_id)
        return self._unary(call, timeout)

    def create_group(self, group: Group, *, request_id: str | None = None, timeout: Timeout | None = None) -> Group:
        """Create a group of limits. Raises InvalidArgumentError, AlreadyExistsError, ResourceExhaustedError."""
        return self._unary(_calls.create_group(group, request_id), timeout)

    def get_group(self, name: str, *, stale: bool = False, timeout: Timeout | None = None) -> Group:
        """Read a group, with what runs and waits in it. Raises NotFoundError."""
        return self._unary(_calls.get_group(name, stale), timeout)

    def list_groups(self, *, stale: bool = False, timeout: Timeout | None = None) -> list[Group]:
        """All groups, ordered by name."""
        return self._unary(_calls.list_groups(stale), timeout)

    def update_group(
        self, changes: Group, mask: Iterable[str], *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Group:
        """Replace the limits of a group that ``mask`` names. Raises NotFoundError, InvalidArgumentError."""
        return self._unary(_calls.update_group(changes, mask, request_id), timeout)

    def delete_group(self, name: str, *, request_id: str | None = None, timeout: Timeout | None = None) -> None:
        """Remove a group. Raises NotFoundError, ConflictError while a task is in it."""
        self._unary(_calls.delete_group(name, request_id), timeout)

    def create_calendar(
        self, calendar: Calendar, *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Calendar:
        """Create a calendar. Raises InvalidArgumentError, AlreadyExistsError, ResourceExhaustedError."""
        return self._unary(_calls.create_calendar(calendar, request_id), timeout)

    def get_calendar(self, name: str, *, stale: bool = False, timeout: Timeout | None = None) -> Calendar:
        """Read a calendar, with its exclusions. Raises NotFoundError."""
        return self._unary(_calls.get_calendar(name, stale), timeout)

    def list_calendars(self, *, stale: bool = False, timeout: Timeout | None = None) -> list[Calendar]:
        """All calendars, ordered by name, without their exclusions."""
        return self._unary(_calls.list_calendars(stale), timeout)

    def update_calendar(
        self, calendar: Calendar, *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Calendar:
        """Replace the exclusions of a calendar; the next nominal times of its tasks follow at once.

        An ``etag`` must match. Raises NotFoundError, InvalidArgumentError, ConflictError.
        """
        return self._unary(_calls.update_calendar(calendar, request_id), timeout)

    def delete_calendar(self, name: str, *, request_id: str | None = None, timeout: Timeout | None = None) -> None:
        """Remove a calendar. Raises NotFoundError, ConflictError while a task names it."""
        self._unary(_calls.delete_calendar(name, request_id), timeout)

    def preview_schedule(
        self,
        schedule: Schedule,
        *,
        count: int = 10,
        after: datetime | None = None,
        task_name: str = "",
        timeout: Timeout | None = None,
    ) -> PreviewScheduleResponse:
        """The first ``count`` (1 to 100) nominal times of a schedule, or what is wrong with it.

        They lie after ``after``, by default the present. Hashed values of a cron expression follow from ``task_name``.
        Changes nothing. Raises ValueError for a naive datetime.
        """
        return self._unary(_calls.preview_schedule(schedule, count, after, task_name), timeout)

    def get_execution(self, execution_id: str, *, stale: bool = False, timeout: Timeout | None = None) -> Execution:
        """Read an execution. Raises NotFoundError."""
        return self._unary(_calls.get_execution(execution_id, stale), timeout)

    def list_attempts(
        self, execution_id: str, *, page_size: int = 100, stale: bool = False, timeout: Timeout | None = None
    ) -> Iterator[Attempt]:
        """Every attempt of an execution, oldest first, with its error and the last 4 KiB of its output.

        The last is the present one, which may wait or run. ``page_size`` is 1 to 100; ``timeout`` is that of one page.
        Raises NotFoundError.
        """
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
    ) -> Iterator[Execution]:
        """Executions with ``start <= nominal time < end`` in any of ``states``, newest first, read page by page.

        ``waiting_reasons``: only those that wait for any of these, which the leader alone can tell.

        Empty arguments do not filter. ``page_size`` is 1 to 1,000; ``timeout`` is that of one page.
        Raises ValueError for a naive datetime.
        """
        return self._pages(_calls.list_executions(task, states, start, end, page_size, stale, waiting_reasons), timeout)

    def watch_executions(
        self, *, task: str = "", execution_id: str = "", timeout: Timeout | None = None
    ) -> Iterator[Execution]:
        """Changes of executions as they come: of one task, of one execution, or of all.

        Of one execution it yields the state at the start, and ends when the execution has ended.

        After a lost connection, or when the caller was too slow to be sent every change, it reads again what was open
        or is new and yields what changed: so the last state of every execution is seen, though not every state between.
        What was decided more than a minute after its nominal time and ended during the interruption may be missed; what
        was decided in the minute before the watch began may be seen.

        Raises NotFoundError; UnavailableError: no node could be reached again within ``timeout``.
        """
        request = WatchExecutionsRequest(task=task, id=execution_id)
        watch = Watch(datetime.now(UTC))
        reconnects = self._reconnects(timeout)
        read_again = bool(execution_id)
        while True:
            endpoint = self._endpoints.current
            try:
                for execution in self._watch_once(endpoint, request, watch, reconnects, read_again):
                    yield execution
                    if execution_id and ended(execution):
                        return
                cause: RaftschedError = UnavailableError("the node ended the stream")
            except grpc.RpcError as error:
                cause = self._broken(endpoint, error)
            time.sleep(reconnects.failed(endpoint, cause, time.monotonic()))
            read_again = True

    def _watch_once(
        self,
        endpoint: str,
        request: WatchExecutionsRequest,
        watch: Watch,
        reconnects: Reconnects,
        read_again: bool,
    ) -> Iterator[Execution]:
        with self._open(endpoint, _calls.WATCH_EXECUTIONS, request) as stream:
            # From the initial metadata on nothing is missed, so what is read after it closes every gap.
            stream.initial_metadata()
            reconnects.opened(time.monotonic())
            if read_again:
                yield from self._reread(watch, request, reconnects.timeout_s)
            for response in stream:
                reconnects.progressed()
                if response.dropped:
                    watch.hear(response.execution)
                    yield from self._reread(watch, request, reconnects.timeout_s)
                if watch.is_news(response.execution):
                    yield response.execution

    def _reread(self, watch: Watch, request: WatchExecutionsRequest, timeout_s: float) -> Iterator[Execution]:
        known = [request.id] if request.id else watch.still_open()
        if not request.id:
            missed = list(self.list_executions(task=request.task, start=watch.reread_from(), timeout=timeout_s))
            yield from filter(watch.is_news, reversed(missed))
            listed = {execution.id for execution in missed}
            known = [each for each in known if each not in listed]
        for each in known:
            try:
                execution = self.get_execution(each, timeout=timeout_s)
            except NotFoundError:
                if request.id:
                    raise
                continue  # Retention has removed it meanwhile.
            if watch.is_news(execution):
                yield execution

    def get_output(
        self,
        execution_id: str,
        *,
        follow: bool = False,
        offset: int = 0,
        attempt: int = 0,
        timeout: Timeout | None = None,
    ) -> Iterator[GetOutputResponse]:
        """The output as far as it is stored, in pieces.

        ``follow`` goes on until the execution has ended, ``offset`` leaves out the bytes before it. ``attempt``: that
        attempt alone instead of the last.
        ``truncated_bytes`` of a piece counts the bytes that are missing just before it. A lost connection does not end
        it; when a further attempt begins, its output follows from its beginning, with its number as ``attempt``.
        Raises NotFoundError.
        """
        output = Output(offset)
        limit_s = None if follow else self._timeout_of(timeout)
        reconnects = self._reconnects(timeout)
        while True:
            endpoint = self._endpoints.current
            request = GetOutputRequest(id=execution_id, follow=follow, offset=output.offset, attempt=attempt)
            try:
                with self._open(endpoint, _calls.GET_OUTPUT, request, limit_s) as stream:
                    reconnects.opened(time.monotonic())
                    for response in stream:
                        reconnects.progressed()
                        if piece := output.take(response):
                            yield piece
                return
            except grpc.RpcError as error:
                time.sleep(reconnects.failed(endpoint, self._broken(endpoint, error), time.monotonic()))

    def cancel_execution(
        self, execution_id: str, *, request_id: str | None = None, timeout: Timeout | None = None
    ) -> Execution:
        """End a pending execution, or have a running one killed. Raises NotFoundError; ConflictError: it has ended."""
        return self._unary(_calls.cancel_execution(execution_id, request_id), timeout)

    def list_ledger(
        self,
        task: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        page_size: int = 1000,
        stale: bool = False,
        timeout: Timeout | None = None,
    ) -> Iterator[LedgerEntry]:
        """What was decided for the nominal times of a task in ``start <= nominal time < end``, oldest first.

        ``page_size`` is 1 to 10,000; ``timeout`` is that of one page. Raises ValueError for a naive datetime.
        """
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
    ) -> Iterator[LedgerEntry]:
        """What was decided for the nominal times of many tasks: task by task by name, each oldest first.

        ``first_task`` and ``last_task`` bound the names, both included. A range of nominal times that began before
        ``start`` and goes on until then is there, too. ``page_size`` is 1 to 10,000; ``timeout`` is that of one page.
        Raises ValueError for a naive datetime.
        """
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
    ) -> Iterator[LogRecord]:
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

    def count_logs(
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
        return self._unary(_calls.count_logs(start, end, bucket, task, labels, percentiles), timeout)

    def count_days(
        self,
        task: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        time_zone: str = "",
        timeout: Timeout | None = None,
    ) -> list[DayCount]:
        """Executions of a task on each day of a time zone, by default of the last 365 days in UTC."""
        return self._unary(_calls.count_days(task, start, end, time_zone), timeout)

    def list_recent_runs(
        self, tasks: Iterable[str], *, per_task: int = 20, timeout: Timeout | None = None
    ) -> list[RecentRuns]:
        """The last executions (1 to 50) of each of up to 500 tasks, newest first."""
        return self._unary(_calls.list_recent_runs(tasks, per_task), timeout)

    def list_task_changes(
        self, task: str, *, page_size: int = 100, timeout: Timeout | None = None
    ) -> Iterator[TaskChange]:
        """The definitions that a task had and who made them so, newest first; ``timeout`` is that of one page."""
        return self._pages(_calls.list_task_changes(task, page_size), timeout)

    def get_history_status(self, *, timeout: Timeout | None = None) -> GetHistoryStatusResponse:
        """What the history index of the node that answers holds, and how far it is."""
        return self._unary(_calls.get_history_status(), timeout)

    def get_status(self, *, local_only: bool = False, timeout: Timeout | None = None) -> GetStatusResponse:
        """The nodes and executors; ``local_only``: only of the node that answers. Needs no quorum."""
        return self._unary(_calls.get_status(local_only), timeout)

    def transfer_leadership(self, node_id: str = "", *, timeout: Timeout | None = None) -> str:
        """Hand the leadership to a node, or to the follower that has caught up best; return the id of the leader then.

        Raises ConflictError: the node cannot take it. Not repeated once it may have been done.
        """
        return self._unary(_calls.transfer_leadership(node_id), timeout)

    def confirm_clock(self, *, timeout: Timeout | None = None) -> timedelta:
        """Let a cluster of one node go by the clock of its machine as it is; by how much that moved its time.

        Raises ConflictError: the cluster has more nodes, whose majority decides.
        """
        return self._unary(_calls.confirm_clock(), timeout)

    def repair_cursors(
        self, *, dry_run: bool = False, page_size: int = 1000, timeout: Timeout | None = None
    ) -> Iterator[CursorRepair]:
        """Move back cursors that a clock which was ahead has moved, page by page; ``timeout`` is that of one page."""
        return self._pages(_calls.repair_cursors(dry_run, page_size), timeout)

    def _unary(self, call: Call[Req, Resp, T], timeout: Timeout | None) -> T:
        attempts = self._attempts(call, time.monotonic(), timeout)
        method = call.method
        while True:
            endpoint = self._endpoints.current
            send = self._channel(endpoint).unary_unary(
                method.path, method.request.SerializeToString, method.response.FromString
            )
            try:
                response, sent = send.with_call(
                    call.request,
                    timeout=attempts.attempt_timeout_s(time.monotonic()),
                    metadata=self._call_metadata(),
                )
            except grpc.RpcError as error:
                delay = attempts.failed(endpoint, self._broken(endpoint, error), time.monotonic())
            else:
                self._served(endpoint, sent.trailing_metadata())
                return call.result(response)
            time.sleep(delay)

    def _pages(self, paged: Paged[Req, Resp, Item], timeout: Timeout | None) -> Iterator[Item]:
        token = ""
        while True:
            items, token = self._unary(paged.page(token), timeout)
            yield from items
            if not token:
                return

    @contextmanager
    def _open(
        self, endpoint: str, method: Method[Req, Resp], request: Req, timeout_s: float | None = None
    ) -> Iterator[_Stream[Resp]]:
        open_stream = self._channel(endpoint).unary_stream(
            method.path, method.request.SerializeToString, method.response.FromString
        )
        stream = open_stream(request, timeout=timeout_s, metadata=self._call_metadata())
        try:
            yield stream
        finally:
            stream.cancel()

    def _channel(self, endpoint: str) -> grpc.Channel:
        with self._lock:
            return self._channels.get(endpoint)
