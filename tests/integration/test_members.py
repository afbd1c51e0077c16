"""Nodes that join and leave a running cluster are seen by all parts of the others, without a restart."""

from pathlib import Path

import grpc
import pytest
from raftsched_proto.v1 import cluster_pb2, task_pb2

from raftsched.consensus.membership import ChangeKind, MemberChange
from raftsched.ports import Peer
from raftsched.store.lmdb_store import LmdbStore
from tests.support.api_cluster import ApiCluster, ApiNode, eventually, eventually_true, on_cluster
from tests.support.ports import free_ports


async def change(cluster: ApiCluster, kind: ChangeKind, peer: Peer) -> None:
    """Ask for it until it is made."""

    async def made() -> bool:
        said: list[str] = []
        cluster.node.shard.change_members(MemberChange(kind, peer), said.append)
        await eventually(lambda: bool(said))
        return said == [""]

    await eventually_true(made)


async def status(cluster: ApiCluster, node: ApiNode) -> cluster_pb2.GetStatusResponse:
    return await cluster.caller(node).cluster.GetStatus(cluster_pb2.GetStatusRequest())


@on_cluster(3)
async def test_a_node_joins_is_seen_by_all_answers_calls_and_leaves(cluster: ApiCluster, tmp_path: Path) -> None:
    old = tuple(node.me for node in cluster.nodes)
    joining = Peer("n4", f"127.0.0.1:{free_ports(1)[0]}")
    store = LmdbStore(tmp_path / "n4", max_size_bytes=256 << 20)
    node = ApiNode(joining, (*old, joining), store, voters=old)
    cluster.nodes.append(node)
    await node.start()
    await change(cluster, ChangeKind.ADD_LEARNER, joining)

    async def all_see_it() -> bool:
        answers = [await status(cluster, each) for each in cluster.nodes]
        return all(
            [each.id for each in answer.nodes] == ["n1", "n2", "n3", "n4"] and not answer.missing_node_ids
            for answer in answers
        )

    await eventually_true(all_see_it)
    await change(cluster, ChangeKind.PROMOTE, joining)
    assert [peer.id for peer in cluster.node.api.members.others("n1")] == ["n2", "n3", "n4"]
    # It forwards what only the leader may do, and the leader may hand over to it.
    task = task_pb2.Task(name="t", paused=True)
    task.schedule.cron.expression = "@daily"
    task.action.noop.SetInParent()
    await cluster.caller(node).tasks.CreateTask(task_pb2.CreateTaskRequest(task=task))
    # Who did not know it yet has refused it, and is dialled again soon.
    await eventually(lambda: all(link.connected for link in node.shard.status().links))
    await cluster.caller().cluster.TransferLeadership(cluster_pb2.TransferLeadershipRequest(node_id="n4"))
    await eventually(lambda: node.leads)
    assert cluster.nodes[0].api.leader_address() == joining.address
    await node.stop()
    await eventually(lambda: any(each.leads for each in cluster.nodes[:3]))
    await change(cluster, ChangeKind.REMOVE, joining)
    for each in cluster.nodes[:3]:
        await eventually(lambda each=each: [peer.id for peer in each.api.members.current] == ["n1", "n2", "n3"])


@on_cluster(3)
async def test_who_only_learns_does_not_count_for_a_majority(cluster: ApiCluster) -> None:
    absent = Peer("n4", "127.0.0.1:1")
    await change(cluster, ChangeKind.ADD_LEARNER, absent)
    await cluster.followers[0].stop()

    async def said() -> bool:
        answer = await status(cluster, cluster.node)
        return len(answer.missing_node_ids) == 2 and not answer.no_majority and not answer.problem

    await eventually_true(said)


@on_cluster(1)
async def test_nobody_can_be_handed_the_leadership_who_is_no_member(cluster: ApiCluster) -> None:
    request = cluster_pb2.TransferLeadershipRequest(node_id="n9")
    with pytest.raises(grpc.aio.AioRpcError, match="the nodes are n1"):
        await cluster.caller().cluster.TransferLeadership(request)
