"""Outputs longer than what the log holds, on real clusters: stored twice, found from every node, followed live."""

import base64
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from raftsched_client import Client, task
from raftsched_proto.v1 import execution_pb2

from tests.support.cluster import Cluster, eventually

FAR = datetime(2100, 1, 1, tzinfo=UTC)
SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED
MIB = 1 << 20
# Lines of 16 bytes, each with its number: 1 MiB exactly, no two pieces alike.
MIB_OF_LINES = "import sys; sys.stdout.write(''.join('%015d\\n' % n for n in range({lines})))"


def program(lines: int) -> list[str]:
    return [sys.executable, "-c", MIB_OF_LINES.format(lines=lines)]


def text(lines: int) -> bytes:
    return b"".join(b"%015d\n" % number for number in range(lines))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, http=True) as running:
        yield running


def run(cluster: Cluster, name: str, command: list[str]) -> execution_pb2.Execution:
    """Run a command to its end, and until its second copy is known."""
    with cluster.client() as client:
        client.create_task(task(name, at=FAR, command=command))
        started = client.run_task(name)
        return eventually(
            lambda: e if (e := client.get_execution(started.id)).output_copy_node_id else None,
            what=f"the second copy of the output of {name}",
        )


def whole(client: Client, id_: str) -> bytes:
    return b"".join(piece.data for piece in client.get_output(id_))


def owner(cluster: Cluster, execution: execution_pb2.Execution) -> str:
    """The node whose executor ran it."""

    def connected(client: Client) -> str:
        found = (each for each in client.get_status().executors if each.id == execution.executor_id)
        return next((each.node_id for each in found), "")

    with cluster.client() as client:
        return eventually(lambda: connected(client), what=f"the executor {execution.executor_id}")


def stored_at(cluster: Cluster, node: str, *, copy: bool) -> list[Path]:
    directory = cluster.directory / node / ("outputs" if copy else "executor/outputs")
    return list(directory.iterdir()) if directory.is_dir() else []


def is_gone(directory: Path) -> bool:
    """Remove it, while the process of the history index, whose node was killed, may still write its last."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def test_output_outlives_the_machine_that_ran_it(cluster: Cluster) -> None:
    execution = run(cluster, "lines", program(MIB // 16))
    expected = text(MIB // 16)
    assert execution.state == SUCCEEDED
    assert execution.output_sha256 == hashlib.sha256(expected).hexdigest()
    assert (execution.output_size_bytes, execution.output_stored_bytes) == (MIB, MIB)
    ran_at = owner(cluster, execution)
    assert execution.output_copy_node_id != ran_at
    for node in cluster.nodes:
        with cluster.client(node) as client:
            assert whole(client, execution.id) == expected
    cluster.nodes[ran_at].kill()
    eventually(lambda: is_gone(cluster.directory / ran_at), what="the end of the machine")
    for node in set(cluster.nodes) - {ran_at}:
        with cluster.client(node) as client:
            # A copy that does not answer at once is passed over, for the little that the log holds.
            eventually(lambda client=client: whole(client, execution.id) == expected, what="the output")


def test_a_damaged_file_is_passed_over_for_the_other(cluster: Cluster) -> None:
    execution = run(cluster, "lines", program(MIB // 16))
    ran_at = owner(cluster, execution)
    (first,) = stored_at(cluster, ran_at, copy=False)
    (second,) = stored_at(cluster, execution.output_copy_node_id, copy=True)
    for path, is_both in ((first, False), (second, True)):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with cluster.client() as client:
            if is_both:
                # Nothing but what the log holds, and it says so.
                got = list(client.get_output(execution.id))
                assert b"".join(piece.data for piece in got) == text(MIB // 16)[-4096:]
                assert got[0].truncated_bytes == MIB - 4096
            else:
                # So it would be, too, if the node with the other did not answer at once.
                eventually(lambda: whole(client, execution.id) == text(MIB // 16), what="the output")
    assert any("cannot be used" in str(line.get("event")) for line in cluster.log_lines(ran_at))


def test_beyond_the_limit_beginning_and_end_are_stored_and_what_is_missing_is_counted(cluster: Cluster) -> None:
    lines = 3 * MIB // 16
    execution = run(cluster, "many-lines", program(lines))
    assert (execution.output_size_bytes, execution.output_stored_bytes) == (3 * MIB, MIB)
    with cluster.client() as client:
        pieces = list(client.get_output(execution.id))
    data = b"".join(piece.data for piece in pieces)
    expected = text(lines)
    assert data == expected[: MIB - 65_536] + expected[-65_536:]
    # Where the data goes on behind the gap.
    assert [piece.truncated_bytes for piece in pieces if piece.truncated_bytes] == [2 * MIB]
    address = next(iter(cluster.http_addresses.values()))
    with urllib.request.urlopen(
        f"http://{address}/v1/executions/{execution.id}/output?offset={3 * MIB - 32}"
    ) as answer:
        assert answer.read() == expected[-32:]
        assert answer.headers["Raftsched-Truncated-Bytes"] == str(2 * MIB)


def event_data(events: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of output from the lines of an event stream, each of which says where it goes on."""
    offset = 0
    for line in events:
        message = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
        if message.get("data"):
            # What an event says lets a client join the pieces, and go on behind them.
            assert (int(message.get("offset", 0)), message["attempt"]) == (offset, 1)
            data = base64.b64decode(message["data"])
            offset += len(data)
            yield data


