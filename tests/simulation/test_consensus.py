"""Seeds of the Raft simulation: python -m tests.simulation runs more, and replays one."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.simulation.consensus import schedules
from tests.simulation.consensus.disks import DISK_SCHEDULES
from tests.simulation.consensus.faults import PROFILES
from tests.simulation.consensus.run import DEAF, REJOIN, Result, simulate

RUNS = [
    *(("everything", 3, seed) for seed in range(40)),
    *(("everything", 5, seed) for seed in range(12)),
    *(("everything", 2, seed) for seed in range(2)),
    *(("everything", 1, seed) for seed in range(2)),
    *((profile, 3, seed) for profile in PROFILES if profile != "everything" for seed in range(5)),
    *((profile, 3, seed) for profile in (REJOIN, DEAF) for seed in range(4)),
    # A leader that is cut off still counts on entries that the next leader has overwritten, and harms nobody.
    ("everything", 5, 10085),
    # The only voter of a shard applies an entry, and its disk then refuses it.
    ("members and everything", 3, 1002),
    ("members and everything", 3, 1098),
    *(("members and everything", 5, seed) for seed in range(4)),
    *(("disks", 5, seed) for seed in range(4)),
    *(("founding", 5, seed) for seed in range(2)),
    *(("founding", 1, seed) for seed in range(2)),
]


def explain(result: Result) -> str:
    return f"{result.violation}\nreplay: {result.replay} --trace"


@pytest.mark.parametrize(("profile", "nodes", "seed"), RUNS)
def test_no_promise_is_broken(profile: str, nodes: int, seed: int) -> None:
    result = simulate(seed, profile=profile, nodes=nodes)
    assert not result.violation, explain(result)


@pytest.mark.parametrize("schedule", [*schedules.SCHEDULES, *DISK_SCHEDULES], ids=lambda schedule: schedule.__name__)
def test_no_promise_is_broken_on_schedule(schedule: Callable[[], None]) -> None:
    schedule()


def test_the_seeds_meet_every_kind_of_trouble() -> None:
    facts: dict[str, int] = {}
    for seed in range(10):
        for name, count in simulate(seed).facts.items():
            if isinstance(count, int):
                facts[name] = facts.get(name, 0) + count
    for name in ("done", "unknown", "not_leader", "overloaded", "reads", "snapshots", "kills", "pauses", "partitions"):
        assert facts[name] > 0, f"no seed has met: {name}"


def test_a_seed_replays_in_any_process() -> None:
    script = "from tests.simulation.consensus.run import simulate; print(simulate(5, nodes=5).digest)"
    digests = set()
    for hash_seed in ("0", "1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(run.stdout)
    assert len(digests) == 1, digests
