"""What a node refuses, and that it says why and changes nothing."""

import shutil
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from raftsched_client import DeadlineExceededError, UnavailableError, task

from tests.support.cluster import Cluster, Process, eventually
from tests.support.ports import free_ports

FAR = datetime(2100, 1, 1, tzinfo=UTC)


def start_refused(tmp_path: Path, *options: str) -> str:
    """Start a node that must end by itself; returns what it said."""
    process = Process(["node", *options], tmp_path / "refused.log")
    process.start()
    try:
        assert process.wait() != 0
    finally:
        process.kill()
    said = process.log.read_text()
    assert "Traceback" not in said
    return said


def options(tmp_path: Path, port: int, id_: str = "n1") -> list[str]:
    return ["--id", id_, "--listen", f"127.0.0.1:{port}", "--data-dir", str(tmp_path / "data")]


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "port is in use" in start_refused(tmp_path, *options(tmp_path, taken.getsockname()[1]), "--found")


def test_an_unknown_key_in_the_file_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text("slotz = 3\n")
    said = start_refused(tmp_path, *options(tmp_path, free_ports(1)[0]), "--config", str(config))
    assert "slotz: there is no such key" in said


def test_a_directory_with_foreign_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    state = tmp_path / "data" / "state"
    state.mkdir(parents=True)
    (state / "holiday.jpg").write_bytes(b"jpg")
    assert "holiday.jpg" in start_refused(tmp_path, *options(tmp_path, free_ports(1)[0]))
    assert [path.name for path in state.iterdir()] == ["holiday.jpg"]


def test_the_directory_of_another_node_is_refused(tmp_path: Path) -> None:
    with Cluster(tmp_path, nodes=1) as cluster:
        cluster.nodes["n1"].send(signal.SIGTERM)
        assert cluster.nodes["n1"].wait() == 0
    shutil.move(tmp_path / "n1", tmp_path / "data")
    assert "n1" in start_refused(tmp_path, *options(tmp_path, free_ports(1)[0], "n2"))


def test_a_directory_that_a_running_node_uses_is_refused(tmp_path: Path) -> None:
    with Cluster(tmp_path, nodes=1) as cluster:
        port = free_ports(1)[0]
        where = ["--id", "n1", "--listen", f"127.0.0.1:{port}", "--data-dir", str(tmp_path / "n1")]
        assert "in use" in start_refused(tmp_path, *where)
        assert cluster.leader() == "n1"


def test_a_corrupt_store_is_refused(tmp_path: Path) -> None:
    with Cluster(tmp_path, nodes=1) as cluster:
        cluster.nodes["n1"].kill()
        data = tmp_path / "n1" / "state" / "data.mdb"
        data.write_bytes(b"\xff" * data.stat().st_size)
        cluster.nodes["n1"].start()
        assert cluster.nodes["n1"].wait() != 0
        assert "Restore the directory from a backup" in cluster.nodes["n1"].log.read_text()


@pytest.mark.parametrize("survivor", ["n1", "n2"])
def test_without_a_quorum_writes_are_refused_and_stale_reads_are_answered(tmp_path: Path, survivor: str) -> None:
    with Cluster(tmp_path) as cluster:
        with cluster.client() as client:
            client.create_task(task("before", at=FAR, noop=True))
            for id_ in cluster.nodes:
                with cluster.client(id_) as one:
                    eventually(lambda one=one: any(one.list_tasks(stale=True)), what=f"the task on {id_}")
        for id_, node in cluster.nodes.items():
            if id_ != survivor:
                node.kill()
        with cluster.client(survivor) as client:
            with pytest.raises((UnavailableError, DeadlineExceededError)):
                client.create_task(task("after", at=FAR, noop=True), timeout=6.0)
            assert client.get_task("before", stale=True).name == "before"


def test_a_node_that_lost_its_disk_gets_everything_back(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.client() as client:
        list(client.create_tasks(task(f"kept-{number:03}", at=FAR, noop=True) for number in range(300)))
        victim = cluster.follower()
        cluster.nodes[victim].kill()
        cluster.wipe(victim)
        cluster.nodes[victim].start()
        cluster.wait_ready()
        with cluster.client(victim) as one:
            eventually(lambda: sum(1 for _ in one.list_tasks(stale=True)) == 300, what="all tasks on the new disk")
