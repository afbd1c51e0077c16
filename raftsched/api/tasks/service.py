"""TaskService: registers tasks and changes them. Runs on the leader, but for stale reads."""
# The names of the methods are those of the rpcs, each of which is given a context.
# ruff: noqa: ARG002, N802

import asyncio
from collections.abc import Callable

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import cluster_pb2, consistency_pb2, execution_pb2, policy_pb2, task_pb2, task_pb2_grpc

from raftsched.api.calendars.known import KnownCalendars, known_calendars, read_calendars
from raftsched.api.context import ApiContext, CallContext
from raftsched.api.convert import public_task, revision_of, uid_text
from raftsched.api.door.errors import ApiError, already_exists, etag_mismatch, raise_for_outcome
from raftsched.api.executions.listing import read_execution
from raftsched.api.executions.waits import Waits, explain_with, show_waits
from raftsched.api.proposals import ATTEMPTS, Proposals, Reads, remembered, scoped
from raftsched.api.tasks.as_of import task_as_of
from raftsched.api.tasks.backfill import backfilled, check_backfill, dry_run, nominal_times
from raftsched.api.tasks.batch import create_tasks
from raftsched.api.tasks.change import plan_change
from raftsched.api.tasks.listing import list_tasks, read_task
from raftsched.api.tasks.preview import preview
from raftsched.api.tasks.warnings import Warner
from raftsched.api.tasks.withdrawal import await_withdrawn
from raftsched.core.machine.wellformed import MAX_EVERY
from raftsched.core.state import ids
from raftsched.core.state.model import Cursor
from raftsched.core.state.rows import timestamp_us
from raftsched.definitions.fields import check_name, check_request_id, check_time
from raftsched.definitions.task import changed_task, check_mask, definition, new_task_in_time, refuse_huge
from raftsched.definitions.violations import Invalid, Violations
from raftsched.ports import Reader, Table

Edit = Callable[[task_pb2.Task, int, KnownCalendars], task_pb2.Task]
"""From the current definition, the time and the calendars of both to the wanted definition."""


