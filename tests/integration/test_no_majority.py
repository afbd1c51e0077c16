"""One node of three is left: what it says of the others, over gRPC, over HTTP and on the command line."""

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta

import pytest
from raftsched_client import RaftschedError, UnavailableError, task

from tests.integration.test_cli_cluster import run
from tests.support.cluster import Cluster, eventually


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Of three nodes, n3 was killed and n2 stands still."""
    with Cluster(tmp_path_factory.mktemp("cluster"), http=True) as running:
        with running.client() as client:
            client.create_task(task("kept", every=timedelta(hours=1), noop=True))
        running.nodes["n3"].kill()
        running.nodes["n2"].send(signal.SIGSTOP)
        with running.client("n1") as client:
            eventually(lambda: refused(client).reason == "NO_MAJORITY", what="the end of the leader's patience")
        yield running


def refused(client) -> RaftschedError:
    with pytest.raises(UnavailableError) as told:
        client.get_task("kept", timeout=5)
    return told.value


def http(cluster: Cluster, path: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(f"http://{cluster.http_addresses['n1']}{path}", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_refusal_names_the_nodes_that_are_missing_and_the_way_to_read(cluster: Cluster) -> None:
    with cluster.client("n1") as client:
        error = refused(client)
        assert client.get_task("kept", stale=True).name == "kept"
    assert error.metadata["missing_nodes"] == "n2,n3"
    assert "n1 reaches 1 of 3 nodes" in str(error)
    for node in ("n2", "n3"):
        assert f"{node} at {cluster.addresses[node]} (silent for " in str(error)
    assert "--stale" in str(error)


def test_the_same_over_http(cluster: Cluster) -> None:
    status, problem = http(cluster, "/v1/tasks/kept")
    assert (status, problem["reason"], problem["missingNodes"]) == (503, "NO_MAJORITY", ["n2", "n3"])
    assert http(cluster, "/v1/tasks/kept?consistency=CONSISTENCY_STALE")[0] == 200


def test_the_status_says_so_without_a_word_of_grpc(cluster: Cluster) -> None:
    status, shown = http(cluster, "/v1/cluster")
    assert (status, shown["noMajority"], shown["missingNodeIds"]) == (200, True, ["n2", "n3"])
    assert "1 of 3 nodes can be reached from n1" in shown["problem"]
    problems = {node["id"]: node["problem"] for node in shown["nodes"]}
    assert problems["n2"].startswith("does not answer")
    assert "stands still" in problems["n2"]
    assert problems["n3"].startswith(f"does not answer: no connection to {cluster.addresses['n3']}")
    for words in ("failed to connect", "ipv4:", "UNAVAILABLE", "DEADLINE"):
        assert words not in json.dumps(shown)


def test_the_command_line_says_so(cluster: Cluster) -> None:
    shown = run(cluster, "--endpoints", cluster.addresses["n1"], "status").stdout
    assert "NO MAJORITY" in shown
    assert "there is no majority: 1 of 3 nodes can be reached from n1" in shown
    failed = run(cluster, "--endpoints", cluster.addresses["n1"], "task", "list")
    assert failed.returncode != 0
    assert "--stale" in failed.stderr
    assert "kept" in run(cluster, "--endpoints", cluster.addresses["n1"], "task", "list", "--stale").stdout
