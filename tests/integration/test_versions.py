"""A node that is too old for its log or its data directory stops, says what to do, and takes nothing of it."""

import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from raftsched_client import task
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.versions import CLUSTER_VERSION_KEY, NEWEST_VERSION, cluster_version_row
from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import COMMAND
from raftsched.ports import Table
from raftsched.store.lmdb_store import LmdbStore
from tests.integration.test_hostile_peers import FAR
from tests.support.cluster import Cluster

OUTDATED = 8
NEWER = NEWEST_VERSION + 1


def stopped_with(cluster: Cluster, change: Callable[[LmdbStore], None]) -> Path:
    """The store of a node that has one task, and was changed while the node was down."""
    with cluster.client() as client:
        client.create_task(task("kept", at=FAR, noop=True))
    cluster.nodes["n1"].send(signal.SIGTERM)
    assert cluster.nodes["n1"].wait() == 0
    path = cluster.directory / "n1" / "state"
    with closing(LmdbStore(path)) as store:
        change(store)
        store.commit()
    return path


def starts_and_stops(cluster: Cluster) -> str:
    node = cluster.nodes["n1"]
    before = len(node.log.read_text())
    node.start()
    assert node.wait() == OUTDATED
    return node.log.read_text()[before:]


def tasks(path: Path) -> list[bytes]:
    with closing(LmdbStore(path)) as store, store.read() as reader:
        return [key for key, _ in reader.scan(Table.TASKS)]


def test_a_newer_entry_in_the_log_stops_a_node_at_each_start(tmp_path: Path) -> None:
    def append(store: LmdbStore) -> None:
        journal = Journal(store, "n1")
        command = pb.Command(version=NEWER, now_us=1)
        command.delete_task.name = "kept"
        term = journal.term_at(journal.last_index)
        assert term is not None
        journal.add(COMMAND + command.SerializeToString(), journal.last_index + 1, term)

    with Cluster(tmp_path, nodes=1) as cluster:
        path = stopped_with(cluster, append)
        for _ in range(2):
            said = starts_and_stops(cluster)
            assert f"is of cluster version {NEWER}" in said
            assert "Upgrade this node" in said
            assert "Traceback" not in said
        assert tasks(path) == [b"kept"]


def test_a_data_directory_of_a_newer_cluster_version_is_refused(tmp_path: Path) -> None:
    def raise_version(store: LmdbStore) -> None:
        store.batch().put(Table.META, CLUSTER_VERSION_KEY, cluster_version_row(NEWER))

    with Cluster(tmp_path, nodes=1) as cluster:
        path = stopped_with(cluster, raise_version)
        assert f"the state of this node is of cluster version {NEWER}" in starts_and_stops(cluster)
        assert tasks(path) == [b"kept"]


def test_a_data_directory_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    with Cluster(tmp_path, nodes=1) as cluster:
        path = stopped_with(cluster, lambda _store: None)
        format_ = (path / "FORMAT").read_text()
        (path / "FORMAT").write_text("raftsched store\nformat 99\n")
        assert "has store format 99" in starts_and_stops(cluster)
        (path / "FORMAT").write_text(format_)
        assert tasks(path) == [b"kept"]
