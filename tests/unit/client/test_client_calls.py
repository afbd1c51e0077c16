"""Both clients against real servers."""

import asyncio
import inspect
import threading
from datetime import UTC, datetime, timedelta

import pytest
import raftsched_client
from raftsched_client import (
    AlreadyExistsError,
    AsyncClient,
    Client,
    ConflictError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    RaftschedError,
    ResourceExhaustedError,
    Task,
    UnavailableError,
    _calls,
    schedule,
    task,
    to_datetime,
)
from raftsched_proto.v1 import calendar_pb2, cluster_pb2, execution_pb2, group_pb2, history_pb2, task_pb2

from tests.support.peer_cluster import Fault, refusal


def a_task(name: str = "tidy", **more) -> Task:
    return task(name, every=timedelta(minutes=1), noop=True, **more)


def test_every_rpc_of_the_services_has_a_method():
    services = [
        module.DESCRIPTOR.services_by_name[name]
        for module, name in (
            (task_pb2, "TaskService"),
            (execution_pb2, "ExecutionService"),
            (cluster_pb2, "ClusterService"),
            (history_pb2, "HistoryService"),
            (group_pb2, "GroupService"),
            (calendar_pb2, "CalendarService"),
        )
    ]
    wanted = {
        (f"/{service.full_name}/{rpc.name}", rpc.input_type.full_name, rpc.output_type.full_name)
        for service in services
        for rpc in service.methods
    }
    methods = [value for value in vars(_calls).values() if isinstance(value, _calls.Method)]
    assert {(m.path, m.request.DESCRIPTOR.full_name, m.response.DESCRIPTOR.full_name) for m in methods} == wanted


def test_both_clients_have_the_same_surface():
    def surface(client: type) -> dict[str, list[str]]:
        public = {name: value for name, value in vars(client).items() if not name.startswith("_")}
        return {name: list(inspect.signature(value).parameters) for name, value in public.items()}

    asynchronous = surface(AsyncClient)
    asynchronous["create_tasks"].remove("max_in_flight")
    assert asynchronous == surface(Client)


def test_all_names_are_there():
    assert all(hasattr(raftsched_client, name) for name in raftsched_client.__all__)


def test_task_is_created_read_changed_and_deleted(client):
    created = client.create_task(a_task(labels={"team": "a"}))
    assert created.uid
    assert client.get_task("tidy") == created
    changed = client.update_task(Task(name="tidy", labels={"team": "b"}, etag=created.etag), ["labels"])
    assert (changed.labels, changed.schedule) == ({"team": "b"}, created.schedule)
    assert client.pause_task("tidy").paused
    assert not client.resume_task("tidy").paused
    client.delete_task("tidy")
    with pytest.raises(NotFoundError, match="no task 'tidy'") as raised:
        client.get_task("tidy")
    assert raised.value.applied == "no"


def test_refused_field_is_named(client):
    with pytest.raises(InvalidArgumentError) as raised:
        client.create_task(a_task("no spaces"))
    assert [violation.field for violation in raised.value.field_violations] == ["task.name"]


def test_existing_name_and_old_etag_are_told_apart(client):
    old = client.create_task(a_task())
    with pytest.raises(AlreadyExistsError):
        client.create_task(a_task())
    client.pause_task("tidy")
    with pytest.raises(ConflictError) as raised:
        client.update_task(old, ["labels"])
    assert raised.value.reason == "ETAG_MISMATCH"
    with pytest.raises(ConflictError):
        client.delete_task("tidy", etag=old.etag)


def test_lost_answer_is_asked_for_again_with_the_same_request_id(cluster, client):
    cluster.fail("CreateTask", Fault(refusal("UNAVAILABLE", "connection lost"), applied=True))
    created = client.create_task(a_task())
    assert created == cluster.tasks["tidy"]
    first, second = (call.request.request_id for call in cluster.received)
    assert first == second != ""


