"""Empty, old and foreign data directories: real processes, nothing acknowledged lost in silence, and a way forward."""

import contextlib
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from raftsched_client import Client, RaftschedError, task
from raftsched_proto.v1 import cluster_pb2

from raftsched.consensus.messages import CONFIG, NO_OP
from raftsched.ports import Table
from raftsched.store.lmdb_store import LmdbStore
from tests.integration.test_refusals import start_refused
from tests.support.cluster import STATUS_S, Cluster, Process, eventually
from tests.support.ports import free_ports

FAR = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


def create(cluster: Cluster, count: int, kind: str = "kept") -> None:
    with cluster.client() as client:
        names = [f"{kind}-{number:03}" for number in range(count)]
        assert not any(each.code for each in client.create_tasks([task(name, at=FAR, noop=True) for name in names]))


def local(cluster: Cluster, id_: str) -> cluster_pb2.GetStatusResponse:
    """What a node says of itself."""
    with cluster.client(id_, timeout=STATUS_S) as client:
        return client.get_status(local_only=True)


def problem(cluster: Cluster, id_: str) -> str:
    return local(cluster, id_).nodes[0].problem


def wait_for_problem(cluster: Cluster, id_: str, *words: str) -> str:
    def said() -> str:
        found = problem(cluster, id_)
        return found if all(word in found for word in words) else ""

    try:
        return eventually(said, what=f"{id_} to say {words}")
    except AssertionError:
        raise AssertionError(f"{id_} says: {problem(cluster, id_)}") from None


def identity(cluster: Cluster, id_: str) -> str:
    return local(cluster, id_).nodes[0].cluster_identity


def wait_for_tasks(cluster: Cluster, count: int) -> None:
    """On all nodes, in their own tables."""
    for id_ in cluster.nodes:
        eventually(lambda id_=id_: local(cluster, id_).counts.tasks == count, what=f"{count} tasks on {id_}")


def serves(cluster: Cluster, id_: str) -> bool:
    """What standard health checking says of a node."""
    with grpc.insecure_channel(cluster.addresses[id_]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=STATUS_S)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def kill(cluster: Cluster, *ids: str) -> None:
    for id_ in ids or cluster.nodes:
        cluster.nodes[id_].kill()


def has_no_leader(cluster: Cluster, *ids: str) -> bool:
    return not any(local(cluster, id_).leader_id for id_ in ids)


def test_a_wiped_majority_founds_nothing_and_the_one_that_remembers_recovers(cluster: Cluster) -> None:
    create(cluster, 50)
    wait_for_tasks(cluster, 50)
    before = identity(cluster, "n1")
    kill(cluster)
    cluster.wipe("n2")
    cluster.wipe("n3")
    for id_ in ("n2", "n3"):
        cluster.nodes[id_].start("--found")
    wait_for_problem(cluster, "n2", "waits with founding a cluster until n1 can be asked")
    wait_for_problem(cluster, "n3", "waits with founding a cluster until n1 can be asked")
    with cluster.client("n2", "n3", timeout=2.0) as client, pytest.raises(RaftschedError):
        client.create_task(task("lost", at=FAR, noop=True))
    cluster.nodes["n1"].start()
    said = wait_for_problem(cluster, "n1", "n2 has a data directory that does not remember", f"--recover {before[:8]}")
    assert "What only the lost ones held is lost" in said
    wait_for_problem(cluster, "n2", f"n1 holds cluster {before}", f"--recover {before[:8]}")
    assert has_no_leader(cluster, "n1", "n2", "n3")

    cluster.nodes["n1"].send(signal.SIGTERM)
    cluster.nodes["n1"].wait()
    cluster.nodes["n1"].start("--recover", before[:8])
    cluster.wait_ready()
    wait_for_tasks(cluster, 50)
    after = {identity(cluster, id_) for id_ in cluster.nodes}
    assert len(after) == 1
    assert before not in after
    # A service file in which the flag was left: it names a cluster that is no more.
    kill(cluster, "n1")
    cluster.nodes["n1"].start("--recover", before[:8])
    cluster.wait_ready()
    assert {identity(cluster, id_) for id_ in cluster.nodes} == after


