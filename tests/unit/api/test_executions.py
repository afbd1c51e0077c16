"""ExecutionService over a socket, on a single real node that fires what the test says."""

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult
from raftsched_proto.v1 import execution_pb2, task_pb2

from raftsched.api.executions.feed import QUEUE_BYTES
from raftsched.core.state import ids
from raftsched.core.state.model import Decision
from raftsched.outputs.sources import OutputChunk
from raftsched.ports import Table
from tests.support.api_cluster import ApiCluster, ApiNode, eventually, on_cluster, refused
from tests.support.results import in_result

SECOND = 1_000_000
T0 = 1_900_000_000 * SECOND
ExecutionState = execution_pb2.ExecutionState


class Fired:
    """Tasks whose nominal times a test decides, one each second from T0."""

    def __init__(self, cluster: ApiCluster) -> None:
        self._node = cluster.node
        self._uids: dict[str, int] = {}
        self._next_us: dict[str, int] = {}

    async def add(self, name: str, first_us: int = T0) -> None:
        command = pb.Command()
        item = command.register_tasks.items.add(next_us=first_us)
        item.task.name = name
        item.task.schedule.at.FromMicroseconds(first_us)
        item.task.action.noop.SetInParent()
        self._uids[name] = (await self._node.apply(command)).results[0].uid
        self._next_us[name] = first_us

    async def fire(self, name: str, *, executor_id: str = "", skipped: int = 0, armed: bool = False) -> bytes:
        """Decide the next nominal time, after ``skipped`` others that do not run."""
        nominal_us = self._next_us[name] + skipped * SECOND
        command = pb.Command(leader_id="n1", term=3)
        item = command.fire.items.add(
            task=name,
            uid=self._uids[name],
            generation=1,
            expected_revision=revision(self._node, name),
            expected_next_us=self._next_us[name],
            next_us=nominal_us + SECOND,
        )
        if skipped:
            item.decided.add(
                nominal_us=self._next_us[name],
                last_nominal_us=nominal_us - SECOND,
                count=skipped,
                decision=Decision.SKIPPED,
                reason="misfired",
            )
        item.decided.add(
            nominal_us=nominal_us,
            last_nominal_us=nominal_us,
            count=1,
            decision=Decision.RAN,
            executor_id=executor_id,
            armed=armed,
        )
        await self._node.apply(command)
        self._next_us[name] = nominal_us + SECOND
        return ids.execution_id(self._uids[name], 1, nominal_us)

    async def report(self, execution_id: bytes, state: int, **fields: object) -> None:
        command = pb.Command(now_us=T0 + SECOND)
        item = command.report.items.add(id=execution_id, attempt=1, state=state, executor_id="e1")
        item.MergeFrom(pb.Report.Item(**in_result(**fields)))
        await self._node.apply(command)

    async def ended(self, name: str, state: int) -> bytes:
        execution_id = await self.fire(name, executor_id="e1")
        await self.report(execution_id, state, start_us=T0, end_us=T0 + 1)
        return execution_id


def revision(node: ApiNode, name: str) -> int:
    with node.store.read() as reader:
        return pb.TaskRow.FromString(reader.get(Table.TASKS, name.encode()) or b"").revision


async def listed(cluster: ApiCluster, **fields: object) -> list[str]:
    """Ids over all pages."""
    request = execution_pb2.ListExecutionsRequest(**fields)
    found: list[str] = []
    while True:
        response = await cluster.caller().executions.ListExecutions(request)
        found += [execution.id for execution in response.executions]
        if not response.next_page_token:
            return found
        request.page_token = response.next_page_token


def text(*execution_ids: bytes) -> list[str]:
    return [ids.to_text(each) for each in execution_ids]


