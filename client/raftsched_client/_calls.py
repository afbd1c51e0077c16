"""What each method of the clients sends, and what it makes of the response. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from uuid import uuid4

from google.protobuf import empty_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import calendar_pb2, cluster_pb2, execution_pb2, group_pb2, history_pb2, task_pb2
from raftsched_proto.v1.consistency_pb2 import CONSISTENCY_STALE, CONSISTENCY_UNSPECIFIED, Consistency

from raftsched_client.times import to_duration, to_timestamp

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)
T = TypeVar("T")
Item = TypeVar("Item", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Req, Resp]):
    """One rpc."""

    path: str
    request: type[Req]
    response: type[Resp]


@dataclass(frozen=True)
class Call(Generic[Req, Resp, T]):
    """One request and how to read its response."""

    method: Method[Req, Resp]
    request: Req
    result: Callable[[Resp], T]
    changes: bool = False
    request_id: str = ""

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again although it may have been applied."""
        return not self.changes or bool(self.request_id)


@dataclass(frozen=True)
class Paged(Generic[Req, Resp, Item]):
    """A listing: ``page(token)`` is the call for one page."""

    page: Callable[[str], Call[Req, Resp, tuple[list[Item], str]]]


def _method(service: str, name: str, request: type[Req], response: type[Resp]) -> Method[Req, Resp]:
    return Method(f"/raftsched.v1.{service}/{name}", request, response)