def test_a_wiped_voter_comes_back_by_itself_once_those_that_remember_are_up(cluster: Cluster) -> None:
    create(cluster, 20)
    wait_for_tasks(cluster, 20)
    kill(cluster, "n3")
    cluster.wipe("n3")
    cluster.nodes["n3"].start()
    eventually(lambda: serves(cluster, "n3"), what="n3 to serve")
    assert local(cluster, "n3").counts.tasks == 20
    cluster.wait_ready()
    wait_for_tasks(cluster, 20)

    kill(cluster, "n2", "n3")
    # Until it has missed the others for a while n1 may lead, and begin to take the new directory in.
    eventually(lambda: has_no_leader(cluster, "n1"), what="n1 to have no leader")
    cluster.wipe("n3")
    cluster.nodes["n3"].start()
    wait_for_problem(cluster, "n3", "data directory is empty", "n1 holds cluster")
    wait_for_problem(cluster, "n1", "n2 cannot be reached", "n3 has a data directory that does not remember")
    assert has_no_leader(cluster, "n1", "n3")
    cluster.nodes["n2"].start()
    cluster.wait_ready()
    wait_for_tasks(cluster, 20)


def test_a_voter_with_the_directory_of_yesterday_does_not_vote_away_what_it_acknowledged(cluster: Cluster) -> None:
    create(cluster, 10, "yesterday")
    wait_for_tasks(cluster, 10)
    yesterday = cluster.directory / "yesterday"
    cluster.nodes["n3"].kill()
    shutil.copytree(cluster.directory / "n3", yesterday)
    cluster.nodes["n3"].start()
    cluster.wait_ready()
    kill(cluster, "n2")
    create(cluster, 30, "today")
    kill(cluster, "n1", "n3")
    cluster.wipe("n3")
    yesterday.rename(cluster.directory / "n3")
    for id_ in ("n2", "n3"):
        cluster.nodes[id_].start()
    wait_for_problem(cluster, "n3", "its files are copies", "--accept-copy")
    wait_for_problem(cluster, "n2", "n1 cannot be reached", "n3 has a data directory that does not remember")
    assert has_no_leader(cluster, "n2", "n3")
    cluster.nodes["n1"].start()
    cluster.wait_ready()
    wait_for_tasks(cluster, 40)


def test_two_foundings_refuse_each_other_and_name_both(tmp_path: Path) -> None:
    apart = Cluster(tmp_path)
    alone = {id_: f"{id_}={apart.addresses[id_]}" for id_ in ("n1", "n2")}
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.push(apart.__exit__)
        for id_, peers in alone.items():
            apart.nodes[id_].start("--peers", peers, "--found")
        identities = {id_: eventually(lambda id_=id_: identity(apart, id_)) for id_ in alone}
        kill(apart, *alone)
        for id_ in alone:
            apart.nodes[id_].start()
        for id_ in alone:
            said = wait_for_problem(apart, id_, *identities.values())
            assert "they were founded apart" in said
        kill(apart, *alone)


@pytest.mark.parametrize("order", [("n2", "n3", "n1"), ("n1", "n2", "n3")], ids=["newcomers first", "at once"])
def test_growing_from_one_to_three_keeps_all_tasks_whoever_starts_first(tmp_path: Path, order: tuple[str, ...]) -> None:
    grown = Cluster(tmp_path)
    with contextlib.ExitStack() as stack:
        stack.push(grown.__exit__)
        grown.nodes["n1"].start("--peers", f"n1={grown.addresses['n1']}")
        eventually(lambda: local(grown, "n1").leader_id == "n1")
        create(grown, 60)
        grown.nodes["n1"].send(signal.SIGTERM)
        grown.nodes["n1"].wait()
        for id_ in order:
            grown.nodes[id_].start()
            if order[0] != "n1" and id_ != "n1":
                wait_for_problem(grown, id_, "data directory is empty")
        grown.wait_ready()
        wait_for_tasks(grown, 60)


def test_a_directory_of_three_does_not_start_as_a_cluster_of_one(cluster: Cluster) -> None:
    kill(cluster)
    where = ["--id", "n1", "--listen", cluster.addresses["n1"], "--data-dir", str(cluster.directory / "n1")]
    said = start_refused(cluster.directory, *where)
    assert "voters n1, n2, n3, and peers does not name n2 and n3" in said
    assert "--recover" in said
    for node in cluster.nodes.values():
        node.start()
    cluster.wait_ready()


