"""A backfill through three real processes whose leader dies in the middle of it."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raftsched_client import task
from raftsched_proto.v1 import execution_pb2

from tests.support.cluster import Cluster, eventually
from tests.support.history import RAN, nominal

HOURS = 16


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


def raftsched(cluster: Cluster, *arguments: str) -> str:
    command = [sys.executable, "-m", "raftsched.cli.main", "--endpoints", ",".join(cluster.endpoints)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_nominal_time_runs_once_beside_no_other_though_the_leader_dies(cluster: Cluster, tmp_path: Path) -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    begin = end - timedelta(hours=HOURS)
    expected = [begin + timedelta(hours=number) for number in range(HOURS)]
    script = f"exec 9>{tmp_path}/lock; flock -n 9 || exit 66; sleep 0.3; echo $RAFTSCHED_NOMINAL_TIME >>{tmp_path}/ran"
    with cluster.client() as client:
        client.create_task(task("hourly", cron="0 * * * *", shell=script, paused=True))
        planned = client.backfill_task("hourly", start=begin, end=end, dry_run=True)
        assert [time.nominal_time.ToDatetime(UTC) for time in planned] == expected
        assert not list(client.list_ledger("hourly"))
        made = client.backfill_task("hourly", start=begin, end=end, request_id="b1")
        eventually(lambda: (tmp_path / "ran").exists(), what="the first run")
        cluster.nodes[killed := cluster.leader()].kill()
        assert client.backfill_task("hourly", start=begin, end=end, request_id="b1") == made
        executions = eventually(
            lambda: (
                found
                if len(found := list(client.list_executions(task="hourly"))) == HOURS
                and all(each.HasField("end_time") for each in found)
                else None
            ),
            what="the end of the backfill",
        )
        cluster.nodes[killed].start()
        assert {each.id for each in executions} == {time.execution_id for time in made}
        assert {each.state for each in executions} == {execution_pb2.EXECUTION_STATE_SUCCEEDED}
        entries = list(client.list_ledger("hourly"))
        assert [nominal(entry) for entry in entries] == expected
        assert {entry.trigger for entry in entries} == {execution_pb2.TRIGGER_BACKFILL}
        assert {entry.decision for entry in entries} == {RAN}
        ran = Counter((tmp_path / "ran").read_text().split())
        attempts = {each.nominal_time.ToDatetime(UTC).strftime("%Y-%m-%dT%H:%M"): each.attempt for each in executions}
        assert {time[:16] for time in ran} == set(attempts)
        # What a dead node had begun may have gone on to its end before it was run again.
        assert all(count <= attempts[time[:16]] for time, count in ran.items())
    assert "checked: 0 early, 0 late, 0 missing, 0 twice" in raftsched(cluster, "verify")


def test_explain_shows_the_backfill_beside_what_was_decided_before(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_task(task("tick", every=timedelta(seconds=1), noop=True, paused=True))
        resumes = datetime.now(UTC) + timedelta(seconds=3)
        eventually(lambda: datetime.now(UTC) > resumes, what="nominal times to be left out")
        client.resume_task("tick")
        (skipped,) = (each for each in client.list_ledger("tick") if each.decision == execution_pb2.DECISION_SKIPPED)
        assert skipped.count >= 2
        inside = nominal(skipped) + timedelta(seconds=1)
        (planned,) = client.backfill_task("tick", start=inside, end=inside + timedelta(milliseconds=1), dry_run=True)
        assert [entry.decision for entry in planned.decided] == [execution_pb2.DECISION_SKIPPED]
        (made,) = client.backfill_task("tick", start=inside, end=inside + timedelta(milliseconds=1))
    explained = raftsched(cluster, "explain", "tick", "--at", inside.isoformat())
    assert "the task was paused" in explained
    assert "BACKFILL" in explained
    assert made.execution_id in explained
    assert "checked: 0 early, 0 late, 0 missing, 0 twice" in raftsched(cluster, "verify", "--late", "60s")
