"""A node with few open files, and more clients connected than it has: executions and requests go on."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from raftsched_client import task
from raftsched_proto.v1 import execution_pb2

from tests.support.cluster import Cluster, eventually

FILES = 200
SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED
CONNECTED_TO_HTTP, CONNECTED_TO_GRPC = b"GET /v1/tasks HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@contextlib.contextmanager
def files(limit: int) -> Iterator[None]:
    """What is started meanwhile has so many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def idle(address: str, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that say nothing, or only the beginning of something."""
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            found.append(stack.enter_context(socket.create_connection((host, int(port)), timeout=30)))
            with contextlib.suppress(ConnectionError):
                found[-1].sendall(said)
        yield found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, 1, http=True)
    with files(FILES):
        for node in cluster.nodes.values():
            node.start()
    try:
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.__exit__()


@pytest.mark.parametrize("said", [True, False])
def test_idle_connections_take_no_files_from_executions(cluster: Cluster, said: bool) -> None:
    address, http_address = cluster.addresses["n1"], cluster.http_addresses["n1"]
    with cluster.client(timeout=60) as client:
        client.create_task(task("t", every=timedelta(days=300), command=["true"]))
        with (
            idle(http_address, 400, CONNECTED_TO_HTTP if said else b""),
            idle(address, 400, CONNECTED_TO_GRPC if said else b""),
        ):
            ids = [client.run_task("t").id for _ in range(100)]
            for execution_id in ids:
                list(client.watch_executions(execution_id=execution_id))
            states = [client.get_execution(each).state for each in ids]
            assert states == [SUCCEEDED] * len(ids)
            # Whoever is idle makes room for one that asks.
            answer = httpx.get(f"http://{http_address}/v1/tasks", timeout=30)
            assert answer.status_code == 200


def test_a_full_table_of_grpc_refuses_connections_and_has_room_again_when_they_go(cluster: Cluster) -> None:
    address = cluster.addresses["n1"]
    with idle(address, 100, CONNECTED_TO_GRPC) as found:
        hung_up = 0
        for each in found:
            each.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                try:
                    while each.recv(4096):
                        pass
                    hung_up += 1
                except ConnectionError:
                    hung_up += 1
        assert hung_up >= 60
    with cluster.client(timeout=10) as client:
        eventually(lambda: client.get_status().leader_id, what="an answer over a new connection")
