"""Any node takes any call: three real nodes, asked where they do not lead, and while the leader is gone."""

import asyncio

import grpc
import pytest
from raftsched_client import AsyncClient
from raftsched_proto.v1 import cluster_pb2, consistency_pb2, execution_pb2, task_pb2

from raftsched.api.door.forward import HOPS_KEY, MAX_HOPS
from raftsched.ports import Role, Table
from tests.support.api_cluster import ApiCluster, ApiNode, eventually, on_cluster, refused


def noop_task(name: str) -> task_pb2.Task:
    task = task_pb2.Task(name=name)
    task.schedule.cron.expression = "@daily"
    task.action.noop.SetInParent()
    return task


def has_task(node: ApiNode, name: str) -> bool:
    with node.store.read() as reader:
        return reader.get(Table.TASKS, name.encode()) is not None


@on_cluster(3)
async def test_a_follower_passes_calls_and_errors_through(cluster: ApiCluster) -> None:
    for number, node in enumerate(cluster.nodes):
        tasks = cluster.caller(node).tasks
        created = (await tasks.CreateTask(task_pb2.CreateTaskRequest(task=noop_task(f"t{number}")))).task
        assert (await tasks.GetTask(task_pb2.GetTaskRequest(name=created.name))).task == created
        told = await refused(tasks.CreateTask(task_pb2.CreateTaskRequest(task=noop_task(f"t{number}"))))
        assert (told.code, told.info.reason, told.applied) == (
            grpc.StatusCode.ALREADY_EXISTS,
            "ALREADY_EXISTS",
            "no",
        )
        told = await refused(tasks.CreateTask(task_pb2.CreateTaskRequest(task=noop_task("-"))))
        assert list(told.fields) == ["task.name"]


@on_cluster(3)
async def test_a_write_through_one_follower_is_read_through_another(cluster: ApiCluster) -> None:
    first, second = (cluster.caller(node).tasks for node in cluster.followers)
    for number in range(20):
        await first.CreateTask(task_pb2.CreateTaskRequest(task=noop_task(f"t{number}")))
        await second.GetTask(task_pb2.GetTaskRequest(name=f"t{number}"))


@on_cluster(3)
async def test_a_client_goes_to_the_leader_once_a_call_was_passed_on(cluster: ApiCluster) -> None:
    follower = cluster.followers[0]
    leader = next(node for node in cluster.nodes if node not in cluster.followers)
    async with AsyncClient([follower.me.address, leader.me.address]) as client:
        await client.get_status()
        assert client.endpoint == follower.me.address, "answered by the node that was asked"
        await client.create_task(noop_task("t"))
        assert client.endpoint == leader.me.address


@on_cluster(3)
async def test_a_follower_passes_streams_through(cluster: ApiCluster) -> None:
    follower = cluster.caller(cluster.followers[0])
    await follower.tasks.CreateTask(task_pb2.CreateTaskRequest(task=noop_task("t")))
    execution = (await follower.tasks.RunTask(task_pb2.RunTaskRequest(name="t"))).execution
    seen: list[execution_pb2.Execution] = []

    async def watch() -> None:
        async for response in follower.executions.WatchExecutions(
            execution_pb2.WatchExecutionsRequest(id=execution.id)
        ):
            seen.append(response.execution)  # noqa: PERF401 - the test looks at it meanwhile

    watching = asyncio.create_task(watch())
    await eventually(lambda: bool(seen))
    await follower.executions.CancelExecution(execution_pb2.CancelExecutionRequest(id=execution.id))
    await asyncio.wait_for(watching, 10)
    assert [each.state for each in seen] == [
        execution_pb2.EXECUTION_STATE_PENDING,
        execution_pb2.EXECUTION_STATE_CANCELLED,
    ]


@on_cluster(3)
async def test_a_forwarded_stream_ends_at_the_leader_when_the_caller_hangs_up(cluster: ApiCluster) -> None:
    follower = cluster.caller(cluster.followers[0])
    feed = cluster.node.api.feed
    call = follower.executions.WatchExecutions(execution_pb2.WatchExecutionsRequest(task="t"))
    reading = asyncio.create_task(call.read())
    await eventually(lambda: feed.watchers == 1)
    call.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await eventually(lambda: feed.watchers == 0)


@on_cluster(3)
async def test_stale_reads_are_answered_where_they_are_asked(cluster: ApiCluster) -> None:
    await cluster.caller(cluster.node).tasks.CreateTask(task_pb2.CreateTaskRequest(task=noop_task("t")))
    lonely, other = cluster.followers
    leader = cluster.node
    await eventually(lambda: has_task(lonely, "t"))
    await leader.stop()
    await other.stop()
    stale = task_pb2.GetTaskRequest(name="t", consistency=consistency_pb2.CONSISTENCY_STALE)
    assert (await cluster.caller(lonely).tasks.GetTask(stale)).task.name == "t"