def test_output_is_followed_live_from_every_node_in_every_way(cluster: Cluster, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"seq 1 2000; until [ -e {go} ]; do sleep 0.05; done; echo last"
    with cluster.client() as client:
        client.create_task(task("live", at=FAR, shell=script))
        id_ = client.run_task("live").id
        eventually(lambda: client.get_execution(id_).HasField("start_time"), what="the start")
    beginning = "".join(f"{number}\n" for number in range(1, 2001)).encode()
    cli = subprocess.Popen(
        [str(Path(sys.executable).with_name("raftsched")), "execution", "output", id_, "--follow",
         "--endpoints", ",".join(cluster.endpoints)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    http = cluster.http_addresses[cluster.follower()]
    request = urllib.request.Request(
        f"http://{http}/v1/executions/{id_}/output?follow=true", headers={"accept": "text/event-stream"}
    )
    followed = {}
    for node in cluster.nodes:
        with cluster.client(node) as client, closing(client.get_output(id_, follow=True)) as pieces:
            followed[node] = b""
            while len(followed[node]) < len(beginning):
                followed[node] += next(pieces).data
    assert set(followed.values()) == {beginning}
    with cli, urllib.request.urlopen(request, timeout=60) as events:
        assert cli.stdout is not None
        assert cli.stdout.read(len(beginning)) == beginning
        pieces = event_data(events)
        joined = b""
        while len(joined) < len(beginning):
            joined += next(pieces)
        assert joined == beginning
        # Everybody has seen the beginning while it still runs.
        go.touch()
        assert cli.stdout.read() == b"last\n"
        assert cli.wait(timeout=60) == 0
        assert b"".join(pieces) == b"last\n"


def test_output_is_read_from_an_offset(cluster: Cluster) -> None:
    execution = run(cluster, "lines", program(MIB // 16))
    expected = text(MIB // 16)
    with cluster.client() as client:
        for offset in (0, MIB // 2 + 1, MIB - 10, MIB, 2 * MIB):
            assert b"".join(piece.data for piece in client.get_output(execution.id, offset=offset)) == expected[offset:]
    command = [str(Path(sys.executable).with_name("raftsched")), "--endpoints", ",".join(cluster.endpoints)]
    done = subprocess.run(
        [*command, "execution", "output", execution.id, "--offset", str(MIB - 32)], capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (expected[-32:], b"")


def test_a_copy_that_waits_when_its_executor_is_killed_is_made_after_the_restart(cluster: Cluster) -> None:
    # No node can take a copy, since a file stands where its directory should be: then all executors are killed.
    blocks = [cluster.directory / node / "outputs" for node in cluster.nodes]
    for block in blocks:
        block.touch()
    with cluster.client() as client:
        client.create_task(task("lines", at=FAR, command=program(MIB // 16)))
        ids = [client.run_task("lines").id for _ in range(6)]
        eventually(lambda: all(client.get_execution(each).HasField("end_time") for each in ids), what="all ends")
        assert not any(client.get_execution(each).output_copy_node_id for each in ids)
    for node in cluster.nodes.values():
        node.kill()
    notes = [cluster.directory / node / "executor" / "outputs-uncopied" for node in cluster.nodes]
    assert sum(len(list(each.iterdir())) for each in notes if each.is_dir()) == len(ids)
    for block in blocks:
        block.unlink()
    for node in cluster.nodes.values():
        node.start()
    with cluster.client() as client:
        eventually(
            lambda: all(client.get_execution(each).output_copy_node_id for each in ids), what="copies", within_s=60
        )
    for each in notes:
        eventually(lambda each=each: not each.is_dir() or not list(each.iterdir()), what="the end of the notes")


def test_a_copy_that_cannot_be_made_holds_up_no_report_and_follows_later(cluster: Cluster) -> None:
    still = cluster.follower()
    awake = [node for node in cluster.nodes if node != still]
    cluster.nodes[still].send(signal.SIGSTOP)
    with cluster.client(*awake) as client:
        client.create_task(task("lines", at=FAR, command=program(MIB // 16)))
        ids = [client.run_task("lines").id for _ in range(6)]
        eventually(lambda: all(client.get_execution(each).HasField("end_time") for each in ids), what="all ends")
        cluster.nodes[still].send(signal.SIGCONT)
        eventually(
            lambda: all(client.get_execution(each).output_copy_node_id for each in ids), what="copies", within_s=60
        )