CREATE_TASK = _method("TaskService", "CreateTask", task_pb2.CreateTaskRequest, task_pb2.CreateTaskResponse)
BATCH_CREATE = _method(
    "TaskService", "BatchCreateTasks", task_pb2.BatchCreateTasksRequest, task_pb2.BatchCreateTasksResponse
)
CREATE_GROUP = _method("GroupService", "CreateGroup", group_pb2.CreateGroupRequest, group_pb2.CreateGroupResponse)
GET_GROUP = _method("GroupService", "GetGroup", group_pb2.GetGroupRequest, group_pb2.GetGroupResponse)
LIST_GROUPS = _method("GroupService", "ListGroups", group_pb2.ListGroupsRequest, group_pb2.ListGroupsResponse)
UPDATE_GROUP = _method("GroupService", "UpdateGroup", group_pb2.UpdateGroupRequest, group_pb2.UpdateGroupResponse)
DELETE_GROUP = _method("GroupService", "DeleteGroup", group_pb2.DeleteGroupRequest, empty_pb2.Empty)
CREATE_CALENDAR = _method(
    "CalendarService", "CreateCalendar", calendar_pb2.CreateCalendarRequest, calendar_pb2.CreateCalendarResponse
)
GET_CALENDAR = _method(
    "CalendarService", "GetCalendar", calendar_pb2.GetCalendarRequest, calendar_pb2.GetCalendarResponse
)
LIST_CALENDARS = _method(
    "CalendarService", "ListCalendars", calendar_pb2.ListCalendarsRequest, calendar_pb2.ListCalendarsResponse
)
UPDATE_CALENDAR = _method(
    "CalendarService", "UpdateCalendar", calendar_pb2.UpdateCalendarRequest, calendar_pb2.UpdateCalendarResponse
)
DELETE_CALENDAR = _method("CalendarService", "DeleteCalendar", calendar_pb2.DeleteCalendarRequest, empty_pb2.Empty)
GET_TASK = _method("TaskService", "GetTask", task_pb2.GetTaskRequest, task_pb2.GetTaskResponse)
LIST_TASKS = _method("TaskService", "ListTasks", task_pb2.ListTasksRequest, task_pb2.ListTasksResponse)
UPDATE_TASK = _method("TaskService", "UpdateTask", task_pb2.UpdateTaskRequest, task_pb2.UpdateTaskResponse)
DELETE_TASK = _method("TaskService", "DeleteTask", task_pb2.DeleteTaskRequest, empty_pb2.Empty)
PAUSE_TASK = _method("TaskService", "PauseTask", task_pb2.PauseTaskRequest, task_pb2.PauseTaskResponse)
RESUME_TASK = _method("TaskService", "ResumeTask", task_pb2.ResumeTaskRequest, task_pb2.ResumeTaskResponse)
RUN_TASK = _method("TaskService", "RunTask", task_pb2.RunTaskRequest, task_pb2.RunTaskResponse)
BACKFILL_TASK = _method("TaskService", "BackfillTask", task_pb2.BackfillTaskRequest, task_pb2.BackfillTaskResponse)
PREVIEW_SCHEDULE = _method(
    "TaskService", "PreviewSchedule", task_pb2.PreviewScheduleRequest, task_pb2.PreviewScheduleResponse
)
GET_EXECUTION = _method(
    "ExecutionService", "GetExecution", execution_pb2.GetExecutionRequest, execution_pb2.GetExecutionResponse
)
LIST_ATTEMPTS = _method(
    "ExecutionService", "ListAttempts", execution_pb2.ListAttemptsRequest, execution_pb2.ListAttemptsResponse
)
LIST_EXECUTIONS = _method(
    "ExecutionService", "ListExecutions", execution_pb2.ListExecutionsRequest, execution_pb2.ListExecutionsResponse
)
WATCH_EXECUTIONS = _method(
    "ExecutionService", "WatchExecutions", execution_pb2.WatchExecutionsRequest, execution_pb2.WatchExecutionsResponse
)
GET_OUTPUT = _method("ExecutionService", "GetOutput", execution_pb2.GetOutputRequest, execution_pb2.GetOutputResponse)
CANCEL_EXECUTION = _method(
    "ExecutionService", "CancelExecution", execution_pb2.CancelExecutionRequest, execution_pb2.CancelExecutionResponse
)
LIST_LEDGER = _method(
    "ExecutionService", "ListLedger", execution_pb2.ListLedgerRequest, execution_pb2.ListLedgerResponse
)
LIST_LEDGERS = _method(
    "ExecutionService", "ListLedgers", execution_pb2.ListLedgersRequest, execution_pb2.ListLedgersResponse
)
SEARCH_LOGS = _method("HistoryService", "SearchLogs", history_pb2.SearchLogsRequest, history_pb2.SearchLogsResponse)
COUNT_LOGS = _method("HistoryService", "CountLogs", history_pb2.CountLogsRequest, history_pb2.CountLogsResponse)
COUNT_DAYS = _method("HistoryService", "CountDays", history_pb2.CountDaysRequest, history_pb2.CountDaysResponse)
LIST_RECENT_RUNS = _method(
    "HistoryService", "ListRecentRuns", history_pb2.ListRecentRunsRequest, history_pb2.ListRecentRunsResponse
)
LIST_TASK_CHANGES = _method(
    "HistoryService", "ListTaskChanges", history_pb2.ListTaskChangesRequest, history_pb2.ListTaskChangesResponse
)
GET_HISTORY_STATUS = _method(
    "HistoryService", "GetHistoryStatus", history_pb2.GetHistoryStatusRequest, history_pb2.GetHistoryStatusResponse
)
GET_STATUS = _method("ClusterService", "GetStatus", cluster_pb2.GetStatusRequest, cluster_pb2.GetStatusResponse)
CONFIRM_CLOCK = _method(
    "ClusterService", "ConfirmClock", cluster_pb2.ConfirmClockRequest, cluster_pb2.ConfirmClockResponse
)
REPAIR_CURSORS = _method(
    "ClusterService", "RepairCursors", cluster_pb2.RepairCursorsRequest, cluster_pb2.RepairCursorsResponse
)
TRANSFER_LEADERSHIP = _method(
    "ClusterService",
    "TransferLeadership",
    cluster_pb2.TransferLeadershipRequest,
    cluster_pb2.TransferLeadershipResponse,
)


def create_task(
    task: task_pb2.Task, request_id: str | None, validate_only: bool = False
) -> Call[task_pb2.CreateTaskRequest, task_pb2.CreateTaskResponse, task_pb2.Task]:
    """CreateTask."""
    request = task_pb2.CreateTaskRequest(task=task, request_id=_id(request_id), validate_only=validate_only)
    return Call(CREATE_TASK, request, lambda response: response.task, True, request.request_id)


