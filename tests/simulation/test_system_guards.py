"""Each guard of the scheduler and the executors switched off is found by the simulation of the whole system."""

import logging

import pytest

from tests.simulation.consensus.world import Violation
from tests.simulation.system.mutations import MUTATIONS, SystemMutation
from tests.simulation.system.run import simulate_system

MAX_SEEDS = 40


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.guard)
def test_its_absence_is_found(mutation: SystemMutation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("pysyncobj"), "disabled", True)
    mutation.switch_off(monkeypatch)
    found = find(mutation)
    assert found.startswith(mutation.finds), found or "nothing was found"


def find(mutation: SystemMutation) -> str:
    if mutation.schedule is not None:
        try:
            mutation.schedule()
        except Violation as violation:
            return str(violation)
        return ""
    for seed in range(mutation.first_seed, mutation.first_seed + MAX_SEEDS):
        result = simulate_system(seed, profile=mutation.profile, nodes=mutation.nodes)
        if result.violation:
            return result.violation
    return ""