@on_cluster()
async def test_get_shows_what_is_known(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    execution_id = await fired.fire("t", executor_id="e1")
    await fired.report(
        execution_id,
        execution_pb2.EXECUTION_STATE_FAILED,
        start_us=T0 + 5,
        end_us=T0 + 9,
        exit_code=-9,
        error="killed",
        output_tail=b"bye",
        output_size_bytes=700,
    )
    request = execution_pb2.GetExecutionRequest(id=ids.to_text(execution_id).lower())
    execution = (await cluster.caller().executions.GetExecution(request)).execution
    assert execution.id == ids.to_text(execution_id)
    assert (execution.task, execution.generation, execution.attempt) == ("t", 1, 1)
    assert execution.nominal_time.ToMicroseconds() == T0
    assert (execution.start_time.ToMicroseconds(), execution.end_time.ToMicroseconds()) == (T0 + 5, T0 + 9)
    assert (execution.exit_code, execution.error, execution.executor_id) == (-9, "killed", "e1")
    assert (execution.output_tail, execution.output_size_bytes) == (b"bye", 700)
    assert (execution.leader_id, execution.term) == ("n1", 3)
    assert not execution.HasField("http_status")
    assert execution.fencing_token > 0


@on_cluster()
async def test_ids_that_are_none_and_ids_of_nothing_differ(cluster: ApiCluster) -> None:
    executions = cluster.caller().executions
    for bad in ("", "short", "U" * 26, "8" + "0" * 25):
        told = await refused(executions.GetExecution(execution_pb2.GetExecutionRequest(id=bad)))
        assert (told.code, list(told.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["id"])
    nothing = "0" * 26
    for call in (
        executions.GetExecution(execution_pb2.GetExecutionRequest(id=nothing)),
        executions.CancelExecution(execution_pb2.CancelExecutionRequest(id=nothing)),
        executions.GetOutput(execution_pb2.GetOutputRequest(id=nothing)).read(),
        executions.WatchExecutions(execution_pb2.WatchExecutionsRequest(id=nothing)).read(),
    ):
        assert (await refused(call)).code is grpc.StatusCode.NOT_FOUND


@on_cluster()
async def test_list_is_newest_first_over_pages(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("a")
    await fired.add("b", T0 + SECOND // 2)
    in_order = [await fired.fire(name) for _ in range(3) for name in ("a", "b")]
    newest_first = text(*reversed(in_order))
    assert await listed(cluster) == newest_first
    assert await listed(cluster, page_size=2) == newest_first
    assert await listed(cluster, page_size=1, task="a") == newest_first[1::2]
    assert await listed(cluster, task="nothing") == []


@on_cluster()
async def test_list_by_time_is_exact_to_the_microsecond(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t", T0 + 7)
    first, second, third = [await fired.fire("t") for _ in range(3)]
    request = execution_pb2.ListExecutionsRequest()
    for task in ("", "t"):
        request.start_time.FromMicroseconds(T0 + 7 + SECOND)
        request.end_time.FromMicroseconds(T0 + 7 + 2 * SECOND)
        window = {"start_time": request.start_time, "end_time": request.end_time}
        assert await listed(cluster, task=task, **window) == text(second)
        request.end_time.FromMicroseconds(T0 + 8 + 2 * SECOND)
        assert await listed(cluster, task=task, **window) == text(third, second)
        request.start_time.FromMicroseconds(T0 + 8 + SECOND)
        assert await listed(cluster, task=task, **window) == text(third)
        assert await listed(cluster, task=task, end_time=request.start_time) == text(second, first)


@on_cluster()
async def test_list_by_state_merges_the_indexes(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    succeeded = await fired.ended("t", execution_pb2.EXECUTION_STATE_SUCCEEDED)
    failed = await fired.ended("t", execution_pb2.EXECUTION_STATE_FAILED)
    pending = await fired.fire("t")
    timed_out = await fired.ended("t", execution_pb2.EXECUTION_STATE_TIMED_OUT)
    running = await fired.fire("t", executor_id="e1")
    await fired.report(running, execution_pb2.EXECUTION_STATE_RUNNING, start_us=T0)
    assigned = await fired.fire("t", executor_id="e1")
    armed = await fired.fire("t", executor_id="e1", armed=True)
    expected = {
        (execution_pb2.EXECUTION_STATE_SUCCEEDED,): [succeeded],
        (execution_pb2.EXECUTION_STATE_FAILED,): [failed],
        (execution_pb2.EXECUTION_STATE_PENDING,): [pending],
        (execution_pb2.EXECUTION_STATE_RUNNING,): [running],
        (execution_pb2.EXECUTION_STATE_ASSIGNED,): [assigned],
        (execution_pb2.EXECUTION_STATE_ARMED,): [armed],
        (execution_pb2.EXECUTION_STATE_ARMED, execution_pb2.EXECUTION_STATE_RUNNING): [armed, running],
        (execution_pb2.EXECUTION_STATE_FAILED, execution_pb2.EXECUTION_STATE_TIMED_OUT): [timed_out, failed],
        (execution_pb2.EXECUTION_STATE_FAILED, execution_pb2.EXECUTION_STATE_RUNNING): [running, failed],
        (execution_pb2.EXECUTION_STATE_SUCCEEDED, execution_pb2.EXECUTION_STATE_PENDING): [pending, succeeded],
        (execution_pb2.EXECUTION_STATE_LOST,): [],
    }
    for states, found in expected.items():
        assert await listed(cluster, states=states) == text(*found)
        assert await listed(cluster, states=states, task="t") == text(*found)
        assert await listed(cluster, states=states, page_size=1) == text(*found)
    told = await refused(cluster.caller().executions.ListExecutions(execution_pb2.ListExecutionsRequest(states=[77])))
    assert list(told.fields) == ["states"]


@on_cluster()
async def test_the_ledger_lists_every_decision_oldest_first(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    await fired.add("t2")
    first = await fired.fire("t")
    second = await fired.fire("t", skipped=3)
    await fired.fire("t2")
    request = execution_pb2.ListLedgerRequest(task="t", page_size=2)
    executions = cluster.caller().executions
    page = await executions.ListLedger(request)
    assert [entry.decision for entry in page.entries] == [
        execution_pb2.DECISION_RAN,
        execution_pb2.DECISION_SKIPPED,
    ]
    ran, skipped = page.entries
    assert (ran.execution_id, ran.count, ran.leader_id, ran.term) == (ids.to_text(first), 1, "n1", 3)
    assert (skipped.count, skipped.reason, skipped.execution_id) == (3, "misfired", "")
    assert skipped.nominal_time.ToMicroseconds() == T0 + SECOND
    assert skipped.last_nominal_time.ToMicroseconds() == T0 + 3 * SECOND
    request.page_token = page.next_page_token
    rest = await executions.ListLedger(request)
    assert [entry.execution_id for entry in rest.entries] == text(second)
    assert not rest.next_page_token
    told = await refused(
        executions.ListLedger(execution_pb2.ListLedgerRequest(task="t2", page_token=request.page_token))
    )
    assert list(told.fields) == ["page_token"]
    request.page_token = ""
    request.start_time.FromMicroseconds(T0 + 4 * SECOND)
    assert [entry.execution_id for entry in (await executions.ListLedger(request)).entries] == text(second)
    assert list((await refused(executions.ListLedger(execution_pb2.ListLedgerRequest()))).fields) == ["task"]


async def ledgers(cluster: ApiCluster, **fields: object) -> list[tuple[str, int]]:
    """Task and nominal second of the entries over all pages."""
    request = execution_pb2.ListLedgersRequest(**fields)
    found: list[tuple[str, int]] = []
    while True:
        page = await cluster.caller().executions.ListLedgers(request)
        assert len(page.entries) <= (request.page_size or 1000)
        found += [(entry.task, (entry.nominal_time.ToMicroseconds() - T0) // SECOND) for entry in page.entries]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


@on_cluster()
async def test_the_ledgers_of_many_tasks_come_in_pages_within_their_names_and_times(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    for name in ("a", "a-b", "a.c", "b", "idle"):
        await fired.add(name)
    for name in ("b", "a-b", "a", "a.c", "a", "a-b"):
        await fired.fire(name)
    every = [("a", 0), ("a", 1), ("a-b", 0), ("a-b", 1), ("a.c", 0), ("b", 0)]
    for page_size in (1, 2, 3, 1000):
        assert await ledgers(cluster, page_size=page_size) == every
        assert await ledgers(cluster, page_size=page_size, first_task="a-b", last_task="a.c") == every[2:5]
        start, end = Timestamp(), Timestamp()
        start.FromMicroseconds(T0 + SECOND)
        end.FromMicroseconds(T0 + SECOND)
        assert await ledgers(cluster, page_size=page_size, start_time=start) == [("a", 1), ("a-b", 1)]
        assert await ledgers(cluster, page_size=page_size, end_time=end) == [each for each in every if each[1] == 0]
    executions = cluster.caller().executions
    told = await refused(executions.ListLedgers(execution_pb2.ListLedgersRequest(first_task="?", page_token="x")))
    assert list(told.fields) == ["first_task"]


@on_cluster()
async def test_a_range_that_began_before_the_window_is_in_the_ledgers(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    await fired.fire("t")
    await fired.fire("t", skipped=5)
    start = Timestamp()
    start.FromMicroseconds(T0 + 3 * SECOND)
    for page_size in (1, 1000):
        assert await ledgers(cluster, page_size=page_size, start_time=start) == [("t", 1), ("t", 6)]
    start.FromMicroseconds(T0 + 6 * SECOND)
    assert await ledgers(cluster, start_time=start) == [("t", 6)]


@on_cluster()
async def test_an_entry_says_when_its_execution_first_started(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    ended = await fired.fire("t", executor_id="e1")
    await fired.report(ended, execution_pb2.EXECUTION_STATE_FAILED, start_us=T0 + 7, end_us=T0 + 9)
    await fired.fire("t")
    request = execution_pb2.ListLedgerRequest(task="t")
    first, second = (await cluster.caller().executions.ListLedger(request)).entries
    assert first.start_time.ToMicroseconds() == T0 + 7
    assert first.execution_state == execution_pb2.EXECUTION_STATE_FAILED
    assert not second.HasField("start_time")
    assert second.execution_state == execution_pb2.EXECUTION_STATE_PENDING


@on_cluster()
async def test_cancel_says_when_it_comes_too_late(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    executions = cluster.caller().executions
    pending, ended = await fired.fire("t"), await fired.ended("t", execution_pb2.EXECUTION_STATE_SUCCEEDED)
    request = execution_pb2.CancelExecutionRequest(id=ids.to_text(pending), request_id="r1")
    cancelled = (await executions.CancelExecution(request)).execution
    assert cancelled.state == execution_pb2.EXECUTION_STATE_CANCELLED
    assert (await executions.CancelExecution(request)).execution == cancelled
    told = await refused(executions.CancelExecution(execution_pb2.CancelExecutionRequest(id=ids.to_text(ended))))
    assert (told.code, told.info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION")


@on_cluster()
async def test_a_watch_of_a_task_sees_its_changes_and_no_others(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    await fired.add("other")
    call = cluster.caller().executions.WatchExecutions(execution_pb2.WatchExecutionsRequest(task="t"))
    await call.initial_metadata()
    await fired.fire("other")
    execution_id = await fired.fire("t", executor_id="e1")
    await fired.report(execution_id, execution_pb2.EXECUTION_STATE_SUCCEEDED, end_us=T0)
    changes = [(await call.read()).execution for _ in range(2)]
    assert [(change.id, change.state) for change in changes] == [
        (ids.to_text(execution_id), execution_pb2.EXECUTION_STATE_ASSIGNED),
        (ids.to_text(execution_id), execution_pb2.EXECUTION_STATE_SUCCEEDED),
    ]
    call.cancel()
    await eventually(lambda: cluster.node.api.feed.watchers == 0)


@on_cluster()
async def test_a_watch_of_an_execution_ends_with_it(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    execution_id = await fired.ended("t", execution_pb2.EXECUTION_STATE_FAILED)
    request = execution_pb2.WatchExecutionsRequest(id=ids.to_text(execution_id))
    call = cluster.caller().executions.WatchExecutions(request)
    assert [response.execution.state async for response in call] == [execution_pb2.EXECUTION_STATE_FAILED]
    both = execution_pb2.WatchExecutionsRequest(id=ids.to_text(execution_id), task="t")
    assert list((await refused(cluster.caller().executions.WatchExecutions(both).read())).fields) == ["task"]


@on_cluster()
async def test_a_slow_watcher_is_told_how_much_it_missed(cluster: ApiCluster) -> None:
    feed = cluster.node.api.feed
    row = pb.ExecutionRow(task="t", state=1, result=AttemptResult(output_tail=b"x" * 4096))
    with feed.subscribe("t") as subscription:
        feed.publish([(number.to_bytes(16, "big"), row) for number in range(600)])
        taken = subscription.take()
        assert taken is not None
        (first, _), dropped = taken
        assert first == dropped.to_bytes(16, "big"), "the oldest are dropped"
        kept = [taken]
        while (taken := subscription.take()) is not None:
            kept.append(taken)
        assert len(kept) == 600 - dropped
        assert {dropped for _, dropped in kept[1:]} == {0}
        assert QUEUE_BYTES - 10_000 < len(kept) * (row.ByteSize() + 200) <= QUEUE_BYTES
        feed.publish([(b"y" * 16, row)])
        assert subscription.take() == ((b"y" * 16, row), 0), "what was taken makes room"


@on_cluster()
async def test_a_watcher_that_keeps_up_misses_nothing(cluster: ApiCluster) -> None:
    feed = cluster.node.api.feed
    row = pb.ExecutionRow(task="t", state=1)
    with feed.subscribe("t") as subscription, feed.subscribe("other") as other:
        feed.publish([(number.to_bytes(16, "big"), row) for number in range(5_000)])
        taken = [subscription.take() for _ in range(5_000)]
        assert [each and each[1] for each in taken] == [0] * 5_000
        assert subscription.take() is None
        assert other.take() is None


async def output(cluster: ApiCluster, execution_id: bytes, *, follow: bool = False) -> list[tuple[int, bytes]]:
    request = execution_pb2.GetOutputRequest(id=ids.to_text(execution_id), follow=follow)
    call = cluster.caller().executions.GetOutput(request)
    return [(response.truncated_bytes, response.data) async for response in call]


@on_cluster()
async def test_output_comes_from_the_executor_or_else_from_the_tail(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    pending = await fired.fire("t")
    assert await output(cluster, pending) == []
    execution_id = await fired.fire("t", executor_id="e1")
    await fired.report(
        execution_id, execution_pb2.EXECUTION_STATE_SUCCEEDED, output_tail=b"tail", output_size_bytes=104
    )
    assert await output(cluster, execution_id) == [(100, b"tail")]
    kept = b"x" * (64 << 10) + b"tail"
    cluster.node.output.kept[execution_id, 1] = OutputChunk(found=True, offset=36, data=kept, ended=True)
    assert await output(cluster, execution_id) == [(36, kept[: 64 << 10]), (0, b"tail")]


@on_cluster()
async def test_followed_output_goes_on_until_the_end(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    execution_id = await fired.fire("t", executor_id="e1")
    kept = cluster.node.output.kept
    kept[execution_id, 1] = OutputChunk(found=True, data=b"one ")
    request = execution_pb2.GetOutputRequest(id=ids.to_text(execution_id), follow=True)
    call = cluster.caller().executions.GetOutput(request)
    assert (await call.read()).data == b"one "
    kept[execution_id, 1] = OutputChunk(found=True, data=b"one two ")
    assert (await call.read()).data == b"two "
    # The executor is gone; what it sent with the end of the attempt is all there is.
    del kept[execution_id, 1]
    await fired.report(
        execution_id, execution_pb2.EXECUTION_STATE_SUCCEEDED, output_tail=b"two three", output_size_bytes=13
    )
    assert (await call.read()).data == b"three"
    assert await call.read() is grpc.aio.EOF


@on_cluster()
async def test_a_task_that_is_deleted_leaves_its_record(cluster: ApiCluster) -> None:
    fired = Fired(cluster)
    await fired.add("t")
    execution_id = await fired.ended("t", execution_pb2.EXECUTION_STATE_SUCCEEDED)
    await cluster.caller().tasks.DeleteTask(task_pb2.DeleteTaskRequest(name="t"))
    assert await listed(cluster, task="t") == text(execution_id)


async def retried(cluster: ApiCluster) -> bytes:
    """An execution whose first two attempts failed and whose third runs."""
    command = pb.Command()
    item = command.register_tasks.items.add(next_us=T0)
    item.task.name = "r"
    item.task.schedule.at.FromMicroseconds(T0)
    item.task.retry.max_attempts = 5
    uid = (await cluster.node.apply(command)).results[0].uid
    command = pb.Command()
    fire = command.fire.items.add(task="r", uid=uid, generation=1, expected_next_us=T0)
    fire.expected_revision = revision(cluster.node, "r")
    fire.decided.add(nominal_us=T0, last_nominal_us=T0, count=1, decision=Decision.RAN, executor_id="e1")
    await cluster.node.apply(command)
    execution_id = ids.execution_id(uid, 1, T0)
    for attempt in (1, 2):
        start_us = T0 + attempt * SECOND
        command = pb.Command(now_us=T0 + 100 * SECOND)
        command.report.items.add(
            id=execution_id, attempt=attempt, executor_id=f"e{attempt}", state=execution_pb2.EXECUTION_STATE_FAILED,
            result=AttemptResult(
                start_us=start_us, end_us=start_us + 5, exit_code=attempt, error=f"exit code {attempt}",
                output_tail=b"tail %d" % attempt, output_size_bytes=106,
            ),
        )  # fmt: skip
        await cluster.node.apply(command)
        with cluster.node.store.read() as reader:
            row = pb.ExecutionRow.FromString(reader.get(Table.EXECUTIONS, execution_id) or b"")
        command = pb.Command(now_us=T0 + 100 * SECOND)
        command.wake.items.add(due_us=row.not_before_us, id=execution_id)
        await cluster.node.apply(command)
        command = pb.Command(now_us=T0 + 100 * SECOND)
        command.assign.items.add(id=execution_id, expected_attempt=attempt + 1, executor_id=f"e{attempt + 1}")
        await cluster.node.apply(command)
    return execution_id


@on_cluster()
async def test_every_attempt_is_listed_with_its_error_and_the_end_of_its_output(cluster: ApiCluster) -> None:
    execution_id = ids.to_text(await retried(cluster))
    executions = cluster.caller().executions
    attempts = (await executions.ListAttempts(execution_pb2.ListAttemptsRequest(id=execution_id))).attempts
    assert [(each.attempt, each.executor_id) for each in attempts] == [(1, "e1"), (2, "e2"), (3, "e3")]
    assert [each.error for each in attempts] == ["exit code 1", "exit code 2", ""]
    assert [each.exit_code for each in attempts] == [1, 2, 0]
    assert [(each.output_tail, each.output_size_bytes) for each in attempts] == [
        (b"tail 1", 106),
        (b"tail 2", 106),
        (b"", 0),
    ]
    assert [each.start_time.ToMicroseconds() for each in attempts] == [T0 + SECOND, T0 + 2 * SECOND, 0]
    assert attempts[2].state == execution_pb2.EXECUTION_STATE_ASSIGNED
    execution = (await executions.GetExecution(execution_pb2.GetExecutionRequest(id=execution_id))).execution
    assert execution.first_start_time.ToMicroseconds() == T0 + SECOND
    assert [past.error for past in execution.past_attempts] == ["exit code 1", "exit code 2"]
    (entry,) = (await executions.ListLedger(execution_pb2.ListLedgerRequest(task="r"))).entries
    assert entry.start_time == execution.first_start_time


@on_cluster()
async def test_attempts_come_in_pages(cluster: ApiCluster) -> None:
    execution_id = ids.to_text(await retried(cluster))
    executions = cluster.caller().executions
    request = execution_pb2.ListAttemptsRequest(id=execution_id, page_size=2)
    page = await executions.ListAttempts(request)
    request.page_token = page.next_page_token
    rest = await executions.ListAttempts(request)
    assert [each.attempt for each in (*page.attempts, *rest.attempts)] == [1, 2, 3]
    assert (bool(page.next_page_token), rest.next_page_token) == (True, "")
    request.page_size = -1
    assert list((await refused(executions.ListAttempts(request))).fields) == ["page_size"]
    told = await refused(executions.ListAttempts(execution_pb2.ListAttemptsRequest(id="0" * 26)))
    assert told.code is grpc.StatusCode.NOT_FOUND


@on_cluster()
async def test_the_output_of_each_attempt_is_read_by_its_number(cluster: ApiCluster) -> None:
    execution_id = await retried(cluster)
    executions = cluster.caller().executions

    async def read(attempt: int) -> list[tuple[int, int, bytes]]:
        request = execution_pb2.GetOutputRequest(id=ids.to_text(execution_id), attempt=attempt, follow=attempt < 3)
        return [(each.attempt, each.truncated_bytes, each.data) async for each in executions.GetOutput(request)]

    assert await read(1) == [(1, 100, b"tail 1")]
    assert await read(2) == [(2, 100, b"tail 2")]
    assert await read(3) == []
    cluster.node.output.kept[execution_id, 1] = OutputChunk(found=True, data=b"x" * 100 + b"tail 1", ended=True)
    assert await read(1) == [(1, 0, b"x" * 100 + b"tail 1")]
    for attempt, code in ((4, grpc.StatusCode.NOT_FOUND), (-1, grpc.StatusCode.INVALID_ARGUMENT)):
        call = executions.GetOutput(execution_pb2.GetOutputRequest(id=ids.to_text(execution_id), attempt=attempt))
        assert (await refused(call.read())).code is code


@on_cluster()
async def test_times_of_a_ledger_that_are_none_are_refused_by_name(cluster: ApiCluster) -> None:
    executions = cluster.caller().executions
    bad = Timestamp(seconds=-5)
    one = execution_pb2.ListLedgerRequest(task="t", start_time=bad, end_time=bad)
    many = execution_pb2.ListLedgersRequest(start_time=bad, end_time=bad)
    assert sorted((await refused(executions.ListLedger(one))).fields) == ["end_time", "start_time"]
    assert sorted((await refused(executions.ListLedgers(many))).fields) == ["end_time", "start_time"]
