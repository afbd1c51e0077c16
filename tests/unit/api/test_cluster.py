"""ClusterService, health checks and reflection."""

import socket

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from raftsched_proto.internal.v1 import command_pb2
from raftsched_proto.v1 import cluster_pb2, notification_pb2, task_pb2

from raftsched.api.door.health import SERVICE_NAMES
from raftsched.api.door.server import ApiServer
from raftsched.commands.versions import FIRST_VERSION
from raftsched.core.machine.notices import TALLY_KEY
from raftsched.ports import Table
from tests.support.api_cluster import ApiCluster, eventually, eventually_true, on_cluster, refused

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
CLUSTER_SERVICE = "raftsched.v1.ClusterService"


@on_cluster(3)
async def test_status_shows_all_nodes_whoever_is_asked(cluster: ApiCluster) -> None:
    task = task_pb2.Task(name="t", paused=True)
    task.schedule.cron.expression = "@daily"
    task.action.noop.SetInParent()
    await cluster.caller().tasks.CreateTask(task_pb2.CreateTaskRequest(task=task))
    await cluster.caller().tasks.RunTask(task_pb2.RunTaskRequest(name="t"))
    executor = cluster_pb2.ExecutorStatus(id="e1", slots=4)
    object.__setattr__(cluster.node.api, "executors", lambda: [executor])
    for asked in cluster.nodes:
        status = await cluster.caller(asked).cluster.GetStatus(cluster_pb2.GetStatusRequest())
        assert (status.cluster_id, status.leader_id) == ("test", cluster.node.me.id)
        assert [node.id for node in status.nodes] == ["n1", "n2", "n3"]
        assert sorted(node.role for node in status.nodes) == [
            cluster_pb2.LEADER,
            cluster_pb2.FOLLOWER,
            cluster_pb2.FOLLOWER,
        ]
        assert (status.counts.tasks, status.counts.executions, status.counts.pending_executions) == (1, 1, 1)
        assert list(status.executors) == [executor]
        assert (status.no_majority, list(status.missing_node_ids), status.problem) == (False, [], "")
        for node in status.nodes:
            assert (node.version, node.tzdata_version, node.problem) == ("1.2.3", "2026a", "")
            assert node.cluster_version == status.cluster_version == FIRST_VERSION
            assert (node.oldest_known_version, node.newest_known_version) == (FIRST_VERSION, FIRST_VERSION)
            assert node.term > 0
            assert node.commit_index > 0
            assert node.log_entries > 0
            assert node.log_size_bytes > 0
            assert len(node.links) == 2
            assert node.http_address == f"{node.id}.example:80"


@on_cluster()
async def test_status_tells_the_last_notice_that_was_given_up(cluster: ApiCluster) -> None:
    asked = cluster_pb2.GetStatusRequest()
    assert not (await cluster.caller().cluster.GetStatus(asked)).counts.HasField("last_dropped_notice")
    tally = command_pb2.NoticeTallyRow(dropped=3, last_us=1_700_000_000_000_000, last_execution_id=bytes(16))
    tally.last.task, tally.last.occasion = "t", notification_pb2.OCCASION_LATE
    tally.last.deliveries, tally.last.delivery_error = 9, "status 500"
    store = cluster.node.api.store
    store.batch().put(Table.TALLIES, TALLY_KEY, tally.SerializeToString())
    store.commit()
    counts = (await cluster.caller().cluster.GetStatus(asked)).counts
    last = counts.last_dropped_notice
    assert (counts.notices_dropped, last.task, last.occasion) == (3, "t", notification_pb2.OCCASION_LATE)
    assert (last.execution_id, last.drop_time.seconds) == (26 * "0", 1_700_000_000)
    assert (last.deliveries, last.error) == (9, "status 500")


@on_cluster(3)
async def test_status_needs_no_quorum_and_names_who_does_not_answer(cluster: ApiCluster) -> None:
    lonely, other = cluster.followers
    leader = cluster.node
    await leader.stop()
    await other.stop()
    await eventually(lambda: not lonely.shard.status().leader_id)
    status = await cluster.caller(lonely).cluster.GetStatus(cluster_pb2.GetStatusRequest())
    nodes = {node.id: node for node in status.nodes}
    assert status.leader_id == ""
    assert nodes[leader.me.id].role == nodes[other.me.id].role == cluster_pb2.UNREACHABLE
    assert nodes[other.me.id].problem == (
        f"does not answer: no connection to {other.me.address}; it is down or stands still, or the network is cut"
    )
    assert status.no_majority
    assert sorted(status.missing_node_ids) == sorted(node.me.id for node in (leader, other))
    assert f"1 of 3 nodes can be reached from {lonely.me.id}" in status.problem
    assert f"{other.me.id} at {other.me.address} (silent for " in status.problem
    assert nodes[lonely.me.id].problem == "knows no leader"