def test_a_second_process_with_the_id_of_another_is_refused_and_told(cluster: Cluster) -> None:
    peers = ",".join(f"{id_}={address}" for id_, address in cluster.addresses.items())
    where = ["--id", "n3", "--listen", f"127.0.0.1:{free_ports(1)[0]}", "--peers", peers]
    second = Process(
        ["node", *where, "--data-dir", str(cluster.directory / "second"), "--log-format", "json"],
        cluster.directory / "second.log",
        {"RAFTSCHED_HTTP_LISTEN": "off"},
    )
    second.start()
    try:
        wait_for_problem(cluster, "n1", "two processes say that they are node n3")
        wait_for_problem(cluster, "n2", "two processes say that they are node n3")
        eventually(lambda: "two processes say that they are node n3" in second.log.read_text())
        create(cluster, 10)
        wait_for_tasks(cluster, 10)
        assert local(cluster, "n3").nodes[0].votes
    finally:
        second.kill()


def test_a_copy_of_the_only_node_does_not_fire_until_told(tmp_path: Path) -> None:
    with Cluster(tmp_path, nodes=1) as only:
        with only.client() as client:
            client.create_task(task("tick", every=timedelta(seconds=1), noop=True))
        kill(only)
        shutil.copytree(only.directory / "n1", only.directory / "copy")
        (only.directory / "n1").rename(only.directory / "original")
        (only.directory / "copy").rename(only.directory / "n1")
        only.nodes["n1"].start()
        wait_for_problem(only, "n1", "does not vote, lead or fire", "--accept-copy")
        with only.client(timeout=2.0) as client, pytest.raises(RaftschedError):
            client.run_task("tick")
        kill(only)
        only.nodes["n1"].start("--accept-copy")
        only.wait_ready()
        kill(only)
        only.nodes["n1"].start()
        only.wait_ready()


def test_a_directory_does_not_start_under_the_name_of_another_cluster(tmp_path: Path) -> None:
    with Cluster(tmp_path, nodes=1) as only:
        kill(only)
        config = tmp_path / "other.toml"
        config.write_text('cluster_id = "other"\n')
        where = ["--id", "n1", "--listen", only.addresses["n1"], "--data-dir", str(tmp_path / "n1")]
        said = start_refused(tmp_path, *where, "--config", str(config))
        assert "belongs to cluster 'raftsched' (cluster_id), the settings say 'other'" in said


def test_an_empty_node_alone_says_how_to_found_or_join(tmp_path: Path) -> None:
    where = ["--id", "n1", "--listen", f"127.0.0.1:{free_ports(1)[0]}", "--data-dir", str(tmp_path / "n1")]
    assert "To found a new cluster, start it with --found" in start_refused(tmp_path, *where)


def test_directories_from_before_identities_go_on_and_get_one(cluster: Cluster) -> None:
    create(cluster, 20)
    wait_for_tasks(cluster, 20)
    kill(cluster)
    for id_ in cluster.nodes:
        make_old(cluster.directory / id_ / "state")
    for node in cluster.nodes.values():
        node.start()
    cluster.wait_ready()
    wait_for_tasks(cluster, 20)
    eventually(lambda: all(identity(cluster, id_) for id_ in cluster.nodes), what="an identity on all nodes")
    assert len({identity(cluster, id_) for id_ in cluster.nodes}) == 1
    kill(cluster)
    cluster.wipe("n2")
    for node in cluster.nodes.values():
        node.start()
    cluster.wait_ready()
    wait_for_tasks(cluster, 20)


def make_old(state: Path) -> None:
    """Take out of a directory what the version before did not write."""
    with contextlib.closing(LmdbStore(state)) as store:
        batch = store.batch()
        for key, _ in list(batch.scan(Table.RAFT, b"directory", b"directory!")):
            batch.delete(Table.RAFT, key)
        batch.delete(Table.META, b"members")
        for key, value in list(batch.scan(Table.LOG)):
            if value[8:9] == CONFIG:
                batch.put(Table.LOG, key, value[:8] + NO_OP)
        store.commit()


def test_a_client_is_served_while_a_node_is_taken_in(cluster: Cluster) -> None:
    create(cluster, 5)
    kill(cluster, "n3")
    cluster.wipe("n3")
    cluster.nodes["n3"].start()
    with Client(cluster.endpoints, timeout=20) as client:
        client.create_task(task("meanwhile", at=FAR, noop=True))
    cluster.wait_ready()
    wait_for_tasks(cluster, 6)
