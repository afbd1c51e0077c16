"""A task on every executor of three real processes, with a leader that dies in between."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raftsched_client import Client, Execution, LedgerEntry, task

from tests.support.cluster import Cluster, eventually
from tests.support.history import RAN, assert_each_decided_once, interval_times, nominal
from tests.support.outage import raftsched

LATE = timedelta(minutes=5)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


def entries_of(client: Client, name: str = "each") -> list[LedgerEntry]:
    return list(client.list_ledger(name))


def ended(client: Client) -> list[Execution]:
    """All executions when they have ended; none before."""
    found = list(client.list_executions(task="each"))
    return found if all(each.HasField("end_time") for each in found) else []


def on_all(entries: list[LedgerEntry], count: int) -> list[LedgerEntry]:
    return [entry for entry in entries if len(entry.execution_ids) == count]


def test_every_executor_runs_each_nominal_time_once_though_the_leader_dies(cluster: Cluster, tmp_path: Path) -> None:
    script = f"echo $RAFTSCHED_EXECUTION_ID $RAFTSCHED_ATTEMPT >>{tmp_path}/ran"
    with cluster.client() as client:
        # A new leader waits a whole lease for executors: what comes due meanwhile is late, and must not be coalesced.
        client.create_task(
            task("each", every=timedelta(seconds=1), shell=script, placement="every", misfire_threshold=LATE)
        )
        eventually(lambda: len(on_all(entries_of(client), 3)) >= 3, what="three nominal times on three executors")
        cluster.nodes[killed := cluster.leader()].kill()
        eventually(lambda: on_all(entries_of(client), 2), what="a nominal time on the two that are left")
        cluster.nodes[killed].start()
        back = len(entries_of(client))
        eventually(lambda: len(on_all(entries_of(client)[back:], 3)) >= 3, what="all three again")
        client.pause_task("each")
        executions = eventually(lambda: ended(client), what="the end of all")
        entries = entries_of(client)
        times = [nominal(entry) for entry in entries]
        assert_each_decided_once("each", entries, interval_times(times[0], times[-1], 1))
        assert {entry.decision for entry in entries} == {RAN}, [entry.reason for entry in entries if entry.reason]
        by_id = {each.id: each for each in executions}
        assert len(by_id) == len(executions) == sum(len(entry.execution_ids) for entry in entries)
        for entry in entries:
            of_it = [by_id[each] for each in entry.execution_ids]
            assert {each.nominal_time.ToDatetime(UTC) for each in of_it} == {nominal(entry)}
            assert len({each.executor_id for each in of_it}) == len(of_it) >= 2
            assert all(each.executor_id == each.pinned_executor_id for each in of_it)
        ran = Counter(line.split()[0] for line in (tmp_path / "ran").read_text().splitlines())
        assert set(ran) == set(by_id)
        # What the killed process had begun runs again there, as its next attempt.
        assert {each for each, times in ran.items() if times > 1} <= {
            each.id for each in executions if each.attempt > 1
        }
        run_by_hand = client.run_task("each")
        manual = entries_of(client)[-1]
        assert run_by_hand.id in manual.execution_ids
        assert len(manual.execution_ids) == 3
    verified = raftsched(cluster, "verify", "--late", f"{LATE.seconds}s")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    first = on_all(entries, 3)[0]
    explained = raftsched(cluster, "explain", "each", "--at", nominal(first).isoformat())
    assert "3, one on every executor" in explained.stdout
    assert all(each in explained.stdout for each in first.execution_ids)
    waited = raftsched(cluster, "task", "run", "each", "--wait")
    assert waited.stdout.count("SUCCEEDED") == 3, waited.stdout + waited.stderr


def test_a_page_of_executions_may_end_between_those_of_one_nominal_time(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_task(task("once", at=datetime(2100, 1, 1, tzinfo=UTC), noop=True, placement="every"))
        for _ in range(2):
            client.run_task("once")
        found = [each.id for each in client.list_executions(task="once", page_size=2)]
        wanted = [each for entry in entries_of(client, "once") for each in entry.execution_ids]
        assert found == sorted(wanted, reverse=True)
        assert len(set(found)) == 6