def create_tasks(
    tasks: list[task_pb2.Task], request_id: str
) -> Call[task_pb2.BatchCreateTasksRequest, task_pb2.BatchCreateTasksResponse, list[task_pb2.BatchCreateTaskResult]]:
    """BatchCreateTasks."""
    request = task_pb2.BatchCreateTasksRequest(tasks=tasks, request_id=request_id)
    return Call(BATCH_CREATE, request, lambda response: list(response.results), True, request_id)


def get_task(name: str, stale: bool) -> Call[task_pb2.GetTaskRequest, task_pb2.GetTaskResponse, task_pb2.Task]:
    """GetTask."""
    request = task_pb2.GetTaskRequest(name=name, consistency=_consistency(stale))
    return Call(GET_TASK, request, lambda response: response.task)


def create_group(
    group: group_pb2.Group, request_id: str | None
) -> Call[group_pb2.CreateGroupRequest, group_pb2.CreateGroupResponse, group_pb2.Group]:
    """CreateGroup."""
    request = group_pb2.CreateGroupRequest(group=group, request_id=_id(request_id))
    return Call(CREATE_GROUP, request, lambda response: response.group, True, request.request_id)


def get_group(name: str, stale: bool) -> Call[group_pb2.GetGroupRequest, group_pb2.GetGroupResponse, group_pb2.Group]:
    """GetGroup."""
    request = group_pb2.GetGroupRequest(name=name, consistency=_consistency(stale))
    return Call(GET_GROUP, request, lambda response: response.group)


def list_groups(
    stale: bool,
) -> Call[group_pb2.ListGroupsRequest, group_pb2.ListGroupsResponse, list[group_pb2.Group]]:
    """ListGroups."""
    request = group_pb2.ListGroupsRequest(consistency=_consistency(stale))
    return Call(LIST_GROUPS, request, lambda response: list(response.groups))


def update_group(
    changes: group_pb2.Group, mask: Iterable[str], request_id: str | None
) -> Call[group_pb2.UpdateGroupRequest, group_pb2.UpdateGroupResponse, group_pb2.Group]:
    """UpdateGroup."""
    request = group_pb2.UpdateGroupRequest(
        group=changes, update_mask=FieldMask(paths=list(mask)), request_id=_id(request_id)
    )
    return Call(UPDATE_GROUP, request, lambda response: response.group, True, request.request_id)


def delete_group(name: str, request_id: str | None) -> Call[group_pb2.DeleteGroupRequest, empty_pb2.Empty, None]:
    """DeleteGroup."""
    request = group_pb2.DeleteGroupRequest(name=name, request_id=_id(request_id))
    return Call(DELETE_GROUP, request, lambda _: None, True, request.request_id)


def create_calendar(
    calendar: calendar_pb2.Calendar, request_id: str | None
) -> Call[calendar_pb2.CreateCalendarRequest, calendar_pb2.CreateCalendarResponse, calendar_pb2.Calendar]:
    """CreateCalendar."""
    request = calendar_pb2.CreateCalendarRequest(calendar=calendar, request_id=_id(request_id))
    return Call(CREATE_CALENDAR, request, lambda response: response.calendar, True, request.request_id)


def get_calendar(
    name: str, stale: bool
) -> Call[calendar_pb2.GetCalendarRequest, calendar_pb2.GetCalendarResponse, calendar_pb2.Calendar]:
    """GetCalendar."""
    request = calendar_pb2.GetCalendarRequest(name=name, consistency=_consistency(stale))
    return Call(GET_CALENDAR, request, lambda response: response.calendar)


def list_calendars(
    stale: bool,
) -> Call[calendar_pb2.ListCalendarsRequest, calendar_pb2.ListCalendarsResponse, list[calendar_pb2.Calendar]]:
    """ListCalendars."""
    request = calendar_pb2.ListCalendarsRequest(consistency=_consistency(stale))
    return Call(LIST_CALENDARS, request, lambda response: list(response.calendars))


