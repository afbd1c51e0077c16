"""A message that tells one node another command than the others stops that node at once, and nobody else."""

from pathlib import Path

from raftsched_client import task
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import raft_pb2 as rpb
from raftsched_proto.v1 import cluster_pb2

from raftsched.consensus.messages import COMMAND
from raftsched.core.machine import COMMAND_VERSION
from tests.integration.test_hostile_peers import EXCHANGE, FAR, Stream, greeting
from tests.support.cluster import Cluster, eventually


def forged_append(cluster: Cluster, follower: str) -> rpb.RaftMessage:
    """What the leader could have sent: the entry that comes next in the follower's log, with a command of our own."""
    with cluster.client(follower) as client:
        (node,) = client.get_status(local_only=True).nodes
    assert node.role == cluster_pb2.FOLLOWER
    command = pb.Command(version=COMMAND_VERSION, now_us=1)
    command.delete_task.name = "kept"
    entry = rpb.RaftEntry(term=node.term, data=COMMAND + command.SerializeToString())
    append = rpb.AppendEntries(
        prev_index=node.commit_index, prev_term=node.term, entries=[entry], commit_index=node.commit_index
    )
    return rpb.RaftMessage(shard_id=1, term=node.term, append_entries=append)


def test_a_follower_that_was_told_another_command_stops_before_it_applies_it(tmp_path: Path) -> None:
    with Cluster(tmp_path, RAFTSCHED_STATE_CHECK__PAUSE_S="0") as cluster:
        leader, follower = cluster.leader(), cluster.follower()
        with cluster.client() as client:
            client.create_task(task("kept", at=FAR, noop=True))
            hello = greeting(cluster, leader, follower)

            def lie() -> bool:
                # The true leader may have dialled anew, or its log may have grown, before the forged entry was read.
                if not cluster.nodes[follower].running:
                    return True
                forged = rpb.ExchangeRequest(messages=[forged_append(cluster, follower)])
                said = (rpb.ExchangeRequest(greeting=hello).SerializeToString(), forged.SerializeToString())
                Stream(cluster.addresses[follower], EXCHANGE).say(*said, timeout_s=1.0)
                client.create_task(task(f"next-{len(list(client.list_tasks()))}", at=FAR, noop=True))
                return "hold different entries" in cluster.nodes[follower].log.read_text()

            eventually(lie, what="a follower that finds that it was lied to")
            eventually(lambda: not cluster.nodes[follower].running, what="its end")
            assert client.get_task("kept").name == "kept"
            assert all(node.running for id_, node in cluster.nodes.items() if id_ != follower)
