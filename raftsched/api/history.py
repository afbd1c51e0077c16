"""HistoryService: searches and counts what happened, in the index of the node that is asked."""
# The names of the methods are those of the rpcs, each of which is given a context.
# ruff: noqa: ARG002, N802

import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import grpc
from raftsched_proto.v1 import history_pb2, history_pb2_grpc

from raftsched.api.context import ApiContext, CallContext
from raftsched.api.convert import public_execution, public_ledger_entry
from raftsched.api.door.errors import ApiError, invalid_field, overloaded
from raftsched.api.paging import MAX_PAGE_BYTES, decode_token, encode_token, page_size
from raftsched.core.machine.wellformed import MAX_NAME_BYTES, MAX_US
from raftsched.core.state.model import SECOND_US, ExecutionState, Trigger
from raftsched.core.state.rows import ExecutionRow, timestamp_us
from raftsched.core.times.zone import is_known
from raftsched.definitions.fields import check_duration, check_enum, check_labels, check_name, check_time, quoted
from raftsched.definitions.violations import Violations
from raftsched.history import counts
from raftsched.history.query import QuerySyntaxError
from raftsched.history.reader import NotReady, TooMuch
from raftsched.history.records import Kind, ledger_key_of
from raftsched.history.schema import seq_ms
from raftsched.history.search import DEFAULT_KINDS, Found, Hit, Search, recent_runs, search