def update_calendar(
    calendar: calendar_pb2.Calendar, request_id: str | None
) -> Call[calendar_pb2.UpdateCalendarRequest, calendar_pb2.UpdateCalendarResponse, calendar_pb2.Calendar]:
    """UpdateCalendar."""
    request = calendar_pb2.UpdateCalendarRequest(calendar=calendar, request_id=_id(request_id))
    return Call(UPDATE_CALENDAR, request, lambda response: response.calendar, True, request.request_id)


def delete_calendar(
    name: str, request_id: str | None
) -> Call[calendar_pb2.DeleteCalendarRequest, empty_pb2.Empty, None]:
    """DeleteCalendar."""
    request = calendar_pb2.DeleteCalendarRequest(name=name, request_id=_id(request_id))
    return Call(DELETE_CALENDAR, request, lambda _: None, True, request.request_id)


def list_tasks(
    name_prefix: str,
    labels: Mapping[str, str] | None,
    state: task_pb2.TaskState.ValueType,
    order_by: str,
    page_size: int,
    stale: bool,
    condition: task_pb2.TaskCondition.ValueType = task_pb2.TASK_CONDITION_UNSPECIFIED,
    name_contains: str = "",
) -> Paged[task_pb2.ListTasksRequest, task_pb2.ListTasksResponse, task_pb2.Task]:
    """ListTasks."""

    def page(
        token: str,
    ) -> Call[task_pb2.ListTasksRequest, task_pb2.ListTasksResponse, tuple[list[task_pb2.Task], str]]:
        request = task_pb2.ListTasksRequest(
            page_size=page_size,
            page_token=token,
            name_prefix=name_prefix,
            labels=labels,
            state=state,
            order_by=order_by,
            condition=condition,
            name_contains=name_contains,
            consistency=_consistency(stale),
        )
        return Call(LIST_TASKS, request, lambda response: (list(response.tasks), response.next_page_token))

    return Paged(page)


def update_task(
    changes: task_pb2.Task, mask: Iterable[str], request_id: str | None
) -> Call[task_pb2.UpdateTaskRequest, task_pb2.UpdateTaskResponse, task_pb2.Task]:
    """UpdateTask."""
    request = task_pb2.UpdateTaskRequest(
        task=changes, update_mask=FieldMask(paths=list(mask)), request_id=_id(request_id)
    )
    return Call(UPDATE_TASK, request, lambda response: response.task, True, request.request_id)


def delete_task(
    name: str, etag: str, request_id: str | None
) -> Call[task_pb2.DeleteTaskRequest, empty_pb2.Empty, None]:
    """DeleteTask."""
    request = task_pb2.DeleteTaskRequest(name=name, etag=etag, request_id=_id(request_id))
    return Call(DELETE_TASK, request, lambda _: None, True, request.request_id)


def pause_task(
    name: str, until: datetime | None, request_id: str | None
) -> Call[task_pb2.PauseTaskRequest, task_pb2.PauseTaskResponse, task_pb2.Task]:
    """PauseTask."""
    request = task_pb2.PauseTaskRequest(name=name, request_id=_id(request_id), resume_time=_stamp("until", until))
    return Call(PAUSE_TASK, request, lambda response: response.task, True, request.request_id)


def resume_task(
    name: str, request_id: str | None
) -> Call[task_pb2.ResumeTaskRequest, task_pb2.ResumeTaskResponse, task_pb2.Task]:
    """ResumeTask."""
    request = task_pb2.ResumeTaskRequest(name=name, request_id=_id(request_id))
    return Call(RESUME_TASK, request, lambda response: response.task, True, request.request_id)


def run_task(
    name: str, request_id: str | None
) -> Call[task_pb2.RunTaskRequest, task_pb2.RunTaskResponse, execution_pb2.Execution]:
    """RunTask."""
    request = task_pb2.RunTaskRequest(name=name, request_id=_id(request_id))
    return Call(RUN_TASK, request, lambda response: response.execution, True, request.request_id)


