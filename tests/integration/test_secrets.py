"""Secrets of an executor through a real node: used, and found nowhere afterwards."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from raftsched_client import Client, Execution, GrpcAction, HttpAction, task
from raftsched_proto.v1 import execution_pb2

from tests.support.cluster import Cluster, eventually

FAR = datetime(2100, 1, 1, tzinfo=UTC)
VALUE = "correct horse battery staple"
SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    running = Cluster(tmp_path, nodes=1)
    running.nodes["n1"].add_variables({"RAFTSCHED_SECRET_API_TOKEN": VALUE})
    with running:
        yield running


def ended(client: Client, name: str) -> Execution:
    execution_id = client.run_task(name).id
    return eventually(
        lambda: found if (found := client.get_execution(execution_id)).HasField("end_time") else None, what=name
    )


def test_value_is_used_and_found_nowhere_afterwards(cluster: Cluster, tmp_path: Path) -> None:
    with cluster.client() as client:
        script = 'echo "got $TOKEN"; printf %s "$TOKEN" | sha256sum; exit 5'
        client.create_task(task("program", at=FAR, shell=script, env={"TOKEN": "${secret:api-token}"}))
        url = "http://127.0.0.1:1/${secret:api-token}"
        client.create_task(task("request", at=FAR, http=HttpAction(url=url, headers={"A": "${secret:api-token}"})))
        client.create_task(task("unknown", at=FAR, command=["echo", "${secret:absent}"]))
        client.create_task(task("literal", at=FAR, command=["echo", "$${secret:api-token}"]))
        program, request, unknown, literal = (
            ended(client, name) for name in ("program", "request", "unknown", "literal")
        )
        assert program.exit_code == 5
        first, digest, *_ = program.output_tail.decode().splitlines()
        assert first == "got ***"
        assert digest.split()[0] == hashlib.sha256(VALUE.encode()).hexdigest()
        assert request.error.startswith("GET http://127.0.0.1:1/***: ConnectError")
        assert unknown.error == "not started: the secret 'absent' is unknown on this executor"
        assert literal.output_tail == b"${secret:api-token}\n"
        output = b"".join(chunk.data for chunk in client.get_output(program.id))
        assert b"***" in output
        assert VALUE.encode() not in output
    cluster.nodes["n1"].kill()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".mdb" for path in files)
    holders = [path for path in files if VALUE.encode() in path.read_bytes() or b"correct%20horse" in path.read_bytes()]
    assert holders == []


def test_node_answers_a_grpc_task_by_its_own_reflection(cluster: Cluster) -> None:
    call = GrpcAction(
        target=cluster.endpoints[0], method="raftsched.v1.ClusterService/GetStatus", request_json='{"localOnly": true}'
    )
    with cluster.client() as client:
        client.create_task(task("status", at=FAR, grpc=call))
        execution = ended(client, "status")
        assert execution.state == SUCCEEDED, execution.error
        assert json.loads(b"".join(chunk.data for chunk in client.get_output(execution.id)))["leaderId"] == "n1"
