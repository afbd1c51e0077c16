"""Cuts a follower off and lets it back: python -m tests.chaos.rejoin --times 10 --nodes 3.

A node without pre-votes would stand for election meanwhile, come back with a higher term and depose the leader. Where
the machine gives no network namespaces the follower is paused instead.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from raftsched_client import Client
from raftsched_proto.v1 import cluster_pb2

from tests.chaos.lab import Lab
from tests.chaos.network import Namespaces, why_no_namespaces
from tests.support.cluster import eventually

LONGER_THAN_ANY_ELECTION_TIMEOUT_S = 3.0


def lab(directory: Path, nodes: int) -> Lab:
    """A cluster whose network can be cut, if the machine can."""
    return Lab(directory, nodes, network=not why_no_namespaces(), clocks=False, small_disk=False)


def elections_by_a_rejoin(lab: Lab) -> int:
    """Cut a follower off until it has wanted to lead for long, let it back, and count the elections that followed."""
    lab.wait_ready()
    leader = lab.leader()
    victim = next(id_ for id_ in lab.nodes if id_ != leader)
    with Client(lab.addresses[leader]) as client:
        with _away(lab, victim):
            until = time.monotonic() + LONGER_THAN_ANY_ELECTION_TIMEOUT_S
            eventually(
                lambda: time.monotonic() > until and _is_out_of_touch(lab, client, victim), what="a real absence"
            )
            # Who is cut off disturbs nobody: what counts begins with its return.
            before = _status(client, leader)
        goal = _status(client, leader).commit_index
        eventually(lambda: _status(client, victim).applied_index >= goal, what=f"{victim} caught up")
        return _status(client, leader).term - before.term


@contextlib.contextmanager
def _away(lab: Lab, victim: str) -> Iterator[None]:
    if isinstance(lab.network, Namespaces):
        others = [id_ for id_ in lab.nodes if id_ != victim]
        lab.network.cut([pair for other in others for pair in ((victim, other), (other, victim))])
        yield
        lab.network.heal()
    else:
        lab.nodes[victim].send(signal.SIGSTOP)
        yield
        lab.nodes[victim].send(signal.SIGCONT)


def _is_out_of_touch(lab: Lab, client: Client, victim: str) -> bool:
    """Whether the others miss the node; where it still talks to us, it must want to lead."""
    missed = _status(client, victim).role == cluster_pb2.UNREACHABLE
    if not isinstance(lab.network, Namespaces):
        return missed
    with Client(lab.addresses[victim]) as cut_off:
        return missed and _status(cut_off, victim).role == cluster_pb2.CANDIDATE


def _status(client: Client, id_: str) -> cluster_pb2.NodeStatus:
    return next(node for node in client.get_status().nodes if node.id == id_)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--nodes", type=int, choices=(3, 5), default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, lab(Path(directory), arguments.nodes) as running:
        counts = [elections_by_a_rejoin(running) for _ in range(arguments.times)]
    how = "paused: " + why_no_namespaces() if why_no_namespaces() else "cut off by a packet filter"
    print(f"{arguments.times} times a follower of {arguments.nodes} nodes was {how}; elections after: {counts}")
    return 1 if any(counts) else 0


if __name__ == "__main__":
    sys.exit(main())