def backfill_task(
    name: str,
    start: datetime,
    end: datetime,
    dry_run: bool,
    max_executions: int,
    max_running: int,
    request_id: str | None,
) -> Call[task_pb2.BackfillTaskRequest, task_pb2.BackfillTaskResponse, list[task_pb2.BackfilledTime]]:
    """BackfillTask."""
    request = task_pb2.BackfillTaskRequest(
        name=name,
        start_time=_stamp("start", start),
        end_time=_stamp("end", end),
        dry_run=dry_run,
        max_executions=max_executions,
        max_running=max_running,
        request_id=_id(request_id),
    )
    return Call(BACKFILL_TASK, request, lambda response: list(response.times), True, request.request_id)


def preview_schedule(
    schedule: task_pb2.Schedule, count: int, after: datetime | None, task_name: str
) -> Call[task_pb2.PreviewScheduleRequest, task_pb2.PreviewScheduleResponse, task_pb2.PreviewScheduleResponse]:
    """PreviewSchedule."""
    request = task_pb2.PreviewScheduleRequest(
        schedule=schedule, count=count, after=_stamp("after", after), task_name=task_name
    )
    return Call(PREVIEW_SCHEDULE, request, lambda response: response)


def get_execution(
    execution_id: str, stale: bool = False
) -> Call[execution_pb2.GetExecutionRequest, execution_pb2.GetExecutionResponse, execution_pb2.Execution]:
    """GetExecution."""
    request = execution_pb2.GetExecutionRequest(id=execution_id, consistency=_consistency(stale))
    return Call(GET_EXECUTION, request, lambda response: response.execution)


def list_attempts(
    execution_id: str, page_size: int, stale: bool
) -> Paged[execution_pb2.ListAttemptsRequest, execution_pb2.ListAttemptsResponse, execution_pb2.Attempt]:
    """ListAttempts."""

    def page(
        token: str,
    ) -> Call[
        execution_pb2.ListAttemptsRequest,
        execution_pb2.ListAttemptsResponse,
        tuple[list[execution_pb2.Attempt], str],
    ]:
        request = execution_pb2.ListAttemptsRequest(
            id=execution_id, page_size=page_size, page_token=token, consistency=_consistency(stale)
        )
        return Call(LIST_ATTEMPTS, request, lambda response: (list(response.attempts), response.next_page_token))

    return Paged(page)


def list_executions(
    task: str,
    states: Iterable[execution_pb2.ExecutionState.ValueType],
    start: datetime | None,
    end: datetime | None,
    page_size: int,
    stale: bool,
    waiting_reasons: Iterable[execution_pb2.WaitingReason.ValueType] = (),
) -> Paged[execution_pb2.ListExecutionsRequest, execution_pb2.ListExecutionsResponse, execution_pb2.Execution]:
    """ListExecutions."""
    states, reasons = list(states), list(waiting_reasons)
    start_time, end_time = _range(start, end)

    def page(
        token: str,
    ) -> Call[
        execution_pb2.ListExecutionsRequest,
        execution_pb2.ListExecutionsResponse,
        tuple[list[execution_pb2.Execution], str],
    ]:
        request = execution_pb2.ListExecutionsRequest(
            page_size=page_size,
            page_token=token,
            task=task,
            states=states,
            waiting_reasons=reasons,
            start_time=start_time,
            end_time=end_time,
            consistency=_consistency(stale),
        )
        return Call(LIST_EXECUTIONS, request, lambda response: (list(response.executions), response.next_page_token))

    return Paged(page)


def cancel_execution(
    execution_id: str, request_id: str | None
) -> Call[execution_pb2.CancelExecutionRequest, execution_pb2.CancelExecutionResponse, execution_pb2.Execution]:
    """CancelExecution."""
    request = execution_pb2.CancelExecutionRequest(id=execution_id, request_id=_id(request_id))
    return Call(CANCEL_EXECUTION, request, lambda response: response.execution, True, request.request_id)