@on_cluster(2)
async def test_local_status_is_of_one_node(cluster: ApiCluster) -> None:
    for asked in cluster.nodes:
        request = cluster_pb2.GetStatusRequest(local_only=True)
        status = await cluster.caller(asked).cluster.GetStatus(request)
        assert [node.id for node in status.nodes] == [asked.me.id]
        assert status.nodes[0].address == asked.me.address


@on_cluster(2)
async def test_health_follows_the_leader(cluster: ApiCluster) -> None:
    lonely, other = cluster.nodes
    stub = health_pb2_grpc.HealthStub(cluster.caller(lonely).channel)

    async def check(service: str) -> "health_pb2.HealthCheckResponse.ServingStatus":
        return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status

    async def all_answer(wanted: set["health_pb2.HealthCheckResponse.ServingStatus"]) -> bool:
        return {await check(name) for name in ("", *SERVICE_NAMES) if name != CLUSTER_SERVICE} == wanted

    await eventually_true(lambda: all_answer({SERVING}))
    await other.stop()
    await eventually_true(lambda: all_answer({NOT_SERVING}))
    assert await check(CLUSTER_SERVICE) == SERVING
    assert (await refused(check("no.such.Service"))).code is grpc.StatusCode.NOT_FOUND


@on_cluster()
async def test_reflection_lists_the_public_services(cluster: ApiCluster) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(cluster.caller().channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    await call.done_writing()
    response = await call.read()
    listed = {service.name for service in response.list_services_response.service}
    assert listed == {*SERVICE_NAMES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


@on_cluster()
async def test_a_port_in_use_is_an_error(cluster: ApiCluster) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        server = ApiServer(cluster.node.api)
        with pytest.raises(RuntimeError):
            server.listen(f"127.0.0.1:{holder.getsockname()[1]}")
    with pytest.raises(RuntimeError):
        server.listen(cluster.node.me.address)


@on_cluster(3)
async def test_a_node_says_how_far_its_clock_is_off_and_a_majority_needs_no_confirmation(cluster: ApiCluster) -> None:
    status = await cluster.caller().cluster.GetStatus(cluster_pb2.GetStatusRequest())
    for node in status.nodes:
        assert node.clock.certain
        assert abs(node.clock.offset.ToMicroseconds()) < 500_000
        assert set(node.clock.agreeing_node_ids) <= {"n1", "n2", "n3"}
    error = await refused(cluster.caller().cluster.ConfirmClock(cluster_pb2.ConfirmClockRequest()))
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "majority" in error.message


@on_cluster(1)
async def test_the_clock_of_the_only_node_may_be_confirmed(cluster: ApiCluster) -> None:
    await cluster.caller().cluster.ConfirmClock(cluster_pb2.ConfirmClockRequest())


@on_cluster(1)
async def test_no_change_is_taken_while_nobody_knows_the_time(cluster: ApiCluster) -> None:
    time = cluster.node.time
    agreed, time._offset_us = time._offset_us, None
    voters, time._voters = time._voters, lambda: ("n1", "n2")
    task = task_pb2.Task(name="t", paused=True)
    task.schedule.cron.expression = "@daily"
    task.action.noop.SetInParent()
    error = await refused(cluster.caller().tasks.CreateTask(task_pb2.CreateTaskRequest(task=task), timeout=2))
    assert error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    time._offset_us, time._voters = agreed, voters
    await cluster.caller().tasks.CreateTask(task_pb2.CreateTaskRequest(task=task))


@on_cluster(3)
async def test_a_cursor_that_is_ahead_is_shown_and_moved_back_by_hand(cluster: ApiCluster) -> None:
    task = task_pb2.Task(name="t")
    task.schedule.interval.every.FromSeconds(60)
    task.action.noop.SetInParent()
    clock = cluster.node.time
    true_us = clock._offset_us
    clock._offset_us = true_us + 3_600_000_000
    await cluster.caller().tasks.CreateTask(task_pb2.CreateTaskRequest(task=task))
    clock._offset_us = true_us
    wrong = (await cluster.caller().tasks.GetTask(task_pb2.GetTaskRequest(name="t"))).task
    for dry_run in (True, False):
        request = cluster_pb2.RepairCursorsRequest(dry_run=dry_run)
        (repair,) = (await cluster.caller().cluster.RepairCursors(request)).repairs
        assert (repair.task, repair.old_next_time) == ("t", wrong.next_fire_time)
    right = (await cluster.caller().tasks.GetTask(task_pb2.GetTaskRequest(name="t"))).task
    assert right.next_fire_time == repair.new_next_time
    assert 3500 < wrong.next_fire_time.seconds - right.next_fire_time.seconds < 3700
    assert not (await cluster.caller().cluster.RepairCursors(cluster_pb2.RepairCursorsRequest())).repairs
