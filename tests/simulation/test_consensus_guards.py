"""Each guard switched off is found by the simulation: its checkers can fail."""

import logging
from pathlib import Path

import pytest

from tests.simulation.consensus.elsewhere import ELSEWHERE, Elsewhere
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


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=lambda elsewhere: elsewhere.guard)
def test_what_is_not_switched_off_is_held_by_a_test_that_exists(elsewhere: Elsewhere) -> None:
    file, _, name = elsewhere.held_by.partition("::")
    assert f"def {name}(" in Path(file).read_text()


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