def test_request_id_of_the_caller_is_used(cluster, client):
    assert client.create_task(a_task(), request_id="mine") == client.create_task(a_task(), request_id="mine")
    assert {call.request.request_id for call in cluster.received} == {"mine"}


def test_unknown_fate_is_retried(cluster, client):
    cluster.fail("RunTask", Fault(refusal("UNKNOWN", "leadership was lost", applied="unknown"), applied=True))
    client.create_task(a_task())
    execution = client.run_task("tidy")
    assert list(cluster.executions) == [execution.id]


def test_leader_hint_is_followed(cluster, client):
    leader = cluster.addresses[2]
    cluster.fail("CreateTask", refusal("FAILED_PRECONDITION", "n3 leads", reason="NOT_LEADER", leader=leader))
    client.create_task(a_task())
    assert [call.node for call in cluster.received] == [0, 2]
    client.get_task("tidy")
    assert cluster.received[-1].node == 2


def test_client_leaves_a_dead_node_and_stays_with_the_next(cluster, client):
    client.create_task(a_task())
    cluster.stop(0)
    client.get_task("tidy")
    cluster.start(0)
    client.get_task("tidy")
    assert [call.node for call in cluster.received] == [0, 1, 1]


def test_node_that_comes_back_is_found_again(cluster, connect):
    client = connect(cluster.addresses[0])
    client.create_task(a_task())
    cluster.stop(0)
    back = threading.Timer(0.5, cluster.start, [0])
    back.start()
    assert client.get_task("tidy").name == "tidy"
    back.join()


def test_hanging_node_does_not_use_up_the_deadline(cluster, connect):
    client = connect(cluster.endpoints, timeout=20)
    cluster.fail("CreateTask", Fault(hang=True))
    client.create_task(a_task(), timeout=3)
    assert [call.node for call in cluster.received] == [0, 1]


def test_no_node_at_all_is_certainly_not_applied(cluster, connect):
    addresses = cluster.addresses
    for number in range(3):
        cluster.stop(number)
    with pytest.raises(UnavailableError) as raised:
        connect(addresses).create_task(a_task(), timeout=2)
    assert raised.value.applied == "no"
    assert all(address in str(raised.value) for address in addresses)


def test_deadline_on_a_hanging_cluster_may_have_been_applied(cluster, connect):
    cluster.fail("CreateTask", Fault(hang=True, applied=True))
    with pytest.raises(DeadlineExceededError) as raised:
        connect(cluster.addresses[0]).create_task(a_task(), timeout=timedelta(seconds=2))
    assert raised.value.applied == "unknown"
    assert raised.value.request_id
    assert "tidy" in cluster.tasks


def test_deadline_of_a_read_is_not_applied(cluster, connect):
    cluster.fail("GetTask", Fault(hang=True))
    with pytest.raises(DeadlineExceededError) as raised:
        connect(cluster.addresses[0], timeout=0.3).get_task("tidy")
    assert raised.value.applied == "no"


def test_overload_is_waited_out_as_the_cluster_asks(cluster, client):
    cluster.fail("CreateTask", refusal("RESOURCE_EXHAUSTED", "too much in flight", applied="no", retry_ms=50))
    assert client.create_task(a_task()).name == "tidy"
    cluster.fail("RunTask", refusal("RESOURCE_EXHAUSTED", "too large", applied="no"))
    with pytest.raises(ResourceExhaustedError, match="too large"):
        client.run_task("tidy")


def test_bug_of_a_server_is_not_retried(cluster, client):
    cluster.fail("CreateTask", refusal("INTERNAL", "broken"))
    with pytest.raises(RaftschedError, match="broken") as raised:
        client.create_task(a_task())
    assert type(raised.value) is RaftschedError
    assert raised.value.applied == "unknown"
    assert len(cluster.received) == 1


def test_leadership_transfer_is_not_repeated_when_it_may_have_been_done(cluster, client):
    assert client.transfer_leadership("n3") == "n3"
    cluster.fail("TransferLeadership", refusal("UNAVAILABLE", "connection lost"))
    with pytest.raises(UnavailableError) as raised:
        client.transfer_leadership()
    assert raised.value.applied == "unknown"
    cluster.fail("TransferLeadership", refusal("UNAVAILABLE", "no leader", applied="no"))
    assert client.transfer_leadership() == "n2"


