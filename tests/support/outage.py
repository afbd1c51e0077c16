"""All nodes of a cluster are down for a while, under each misfire policy; then the record is looked at.

    python -m tests.support.outage --every 60 --down 600

does it in real time: ten minutes of tasks of every minute. The tests use shorter ones.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from raftsched_client import Client, Task, task
from raftsched_proto.v1.execution_pb2 import DECISION_COALESCED, DECISION_RAN, DECISION_SKIPPED, Decision, LedgerEntry

from tests.support.cluster import Cluster, eventually
from tests.support.history import assert_each_decided_once, interval_times, nominal


@dataclass(frozen=True)
class Outage:
    """How often the tasks fire, and how long the cluster is down."""

    every: timedelta
    down: timedelta
    threshold: timedelta

    def tasks(self) -> list[Task]:
        """One task for each policy, by the name of it."""
        half = max(self.down / 2, self.threshold)
        common = {"every": self.every, "noop": True, "misfire_threshold": self.threshold, "overlap": "allow"}
        return [
            task("skip", misfire="skip", **common),
            task("one", misfire="one", **common),
            task("all", misfire="all", **common),
            task("all-window", misfire="all", misfire_window=half, **common),
            task("all-cap", misfire="all", misfire_max_runs=3, **common),
        ]


def suffer(cluster: Cluster, outage: Outage) -> datetime:
    """Register the tasks, kill all nodes, start them again; returns when the cluster had decided what was due."""
    with cluster.client() as client:
        for each in outage.tasks():
            client.create_task(each)
        patience_s = 3 * outage.every.total_seconds() + 30
        eventually(lambda: client.get_task("all-cap").HasField("last_fire_time"), within_s=patience_s, what="a fire")
    for node in cluster.nodes.values():
        node.kill()
    time.sleep(outage.down.total_seconds())
    cluster.start()
    restarted = datetime.now(UTC)
    with cluster.client() as client:
        for each in outage.tasks():
            eventually(
                lambda name=each.name: client.get_task(name).last_fire_time.ToDatetime(UTC) >= restarted - outage.every,
                what=f"what was due of {each.name}",
            )
    return datetime.now(UTC)


def raftsched(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line against the cluster."""
    command = [sys.executable, "-m", "raftsched.cli.main", "--endpoints", ",".join(cluster.endpoints)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def account(cluster: Cluster, client: Client, outage: Outage) -> dict[str, dict[str, int]]:
    """Assert that ``verify`` is content, that each nominal time was decided once, and that ``explain`` knows the edges.

    Returns how many nominal times had which decision, by task.
    """
    late = f"{int((outage.down + 10 * outage.every).total_seconds()) + 60}s"
    verified = raftsched(cluster, "verify", "--late", late)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"of {len(outage.tasks())} tasks checked: " in verified.stdout
    counts: dict[str, dict[str, int]] = {}
    # All at once, since they are compared with each other and grow on.
    ledgers = {each.name: list(client.list_ledger(each.name)) for each in outage.tasks()}
    for each in outage.tasks():
        entries = ledgers[each.name]
        expected = interval_times(
            nominal(entries[0]), entries[-1].last_nominal_time.ToDatetime(UTC), int(outage.every.total_seconds())
        )
        assert_each_decided_once(each.name, entries, expected)
        counts[each.name] = {}
        for entry in entries:
            decision = Decision.Name(entry.decision).removeprefix("DECISION_")
            counts[each.name][decision] = counts[each.name].get(decision, 0) + entry.count
        explained(cluster, each.name, [entry for entry in entries if entry.reason])
    return counts


def explained(cluster: Cluster, name: str, entries: list[LedgerEntry]) -> None:
    """``explain`` tells of the first and last nominal time that the outage decided what the record says."""
    for entry in (entries[0], entries[-1]):
        at = entry.last_nominal_time.ToDatetime(UTC).isoformat()
        shown = raftsched(cluster, "explain", name, "--at", at)
        assert shown.returncode == 0, shown.stderr
        for text in (Decision.Name(entry.decision).removeprefix("DECISION_"), "(term ", "misfire policy"):
            assert text in shown.stdout, f"{name} at {at}: {text!r} is not in\n{shown.stdout}"


def check(counts: dict[str, dict[str, int]]) -> None:
    """Each policy did what its name says."""
    skipped, coalesced, ran = (Decision.Name(each).removeprefix("DECISION_") for each in _DECISIONS)
    assert counts["skip"][skipped] > 0
    assert coalesced not in counts["skip"]
    assert counts["one"][coalesced] > 0
    assert skipped not in counts["one"]
    assert set(counts["all"]) == {ran}
    assert counts["all-window"][skipped] > 0
    assert counts["all-cap"][skipped] > 0
    assert counts["all-cap"][ran] < counts["all"][ran]


_DECISIONS = (DECISION_SKIPPED, DECISION_COALESCED, DECISION_RAN)


def main() -> None:
    """Do it, and print what was decided."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=float, default=60, help="seconds between nominal times")
    parser.add_argument("--down", type=float, default=600, help="seconds that all nodes are down")
    parser.add_argument("--threshold", type=float, default=10, help="misfire threshold in seconds")
    given = parser.parse_args()
    outage = Outage(*(timedelta(seconds=value) for value in (given.every, given.down, given.threshold)))
    with tempfile.TemporaryDirectory() as directory, Cluster(Path(directory)) as cluster:
        suffer(cluster, outage)
        with cluster.client() as client:
            counts = account(cluster, client, outage)
    for name, decisions in counts.items():
        print(f"{name:12} {', '.join(f'{count} {decision.lower()}' for decision, count in decisions.items())}")
    check(counts)


if __name__ == "__main__":
    main()