def list_ledger(
    task: str, start: datetime | None, end: datetime | None, page_size: int, stale: bool
) -> Paged[execution_pb2.ListLedgerRequest, execution_pb2.ListLedgerResponse, execution_pb2.LedgerEntry]:
    """ListLedger."""
    start_time, end_time = _range(start, end)

    def page(
        token: str,
    ) -> Call[
        execution_pb2.ListLedgerRequest,
        execution_pb2.ListLedgerResponse,
        tuple[list[execution_pb2.LedgerEntry], str],
    ]:
        request = execution_pb2.ListLedgerRequest(
            task=task,
            page_size=page_size,
            page_token=token,
            start_time=start_time,
            end_time=end_time,
            consistency=_consistency(stale),
        )
        return Call(LIST_LEDGER, request, lambda response: (list(response.entries), response.next_page_token))

    return Paged(page)


def list_ledgers(
    first_task: str, last_task: str, start: datetime | None, end: datetime | None, page_size: int, stale: bool
) -> Paged[execution_pb2.ListLedgersRequest, execution_pb2.ListLedgersResponse, execution_pb2.LedgerEntry]:
    """ListLedgers."""
    start_time, end_time = _range(start, end)

    def page(
        token: str,
    ) -> Call[
        execution_pb2.ListLedgersRequest,
        execution_pb2.ListLedgersResponse,
        tuple[list[execution_pb2.LedgerEntry], str],
    ]:
        request = execution_pb2.ListLedgersRequest(
            page_size=page_size,
            page_token=token,
            first_task=first_task,
            last_task=last_task,
            start_time=start_time,
            end_time=end_time,
            consistency=_consistency(stale),
        )
        return Call(LIST_LEDGERS, request, lambda response: (list(response.entries), response.next_page_token))

    return Paged(page)


def search_logs(
    request: history_pb2.SearchLogsRequest,
) -> Paged[history_pb2.SearchLogsRequest, history_pb2.SearchLogsResponse, history_pb2.LogRecord]:
    """SearchLogs; the page token of the request is set."""

    def page(
        token: str,
    ) -> Call[history_pb2.SearchLogsRequest, history_pb2.SearchLogsResponse, tuple[list[history_pb2.LogRecord], str]]:
        asked = history_pb2.SearchLogsRequest()
        asked.CopyFrom(request)
        asked.page_token = token
        return Call(SEARCH_LOGS, asked, lambda response: (list(response.records), response.next_page_token))

    return Paged(page)


def search_request(
    *,
    query: str,
    kinds: Iterable[history_pb2.LogKind.ValueType],
    task: str,
    task_prefix: str,
    labels: Mapping[str, str] | None,
    states: Iterable[execution_pb2.ExecutionState.ValueType],
    executor_id: str,
    start: datetime | None,
    end: datetime | None,
    min_duration: timedelta | None,
    max_duration: timedelta | None,
    exit_codes: Iterable[int],
    page_size: int,
) -> history_pb2.SearchLogsRequest:
    """The request of SearchLogs. Raises ValueError for a naive datetime."""
    start_time, end_time = _range(start, end)
    return history_pb2.SearchLogsRequest(
        page_size=page_size,
        query=query,
        kinds=kinds,
        task=task,
        task_prefix=task_prefix,
        labels=labels,
        states=states,
        executor_id=executor_id,
        start_time=start_time,
        end_time=end_time,
        min_duration=None if min_duration is None else to_duration(min_duration),
        max_duration=None if max_duration is None else to_duration(max_duration),
        exit_codes=exit_codes,
    )


def count_logs(
    start: datetime | None,
    end: datetime | None,
    bucket: timedelta | None,
    task: str,
    labels: Mapping[str, str] | None,
    percentiles: bool,
) -> Call[history_pb2.CountLogsRequest, history_pb2.CountLogsResponse, history_pb2.CountLogsResponse]:
    """CountLogs."""
    start_time, end_time = _range(start, end)
    request = history_pb2.CountLogsRequest(
        start_time=start_time,
        end_time=end_time,
        bucket=None if bucket is None else to_duration(bucket),
        task=task,
        labels=labels,
        percentiles=percentiles,
    )
    return Call(COUNT_LOGS, request, lambda response: response)


