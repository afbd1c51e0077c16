"""Seeds of the simulation of the whole system: python -m tests.simulation runs more, and replays one."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from tests.simulation.consensus.run import Result
from tests.simulation.system import schedules
from tests.simulation.system.faults import SYSTEM_PROFILES
from tests.simulation.system.run import simulate_system

FOUND = {
    "an attempt of a deleted task ended while the journal was synced": ("everything", 5, 21),
    "the scheduler spun while its pipeline was full": ("system-calm", 3, 0),
    "a commit was read before the scheduler was told what it changed": ("everything", 3, 5209),
    "a run was taken for ended while a task was to fire some seconds later": ("everything", 3, 10027),
    "an execution for which no executor had room was taken for late": ("system-executors", 3, 40019),
    "an executor that was started anew said of what it had started that it had not": ("everything", 3, 1046),
    "what waited for a slot was said to have started when it was withdrawn": ("system-executors", 3, 9104),
    "a scan of a view of the twin store saw what was committed after it began": ("everything", 3, 5000),
}
"""Seeds that found a defect, by what was wrong."""
RUNS = [
    *(("everything", 3, seed) for seed in range(1_000, 1_150)),
    *(("everything", 5, seed) for seed in range(1_000, 1_050)),
    *(("everything", nodes, seed) for nodes in (1, 2) for seed in range(4)),
    *(("clocks", nodes, seed) for nodes in (1, 2, 5) for seed in range(4)),
    *((profile, 3, seed) for profile in SYSTEM_PROFILES if profile != "everything" for seed in range(8)),
    *FOUND.values(),
]

TROUBLE = (
    *("fires", "starts", "snapshots", "calls ok", "calls refused", "calls unknown", "kills", "pauses", "partitions"),
    *("executor kills", "power losses", "executor pauses", "executor disk errors", "stream breaks", "line cuts"),
    *("wall clock steps", "commits reported as failed", "disk errors"),
)


CLOCK_TROUBLE = {
    "clocks": ("clock steps", "clock slews", "clocks wrong for good", "executor clock steps", "suspends", "kills"),
    "clocks-together": ("glitches of a majority", "leap seconds"),
}


def explain(result: Result) -> str:
    return f"{result.violation}\nreplay: {result.replay} --trace"


@pytest.mark.parametrize(("profile", "nodes", "seed"), RUNS)
def test_no_promise_is_broken(profile: str, nodes: int, seed: int) -> None:
    result = simulate_system(seed, profile=profile, nodes=nodes)
    assert not result.violation, explain(result)


@pytest.mark.parametrize("schedule", schedules.SCHEDULES, ids=lambda schedule: schedule.__name__)
def test_no_promise_is_broken_on_schedule(schedule: Callable[[], None]) -> None:
    schedule()


def test_the_seeds_meet_every_kind_of_trouble() -> None:
    facts: dict[str, int] = {}
    for seed in range(12):
        for name, count in simulate_system(seed).facts.items():
            if isinstance(count, int):
                facts[name] = facts.get(name, 0) + count
    for name in TROUBLE:
        assert facts[name] > 0, f"no seed has met: {name}"


def test_the_seeds_meet_nodes_that_are_too_old() -> None:
    met = Counter[str]()
    names = ("upgrades", "downgrades", "outdated nodes that stopped")
    for seed in range(6):
        facts = simulate_system(seed, profile="versions").facts
        met.update({name: int(str(facts.get(name, 0))) for name in names})
    assert all(met[name] for name in names), met


@pytest.mark.parametrize("profile", CLOCK_TROUBLE)
def test_the_seeds_meet_every_kind_of_wrong_clock(profile: str) -> None:
    met = Counter[str]()
    for seed in range(6):
        facts = simulate_system(seed, profile=profile).facts
        met.update({name: int(str(facts.get(name, 0))) for name in (*CLOCK_TROUBLE[profile], "held against true time")})
    assert all(met.values()), met


def test_the_seeds_meet_tasks_of_all_kinds() -> None:
    met = Counter[str]()
    for seed in range(8):
        facts = simulate_system(seed, profile="system-related").facts
        met.update({name: int(str(facts[name])) for name in ("chained", "backfilled", "spread", "shared")})
    assert all(met.values()), met


def test_a_seed_replays_in_any_process() -> None:
    script = "from tests.simulation.system.run import simulate_system; print(simulate_system(5, nodes=5).digest)"
    digests = set()
    for hash_seed in ("0", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(run.stdout)
    assert len(digests) == 1, digests