class TaskService(task_pb2_grpc.TaskServiceServicer):
    """See task.proto."""

    def __init__(self, api: ApiContext, waits: Waits | None = None) -> None:
        """``waits``: the surveys of what waits, if others use them too."""
        self._api = api
        self._waits = waits or Waits(api)
        self._proposals = Proposals(api)
        self._reads = Reads(api)

    async def CreateTask(
        self, request: task_pb2.CreateTaskRequest, context: CallContext
    ) -> task_pb2.CreateTaskResponse:
        """Register one task."""
        _check_id(request.request_id)
        refuse_huge(request.task)
        if request.validate_only:
            return task_pb2.CreateTaskResponse(task=self._warned(await self._validated(request.task)))
        key = scoped("CreateTask", request.request_id)
        for _ in range(ATTEMPTS):
            outcome, task = await self._register(request.task, key)
            if outcome.code != grpc.StatusCode.ABORTED.value[0]:
                break
        raise_for_outcome(outcome)
        raise_for_outcome(outcome.results[0])
        return task_pb2.CreateTaskResponse(task=self._warned(task))

    async def BatchCreateTasks(
        self, request: task_pb2.BatchCreateTasksRequest, context: CallContext
    ) -> task_pb2.BatchCreateTasksResponse:
        """Register many tasks, each whole or not at all."""
        _check_id(request.request_id)
        key = scoped("BatchCreateTasks", request.request_id)
        results = await create_tasks(self._proposals, self._reads, request.tasks, key)
        warner = Warner(self._api)
        for task, result in zip(request.tasks, results, strict=True):
            if not result.code:
                result.warnings.extend(warner.of(task))
        return task_pb2.BatchCreateTasksResponse(results=results)

    async def GetTask(self, request: task_pb2.GetTaskRequest, context: CallContext) -> task_pb2.GetTaskResponse:
        """Read one task."""
        _check(request.name)
        async with self._reads.view(request.consistency) as reader:
            row, cursor = read_task(reader, request.name)
            task = self._warned(self._as_of_now(reader, row, cursor))
        survey = await self._waits.survey()
        if survey is not None:
            task.waiting.extend(show_waits(survey.of_task(request.name, row.uid)))
        return task_pb2.GetTaskResponse(task=task)

    async def ListTasks(self, request: task_pb2.ListTasksRequest, context: CallContext) -> task_pb2.ListTasksResponse:
        """Read a page of tasks, by name."""
        waiting: set[str] = set()
        if request.condition == task_pb2.TASK_CONDITION_WAITING:
            survey = await self._waits.survey()
            waiting = survey.tasks() if survey is not None else set()
        async with self._reads.view(request.consistency) as reader:
            return await list_tasks(reader, request, self._api.clock.now_us(), waiting)

    async def UpdateTask(
        self, request: task_pb2.UpdateTaskRequest, context: CallContext
    ) -> task_pb2.UpdateTaskResponse:
        """Replace fields of a task."""
        refuse_huge(request.task)
        _check(request.task.name, request.request_id)
        check_mask(request.update_mask)

        def edit(current: task_pb2.Task, now_us: int, calendars: KnownCalendars) -> task_pb2.Task:
            return changed_task(current, request.task, request.update_mask, now_us, calendars)

        key = scoped("UpdateTask", request.request_id)
        task = await self._change(request.task.name, key, edit, request.task.etag, request.task.schedule)
        return task_pb2.UpdateTaskResponse(task=self._warned(task))

    async def DeleteTask(self, request: task_pb2.DeleteTaskRequest, context: CallContext) -> Empty:
        """Remove a task."""
        _check(request.name, request.request_id)
        command = self._proposals.command(scoped("DeleteTask", request.request_id))
        command.delete_task.name = request.name
        command.delete_task.expected_revision = revision_of(request.etag) if request.etag else 0
        outcome = await self._proposals.propose(command)
        raise_for_outcome(outcome)
        await await_withdrawn(self._api, outcome.withdrawn)
        return Empty()

    async def PauseTask(self, request: task_pb2.PauseTaskRequest, context: CallContext) -> task_pb2.PauseTaskResponse:
        """Stop firing a task."""
        _check(request.name, request.request_id)
        key = scoped("PauseTask", request.request_id)
        edit = _paused_until(request.resume_time if request.HasField("resume_time") else None)
        return task_pb2.PauseTaskResponse(task=await self._change(request.name, key, edit))

    async def ResumeTask(
        self, request: task_pb2.ResumeTaskRequest, context: CallContext
    ) -> task_pb2.ResumeTaskResponse:
        """Fire a paused task again, from now on."""
        _check(request.name, request.request_id)
        key = scoped("ResumeTask", request.request_id)
        return task_pb2.ResumeTaskResponse(task=self._warned(await self._change(request.name, key, _resumed)))

    async def RunTask(self, request: task_pb2.RunTaskRequest, context: CallContext) -> task_pb2.RunTaskResponse:
        """Fire a task now."""
        _check(request.name, request.request_id)
        command = self._proposals.command(scoped("RunTask", request.request_id))
        command.run_task.name = request.name
        command.run_task.executor_ids.extend(await self._every_executor(request.name))
        outcome = await self._proposals.propose(command)
        raise_for_outcome(outcome)
        return task_pb2.RunTaskResponse(execution=self._execution(outcome.execution_id, request.name))

    async def BackfillTask(
        self, request: task_pb2.BackfillTaskRequest, context: CallContext
    ) -> task_pb2.BackfillTaskResponse:
        """Run the nominal times of a past range, or say which there are."""
        check_backfill(request, self._api.clock.now_us())
        key = "" if request.dry_run else scoped("BackfillTask", request.request_id)
        for _ in range(ATTEMPTS):
            async with self._reads.view() as reader:
                outcome = remembered(reader, key)
                row = None if outcome is not None else read_task(reader, request.name)[0]
                calendars = read_calendars(reader, *([row.task.schedule] if row is not None else []))
            if row is not None:
                # A schedule that rarely matches is searched for a while.
                times_us = await asyncio.to_thread(nominal_times, row.task, request, calendars)
                if request.dry_run:
                    async with self._reads.view(consistency_pb2.CONSISTENCY_STALE) as reader:
                        return dry_run(reader, row, times_us)
                command = self._proposals.command(key)
                command.backfill_task.CopyFrom(
                    pb.BackfillTask(
                        name=request.name,
                        expected_revision=row.revision,
                        nominal_us=times_us,
                        max_running=request.max_running,
                    )
                )
                outcome = await self._proposals.propose(command)
            if outcome is not None and outcome.code != grpc.StatusCode.ABORTED.value[0]:
                raise_for_outcome(outcome)
                return backfilled(outcome)
        raise etag_mismatch(request.name)

    async def PreviewSchedule(
        self, request: task_pb2.PreviewScheduleRequest, context: CallContext
    ) -> task_pb2.PreviewScheduleResponse:
        """Say when a schedule would fire."""
        with self._api.store.read() as reader:
            calendars = read_calendars(reader, request.schedule)
        # A schedule that rarely matches is searched for a while.
        return await asyncio.to_thread(preview, request, self._api.clock.now_us(), calendars)

    async def _validated(self, sent: task_pb2.Task) -> task_pb2.Task:
        """The task as it would be registered. Raises ApiError (INVALID_ARGUMENT, ALREADY_EXISTS)."""
        calendars = await known_calendars(self._reads, [sent.schedule])
        new = await new_task_in_time(sent, self._api.clock.now_us(), calendars)
        async with self._reads.view() as reader:
            if reader.get(Table.TASKS, new.task.name.encode()) is not None:
                raise already_exists(new.task.name)
        task = public_task(pb.TaskRow(task=new.task), Cursor(new.next_us))
        task.uid = task.etag = ""
        return task

    def _warned(self, task: task_pb2.Task) -> task_pb2.Task:
        """The task with what keeps it from doing what it says."""
        task.warnings.extend(Warner(self._api).of(task))
        return task

    async def _register(self, task: task_pb2.Task, key: str) -> tuple[pb.Outcome, task_pb2.Task]:
        """Propose a new task; what came of it, and the task if it was created.

        ABORTED when a calendar of it has changed meanwhile.
        """

        def look(outcome: pb.Outcome, reader: Reader) -> tuple[pb.Outcome, task_pb2.Task]:
            created = not outcome.code and not outcome.results[0].code
            return outcome, self._shown_in(reader, task, outcome.results[0].uid) if created else task_pb2.Task()

        calendars = await known_calendars(self._reads, [task.schedule])
        command = self._proposals.command(key)
        try:
            new = await new_task_in_time(task, command.now_us, calendars)
        except Invalid:
            # An earlier call with this id may have been in time for a schedule that has ended since.
            if not key:
                raise
            async with self._reads.view() as reader:
                outcome = remembered(reader, key)
                if outcome is None:
                    raise
                return look(outcome, reader)
        command.register_tasks.items.add(task=new.task, next_us=new.next_us, calendars_revision=calendars.revision)
        return await self._proposals.propose_early(command, look)

    async def _change(
        self, name: str, key: str, edit: Edit, etag: str = "", schedule: task_pb2.Schedule | None = None
    ) -> task_pb2.Task:
        """Read, edit and replace a task, unless that was done under this request id before."""
        for _ in range(ATTEMPTS):
            async with self._reads.view() as reader:
                outcome = remembered(reader, key)
                row, cursor = read_task(reader, name)
                calendars = read_calendars(reader, row.task.schedule, schedule or row.task.schedule)
            if outcome is not None:
                return await self._settled(outcome, definition(row.task), row.uid, again=True)
            if etag and revision_of(etag) != row.revision:
                raise etag_mismatch(name)
            command = self._proposals.command(key)
            wanted = await asyncio.to_thread(edit, row.task, command.now_us, calendars)
            # To count what a long pause left out may take half a second.
            body = await asyncio.to_thread(plan_change, row, cursor, wanted, command.now_us, calendars)
            if body is None:
                return self._shown(wanted, row.uid)
            if not self._api.gate.allows("raftsched.internal.v1.ReplaceTask.kept_us"):
                body.ClearField("kept_us")
            command.replace_task.CopyFrom(body)
            outcome = await self._proposals.propose(command)
            if outcome.code != grpc.StatusCode.ABORTED.value[0]:
                raise_for_outcome(outcome)
                return await self._settled(outcome, wanted, outcome.uid)
        raise etag_mismatch(name)

    async def _settled(
        self, outcome: pb.Outcome, written: task_pb2.Task, uid: int, *, again: bool = False
    ) -> task_pb2.Task:
        """The task, once nothing starts any more on the terms that it had before, with what has."""
        warnings = await await_withdrawn(self._api, outcome.withdrawn, again=again)
        task = self._shown(written, uid)
        task.warnings.extend(warnings)
        return task

    def _as_of_now(self, reader: Reader, row: pb.TaskRow, cursor: Cursor) -> task_pb2.Task:
        return task_as_of(reader, row, cursor, self._api.clock.now_us())

    def _shown(self, written: task_pb2.Task, uid: int) -> task_pb2.Task:
        with self._api.store.read() as reader:
            return self._shown_in(reader, written, uid)

    def _shown_in(self, reader: Reader, written: task_pb2.Task, uid: int) -> task_pb2.Task:
        """The task as it stands; the definition that was written, when it has been deleted again meanwhile."""
        try:
            row, cursor = read_task(reader, written.name)
        except ApiError:
            row = None
        if row is not None and row.uid == uid:
            return self._as_of_now(reader, row, cursor)
        shown = definition(written)
        shown.uid = uid_text(uid)
        return shown

    async def _every_executor(self, name: str) -> list[str]:
        """The executors that a task with placement EVERY runs on just now; none for others."""
        with self._api.store.read() as reader:
            value = reader.get(Table.TASKS, name.encode())
        if value is None:
            # It may have been created a moment ago.
            async with self._reads.view() as reader:
                value = reader.get(Table.TASKS, name.encode())
        task = pb.TaskRow.FromString(value or b"").task
        if task.placement != policy_pb2.PLACEMENT_EVERY:
            return []
        wanted = task.executor_labels.items()
        return [
            executor.id
            for executor in self._api.executors()
            if executor.state == cluster_pb2.EXECUTOR_STATE_READY and wanted <= executor.labels.items()
        ][:MAX_EVERY]

    def _execution(self, execution_id: bytes, task: str) -> execution_pb2.Execution:
        with self._api.store.read() as reader:
            explain = explain_with(self._api.explainer(reader))
            return read_execution(reader, execution_id, explain) or execution_pb2.Execution(
                id=ids.to_text(execution_id), task=task
            )


def _check(name: str, request_id: str = "") -> None:
    violations = Violations()
    check_name(violations, "name", name)
    check_request_id(violations, request_id)
    violations.raise_any()


def _check_id(request_id: str) -> None:
    violations = Violations()
    check_request_id(violations, request_id)
    violations.raise_any()


def _paused_until(resume_time: Timestamp | None) -> Edit:
    def edit(current: task_pb2.Task, now_us: int, _calendars: KnownCalendars) -> task_pb2.Task:
        task = definition(current)
        task.paused = True
        task.ClearField("resume_time")
        if resume_time is not None:
            task.resume_time.CopyFrom(resume_time)
            violations = Violations()
            check_time(violations, "resume_time", task.resume_time)
            if not violations and timestamp_us(task.resume_time) <= now_us:
                violations.add("resume_time", "must lie in the future")
            violations.raise_any()
        return task

    return edit


def _resumed(current: task_pb2.Task, _now_us: int, _calendars: KnownCalendars) -> task_pb2.Task:
    task = definition(current)
    task.paused = False
    task.ClearField("resume_time")
    return task
