"""TaskService over a socket, on a single real node."""

import asyncio

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import consistency_pb2, execution_pb2, policy_pb2, task_pb2

from raftsched.core.state.model import Decision
from raftsched.core.state.rows import LedgerRow
from raftsched.ports import Table
from tests.support.api_cluster import ApiCluster, eventually, on_cluster, refused

SECOND = 1_000_000


def task(name: str, **fields: object) -> task_pb2.Task:
    message = task_pb2.Task(name=name, **fields)
    if not message.HasField("schedule"):
        message.schedule.cron.expression = "0 3 * * *"
    if not message.HasField("action"):
        message.action.noop.SetInParent()
    return message


def interval(every_s: int) -> task_pb2.Schedule:
    schedule = task_pb2.Schedule()
    schedule.interval.every.seconds = every_s
    return schedule


def create(message: task_pb2.Task, request_id: str = "") -> task_pb2.CreateTaskRequest:
    return task_pb2.CreateTaskRequest(task=message, request_id=request_id)


def update(message: task_pb2.Task, *paths: str, request_id: str = "") -> task_pb2.UpdateTaskRequest:
    return task_pb2.UpdateTaskRequest(task=message, update_mask=FieldMask(paths=paths), request_id=request_id)


@on_cluster()
async def test_create_fills_defaults_and_output_only_fields(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    sent = task("backup", labels={"team": "db"}, uid="ignored", etag="ignored", generation=99)
    created = (await tasks.CreateTask(create(sent))).task
    assert created.uid not in ("", "ignored")
    assert created.etag.startswith(created.uid + "-")
    assert created.generation == 1
    assert created.state == task_pb2.TASK_STATE_ACTIVE
    assert created.next_fire_time.ToDatetime().hour == 3
    assert not created.HasField("last_fire_time")
    assert created.create_time == created.update_time
    assert created.schedule.cron.time_zone == "UTC"
    assert created.misfire_policy == policy_pb2.MISFIRE_POLICY_ONE
    assert created.misfire_threshold.seconds == 10
    assert created.delivery == policy_pb2.DELIVERY_AT_LEAST_ONCE
    assert (await tasks.GetTask(task_pb2.GetTaskRequest(name="backup"))).task == created


@on_cluster()
async def test_an_interval_is_anchored_at_its_registration(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    created = (await tasks.CreateTask(create(task("tick", schedule=interval(60))))).task
    anchor_us = created.schedule.interval.anchor.ToMicroseconds()
    assert anchor_us == created.create_time.ToMicroseconds()
    assert created.next_fire_time.ToMicroseconds() == anchor_us + 60 * SECOND


@on_cluster()
async def test_all_that_is_wrong_is_told_at_once(cluster: ApiCluster) -> None:
    bad = task("-bad", labels={"a b": "x"})
    bad.schedule.cron.time_zone = "Mars/Olympus"
    told = await refused(cluster.caller().tasks.CreateTask(create(bad)))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(told.fields) == {"task.name", "task.labels", "task.schedule.cron.time_zone"}
    assert (told.info.domain, told.info.reason, told.applied) == ("raftsched", "INVALID_FIELDS", "no")


@on_cluster()
async def test_a_taken_name_is_refused(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("backup")))
    told = await refused(tasks.CreateTask(create(task("backup"))))
    assert told.code is grpc.StatusCode.ALREADY_EXISTS
    assert told.info.reason == "ALREADY_EXISTS"
    assert list(told.fields) == ["task.name"]


@on_cluster()
async def test_a_repeated_create_returns_the_same_task(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    first = (await tasks.CreateTask(create(task("backup"), "r1"))).task
    assert (await tasks.CreateTask(create(task("backup"), "r1"))).task == first
    # The same id in another kind of call is another request.
    await tasks.DeleteTask(task_pb2.DeleteTaskRequest(name="backup", request_id="r1"))
    assert (await refused(tasks.GetTask(task_pb2.GetTaskRequest(name="backup")))).code is grpc.StatusCode.NOT_FOUND


@on_cluster()
async def test_a_repeated_create_succeeds_after_its_schedule_has_passed(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    once = task("once", schedule=task_pb2.Schedule())
    once.misfire_threshold.seconds = 1
    once.schedule.at.FromMicroseconds(cluster.node.api.clock.now_us() - 500_000)
    first = (await tasks.CreateTask(create(once, "r1"))).task
    assert first.next_fire_time == once.schedule.at
    while (await refused_or_none(tasks.CreateTask(create(task_named(once, "other"))))) is None:
        await tasks.DeleteTask(task_pb2.DeleteTaskRequest(name="other"))
        await asyncio.sleep(0.05)
    assert (await tasks.CreateTask(create(once, "r1"))).task == first


def task_named(message: task_pb2.Task, name: str) -> task_pb2.Task:
    copy = task_pb2.Task()
    copy.CopyFrom(message)
    copy.name = name
    return copy


async def refused_or_none(call: "grpc.aio.UnaryUnaryCall[object, object]") -> grpc.StatusCode | None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


@on_cluster()
async def test_batch_gives_one_result_per_task_in_order(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("taken")))
    never = task("never")
    never.schedule.cron.expression = "0 0 30 2 *"
    batch = [task("a"), task("taken"), never, task("b"), task("a")]
    response = await tasks.BatchCreateTasks(task_pb2.BatchCreateTasksRequest(tasks=batch))
    assert [(result.name, result.code) for result in response.results] == [
        ("a", 0),
        ("taken", 6),
        ("never", 3),
        ("b", 0),
        ("a", 6),
    ]
    assert response.results[2].field == "task.schedule.cron.expression"
    assert response.results[0].uid == (await tasks.GetTask(task_pb2.GetTaskRequest(name="a"))).task.uid
    assert not response.results[2].uid


@on_cluster()
async def test_a_repeated_batch_returns_the_same_results(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    request = task_pb2.BatchCreateTasksRequest(
        tasks=[task(f"t{number:05}") for number in range(4_500)] + [task("")], request_id="r1"
    )
    first = await tasks.BatchCreateTasks(request)
    assert {result.code for result in first.results[:-1]} == {0}
    assert first.results[-1].code == 3
    assert await tasks.BatchCreateTasks(request) == first


@on_cluster()
async def test_a_batch_of_too_many_is_refused_whole(cluster: ApiCluster) -> None:
    request = task_pb2.BatchCreateTasksRequest(tasks=[task_pb2.Task(name="x")] * 10_001)
    told = await refused(cluster.caller().tasks.BatchCreateTasks(request))
    assert list(told.fields) == ["tasks"]


@on_cluster()
async def test_update_replaces_only_what_the_mask_names(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    created = (await tasks.CreateTask(create(task("backup", labels={"a": "1"})))).task
    change = task("backup", labels={"b": "2"}, paused=True)
    change.time_limit.seconds = 30
    updated = (await tasks.UpdateTask(update(change, "labels", "time_limit"))).task
    assert dict(updated.labels) == {"b": "2"}
    assert updated.time_limit.seconds == 30
    assert not updated.paused
    assert (updated.uid, updated.generation) == (created.uid, 1)
    assert updated.etag != created.etag
    assert updated.next_fire_time == created.next_fire_time


@on_cluster()
async def test_update_of_the_schedule_moves_the_next_fire(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("backup")))
    updated = (await tasks.UpdateTask(update(task("backup", schedule=interval(3600)), "schedule"))).task
    assert updated.generation == 2
    ahead_us = updated.next_fire_time.ToMicroseconds() - cluster.node.api.clock.now_us()
    assert 0 < ahead_us <= 3600 * SECOND


@on_cluster()
async def test_a_changed_interval_keeps_its_anchor(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    created = (await tasks.CreateTask(create(task("tick", schedule=interval(60))))).task
    same = (await tasks.UpdateTask(update(task("tick", schedule=interval(60)), "schedule"))).task
    assert same == created, "nothing has changed"
    slower = (await tasks.UpdateTask(update(task("tick", schedule=interval(90)), "schedule"))).task
    assert slower.schedule.interval.anchor == created.schedule.interval.anchor


@on_cluster()
async def test_update_refuses_a_bad_mask_and_a_bad_value(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("backup")))
    for paths in ((), ("name",), ("uid",), ("schedule.cron",)):
        told = await refused(tasks.UpdateTask(update(task("backup"), *paths)))
        assert (told.code, list(told.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["update_mask"])
    told = await refused(tasks.UpdateTask(update(task_pb2.Task(name="backup"), "schedule")))
    assert list(told.fields) == ["task.schedule"]


@on_cluster()
async def test_an_outdated_etag_aborts(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    created = (await tasks.CreateTask(create(task("backup")))).task
    await tasks.PauseTask(task_pb2.PauseTaskRequest(name="backup"))
    told = await refused(tasks.UpdateTask(update(task("backup", etag=created.etag), "labels", "delivery")))
    assert (told.code, told.info.reason, told.applied) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH", "no")
    told = await refused(tasks.DeleteTask(task_pb2.DeleteTaskRequest(name="backup", etag=created.etag)))
    assert told.code is grpc.StatusCode.ABORTED
    told = await refused(tasks.DeleteTask(task_pb2.DeleteTaskRequest(name="backup", etag="nonsense")))
    assert told.code is grpc.StatusCode.ABORTED


@on_cluster()
async def test_a_repeated_update_with_its_old_etag_succeeds(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    created = (await tasks.CreateTask(create(task("backup")))).task
    request = update(task("backup", etag=created.etag, labels={"a": "1"}), "labels", request_id="r1")
    first = await tasks.UpdateTask(request)
    assert await tasks.UpdateTask(request) == first


@on_cluster()
async def test_concurrent_updates_of_different_fields_all_count(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("backup")))
    limited = task("backup")
    limited.time_limit.seconds = 5
    await asyncio.gather(
        tasks.UpdateTask(update(task("backup", labels={"a": "1"}), "labels")),
        tasks.UpdateTask(update(limited, "time_limit")),
        tasks.PauseTask(task_pb2.PauseTaskRequest(name="backup")),
    )
    found = (await tasks.GetTask(task_pb2.GetTaskRequest(name="backup"))).task
    assert dict(found.labels) == {"a": "1"}
    assert (found.time_limit.seconds, found.paused) == (5, True)


@on_cluster()
async def test_pause_and_resume(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("tick", schedule=interval(1))))
    paused = (await tasks.PauseTask(task_pb2.PauseTaskRequest(name="tick"))).task
    assert paused.state == task_pb2.TASK_STATE_PAUSED
    assert not paused.HasField("next_fire_time")
    again = (await tasks.PauseTask(task_pb2.PauseTaskRequest(name="tick"))).task
    assert again == paused, "a task that is paused already is left as it is"
    resumed = (await tasks.ResumeTask(task_pb2.ResumeTaskRequest(name="tick"))).task
    assert resumed.state == task_pb2.TASK_STATE_ACTIVE
    assert resumed.generation == 1


@on_cluster()
async def test_pause_until_a_time_to_come(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("tick", schedule=interval(1))))
    later = Timestamp(seconds=4_000_000_000)
    paused = (await tasks.PauseTask(task_pb2.PauseTaskRequest(name="tick", resume_time=later))).task
    assert (paused.paused, paused.resume_time) == (True, later)
    passed = task_pb2.PauseTaskRequest(name="tick", resume_time=Timestamp(seconds=1))
    told = await refused(tasks.PauseTask(passed))
    assert list(told.fields) == ["resume_time"]
    resumed = (await tasks.ResumeTask(task_pb2.ResumeTaskRequest(name="tick"))).task
    assert (resumed.paused, resumed.HasField("resume_time")) == (False, False)


@on_cluster()
async def test_resume_records_what_the_pause_left_out(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    schedule = interval(1)
    created = (await tasks.CreateTask(create(task("tick", schedule=schedule, paused=True)))).task
    first_us = created.create_time.ToMicroseconds() + SECOND
    await eventually(lambda: cluster.node.api.clock.now_us() > first_us + SECOND)
    resumed = (await tasks.ResumeTask(task_pb2.ResumeTaskRequest(name="tick"))).task
    with cluster.node.store.read() as reader:
        [(_, value)] = reader.scan(Table.LEDGER)
    row = LedgerRow.FromString(value)
    assert (row.decision, row.reason) == (Decision.SKIPPED, "the task was paused")
    assert row.count == (row.last_nominal_us - first_us) // SECOND + 1 >= 2
    assert resumed.next_fire_time.ToMicroseconds() == row.last_nominal_us + SECOND
    assert resumed.last_fire_time.ToMicroseconds() == row.last_nominal_us


@on_cluster()
async def test_run_makes_a_manual_execution_and_repeats_it_not(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("backup", paused=True)))
    request = task_pb2.RunTaskRequest(name="backup", request_id="r1")
    execution = (await tasks.RunTask(request)).execution
    assert (execution.task, execution.trigger) == ("backup", execution_pb2.TRIGGER_MANUAL)
    assert execution.state == execution_pb2.EXECUTION_STATE_PENDING
    assert (await tasks.RunTask(request)).execution == execution
    assert (await tasks.RunTask(task_pb2.RunTaskRequest(name="backup"))).execution.id != execution.id


def anchored(every_s: int) -> task_pb2.Schedule:
    schedule = interval(every_s)
    schedule.interval.anchor.FromSeconds(1_600_000_000)
    return schedule


def backfill(begin_s: int, end_s: int, **fields: object) -> task_pb2.BackfillTaskRequest:
    first = 1_600_000_000
    return task_pb2.BackfillTaskRequest(
        name="backup",
        start_time=Timestamp(seconds=first + begin_s),
        end_time=Timestamp(seconds=first + end_s),
        **fields,
    )


@on_cluster()
async def test_backfill_makes_an_execution_for_each_nominal_time_and_repeats_it_not(cluster: ApiCluster) -> None:
    tasks, executions = cluster.caller().tasks, cluster.caller().executions
    await tasks.CreateTask(create(task("backup", schedule=anchored(60), paused=True)))
    dry = await tasks.BackfillTask(backfill(60, 240, dry_run=True, request_id="r1"))
    assert [time.nominal_time.seconds - 1_600_000_000 for time in dry.times] == [60, 120, 180]
    assert not any(time.execution_id or time.decided for time in dry.times)
    ledger = execution_pb2.ListLedgerRequest(task="backup")
    assert not (await executions.ListLedger(ledger)).entries
    done = await tasks.BackfillTask(backfill(60, 240, request_id="r1"))
    assert [time.nominal_time for time in done.times] == [time.nominal_time for time in dry.times]
    assert await tasks.BackfillTask(backfill(60, 240, request_id="r1")) == done
    entries = (await executions.ListLedger(ledger)).entries
    assert [entry.execution_id for entry in entries] == [time.execution_id for time in done.times]
    assert {entry.trigger for entry in entries} == {execution_pb2.TRIGGER_BACKFILL}
    told = await refused(tasks.BackfillTask(backfill(0, 120)))
    assert told.code is grpc.StatusCode.FAILED_PRECONDITION
    assert told.message.startswith("1 executions of another backfill between these times")
    dry = await tasks.BackfillTask(backfill(120, 121, dry_run=True))
    assert [entry.execution_id for entry in dry.times[0].decided] == [done.times[1].execution_id]


@on_cluster()
async def test_dry_run_of_a_backfill_shows_a_range_that_covers_the_nominal_time(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    begin = (await tasks.CreateTask(create(task("backup", schedule=interval(1), paused=True)))).task.create_time
    first, end = (Timestamp(seconds=begin.seconds + each, nanos=begin.nanos) for each in (1, 3))
    await eventually(lambda: cluster.node.api.clock.now_us() > end.ToMicroseconds())
    await tasks.ResumeTask(task_pb2.ResumeTaskRequest(name="backup"))
    request = task_pb2.BackfillTaskRequest(name="backup", start_time=first, end_time=end, dry_run=True)
    times = (await tasks.BackfillTask(request)).times
    assert len(times) == 2
    for time in times:
        (entry,) = time.decided
        assert (entry.decision, entry.reason) == (Decision.SKIPPED, "the task was paused")


@pytest.mark.parametrize(
    ("fields", "field", "told_of"),
    [
        ({"max_executions": 1_001}, "max_executions", "1001 must lie between 1 and 1000"),
        ({"max_running": 101}, "max_running", "101 must lie between 1 and 100"),
        ({"end_time": Timestamp(seconds=1_599_999_999)}, "end_time", "must be after start_time"),
        ({"end_time": Timestamp(seconds=4_000_000_000)}, "end_time", "may not lie in the future"),
        ({"start_time": Timestamp(seconds=1, nanos=-1)}, "start_time", "must lie in the years"),
        ({"name": "-"}, "name", "is not a task name"),
        ({"request_id": " "}, "request_id", "must be"),
        ({"end_time": Timestamp(seconds=1_600_000_000 + 6_060)}, "max_executions", "the range has 101 nominal times"),
        ({"end_time": Timestamp(seconds=1_610_000_000)}, "max_executions", "more than 10,000 nominal times"),
        ({"start_time": Timestamp(seconds=1_600_000_001)}, "start_time", "has no nominal time from then until before"),
    ],
)
@on_cluster()
async def test_a_backfill_that_cannot_be_names_the_field(
    cluster: ApiCluster, fields: dict[str, object], field: str, told_of: str
) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("backup", schedule=anchored(60), paused=True)))
    request = backfill(0, 60)
    request.MergeFrom(task_pb2.BackfillTaskRequest(**fields))
    told = await refused(tasks.BackfillTask(request))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(told.fields) == [field]
    assert told_of in told.fields[field]


@on_cluster()
async def test_a_task_without_a_schedule_has_nothing_to_backfill(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.CreateTask(create(task("root")))
    child = task_pb2.Task(name="backup", after=[task_pb2.ChainParent(task="root")])
    child.action.noop.SetInParent()
    await tasks.CreateTask(create(child))
    told = await refused(tasks.BackfillTask(backfill(0, 60)))
    assert list(told.fields) == ["name"]


@on_cluster()
async def test_a_task_that_runs_on_every_executor_cannot_be_backfilled(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    every = task("backup", schedule=anchored(60), placement=policy_pb2.PLACEMENT_EVERY)
    await tasks.CreateTask(create(every))
    told = await refused(tasks.BackfillTask(backfill(0, 60)))
    assert "placement EVERY" in told.fields["name"]


@on_cluster()
async def test_calls_on_a_missing_task_say_so(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    for call in (
        tasks.GetTask(task_pb2.GetTaskRequest(name="x")),
        tasks.PauseTask(task_pb2.PauseTaskRequest(name="x")),
        tasks.RunTask(task_pb2.RunTaskRequest(name="x")),
        tasks.BackfillTask(
            task_pb2.BackfillTaskRequest(name="x", start_time=Timestamp(seconds=1), end_time=Timestamp(seconds=2))
        ),
        tasks.DeleteTask(task_pb2.DeleteTaskRequest(name="x")),
        tasks.UpdateTask(update(task("x"), "labels")),
    ):
        told = await refused(call)
        assert (told.code, told.info.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


@on_cluster()
@pytest.mark.parametrize("name", ["", "a b", "x" * 600, "ä"])
async def test_a_name_that_is_none_is_refused_everywhere(cluster: ApiCluster, name: str) -> None:
    tasks = cluster.caller().tasks
    for call in (
        tasks.GetTask(task_pb2.GetTaskRequest(name=name)),
        tasks.ResumeTask(task_pb2.ResumeTaskRequest(name=name)),
        tasks.RunTask(task_pb2.RunTaskRequest(name=name)),
        tasks.DeleteTask(task_pb2.DeleteTaskRequest(name=name)),
    ):
        assert list((await refused(call)).fields) == ["name"]


@on_cluster()
async def test_a_request_id_that_is_none_is_refused(cluster: ApiCluster) -> None:
    for request_id in ("x" * 129, "a b", "ä"):
        told = await refused(cluster.caller().tasks.CreateTask(create(task("t"), request_id)))
        assert list(told.fields) == ["request_id"]


async def names(cluster: ApiCluster, request: task_pb2.ListTasksRequest) -> list[list[str]]:
    """The names on each page."""
    pages = []
    while True:
        response = await cluster.caller().tasks.ListTasks(request)
        pages.append([each.name for each in response.tasks])
        if not response.next_page_token:
            return pages
        request.page_token = response.next_page_token


@on_cluster()
async def test_list_pages_in_order_of_names(cluster: ApiCluster) -> None:
    batch = [task(name) for name in ("c", "a", "e", "b", "d")]
    await cluster.caller().tasks.BatchCreateTasks(task_pb2.BatchCreateTasksRequest(tasks=batch))
    assert await names(cluster, task_pb2.ListTasksRequest(page_size=2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert await names(cluster, task_pb2.ListTasksRequest(page_size=5)) == [["a", "b", "c", "d", "e"]]
    assert await names(cluster, task_pb2.ListTasksRequest(consistency=consistency_pb2.CONSISTENCY_STALE)) == [
        ["a", "b", "c", "d", "e"]
    ]


@on_cluster()
async def test_list_filters_by_parts_of_the_name_labels_and_state(cluster: ApiCluster) -> None:
    batch = [
        task("db.a", labels={"team": "db", "tier": "1"}),
        task("db.b", labels={"team": "db"}, paused=True),
        task("web.a", labels={"team": "web"}),
    ]
    tasks = cluster.caller().tasks
    await tasks.BatchCreateTasks(task_pb2.BatchCreateTasksRequest(tasks=batch))
    request = task_pb2.ListTasksRequest
    assert await names(cluster, request(name_prefix="db.")) == [["db.a", "db.b"]]
    assert await names(cluster, request(name_contains="B.A")) == [["db.a", "web.a"]]
    assert await names(cluster, request(name_contains="b.", name_prefix="w")) == [["web.a"]]
    assert await names(cluster, request(name_contains="b.a", order_by="next_fire_time desc")) == [["web.a", "db.a"]]
    assert await names(cluster, request(name_contains="ä")) == [[]]
    assert list((await refused(tasks.ListTasks(request(name_contains="x" * 201)))).fields) == ["name_contains"]
    assert await names(cluster, request(labels={"team": "web"})) == [["web.a"]]
    assert await names(cluster, request(labels={"tier": ""})) == [["db.a"]]
    assert await names(cluster, request(state=task_pb2.TASK_STATE_PAUSED)) == [["db.b"]]
    assert await names(cluster, request(state=task_pb2.TASK_STATE_ACTIVE, name_prefix="db")) == [["db.a"]]
    assert await names(cluster, request(state=task_pb2.TASK_STATE_FINISHED)) == [[]]


@on_cluster()
async def test_a_page_token_belongs_to_its_filters(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    await tasks.BatchCreateTasks(task_pb2.BatchCreateTasksRequest(tasks=[task("a"), task("b")]))
    token = (await tasks.ListTasks(task_pb2.ListTasksRequest(page_size=1))).next_page_token
    for request in (
        task_pb2.ListTasksRequest(page_token=token, name_prefix="a"),
        task_pb2.ListTasksRequest(page_token=token[:-3]),
        task_pb2.ListTasksRequest(page_token="!"),
        task_pb2.ListTasksRequest(page_token="ä"),
    ):
        told = await refused(tasks.ListTasks(request))
        assert list(told.fields) == ["page_token"]
    assert list((await refused(tasks.ListTasks(task_pb2.ListTasksRequest(page_size=-1)))).fields) == ["page_size"]


@on_cluster()
async def test_a_page_stays_small_however_large_its_tasks(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    for number in range(20):
        large = task(f"t{number:02}", action=task_pb2.Action())
        large.action.command.argv.append("cat")
        large.action.command.stdin = b"x" * (128 << 10)
        large.action.command.env["FILL"] = "y" * (100 << 10)
        await tasks.CreateTask(create(large))
    pages = await names(cluster, task_pb2.ListTasksRequest(page_size=1000))
    assert [name for page in pages for name in page] == [f"t{number:02}" for number in range(20)]
    assert len(pages) > 1


@on_cluster()
async def test_tasks_are_listed_by_name_or_by_next_fire_both_ways_in_pages_of_any_size(cluster: ApiCluster) -> None:
    stub = cluster.caller().tasks
    for number, day in enumerate((3, 1, 2)):
        made = task_pb2.Task(name=f"t{number}")
        made.schedule.at.FromJsonString(f"2099-01-0{day}T00:00:00Z")
        made.action.noop.SetInParent()
        await stub.CreateTask(task_pb2.CreateTaskRequest(task=made))
    paused = task_pb2.Task(name="p", paused=True)
    paused.schedule.at.FromJsonString("2099-01-01T12:00:00Z")
    paused.action.noop.SetInParent()
    await stub.CreateTask(task_pb2.CreateTaskRequest(task=paused))

    async def listed(order_by: str, size: int, **more: object) -> list[str]:
        names: list[str] = []
        token = ""
        while True:
            request = task_pb2.ListTasksRequest(order_by=order_by, page_size=size, page_token=token, **more)
            response = await stub.ListTasks(request)
            names += [task.name for task in response.tasks]
            token = response.next_page_token
            if not token:
                return names

    for size in (1, 2, 100):
        assert await listed("name", size) == ["p", "t0", "t1", "t2"]
        assert await listed("name desc", size) == ["t2", "t1", "t0", "p"]
        assert await listed("next_fire_time", size) == ["t1", "t2", "t0", "p"]
        assert await listed("next_fire_time desc", size) == ["t0", "t2", "t1", "p"]
        assert await listed("next_fire_time", size, state=task_pb2.TASK_STATE_PAUSED) == ["p"]
        assert await listed("next_fire_time", size, name_prefix="t") == ["t1", "t2", "t0"]
    told = await refused(stub.ListTasks(task_pb2.ListTasksRequest(order_by="size")))
    assert "next_fire_time desc" in told.fields["order_by"]