@on_cluster(3)
async def test_without_a_quorum_nothing_is_done_and_the_caller_is_told(cluster: ApiCluster) -> None:
    lonely, other = cluster.followers
    leader = cluster.node
    await other.stop()
    await leader.stop()
    tasks = cluster.caller(lonely).tasks
    told = await refused(tasks.CreateTask(task_pb2.CreateTaskRequest(task=noop_task("t"))))
    assert (told.code, told.info.reason, told.applied) == (grpc.StatusCode.UNAVAILABLE, "NO_MAJORITY", "no")
    gone = sorted(node.me.id for node in (leader, other))
    assert told.info.metadata["missing_nodes"] == ",".join(gone)
    assert f"{lonely.me.id} reaches 1 of 3 nodes" in told.message
    assert all(f"{node.me.id} at {node.me.address} (silent for " in told.message for node in (leader, other))
    assert "--stale" in told.message
    assert told.retry.retry_delay.ToMilliseconds() > 0


@on_cluster(3)
async def test_calls_wait_out_an_election(cluster: ApiCluster) -> None:
    followers, leader = cluster.followers, cluster.node
    await leader.stop()
    tasks = cluster.caller(followers[0]).tasks
    # One by one: a call that was under way when the leader died may rightly end as unknown.
    for number in range(5):
        await tasks.CreateTask(task_pb2.CreateTaskRequest(task=noop_task(f"t{number}")), timeout=10)
    listed = await tasks.ListTasks(task_pb2.ListTasksRequest())
    assert [task.name for task in listed.tasks] == [f"t{number}" for number in range(5)]
    assert {node.shard.status().role for node in followers} == {Role.LEADER, Role.FOLLOWER}


@on_cluster(3)
async def test_an_acknowledged_write_survives_its_leader_and_a_retry_does_not_repeat_it(cluster: ApiCluster) -> None:
    follower, leader = cluster.followers[0], cluster.node
    tasks = cluster.caller(follower).tasks
    await tasks.CreateTask(task_pb2.CreateTaskRequest(task=noop_task("t")))
    run = task_pb2.RunTaskRequest(name="t", request_id="r1")
    execution = (await tasks.RunTask(run)).execution
    await leader.stop()
    assert (await tasks.RunTask(run, timeout=10)).execution == execution


@on_cluster(3)
async def test_a_call_goes_through_at_most_two_nodes(cluster: ApiCluster) -> None:
    follower = cluster.followers[0]
    call = cluster.caller(follower).tasks.GetTask(
        task_pb2.GetTaskRequest(name="t"), metadata=((HOPS_KEY, str(MAX_HOPS)),)
    )
    told = await refused(call)
    assert (told.code, told.info.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_LEADER")
    assert told.info.metadata["leader_address"] == cluster.node.me.address


@on_cluster(3)
async def test_the_deadline_of_the_caller_holds_at_the_leader(cluster: ApiCluster) -> None:
    follower = cluster.caller(cluster.followers[0])
    call = follower.executions.WatchExecutions(execution_pb2.WatchExecutionsRequest(task="t"), timeout=0.5)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: cluster.node.api.feed.watchers == 0)


@on_cluster(3)
async def test_leadership_can_be_handed_over_through_any_node(cluster: ApiCluster) -> None:
    former, successor = cluster.node, cluster.followers[0]
    request = cluster_pb2.TransferLeadershipRequest(node_id=successor.me.id)
    response = await cluster.caller(cluster.followers[1]).cluster.TransferLeadership(request)
    assert response.leader_id == successor.me.id
    assert successor.leads
    assert not former.leads


@on_cluster(3)
@pytest.mark.parametrize(("through_a_follower", "leader_dies"), [(False, False), (True, False), (True, True)])
async def test_a_watch_ends_when_its_leader_stops_leading(
    cluster: ApiCluster, through_a_follower: bool, leader_dies: bool
) -> None:
    leader, follower = cluster.node, cluster.followers[0]
    caller = cluster.caller(follower if through_a_follower else leader)
    call = caller.executions.WatchExecutions(execution_pb2.WatchExecutionsRequest(task="t"))
    reading = asyncio.create_task(refused(call.read()))
    await call.initial_metadata()
    assert leader.api.feed.watchers == 1, "the initial metadata come when the watch has begun"
    if leader_dies:
        await leader.stop()
    else:
        await caller.cluster.TransferLeadership(cluster_pb2.TransferLeadershipRequest())
    told = await asyncio.wait_for(reading, 10)
    assert (told.code, told.info.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_ENDED")
