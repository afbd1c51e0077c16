"""A cluster for tests of the client and the CLI: real gRPC servers that keep one table of tasks in memory.

It behaves as the protocol says (request ids, etags, pages, field violations), fires nothing by itself, and can be told
to fail calls: see ``Cluster.fail``.
"""

import asyncio
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import (
    calendar_pb2,
    calendar_pb2_grpc,
    cluster_pb2,
    cluster_pb2_grpc,
    execution_pb2,
    execution_pb2_grpc,
    group_pb2,
    group_pb2_grpc,
    history_pb2,
    history_pb2_grpc,
    policy_pb2,
    task_pb2,
    task_pb2_grpc,
)
from raftsched_proto.v1.error_pb2 import BadRequest, ErrorInfo, ErrorStatus, FieldViolation, RetryInfo

from tests.support.peer_calendars import CalendarNode
from tests.support.peer_groups import GroupNode

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
ENDED = execution_pb2.EXECUTION_STATE_SUCCEEDED
SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
)
T = TypeVar("T")


@dataclass
class Refusal(Exception):
    """A status with details."""

    code: grpc.StatusCode
    message: str
    details: tuple[Message, ...] = ()

    def metadata(self) -> tuple[tuple[str, bytes], ...]:
        packed = [
            any_pb2.Any(type_url=f"type.googleapis.com/google.rpc.{d.DESCRIPTOR.name}", value=d.SerializeToString())
            for d in self.details
        ]
        status = ErrorStatus(code=self.code.value[0], message=self.message, details=packed)
        return (("grpc-status-details-bin", status.SerializeToString()),)


def refusal(
    code: str,
    message: str,
    *,
    applied: str = "",
    reason: str = "",
    leader: str = "",
    field_name: str = "",
    retry_ms: int | None = None,
) -> Refusal:
    details: list[Message] = []
    metadata = {key: value for key, value in (("applied", applied), ("leader_address", leader)) if value}
    if metadata or reason:
        details.append(ErrorInfo(reason=reason, domain="raftsched", metadata=metadata))
    if field_name:
        details.append(BadRequest(field_violations=[FieldViolation(field=field_name, description=message)]))
    if retry_ms is not None:
        retry = RetryInfo()
        retry.retry_delay.FromMilliseconds(retry_ms)
        details.append(retry)
    return Refusal(grpc.StatusCode[code], message, tuple(details))


@dataclass
class Fault:
    """What happens to one call: an error, before or after it was applied; or silence."""

    error: Refusal | None = None
    applied: bool = False
    hang: bool = False
    when: Callable[[Any], bool] = lambda _: True
    """Spares the requests for which this is false."""


@dataclass
class Received:
    """One call that reached a node."""

    node: int
    method: str
    request: Message
    metadata: dict[str, str | bytes]
    time_remaining: float | None


