"""A first attempt fails and the second succeeds: what the first wrote is there, on every node and by every way."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from raftsched_client import Client, RaftschedError, retry_policy, task
from raftsched_proto.v1 import execution_pb2

from tests.support.cluster import Cluster, eventually

FAR = datetime(2100, 1, 1, tzinfo=UTC)
FAILED = execution_pb2.EXECUTION_STATE_FAILED
SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED
RUNNING = execution_pb2.EXECUTION_STATE_RUNNING
LOST = execution_pb2.EXECUTION_STATE_LOST
FILLING = "x" * 9_000
FIRST = f"unreachable host {FILLING} giving up\n"
SECOND = "delivered\n"
SCRIPT = f"""
if [ $RAFTSCHED_ATTEMPT = 2 ]; then echo delivered; exit; fi
printf 'unreachable host '; head -c {len(FILLING)} /dev/zero | tr '\\0' x; echo ' giving up'; exit 7
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, http=True) as running:
        yield running


def retried(client: Client) -> str:
    """An execution whose first attempt failed, and whose second succeeded."""
    retry = retry_policy(3, initial_backoff=timedelta(milliseconds=200))
    client.create_task(task("mail", at=FAR, shell=SCRIPT, retry=retry))
    execution_id = client.run_task("mail").id
    *_, last = client.watch_executions(execution_id=execution_id)
    assert (last.state, last.attempt, last.output_tail.decode()) == (SUCCEEDED, 2, SECOND)
    return execution_id


def output(client: Client, execution_id: str, attempt: int = 0) -> str:
    return b"".join(piece.data for piece in client.get_output(execution_id, attempt=attempt)).decode()


def command_line(cluster: Cluster, node: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "raftsched.cli.main", "--endpoints", cluster.addresses[node], *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def check_each_way(cluster: Cluster, node: str, execution_id: str) -> None:
    """By the client library, the command line and REST of one node."""
    with cluster.client(node) as client:
        first, second = client.list_attempts(execution_id)
        execution = client.get_execution(execution_id)
        assert output(client, execution_id, 1) == FIRST
        assert output(client, execution_id, 2) == output(client, execution_id) == SECOND
    assert (first.state, first.exit_code, first.error) == (FAILED, 7, "exit code 7")
    assert (first.output_tail.decode(), first.output_size_bytes) == (FIRST[-4096:], len(FIRST))
    assert (second.state, second.exit_code, second.error) == (SUCCEEDED, 0, "")
    assert second.output_tail.decode() == SECOND
    assert execution.first_start_time == first.start_time
    assert execution.start_time == second.start_time
    shown = command_line(cluster, node, "execution", "show", execution_id)
    assert "FAILED (exit code 7)" in shown
    assert "xxx giving up" in shown
    assert command_line(cluster, node, "execution", "output", execution_id, "--attempt", "1") == FIRST
    with httpx.Client(base_url=f"http://{cluster.http_addresses[node]}/v1/executions/{execution_id}") as http:
        attempts = http.get("/attempts").json()["attempts"]
        assert [(each["error"], each["outputSizeBytes"]) for each in attempts] == [
            ("exit code 7", str(len(FIRST))),
            ("", str(len(SECOND))),
        ]
        assert http.get("/output", params={"attempt": 1}).text == FIRST
        assert http.get("/output").text == SECOND
        assert http.get("/output", params={"attempt": 3}).status_code == 404


def stored_at(cluster: Cluster, execution_id: str, attempt: int) -> list[str]:
    """The nodes that hold the whole output of an attempt: the one whose executor ran it, and one with the copy."""
    name = f"{execution_id}-{attempt}"
    paths = (path for pattern in ("*/outputs", "*/executor/outputs") for path in cluster.directory.glob(f"{pattern}/*"))
    return sorted({path.relative_to(cluster.directory).parts[0] for path in paths if path.name == name})


def finds(cluster: Cluster, node: str, query: str) -> list[str]:
    try:
        with cluster.client(node) as client:
            return [record.execution.id for record in client.search_logs(query)]
    except RaftschedError:
        # The index may still be made.
        return []


def test_a_failed_attempt_is_read_and_found_everywhere_also_after_the_leader_died(cluster: Cluster) -> None:
    with cluster.client() as client:
        execution_id = retried(client)
    for node in cluster.nodes:
        check_each_way(cluster, node, execution_id)
        for query in ('"giving up"', 'error:"exit code 7"', "delivered"):
            eventually(
                lambda node=node, query=query: finds(cluster, node, query) == [execution_id],
                within_s=120,
                what=f"{query} on {node}",
            )
        assert execution_id in command_line(cluster, node, "logs", "search", '"giving up"')
    eventually(lambda: len(stored_at(cluster, execution_id, 1)) == 2, what="a second copy")
    dead = cluster.leader()
    cluster.nodes[dead].kill()
    (other, *_) = (node for node in cluster.nodes if node != dead)
    eventually(lambda: cluster.leader() != dead, what="another leader")
    with cluster.client(other) as client:
        # The executor that holds it may still be on its way to the new leader.
        eventually(lambda: output(client, execution_id, 1) == FIRST, what="the whole output")
    check_each_way(cluster, other, execution_id)


def test_nodes_that_are_started_again_have_the_attempts(cluster: Cluster) -> None:
    with cluster.client() as client:
        execution_id = retried(client)
    for node in cluster.nodes.values():
        node.kill()
    cluster.start()
    for node in cluster.nodes:
        check_each_way(cluster, node, execution_id)


def test_what_an_attempt_wrote_that_was_taken_from_a_silent_executor_is_told_when_it_speaks_again(
    cluster: Cluster,
) -> None:
    script = "if [ $RAFTSCHED_ATTEMPT = 1 ]; then echo half of the work; exec sleep 1000; fi; echo all of it"
    with cluster.client() as client:
        client.create_task(task("long", at=FAR, shell=script))
        execution_id = client.run_task("long").id
        running = eventually(
            lambda: found if (found := client.get_execution(execution_id)).state == RUNNING else None, what="a start"
        )
        silent = running.executor_id.partition("-")[0]
        cluster.nodes[silent].send(signal.SIGSTOP)
        others = [node for node in cluster.nodes if node != silent]
        with cluster.client(others[0]) as other:
            eventually(
                lambda: other.get_execution(execution_id).state == SUCCEEDED, within_s=120, what="the second attempt"
            )
        cluster.nodes[silent].send(signal.SIGCONT)
        first = eventually(
            lambda: found if (found := next(client.list_attempts(execution_id))).output_tail else None,
            within_s=120,
            what="what the first attempt wrote",
        )
    assert (first.state, first.output_tail) == (LOST, b"half of the work\n")
    assert "later its executor told how it ended: LOST" in first.error
    for node in cluster.nodes:
        eventually(
            lambda node=node: finds(cluster, node, '"half of the work"') == [execution_id],
            within_s=120,
            what=f"the words of the first attempt on {node}",
        )
