"""Nodes that die: nothing acknowledged is lost, every nominal time is decided exactly once."""

import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from raftsched_client import RaftschedError, task
from raftsched_proto.v1 import execution_pb2

from tests.support.cluster import Cluster, eventually
from tests.support.history import (
    assert_each_decided_once,
    assert_one_execution_per_nominal_time,
    decided_times,
    interval_times,
    nominal,
)

SECOND = timedelta(seconds=1)
RUNNING = execution_pb2.EXECUTION_STATE_RUNNING
TASKS = [f"tick-{number:02}" for number in range(30)]


def register_ticking(cluster: Cluster) -> None:
    with cluster.client() as client:
        results = list(client.create_tasks([task(name, every=SECOND, noop=True) for name in TASKS]))
        assert not any(result.code for result in results)


def check_history(cluster: Cluster, until: datetime) -> None:
    """Each nominal time up to ``until`` is decided once and has one execution at most."""
    with cluster.client() as client:
        for name in TASKS:
            entries = eventually(
                lambda name=name: e if (e := list(client.list_ledger(name))) and nominal(e[-1]) >= until else None,
                what=f"the ledger of {name} up to {until}",
            )
            assert_each_decided_once(name, entries, interval_times(nominal(entries[0]), until, 1))
            assert_one_execution_per_nominal_time(client.list_executions(task=name))


class Registrar:
    """Registers one task after another and keeps the names that were acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self.acknowledged: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Registrar":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with self._cluster.client() as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                name = f"registered-{number:05}"
                try:
                    client.create_task(task(name, at=datetime(2100, 1, 1, tzinfo=UTC), noop=True))
                except RaftschedError:
                    continue
                self.acknowledged.append(name)


def test_killing_the_leader_loses_no_registration_and_no_nominal_time(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        register_ticking(cluster)
        with Registrar(cluster) as registrar:
            for _ in range(2):
                victim = cluster.leader()
                before = len(registrar.acknowledged)
                cluster.nodes[victim].kill()
                eventually(lambda b=before: len(registrar.acknowledged) > b + 20, what="registrations after the kill")
                cluster.nodes[victim].start()
                cluster.wait_ready()
        check_history(cluster, datetime.now(UTC))
        with cluster.client() as client:
            there = {each.name for each in client.list_tasks(name_prefix="registered-")}
        assert set(registrar.acknowledged) <= there


def test_a_paused_leader_is_replaced_and_cannot_fire_when_it_wakes(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        register_ticking(cluster)
        victim = cluster.leader()
        cluster.nodes[victim].send(signal.SIGSTOP)
        others = [id_ for id_ in cluster.nodes if id_ != victim]
        with cluster.client(*others) as client:
            eventually(lambda: client.get_status().leader_id in others, what="another leader")
        cluster.nodes[victim].send(signal.SIGCONT)
        cluster.wait_ready()
        check_history(cluster, datetime.now(UTC))


def test_killing_a_follower_runs_its_executions_again_with_a_higher_token(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.client() as client:
        far = datetime(2100, 1, 1, tzinfo=UTC)
        # Only the first attempt lasts until it is killed.
        script = '[ "$RAFTSCHED_ATTEMPT" -gt 1 ] || exec sleep 60'
        client.create_task(task("again", at=far, shell=script))
        client.create_task(task("never-again", at=far, command=["sleep", "60"], delivery="at_most_once"))
        started = [client.run_task(name) for name in ("again", "again", "never-again", "never-again")]
        # Assigned is not enough: a process that is killed before the assignment reaches it is given the attempt again.
        placed = eventually(
            lambda: (
                p
                if all(p := [client.get_execution(e.id) for e in started]) and all(e.state == RUNNING for e in p)
                else None
            ),
            what="the start of all",
        )
        leader = cluster.leader()
        owners = [next(n for n in cluster.nodes if e.executor_id.startswith(f"{n}-")) for e in placed]
        victim = next(owner for owner in owners if owner != leader)
        hit = [e for e, owner in zip(placed, owners, strict=True) if owner == victim]
        cluster.nodes[victim].kill()
        for before in hit:
            after = eventually(
                lambda b=before: e if (e := client.get_execution(b.id)).HasField("end_time") else None,
                what=f"the end of {before.task}",
            )
            if before.task == "again":
                assert (after.state, after.attempt) == (execution_pb2.EXECUTION_STATE_SUCCEEDED, 2)
                assert after.fencing_token > before.fencing_token
            else:
                assert (after.state, after.attempt) == (execution_pb2.EXECUTION_STATE_LOST, 1)


def test_a_restart_of_all_nodes_at_once_loses_nothing_and_makes_up_what_fell_due_once(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        register_ticking(cluster)
        now = datetime.now(UTC)
        with cluster.client() as client:
            client.create_task(task("due-meanwhile", at=now + 4 * SECOND, noop=True))
            eventually(lambda: list(client.list_ledger(TASKS[0])), what="a first fire")
        for node in cluster.nodes.values():
            node.send(signal.SIGKILL)
        for node in cluster.nodes.values():
            node.wait()
        starts = datetime.now(UTC) + 13 * SECOND
        eventually(lambda: datetime.now(UTC) > starts, what="13 seconds without a cluster")
        cluster.start()
        check_history(cluster, datetime.now(UTC))
        with cluster.client() as client:
            executions = eventually(lambda: list(client.list_executions(task="due-meanwhile")), what="the missed fire")
            assert len(executions) == 1
            misfired = [e for e in client.list_ledger(TASKS[0]) if e.decision == execution_pb2.DECISION_COALESCED]
            assert misfired
            assert decided_times(client.list_ledger("due-meanwhile"), [now + 4 * SECOND]).total() == 1
