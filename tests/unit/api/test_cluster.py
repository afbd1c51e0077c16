"""ClusterService, health checks and reflection."""

import socket

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from raftsched_client.v1 import cluster_pb2, task_pb2

from raftsched.api.health import SERVICE_NAMES
from raftsched.api.server import ApiServer
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
        for node in status.nodes:
            assert (node.version, node.tzdata_version, node.problem) == ("1.2.3", "2026a", "")
            assert node.term > 0
            assert node.commit_index > 0
            assert node.log_entries > 0
            assert node.log_size_bytes > 0
            assert len(node.links) == 2


@on_cluster(3)
async def test_status_needs_no_quorum_and_names_who_does_not_answer(cluster: ApiCluster) -> None:
    lonely, other = cluster.followers
    leader = cluster.node
    await leader.stop()
    await other.stop()
    await eventually(lambda: not lonely.group.status().leader_id)
    status = await cluster.caller(lonely).cluster.GetStatus(cluster_pb2.GetStatusRequest())
    nodes = {node.id: node for node in status.nodes}
    assert status.leader_id == ""
    assert nodes[leader.me.id].role == nodes[other.me.id].role == cluster_pb2.UNREACHABLE
    assert "does not answer" in nodes[other.me.id].problem
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