T = TypeVar("T")
MAX_BUCKETS = 1_000
MAX_DAYS = 3_660
MAX_RUN_TASKS = 500
_DEFAULT_BUCKETS = 60
_LONGEST_US = 400 * 366 * 86_400 * SECOND_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HistoryService(history_pb2_grpc.HistoryServiceServicer):
    """See history.proto."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api

    async def SearchLogs(
        self, request: history_pb2.SearchLogsRequest, context: CallContext
    ) -> history_pb2.SearchLogsResponse:
        """Find records, newest first."""
        limit = page_size(request.page_size, 100, 1_000)
        wanted = _search(request)
        before = int.from_bytes(decode_token(request, request.page_token), "big")
        found = await self._found(wanted, before, limit)
        response = history_pb2.SearchLogsResponse()
        last, size = 0, 0
        for hit in found.hits:
            record = _record(hit)
            if size >= MAX_PAGE_BYTES:
                break
            response.records.append(record)
            last, size = hit.seq, size + record.ByteSize()
        resume = found.resume if len(response.records) == len(found.hits) else last
        response.next_page_token = _token(request, resume)
        return response

    async def CountLogs(
        self, request: history_pb2.CountLogsRequest, context: CallContext
    ) -> history_pb2.CountLogsResponse:
        """Count executions per bucket of time."""
        span, now_us = self._span(request), self._api.clock.now_us()
        buckets = await self._ask(lambda sql: counts.count(sql, span, now_us, percentiles=request.percentiles))
        response = history_pb2.CountLogsResponse()
        response.start_time.FromMilliseconds(span.start_ms)
        response.bucket.FromMilliseconds(span.bucket_ms)
        totals: dict[int, int] = {}
        for number, bucket in buckets.items():
            shown = response.buckets.add(counts=_counts(bucket.states), late_count=bucket.late)
            shown.start_time.FromMilliseconds(span.start_ms + number * span.bucket_ms)
            for state, count in bucket.states.items():
                totals[state] = totals.get(state, 0) + count
            for spread, percentiles in ((bucket.lateness, shown.lateness), (bucket.duration, shown.duration)):
                if spread.bins:
                    _fill(percentiles, spread)
        response.totals.extend(_counts(totals))
        response.late_count = sum(bucket.late for bucket in buckets.values())
        return response

    async def CountDays(
        self, request: history_pb2.CountDaysRequest, context: CallContext
    ) -> history_pb2.CountDaysResponse:
        """Count the executions of a task on each day."""
        violations = Violations()
        has_start = request.HasField("start_time")
        check_name(violations, "task", request.task)
        check_time(violations, "start_time", request.start_time)
        check_time(violations, "end_time", request.end_time)
        violations.raise_any()
        zone = _zone(request.time_zone)
        now_us = self._api.clock.now_us()
        end = _time(timestamp_us(request.end_time) or now_us)
        earliest = max(_EPOCH, end - timedelta(days=365))
        start = _time(timestamp_us(request.start_time)) if has_start else earliest
        if not timedelta(0) <= end - start <= timedelta(days=MAX_DAYS):
            raise invalid_field("end_time", f"must lie at most {MAX_DAYS:,} days after start_time, and not before it")
        days = await self._ask(lambda sql: counts.count_days(sql, request.task, start, end, zone, now_us))
        return history_pb2.CountDaysResponse(
            days=[
                history_pb2.DayCount(date=date, counts=_counts(day.states), late_count=day.late)
                for date, day in days.items()
            ]
        )

    async def ListRecentRuns(
        self, request: history_pb2.ListRecentRunsRequest, context: CallContext
    ) -> history_pb2.ListRecentRunsResponse:
        """The last executions of many tasks."""
        violations = Violations()
        if not 1 <= len(request.tasks) <= MAX_RUN_TASKS:
            violations.add("tasks", f"{len(request.tasks)} names; 1 to {MAX_RUN_TASKS} are allowed")
        for name in request.tasks[:MAX_RUN_TASKS]:
            check_name(violations, "tasks", name)
        if not 0 <= request.per_task <= 50:
            violations.add("per_task", "must be from 1 to 50")
        violations.raise_any()
        names = list(request.tasks)
        runs = await self._ask(lambda sql: recent_runs(sql, names, request.per_task or 20))
        response = history_pb2.ListRecentRunsResponse()
        for name, of_task in zip(names, runs, strict=True):
            shown = response.tasks.add(task=name)
            for run in of_task:
                item = shown.runs.add(execution_id=run.execution_id, state=run.state)
                item.nominal_time.FromMilliseconds(run.nominal_ms)
                if run.duration_us is not None:
                    item.duration.FromMicroseconds(run.duration_us)
        return response

    async def ListTaskChanges(
        self, request: history_pb2.ListTaskChangesRequest, context: CallContext
    ) -> history_pb2.ListTaskChangesResponse:
        """The definitions that a task had, newest first."""
        limit = page_size(request.page_size, 100, 1_000)
        violations = Violations()
        check_name(violations, "task", request.task)
        violations.raise_any()
        before = int.from_bytes(decode_token(request, request.page_token), "big")
        wanted = Search(kinds=frozenset((Kind.TASK_CHANGE,)), task=request.task)
        found = await self._found(wanted, before, limit)
        changes = [history_pb2.TaskChange.FromString(hit.body) for hit in found.hits]
        return history_pb2.ListTaskChangesResponse(changes=changes, next_page_token=_token(request, found.resume))

    async def GetHistoryStatus(
        self, request: history_pb2.GetHistoryStatusRequest, context: CallContext
    ) -> history_pb2.GetHistoryStatusResponse:
        """How far the index of this node is."""
        try:
            status = await self._ask(_status)
        except ApiError as error:
            if error.code is not grpc.StatusCode.UNAVAILABLE:
                raise
            status = history_pb2.GetHistoryStatusResponse(problem=error.message)
        status.node_id = self._api.node_id
        status.problem = self._api.history_problem() or status.problem
        status.sinks.extend(map(_sink, self._api.history_sinks()))
        status.lag_entries = max(0, self._api.log.status().applied_index - status.cursor_index)
        return status

    async def _found(self, wanted: Search, before: int, limit: int) -> Found:
        try:
            return await self._ask(lambda sql: search(sql, wanted, before, limit))
        except QuerySyntaxError as error:
            raise invalid_field("query", str(error)) from None

    async def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        if self._api.history is None:
            raise _not_ready("this node keeps no history index")
        try:
            return await self._api.history.ask(question)
        except NotReady as error:
            raise _not_ready(f"{error}. Repeat the call a little later, or ask another node") from None
        except TooMuch as error:
            raise overloaded(str(error)) from None

    def _span(self, request: history_pb2.CountLogsRequest) -> counts.Span:
        violations = Violations()
        has_start = request.HasField("start_time")
        check_time(violations, "start_time", request.start_time)
        check_time(violations, "end_time", request.end_time)
        if request.HasField("bucket"):
            check_duration(violations, "bucket", request.bucket, SECOND_US, _LONGEST_US)
        if request.task:
            check_name(violations, "task", request.task)
        check_labels(violations, "labels", request.labels)
        violations.raise_any()
        end_us = timestamp_us(request.end_time) or self._api.clock.now_us()
        end_ms = -(-end_us // 1000)
        start_ms = timestamp_us(request.start_time) // 1000 if has_start else max(0, end_ms - 3_600_000)
        if start_ms > end_ms:
            raise invalid_field("end_time", "lies before start_time")
        bucket_ms = timestamp_us(request.bucket) // 1000 or max(1000, -(-(end_ms - start_ms) // _DEFAULT_BUCKETS))
        if (end_ms - start_ms) / bucket_ms > MAX_BUCKETS:
            raise invalid_field("bucket", f"gives more than {MAX_BUCKETS:,} buckets")
        return counts.Span(
            start_ms=start_ms, end_ms=end_ms, bucket_ms=bucket_ms, task=request.task, labels=dict(request.labels)
        )


def _not_ready(message: str) -> ApiError:
    return ApiError(grpc.StatusCode.UNAVAILABLE, "HISTORY_NOT_READY", message, retry_delay_s=1.0)


def _zone(name: str) -> ZoneInfo:
    if name and not is_known(name):
        raise invalid_field("time_zone", f"{quoted(name)} is no IANA time zone that this node knows")
    return ZoneInfo(name or "UTC")


def _time(time_us: int) -> datetime:
    # Far enough from the year 10000 for any zone and the day after.
    return _EPOCH + timedelta(microseconds=min(time_us, MAX_US - 366 * 86_400 * SECOND_US))


def _token(request: history_pb2.SearchLogsRequest | history_pb2.ListTaskChangesRequest, resume: int) -> str:
    return encode_token(request, resume.to_bytes(8, "big") if resume else b"")


def _search(request: history_pb2.SearchLogsRequest) -> Search:
    violations = Violations()
    for kind in request.kinds:
        check_enum(violations, "kinds", kind, Kind)
    for state in request.states:
        check_enum(violations, "states", state, ExecutionState)
    for trigger in request.triggers:
        check_enum(violations, "triggers", trigger, Trigger)
    if request.task:
        check_name(violations, "task", request.task)
    if len(request.task_prefix.encode()) > MAX_NAME_BYTES:
        violations.add("task_prefix", f"is longer than {MAX_NAME_BYTES} bytes, as no name is")
    if len(request.executor_id) > 200:
        violations.add("executor_id", "is longer than 200 characters, as no id is")
    if len(request.exit_codes) > 100:
        violations.add("exit_codes", "are more than 100")
    check_labels(violations, "labels", request.labels)
    check_time(violations, "start_time", request.start_time)
    check_time(violations, "end_time", request.end_time)
    for name in ("min_duration", "max_duration"):
        if request.HasField(name):
            check_duration(violations, name, getattr(request, name), 0, _LONGEST_US)
    violations.raise_any()
    return Search(
        kinds=frozenset(request.kinds) or DEFAULT_KINDS,
        query=request.query,
        task=request.task,
        task_prefix=request.task_prefix,
        labels=dict(request.labels),
        states=frozenset(request.states),
        executor=request.executor_id,
        start_us=timestamp_us(request.start_time),
        end_us=timestamp_us(request.end_time),
        min_duration_us=timestamp_us(request.min_duration) if request.HasField("min_duration") else None,
        max_duration_us=timestamp_us(request.max_duration) if request.HasField("max_duration") else None,
        exit_codes=frozenset(request.exit_codes),
        triggers=frozenset(request.triggers),
    )


def _record(hit: Hit) -> history_pb2.LogRecord:
    record = history_pb2.LogRecord(kind=hit.kind.value, task=hit.task, snippet=hit.snippet)  # type: ignore[arg-type]
    if hit.kind is Kind.EXECUTION:
        record.execution.CopyFrom(public_execution(hit.key, ExecutionRow.FromString(hit.body)))
        record.time.CopyFrom(record.execution.nominal_time)
    elif hit.kind is Kind.DECISION:
        record.decision.CopyFrom(public_ledger_entry(ledger_key_of(hit.key), hit.body))
        record.time.CopyFrom(record.decision.nominal_time)
    else:
        record.change.ParseFromString(hit.body)
        record.time.CopyFrom(record.change.time)
    return record


def _counts(states: Mapping[int, int]) -> list[history_pb2.StateCount]:
    return [
        history_pb2.StateCount(state=state, count=count)  # type: ignore[arg-type]
        for state, count in sorted(states.items())
    ]


def _fill(percentiles: history_pb2.Percentiles, spread: counts.Spread) -> None:
    percentiles.count = spread.bins.total()
    for field, share in (
        (percentiles.p50, 0.5),
        (percentiles.p90, 0.9),
        (percentiles.p99, 0.99),
        (percentiles.max, 1.0),
    ):
        field.FromMicroseconds(spread.percentile_us(share))


def _sink(state: dict[str, Any]) -> history_pb2.SinkStatus:
    shown = history_pb2.SinkStatus(
        name=state["name"],
        kind=state["kind"],
        active=state["active"],
        shipped_records=state["shipped"],
        refused_records=state["refused"],
        waiting_records=state["waiting"],
        problem=state["problem"],
    )
    if state["failing_since_us"]:
        shown.failing_since.FromMicroseconds(state["failing_since_us"])
    return shown


def _status(sql: sqlite3.Connection) -> history_pb2.GetHistoryStatusResponse:
    numbers = {key: value for key, value in sql.execute("SELECT key, value FROM meta") if isinstance(value, int)}
    pages, free, page_bytes = (
        sql.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    status = history_pb2.GetHistoryStatusResponse(
        cursor_index=numbers.get("cursor", 0),
        catching_up=bool(numbers.get("catching_up", 0)),
        caught_up_rows=numbers.get("caught_up_rows", 0) if numbers.get("catching_up", 0) else 0,
        executions=numbers.get("records_1", 0),
        decisions=numbers.get("records_2", 0),
        task_changes=numbers.get("records_3", 0),
        size_bytes=(pages - free) * page_bytes,
        deleted_records=numbers.get("deleted_records", 0),
        lost_records=numbers.get("lost_records", 0),
        waiting_outputs=sql.execute("SELECT count(*) FROM wanted_outputs").fetchone()[0],
        missing_outputs=numbers.get("missing_outputs", 0),
    )
    oldest = sql.execute("SELECT min(seq) FROM records WHERE kind <> 3").fetchone()[0]
    if oldest is not None:
        status.oldest_time.FromMilliseconds(min(seq_ms(oldest), MAX_US // 1000))
    return status
