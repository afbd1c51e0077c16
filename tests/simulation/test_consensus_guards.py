"""Each guard switched off is found by the simulation: its checkers can fail."""

import logging

import pytest

from tests.simulation.consensus.mutations import MUTATIONS, Mutation
from tests.simulation.consensus.run import simulate
from tests.simulation.consensus.world import Violation

MAX_SEEDS = 80


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.guard)
def test_its_absence_is_found(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    # The engine speaks up about what the guards keep it from.
    monkeypatch.setattr(logging.getLogger("pysyncobj"), "disabled", True)
    mutation.switch_off(monkeypatch)
    found = find(mutation)
    assert found.startswith(mutation.finds), found or "nothing was found"


def find(mutation: Mutation) -> str:
    if mutation.schedule is not None:
        try:
            mutation.schedule()
        except Violation as violation:
            return str(violation)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""
    for seed in range(MAX_SEEDS):
        result = simulate(seed, profile=mutation.profile, nodes=mutation.nodes)
        if result.violation:
            return result.violation
    return ""
