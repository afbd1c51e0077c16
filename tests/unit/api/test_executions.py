"""ExecutionService over a socket, on a single real node that fires what the test says."""

import grpc
from raftsched_client.v1 import execution_pb2, task_pb2

from raftsched.api.context import OutputChunk
from raftsched.api.feed import QUEUE_CHANGES
from raftsched.core import ids
from raftsched.core.model import Decision
from raftsched.internal.v1 import command_pb2 as pb
from tests.support.api_cluster import ApiCluster, eventually, on_cluster, refused

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

    async def fire(self, name: str, *, executor_id: str = "", skipped: int = 0) -> bytes:
        """Decide the next nominal time, after ``skipped`` others that do not run."""
        nominal_us = self._next_us[name] + skipped * SECOND
        command = pb.Command(leader_id="n1", term=3)
        item = command.fire.items.add(
            task=name,
            uid=self._uids[name],
            generation=1,
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
            nominal_us=nominal_us, last_nominal_us=nominal_us, count=1, decision=Decision.RAN, executor_id=executor_id
        )
        await self._node.apply(command)
        self._next_us[name] = nominal_us + SECOND
        return ids.execution_id(self._uids[name], 1, nominal_us)

    async def report(self, execution_id: bytes, state: int, **fields: object) -> None:
        command = pb.Command()
        item = command.report.items.add(id=execution_id, attempt=1, state=state, executor_id="e1")
        for name, value in fields.items():
            setattr(item, name, value)
        await self._node.apply(command)

    async def ended(self, name: str, state: int) -> bytes:
        execution_id = await self.fire(name, executor_id="e1")
        await self.report(execution_id, state, start_us=T0, end_us=T0 + 1)
        return execution_id


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
    expected = {
        (execution_pb2.EXECUTION_STATE_SUCCEEDED,): [succeeded],
        (execution_pb2.EXECUTION_STATE_FAILED,): [failed],
        (execution_pb2.EXECUTION_STATE_PENDING,): [pending],
        (execution_pb2.EXECUTION_STATE_RUNNING,): [running],
        (execution_pb2.EXECUTION_STATE_ASSIGNED,): [assigned],
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
    row = pb.ExecutionRow(task="t", state=1)
    with feed.subscribe("t") as subscription:
        feed.publish([(number.to_bytes(16, "big"), row) for number in range(QUEUE_CHANGES + 5)])
        taken = subscription.take()
        assert taken is not None
        assert taken == (((5).to_bytes(16, "big"), row), 5)
        following = subscription.take()
        assert following is not None
        assert following[1] == 0


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
