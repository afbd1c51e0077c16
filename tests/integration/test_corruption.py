"""Bits that flip and files that lose their end while a node is down.

What must hold: a node whose file does not hang together refuses to start and says what to do; one that starts shows
what the others show, or stops when it reads a damaged row, and says the same.
"""

import random
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from raftsched_client import Client, RaftschedError, task

from tests.support.cluster import Cluster, eventually

FAR = datetime(2100, 1, 1, tzinfo=UTC)
TASKS = 400
PAGE_BYTES = 4096
TRIALS = 6
"""Damages of one kind in one test: each is a restart of a node."""


def visible(client: Client) -> list[bytes]:
    """Every task, execution and ledger entry that a node shows of its own state."""
    tasks = list(client.list_tasks(stale=True, page_size=1_000))
    rows = [*tasks, *client.list_executions(stale=True), *client.list_ledger("ran", stale=True)]
    return [row.SerializeToString(deterministic=True) for row in rows]


def fill(cluster: Cluster) -> list[bytes]:
    """Put something into the tables; what every node shows then."""
    with cluster.client() as client:
        names = (f"kept-{number:04}" for number in range(TASKS))
        results = client.create_tasks([task(name, at=FAR, noop=True, labels={"is": name}) for name in names])
        assert not any(result.code for result in results)
        client.create_task(task("ran", at=FAR, noop=True))
        ids = [client.run_task("ran").id for _ in range(20)]
        eventually(lambda: all(client.get_execution(id_).HasField("end_time") for id_ in ids), what="20 executions")
    return agreed(cluster)


def agreed(cluster: Cluster) -> list[bytes]:
    def same() -> list[bytes] | None:
        seen = []
        for id_ in cluster.nodes:
            with cluster.client(id_) as client:
                seen.append(visible(client))
        return seen[0] if all(each == seen[0] for each in seen) else None

    return eventually(same, what="nodes that agree")


class Damaged:
    """A node whose data file a test damages, again and again, from the same good copy."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.right = fill(cluster)
        self.id = cluster.follower()
        self._node = cluster.nodes[self.id]
        self._node.kill()
        self.directory = cluster.directory / self.id / "state"
        self.file = self.directory / "data.mdb"
        self.good = self.file.read_bytes()

    def start(self) -> str:
        """Start on the damaged file: what it says when it refuses, "" when it follows, as all others do."""
        before = self._node.log.stat().st_size
        self._node.start()
        with self.cluster.client(self.id, timeout=5.0) as client:
            eventually(
                lambda: not self._node.running or self._follows(client), within_s=60, what="a start or a refusal"
            )
        if self._node.running:
            return ""
        assert self._node.wait() > 0, f"{self.id} was killed by signal {-self._node.wait()}"
        return self._node.log.read_bytes()[before:].decode(errors="replace")

    def shows(self) -> list[bytes]:
        with self.cluster.client(self.id) as client:
            return visible(client)

    def shows_or_stops(self) -> bool:
        """Whether it shows what is right, or has stopped with advice instead of showing anything else."""
        try:
            with self.cluster.client(self.id, timeout=5.0) as client:
                return visible(client) == self.right
        except RaftschedError:
            if not self._node.running:
                assert self._node.wait() > 0
                return refused_with_advice(self._node.log.read_text(errors="replace").splitlines()[-1])
            return False

    def restore(self) -> None:
        self._node.kill()
        self.file.write_bytes(self.good)

    @staticmethod
    def _follows(client: Client) -> bool:
        return bool(client.get_status(local_only=True).leader_id)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damaged]:
    cluster = Cluster(tmp_path_factory.mktemp("corruption"))
    with cluster:
        yield Damaged(cluster)


def refused_with_advice(words: str) -> bool:
    return "Restore the directory from a backup, or wipe" in words and "Traceback" not in words


@pytest.mark.parametrize("seed", range(2))
def test_a_file_that_lost_its_end_is_refused_or_lost_nothing_that_counts(damaged: Damaged, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(TRIALS):
        length = dice.randrange(0, len(damaged.good))
        damaged.file.write_bytes(damaged.good[:length])
        words = damaged.start()
        if words:
            assert refused_with_advice(words), f"seed {seed}, cut at {length}: {words}"
        else:
            eventually(lambda: damaged.shows() == damaged.right, what=f"seed {seed}, cut at {length}: what others show")
        damaged.restore()


def structure(page: bytes) -> int:
    """How many bytes of a page hold LMDB's own structure: the header and the offsets of its nodes."""
    return min(PAGE_BYTES, max(16, int.from_bytes(page[12:14], "little")))


@pytest.mark.parametrize("seed", range(2))
def test_a_flip_in_the_structure_of_a_page_is_refused_or_harmless(damaged: Damaged, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(TRIALS):
        data = bytearray(damaged.good)
        page = dice.randrange(0, len(data) // PAGE_BYTES)
        at = page * PAGE_BYTES + dice.randrange(structure(bytes(data[page * PAGE_BYTES :][:PAGE_BYTES])))
        data[at] ^= 1 << dice.randrange(8)
        damaged.file.write_bytes(data)
        where = f"seed {seed}, byte {at} (page {page}, offset {at % PAGE_BYTES})"
        words = damaged.start()
        if words:
            assert refused_with_advice(words), f"{where}: {words}"
        else:
            eventually(lambda: damaged.shows() == damaged.right, what=f"{where}: what others show")
        damaged.restore()


@pytest.mark.parametrize("seed", range(2))
def test_a_flip_in_a_row_is_refused_or_stops_the_node_when_it_is_read_or_is_harmless(
    damaged: Damaged, seed: int
) -> None:
    dice = random.Random(seed)
    for _ in range(TRIALS):
        data = bytearray(damaged.good)
        at = dice.choice([found.start() for found in re.finditer(rb"kept-\d{4}", data)]) + dice.randrange(40)
        data[at] ^= 1 << dice.randrange(8)
        damaged.file.write_bytes(data)
        where = f"seed {seed}, byte {at}"
        words = damaged.start()
        if words:
            assert refused_with_advice(words), f"{where}: {words}"
        else:
            eventually(damaged.shows_or_stops, what=f"{where}: what others show, or a stop with advice")
        damaged.restore()


def test_a_node_whose_directory_was_wiped_as_advised_gets_everything_back(damaged: Damaged) -> None:
    damaged.file.write_bytes(b"\xff" * len(damaged.good))
    assert refused_with_advice(damaged.start())
    shutil.rmtree(damaged.directory)
    assert damaged.start() == ""
    eventually(lambda: damaged.shows() == damaged.right, what="everything")
    damaged.restore()
