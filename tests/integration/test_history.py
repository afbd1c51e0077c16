"""The history of a real cluster: any node answers, and nothing is missing after crashes, damage and snapshots."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from raftsched_client import Client, RaftschedError, Task, task
from raftsched_proto.v1 import history_pb2

from tests.support.cluster import Cluster, eventually


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path) as running:
        yield running


def run_some(client: Client, name: str, count: int, text: str) -> list[str]:
    """Executions of a new task, which end."""
    client.create_task(task(name, every=timedelta(days=300), command=["sh", "-c", f"echo {text}; exit 3"]))
    runs = [client.run_task(name).id for _ in range(count)]
    for each in runs:
        list(client.watch_executions(execution_id=each))
    return runs


def found(cluster: Cluster, node: str, query: str) -> set[str]:
    try:
        with cluster.client(node) as client:
            return {record.execution.id for record in client.search_logs(query)}
    except RaftschedError:
        return set()


def status(cluster: Cluster, node: str) -> history_pb2.GetHistoryStatusResponse:
    with cluster.client(node) as client:
        return client.get_history_status()


def all_find(cluster: Cluster, query: str, wanted: list[str]) -> None:
    for node in cluster.nodes:
        # The index takes only processors that nobody else wants.
        eventually(
            lambda node=node: found(cluster, node, query) == set(wanted), within_s=120, what=f"{query} on {node}"
        )


def indexer_of(pid: int) -> int:
    """The process that keeps the history index of a node."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (indexer,) = (child for child in children if b"history.indexer" in Path(f"/proc/{child}/cmdline").read_bytes())
    return int(indexer)


def kill(cluster: Cluster, node: str) -> None:
    """Kill a node, and wait for the end of its indexer, which ends by itself and writes until then."""
    indexer = Path(f"/proc/{indexer_of(cluster.nodes[node].pid)}")
    cluster.nodes[node].kill()
    eventually(lambda: not indexer.exists(), what="the end of the indexer")


def test_every_node_finds_what_ran_and_what_was_changed(cluster):
    with cluster.client() as client:
        runs = run_some(client, "job", 3, "connection refused")
        client.pause_task("job")
        client.update_task(Task(name="job", owner="Team A", description="Why"), ["description", "owner"])
        all_find(cluster, '"connection refused" NOT accepted', runs)
        for node in cluster.nodes:
            eventually(
                lambda node=node: (
                    [change.changed_fields for change in client_changes(cluster, node, "job")]
                    == [["description", "owner"], ["paused"], []]
                ),
                what=f"changes on {node}",
            )


def test_a_change_says_who_asked_for_it_whichever_node_and_way_it_came(cluster):
    with cluster.client() as client:
        client.create_task(task("job", every=timedelta(days=300), noop=True))
    with Client(cluster.addresses[cluster.follower()], metadata=lambda: [("raftsched-user", "ann")]) as client:
        client.pause_task("job")
    follower = cluster.follower()
    eventually(
        lambda: [change.actor for change in client_changes(cluster, follower, "job")] == ["ann@127.0.0.1", "127.0.0.1"],
        what="who",
    )


def client_changes(cluster: Cluster, node: str, name: str) -> list[history_pb2.TaskChange]:
    with cluster.client(node) as client:
        return list(client.list_task_changes(name))


def test_nothing_is_missing_after_kills_of_node_and_indexer_and_a_lost_and_a_damaged_file(cluster):
    victim = cluster.follower()
    other = next(id_ for id_ in cluster.nodes if id_ not in (victim, cluster.leader()))
    with cluster.client() as client:
        runs = run_some(client, "first", 3, "needle")
        all_find(cluster, "needle", runs)
        # Killed while others go on; the file of another is lost meanwhile, the third's is damaged.
        cluster.nodes[victim].kill()
        runs += run_some(client, "second", 3, "needle")
        cluster.nodes[victim].start()
        all_find(cluster, "needle", runs)
        kill(cluster, other)
        cluster.wipe(other, "history")
        cluster.nodes[other].start()
        all_find(cluster, "needle", runs)
        kill(cluster, other)
        (cluster.directory / other / "history" / "index.sqlite").write_bytes(b"not a database" * 1000)
        cluster.nodes[other].start()
        all_find(cluster, "needle", runs)
    assert (cluster.directory / other / "history" / "index.sqlite.bad").exists()


def test_a_clean_restart_goes_on_from_the_cursor_and_compares_nothing(cluster):
    with cluster.client() as client:
        runs = run_some(client, "job", 2, "needle")
    all_find(cluster, "needle", runs)
    node = cluster.follower()
    cluster.nodes[node].send(signal.SIGTERM)
    cluster.nodes[node].wait()
    cluster.nodes[node].start()
    cluster.wait_ready()
    eventually(lambda: found(cluster, node, "needle") == set(runs), what="the records")
    caught_up = [line for line in cluster.log_lines(node) if "catches up" in str(line.get("event"))]
    # When the file was made.
    assert [line["cursor"] for line in caught_up] == [0]


def test_a_killed_indexer_is_started_again_and_misses_nothing(cluster):
    node = cluster.follower()
    with cluster.client() as client:
        runs = run_some(client, "first", 1, "needle")
        all_find(cluster, "needle", runs)
        os.kill(indexer_of(cluster.nodes[node].pid), signal.SIGKILL)
        runs += run_some(client, "second", 2, "needle")
        all_find(cluster, "needle", runs)


def test_every_node_finds_a_word_from_the_middle_of_a_long_output_also_with_an_index_made_anew(cluster):
    lines = "for n in $(seq 1 3000); do echo line $n $((n * 7919)) $((n * 104729)) $((n * 1299709)); done"
    with cluster.client() as client:
        # About 200 KiB, a colour within the word.
        script = f"{lines}; printf 'mid\\033[1mdle\\033[0mneedle\\n'; {lines}"
        client.create_task(task("long", every=timedelta(days=300), shell=script))
        run = client.run_task("long").id
        list(client.watch_executions(execution_id=run))
        assert client.get_execution(run).output_size_bytes > 150 << 10
        all_find(cluster, "output:middleneedle", [run])
        for node in cluster.nodes:
            with cluster.client(node) as asked:
                (record,) = asked.search_logs("middleneedle")
                assert "middleneedle" in record.snippet
            assert status(cluster, node).missing_outputs == 0
        # The node that has neither the output nor its copy asks the others for it.
        execution = eventually(
            lambda: e if (e := client.get_execution(run)).output_copy_node_id else None, what="the second copy"
        )
        owner = next(id_ for id_ in cluster.nodes if execution.executor_id.startswith(f"{id_}-"))
    (third,) = set(cluster.nodes) - {owner, execution.output_copy_node_id}
    for node in (third, owner):
        kill(cluster, node)
        cluster.wipe(node, "history")
        cluster.nodes[node].start()
    all_find(cluster, "output:middleneedle", [run])