def test_metadata_hook_runs_for_every_attempt(cluster, connect):
    tokens = iter(("one", "two"))
    client = connect(cluster.endpoints, metadata=lambda: [("authorization", next(tokens))])
    cluster.fail("GetStatus", refusal("UNAVAILABLE", "no"))
    client.get_status()
    assert [call.metadata["authorization"] for call in cluster.received] == ["one", "two"]


def test_listing_reads_all_pages_and_filters(cluster, client):
    results = list(client.create_tasks(a_task(f"t{n:04}", labels={"odd": str(n % 2)}) for n in range(2500)))
    assert [result.code for result in results] == [0] * 2500
    assert [each.name for each in client.list_tasks()] == [f"t{n:04}" for n in range(2500)]
    assert cluster.methods().count("ListTasks") == 3
    odd = client.list_tasks(name_prefix="t000", labels={"odd": "1"}, page_size=2)
    assert [each.name for each in odd] == [f"t000{n}" for n in (1, 3, 5, 7, 9)]
    assert [each.name for each in client.list_tasks(name_contains="T249")] == [f"t249{n}" for n in range(10)]
    assert next(iter(client.list_tasks(page_size=1))).name == "t0000"


def test_batches_keep_order_and_report_each_task(cluster, client):
    client.create_task(a_task("there"))
    cluster.received.clear()
    tasks = [a_task("good"), a_task("bad name"), a_task("there"), a_task("last")]
    results = list(client.create_tasks(tasks, batch_size=2, request_id="r"))
    assert [(r.name, r.code, r.field) for r in results] == [
        ("good", 0, ""),
        ("bad name", 3, "task.name"),
        ("there", 6, ""),
        ("last", 0, ""),
    ]
    assert sorted(call.request.request_id for call in cluster.received) == ["r-0", "r-1"]


def test_batches_stay_below_the_message_limit(cluster, client):
    big = [task(f"t{n}", every=timedelta(hours=1), command=["x" * 400_000]) for n in range(10)]
    assert [r.code for r in client.create_tasks(big)] == [0] * 10
    sizes = [call.request.ByteSize() for call in cluster.received]
    assert len(sizes) == 2
    assert max(sizes) <= 3 * 1024 * 1024


def test_failed_batch_raises_after_the_results_before_it(cluster, client):
    second = Fault(refusal("INTERNAL", "broken"), when=lambda request: request.tasks[0].name == "t2")
    cluster.fail("BatchCreateTasks", second)
    results = client.create_tasks((a_task(f"t{n}") for n in range(6)), batch_size=2)
    assert [next(results).name, next(results).name] == ["t0", "t1"]
    with pytest.raises(RaftschedError, match="broken"):
        next(results)


@pytest.mark.parametrize("size", [0, 10_001])
def test_batch_size_has_limits(client, size):
    with pytest.raises(ValueError, match="batch_size"):
        list(client.create_tasks([a_task()], batch_size=size))


def test_async_client_keeps_a_bounded_number_of_batches_in_flight(cluster):
    cluster.fail("BatchCreateTasks", *[Fault(hang=True)] * 2)

    async def create() -> None:
        async with AsyncClient(cluster.endpoints) as client:
            tasks = [a_task(f"t{n}") for n in range(9)]
            async for _ in client.create_tasks(tasks, batch_size=1, max_in_flight=2, timeout=0.5):
                pytest.fail("both batches hang")

    with pytest.raises(DeadlineExceededError):
        asyncio.run(create())
    assert {call.request.tasks[0].name for call in cluster.received} == {"t0", "t1"}