@dataclass
class Cluster:
    """The nodes and what they share. Start it as a context manager."""

    size: int = 1
    tasks: dict[str, task_pb2.Task] = field(default_factory=dict)
    calendars: dict[str, calendar_pb2.Calendar] = field(default_factory=dict)
    groups: dict[str, group_pb2.Group] = field(default_factory=dict)
    executions: dict[str, execution_pb2.Execution] = field(default_factory=dict)
    outputs: dict[str, list[execution_pb2.GetOutputResponse]] = field(default_factory=dict)
    ledger: list[execution_pb2.LedgerEntry] = field(default_factory=list)
    logs: list[history_pb2.LogRecord] = field(default_factory=list)
    counted: history_pb2.CountLogsResponse = field(default_factory=history_pb2.CountLogsResponse)
    changes: list[history_pb2.TaskChange] = field(default_factory=list)
    repairs: list[cluster_pb2.CursorRepair] = field(default_factory=list)
    outcomes: dict[str, Message] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    watchers: list[asyncio.Queue[execution_pb2.WatchExecutionsResponse | Refusal | None]] = field(default_factory=list)
    status: cluster_pb2.GetStatusResponse = field(default_factory=cluster_pb2.GetStatusResponse)
    max_page: int = 1000
    refused: dict[str, Refusal] = field(default_factory=dict)
    """Names of tasks that may not be created, and why."""
    end_runs_as: execution_pb2.Execution | None = None
    """What each execution becomes as soon as RunTask has answered."""
    revision: int = 0

    def __post_init__(self) -> None:
        self._faults: dict[str, deque[Fault]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[grpc.aio.Server | None] = [None] * self.size
        self.addresses = ["127.0.0.1:0"] * self.size

    def __enter__(self) -> "Cluster":
        self._thread.start()
        for number in range(self.size):
            self.start(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in range(self.size):
            self.stop(number)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def endpoints(self) -> str:
        return ",".join(self.addresses)

    def start(self, number: int) -> None:
        self._servers[number], port = self.run(self._serve(number))
        self.addresses[number] = f"127.0.0.1:{port}"

    def stop(self, number: int) -> None:
        server, self._servers[number] = self._servers[number], None
        if server is not None:
            self.run(server.stop(None))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def fail(self, method: str, *faults: Refusal | Fault) -> None:
        """The next calls of ``method``, on whichever node, end so; each fault serves once."""
        queue = self._faults.setdefault(method, deque())
        queue.extend(fault if isinstance(fault, Fault) else Fault(fault) for fault in faults)

    def methods(self) -> list[str]:
        return [call.method for call in self.received]

    def change(self, execution: execution_pb2.Execution, *, tell: bool = True, dropped: int = 0) -> None:
        """Store a new state of an execution and, unless the news gets lost, send it to the watchers."""
        self.executions[execution.id] = execution

        async def publish() -> None:
            for watcher in self.watchers:
                watcher.put_nowait(execution_pb2.WatchExecutionsResponse(execution=execution, dropped=dropped))

        if tell:
            self.run(publish())

    def break_watches(self, error: Refusal | None) -> None:
        async def cut() -> None:
            for watcher in self.watchers:
                watcher.put_nowait(error)

        self.run(cut())

    async def _serve(self, number: int) -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(options=SERVER_OPTIONS)
        node = Node(self, number)
        task_pb2_grpc.add_TaskServiceServicer_to_server(node, server)
        execution_pb2_grpc.add_ExecutionServiceServicer_to_server(node, server)
        cluster_pb2_grpc.add_ClusterServiceServicer_to_server(node, server)
        calendar_pb2_grpc.add_CalendarServiceServicer_to_server(CalendarNode(self, number, refusal), server)
        group_pb2_grpc.add_GroupServiceServicer_to_server(GroupNode(self, number, refusal), server)
        history_pb2_grpc.add_HistoryServiceServicer_to_server(node, server)
        port = server.add_insecure_port(self.addresses[number])
        await server.start()
        return server, port

    async def answer(
        self, node: int, context: Any, method: str, request: Message, act: Callable[[], Message], request_id: str = ""
    ) -> Any:
        """One unary call: faults, request ids, then ``act``."""
        fault = await self.begin(node, context, method, request)
        try:
            if fault.error and not fault.applied:
                raise fault.error
            if request_id and request_id in self.outcomes:
                outcome = self.outcomes[request_id]
            else:
                outcome = act()
                if request_id:
                    self.outcomes[request_id] = outcome
            if fault.hang:
                await asyncio.Event().wait()
            if fault.error:
                raise fault.error
            return outcome
        except Refusal as error:
            await context.abort(error.code, error.message, error.metadata())

    async def begin(self, node: int, context: Any, method: str, request: Message) -> Fault:
        metadata = dict(context.invocation_metadata())
        remaining = context.time_remaining()
        self.received.append(Received(node, method, request, metadata, remaining))
        queue = self._faults.get(method, deque())
        fault = next((fault for fault in queue if fault.when(request)), Fault())
        if fault in queue:
            queue.remove(fault)
        if fault.hang and not fault.applied:
            await asyncio.Event().wait()
        return fault


class Node(
    task_pb2_grpc.TaskServiceServicer,
    execution_pb2_grpc.ExecutionServiceServicer,
    cluster_pb2_grpc.ClusterServiceServicer,
    history_pb2_grpc.HistoryServiceServicer,
):
    """The services of one node."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.number = number

    async def _answer(
        self, context: Any, request: Any, method: str, act: Callable[[], Message], request_id: str = ""
    ) -> Any:
        return await self.cluster.answer(self.number, context, method, request, act, request_id)

    async def CreateTask(self, request, context):
        return await self._answer(
            context,
            request,
            "CreateTask",
            lambda: task_pb2.CreateTaskResponse(task=self._create(request.task)),
            request.request_id,
        )

    async def BatchCreateTasks(self, request, context):
        def one(task: task_pb2.Task) -> task_pb2.BatchCreateTaskResult:
            try:
                created = self._create(task)
            except Refusal as error:
                bad = [d for d in error.details if isinstance(d, BadRequest)]
                return task_pb2.BatchCreateTaskResult(
                    name=task.name,
                    code=error.code.value[0],
                    message=error.message,
                    field=bad[0].field_violations[0].field if bad else "",
                )
            return task_pb2.BatchCreateTaskResult(name=task.name, uid=created.uid)

        def act() -> Message:
            return task_pb2.BatchCreateTasksResponse(results=[one(task) for task in request.tasks])

        return await self._answer(context, request, "BatchCreateTasks", act, request.request_id)

    async def GetTask(self, request, context):
        return await self._answer(
            context, request, "GetTask", lambda: task_pb2.GetTaskResponse(task=self._task(request.name))
        )

    async def ListTasks(self, request, context):
        def wanted(task: task_pb2.Task) -> bool:
            return (
                task.name.startswith(request.name_prefix)
                and request.name_contains.lower() in task.name.lower()
                and all(k in task.labels and (not v or task.labels[k] == v) for k, v in request.labels.items())
                and request.state in (0, task.state)
            )

        def act() -> Message:
            found = [task for name, task in sorted(self.cluster.tasks.items()) if wanted(task)]
            page, token = self._page(found, request)
            return task_pb2.ListTasksResponse(tasks=page, next_page_token=token)

        return await self._answer(context, request, "ListTasks", act)

    async def UpdateTask(self, request, context):
        def act() -> Message:
            task = self._task(request.task.name)
            if request.task.etag and request.task.etag != task.etag:
                raise refusal("ABORTED", f"task {task.name!r} was changed since", applied="no", reason="ETAG_MISMATCH")
            updated = task_pb2.Task()
            updated.CopyFrom(task)
            for path in request.update_mask.paths:
                updated.ClearField(path)
            changes = task_pb2.Task()
            request.update_mask.MergeMessage(request.task, changes)
            updated.MergeFrom(changes)
            return task_pb2.UpdateTaskResponse(task=self._store(updated))

        return await self._answer(context, request, "UpdateTask", act, request.request_id)

    async def DeleteTask(self, request, context):
        def act() -> Message:
            task = self._task(request.name)
            if request.etag and request.etag != task.etag:
                raise refusal("ABORTED", f"task {task.name!r} was changed since", applied="no", reason="ETAG_MISMATCH")
            del self.cluster.tasks[request.name]
            return empty_pb2.Empty()

        return await self._answer(context, request, "DeleteTask", act, request.request_id)

    async def PauseTask(self, request, context):
        act = lambda: task_pb2.PauseTaskResponse(task=self._paused(request.name, True))  # noqa: E731
        return await self._answer(context, request, "PauseTask", act, request.request_id)

    async def ResumeTask(self, request, context):
        act = lambda: task_pb2.ResumeTaskResponse(task=self._paused(request.name, False))  # noqa: E731
        return await self._answer(context, request, "ResumeTask", act, request.request_id)

    async def RunTask(self, request, context):
        def act() -> Message:
            task = self._task(request.name)
            execution = execution_pb2.Execution(
                id=f"E{len(self.cluster.executions):025}",
                task=task.name,
                trigger=execution_pb2.TRIGGER_MANUAL,
                state=execution_pb2.EXECUTION_STATE_PENDING,
                attempt=1,
            )
            execution.nominal_time.GetCurrentTime()
            response = task_pb2.RunTaskResponse(execution=execution)
            if self.cluster.end_runs_as:
                execution.MergeFrom(self.cluster.end_runs_as)
            self.cluster.executions[execution.id] = execution
            return response

        return await self._answer(context, request, "RunTask", act, request.request_id)

    async def BackfillTask(self, request, context):
        def act() -> Message:
            self._task(request.name)
            time = task_pb2.BackfilledTime(nominal_time=request.start_time)
            if request.dry_run:
                time.decided.extend(each for each in self.cluster.ledger if each.nominal_time == request.start_time)
            else:
                time.execution_id = f"E{len(self.cluster.executions):025}"
            return task_pb2.BackfillTaskResponse(times=[time])

        return await self._answer(context, request, "BackfillTask", act, request.request_id)

    async def PreviewSchedule(self, request, context):
        def act() -> Message:
            seconds = request.schedule.interval.every.seconds
            first = (request.after.seconds // seconds + 1) * seconds
            times = [Timestamp(seconds=first + number * seconds) for number in range(request.count)]
            return task_pb2.PreviewScheduleResponse(nominal_times=times)

        return await self._answer(context, request, "PreviewSchedule", act)

    async def GetExecution(self, request, context):
        act = lambda: execution_pb2.GetExecutionResponse(execution=self._execution(request.id))  # noqa: E731
        return await self._answer(context, request, "GetExecution", act)

    async def ListAttempts(self, request, context):
        def act() -> Message:
            execution = self._execution(request.id)
            last = execution_pb2.Attempt(
                attempt=execution.attempt,
                state=execution.state,
                executor_id=execution.executor_id,
                output_tail=execution.output_tail,
                output_size_bytes=execution.output_size_bytes,
            )
            if execution.HasField("exit_code"):
                last.exit_code = execution.exit_code
            page, token = self._page([*execution.past_attempts, last], request)
            return execution_pb2.ListAttemptsResponse(attempts=page, next_page_token=token)

        return await self._answer(context, request, "ListAttempts", act)

    async def ListExecutions(self, request, context):
        def wanted(execution: execution_pb2.Execution) -> bool:
            nominal = execution.nominal_time.ToNanoseconds()
            return (
                request.task in ("", execution.task)
                and (not request.states or execution.state in request.states)
                and request.start_time.ToNanoseconds() <= nominal
                and (not request.HasField("end_time") or nominal < request.end_time.ToNanoseconds())
            )

        def act() -> Message:
            newest = sorted(self.cluster.executions.values(), key=lambda e: -e.nominal_time.ToNanoseconds())
            page, token = self._page([e for e in newest if wanted(e)], request)
            return execution_pb2.ListExecutionsResponse(executions=page, next_page_token=token)

        return await self._answer(context, request, "ListExecutions", act)

    async def WatchExecutions(self, request, context):
        await self._begin_stream(context, request, "WatchExecutions")
        queue: asyncio.Queue[execution_pb2.WatchExecutionsResponse | Refusal | None] = asyncio.Queue()
        self.cluster.watchers.append(queue)
        try:
            await context.send_initial_metadata(())
            while True:
                news = await queue.get()
                if news is None:
                    return
                if isinstance(news, Refusal):
                    await context.abort(news.code, news.message, news.metadata())
                if request.task in ("", news.execution.task) and request.id in ("", news.execution.id):
                    yield news
                    if request.id and news.execution.state >= ENDED:
                        return
        finally:
            self.cluster.watchers.remove(queue)

    async def GetOutput(self, request, context) -> AsyncIterator[execution_pb2.GetOutputResponse]:
        fault = await self._begin_stream(context, request, "GetOutput", late=True)
        if request.id not in self.cluster.executions:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no execution {request.id!r}")
        for piece in list(self.cluster.outputs.get(request.id, [])):
            if request.attempt not in (0, piece.attempt):
                continue
            yield piece
            if fault.error:
                await context.abort(fault.error.code, fault.error.message, fault.error.metadata())

    async def CancelExecution(self, request, context):
        def act() -> Message:
            execution = self._execution(request.id)
            if execution.state >= ENDED:
                raise refusal("FAILED_PRECONDITION", f"execution {request.id} has ended", applied="no")
            execution.state = execution_pb2.EXECUTION_STATE_CANCELLED
            return execution_pb2.CancelExecutionResponse(execution=execution)

        return await self._answer(context, request, "CancelExecution", act, request.request_id)

    async def ListLedger(self, request, context):
        def act() -> Message:
            page, token = self._page([e for e in self.cluster.ledger if e.task == request.task], request)
            return execution_pb2.ListLedgerResponse(entries=page, next_page_token=token)

        return await self._answer(context, request, "ListLedger", act)

    async def ListLedgers(self, request, context):
        def act() -> Message:
            found = [e for e in self.cluster.ledger if request.first_task <= e.task <= (request.last_task or "~")]
            page, token = self._page(sorted(found, key=lambda e: (e.task, e.nominal_time.ToNanoseconds())), request)
            return execution_pb2.ListLedgersResponse(entries=page, next_page_token=token)

        return await self._answer(context, request, "ListLedgers", act)

    async def SearchLogs(self, request, context):
        def act() -> Message:
            found = [each for each in self.cluster.logs if request.query in each.snippet]
            page, token = self._page(found, request)
            return history_pb2.SearchLogsResponse(records=page, next_page_token=token)

        return await self._answer(context, request, "SearchLogs", act)

    async def CountLogs(self, request, context):
        return await self._answer(context, request, "CountLogs", lambda: self.cluster.counted)

    async def CountDays(self, request, context):
        days = [history_pb2.DayCount(date="2026-01-31")]
        return await self._answer(context, request, "CountDays", lambda: history_pb2.CountDaysResponse(days=days))

    async def ListRecentRuns(self, request, context):
        def act() -> Message:
            tasks = [history_pb2.RecentRuns(task=name) for name in request.tasks]
            return history_pb2.ListRecentRunsResponse(tasks=tasks)

        return await self._answer(context, request, "ListRecentRuns", act)

    async def ListTaskChanges(self, request, context):
        def act() -> Message:
            page, token = self._page(self.cluster.changes, request)
            return history_pb2.ListTaskChangesResponse(changes=page, next_page_token=token)

        return await self._answer(context, request, "ListTaskChanges", act)

    async def GetHistoryStatus(self, request, context):
        act = lambda: history_pb2.GetHistoryStatusResponse(node_id="n1", cursor_index=7)  # noqa: E731
        return await self._answer(context, request, "GetHistoryStatus", act)

    async def GetStatus(self, request, context):
        return await self._answer(context, request, "GetStatus", lambda: self.cluster.status)

    async def TransferLeadership(self, request, context):
        act = lambda: cluster_pb2.TransferLeadershipResponse(leader_id=request.node_id or "n2")  # noqa: E731
        return await self._answer(context, request, "TransferLeadership", act)

    async def ConfirmClock(self, request, context):
        return await self._answer(context, request, "ConfirmClock", cluster_pb2.ConfirmClockResponse)

    async def RepairCursors(self, request, context):
        def act() -> Message:
            page, token = self._page(self.cluster.repairs, request)
            return cluster_pb2.RepairCursorsResponse(repairs=page, next_page_token=token)

        return await self._answer(context, request, "RepairCursors", act)

    async def _begin_stream(self, context: Any, request: Message, method: str, late: bool = False) -> Fault:
        fault = await self.cluster.begin(self.number, context, method, request)
        if fault.error and not late:
            await context.abort(fault.error.code, fault.error.message, fault.error.metadata())
        return fault

    def _create(self, task: task_pb2.Task) -> task_pb2.Task:
        if not NAME.fullmatch(task.name):
            raise refusal(
                "INVALID_ARGUMENT", "a name is 1 to 200 of [A-Za-z0-9._-]", applied="no", field_name="task.name"
            )
        if task.schedule.cron.expression == "nonsense":
            message = "'nonsense' is not a cron expression"
            raise refusal("INVALID_ARGUMENT", message, applied="no", field_name="task.schedule.cron.expression")
        if task.name in self.cluster.refused:
            raise self.cluster.refused[task.name]
        if task.name in self.cluster.tasks:
            raise refusal("ALREADY_EXISTS", f"task {task.name!r} is registered", applied="no")
        created = task_pb2.Task()
        created.CopyFrom(task)
        created.uid = str(len(self.cluster.outcomes) + len(self.cluster.tasks) + 1)
        created.create_time.GetCurrentTime()
        created.misfire_policy = created.misfire_policy or policy_pb2.MISFIRE_POLICY_ONE
        created.delivery = created.delivery or policy_pb2.DELIVERY_AT_LEAST_ONCE
        return self._store(created)

    def _store(self, task: task_pb2.Task) -> task_pb2.Task:
        self.cluster.revision += 1
        task.etag = str(self.cluster.revision)
        task.state = task_pb2.TASK_STATE_PAUSED if task.paused else task_pb2.TASK_STATE_ACTIVE
        self.cluster.tasks[task.name] = task
        return task

    def _paused(self, name: str, paused: bool) -> task_pb2.Task:
        task = task_pb2.Task()
        task.CopyFrom(self._task(name))
        task.paused = paused
        return self._store(task)

    def _task(self, name: str) -> task_pb2.Task:
        if name not in self.cluster.tasks:
            raise refusal("NOT_FOUND", f"there is no task {name!r}", applied="no")
        return self.cluster.tasks[name]

    def _execution(self, execution_id: str) -> execution_pb2.Execution:
        if execution_id not in self.cluster.executions:
            raise refusal("NOT_FOUND", f"there is no execution {execution_id!r}", applied="no")
        return self.cluster.executions[execution_id]

    def _page(self, found: list[Any], request: Any) -> tuple[list[Any], str]:
        start = int(request.page_token or 0)
        stop = start + min(request.page_size or 100, self.cluster.max_page)
        return found[start:stop], str(stop) if stop < len(found) else ""