def count_days(
    task: str, start: datetime | None, end: datetime | None, time_zone: str
) -> Call[history_pb2.CountDaysRequest, history_pb2.CountDaysResponse, list[history_pb2.DayCount]]:
    """CountDays."""
    start_time, end_time = _range(start, end)
    request = history_pb2.CountDaysRequest(task=task, start_time=start_time, end_time=end_time, time_zone=time_zone)
    return Call(COUNT_DAYS, request, lambda response: list(response.days))


def list_recent_runs(
    tasks: Iterable[str], per_task: int
) -> Call[history_pb2.ListRecentRunsRequest, history_pb2.ListRecentRunsResponse, list[history_pb2.RecentRuns]]:
    """ListRecentRuns."""
    request = history_pb2.ListRecentRunsRequest(tasks=tasks, per_task=per_task)
    return Call(LIST_RECENT_RUNS, request, lambda response: list(response.tasks))


def list_task_changes(
    task: str, page_size: int
) -> Paged[history_pb2.ListTaskChangesRequest, history_pb2.ListTaskChangesResponse, history_pb2.TaskChange]:
    """ListTaskChanges."""

    def page(
        token: str,
    ) -> Call[
        history_pb2.ListTaskChangesRequest,
        history_pb2.ListTaskChangesResponse,
        tuple[list[history_pb2.TaskChange], str],
    ]:
        request = history_pb2.ListTaskChangesRequest(task=task, page_size=page_size, page_token=token)
        return Call(LIST_TASK_CHANGES, request, lambda response: (list(response.changes), response.next_page_token))

    return Paged(page)


def get_history_status() -> Call[
    history_pb2.GetHistoryStatusRequest, history_pb2.GetHistoryStatusResponse, history_pb2.GetHistoryStatusResponse
]:
    """GetHistoryStatus."""
    return Call(GET_HISTORY_STATUS, history_pb2.GetHistoryStatusRequest(), lambda response: response)


def get_status(
    local_only: bool,
) -> Call[cluster_pb2.GetStatusRequest, cluster_pb2.GetStatusResponse, cluster_pb2.GetStatusResponse]:
    """GetStatus."""
    return Call(GET_STATUS, cluster_pb2.GetStatusRequest(local_only=local_only), lambda response: response)


def transfer_leadership(
    node_id: str,
) -> Call[cluster_pb2.TransferLeadershipRequest, cluster_pb2.TransferLeadershipResponse, str]:
    """TransferLeadership."""
    request = cluster_pb2.TransferLeadershipRequest(node_id=node_id)
    return Call(TRANSFER_LEADERSHIP, request, lambda response: response.leader_id, changes=True)


def confirm_clock() -> Call[cluster_pb2.ConfirmClockRequest, cluster_pb2.ConfirmClockResponse, timedelta]:
    """ConfirmClock. To confirm again changes nothing more."""
    return Call(CONFIRM_CLOCK, cluster_pb2.ConfirmClockRequest(), lambda response: response.moved.ToTimedelta())


def repair_cursors(
    dry_run: bool, page_size: int
) -> Paged[cluster_pb2.RepairCursorsRequest, cluster_pb2.RepairCursorsResponse, cluster_pb2.CursorRepair]:
    """RepairCursors. What has been repaired is not repaired again."""

    def page(
        token: str,
    ) -> Call[
        cluster_pb2.RepairCursorsRequest,
        cluster_pb2.RepairCursorsResponse,
        tuple[list[cluster_pb2.CursorRepair], str],
    ]:
        request = cluster_pb2.RepairCursorsRequest(dry_run=dry_run, page_size=page_size, page_token=token)
        return Call(REPAIR_CURSORS, request, lambda response: (list(response.repairs), response.next_page_token))

    return Paged(page)


def _id(request_id: str | None) -> str:
    return request_id or uuid4().hex


def _consistency(stale: bool) -> Consistency.ValueType:
    return CONSISTENCY_STALE if stale else CONSISTENCY_UNSPECIFIED


def _range(start: datetime | None, end: datetime | None) -> tuple[Timestamp | None, Timestamp | None]:
    return _stamp("start", start), _stamp("end", end)


def _stamp(field: str, moment: datetime | None) -> Timestamp | None:
    return None if moment is None else to_timestamp(moment, field)