def test_executions_ledger_and_status(cluster, client):
    client.create_task(a_task())
    runs = [client.run_task("tidy") for _ in range(3)]
    assert client.get_execution(runs[1].id) == runs[1]
    assert [e.id for e in client.list_executions(task="tidy", page_size=2)] == [e.id for e in reversed(runs)]
    cluster.executions[runs[1].id].past_attempts.add(attempt=0, output_tail=b"of the first")
    first, last = client.list_attempts(runs[1].id, page_size=1)
    assert (first.output_tail, last.attempt) == (b"of the first", runs[1].attempt)
    assert client.cancel_execution(runs[0].id).state == execution_pb2.EXECUTION_STATE_CANCELLED
    with pytest.raises(ConflictError, match="has ended"):
        client.cancel_execution(runs[0].id)
    pending = client.list_executions(states=[execution_pb2.EXECUTION_STATE_PENDING])
    assert {e.id for e in pending} == {runs[1].id, runs[2].id}
    assert list(client.list_executions(end=datetime(2000, 1, 1, tzinfo=UTC))) == []
    cluster.ledger = [execution_pb2.LedgerEntry(task="tidy", count=n + 1) for n in range(5)]
    assert list(client.list_ledger("tidy", page_size=2)) == cluster.ledger
    cluster.status.leader_id = "n1"
    assert client.get_status().leader_id == "n1"


def test_history_is_searched_and_counted(cluster, client):
    cluster.logs = [history_pb2.LogRecord(snippet=f"refused {n}") for n in range(5)]
    assert list(client.search_logs("refused", page_size=2, start=datetime(2026, 1, 1, tzinfo=UTC))) == cluster.logs
    asked = cluster.received[-1].request
    assert (asked.query, asked.start_time.seconds) == ("refused", 1_767_225_600)
    assert list(client.search_logs("accepted", min_duration=timedelta(seconds=2))) == []
    assert cluster.received[-1].request.min_duration.seconds == 2
    cluster.counted = history_pb2.CountLogsResponse(totals=[history_pb2.StateCount(state=4, count=3)])
    assert client.count_logs(bucket=timedelta(minutes=1), percentiles=True) == cluster.counted
    assert cluster.received[-1].request.bucket.seconds == 60
    assert [day.date for day in client.count_days("tidy", time_zone="Europe/Berlin")] == ["2026-01-31"]
    assert [runs.task for runs in client.list_recent_runs(["a", "b"], per_task=3)] == ["a", "b"]
    cluster.changes = [history_pb2.TaskChange(task="tidy", revision=n) for n in range(3)]
    assert list(client.list_task_changes("tidy", page_size=2)) == cluster.changes
    assert client.get_history_status().cursor_index == 7
    with pytest.raises(ValueError, match="start"):
        client.search_logs(start=datetime(2026, 1, 1))  # noqa: DTZ001 - refused


def test_schedule_is_previewed(client):
    after = datetime(2026, 1, 1, tzinfo=UTC)
    preview = client.preview_schedule(schedule(every=timedelta(minutes=1)), count=2, after=after)
    assert [to_datetime(t) - after for t in preview.nominal_times] == [timedelta(minutes=1), timedelta(minutes=2)]


def test_stale_reads_say_so(cluster, client):
    list(client.list_tasks(stale=True))
    list(client.list_tasks())
    assert [call.request.consistency for call in cluster.received] == [2, 0]


def test_naive_datetime_is_refused(client):
    with pytest.raises(ValueError, match=r"start: .*no time zone"):
        list(client.list_executions(start=datetime(2026, 1, 1)))  # noqa: DTZ001 - refused


@pytest.mark.parametrize("timeout", [0, -1, timedelta(0), float("nan")])
def test_timeout_must_be_positive(cluster, connect, timeout):
    with pytest.raises(ValueError, match="timeout"):
        connect(cluster.endpoints, timeout=timeout)


def test_message_beyond_the_limit_is_refused_at_once(client):
    with pytest.raises(ResourceExhaustedError) as raised:
        client.create_task(task("big", every=timedelta(hours=1), command=["x" * 17 * 1024 * 1024]))
    assert raised.value.applied == "no"
