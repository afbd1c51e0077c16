"""Surveys of what waits too long: bounded, and not made anew for each who asks."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from raftsched.api.context import ApiContext
from raftsched.api.executions import waits
from raftsched.api.executions.waits import Waits
from tests.unit.scheduler.test_scheduler import World


class Asked:
    """What surveys ask of a node, over a leader that has executions which nobody can take."""

    def __init__(self) -> None:
        self.world = World()
        self.world.register("stuck")
        self.world.pass_time(20)
        self.leading = True
        self.surveys = 0
        self.api = cast(
            ApiContext,
            SimpleNamespace(
                clock=self.world.clock, store=self.world.store, explainer=self._explainer, leads=lambda: self.leading
            ),
        )

    def _explainer(self, reader: Any) -> Any:
        self.surveys += 1
        return self.world.scheduler.explainer(reader) if self.leading else None


def test_a_survey_is_used_for_a_second_by_all_who_ask() -> None:
    asked = Asked()

    async def ask() -> None:
        found = Waits(asked.api)
        first = await asyncio.gather(*(found.survey() for _ in range(5)))
        assert asked.surveys == 1
        assert all(each is first[0] for each in first)
        asked.world.clock.advance(1.1)
        assert await found.survey() is not first[0]
        assert asked.surveys == 2

    asyncio.run(ask())


def test_a_survey_ends_at_its_bound_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "MAX_LOOKED_AT", 3)
    survey = asyncio.run(Waits(Asked().api).survey())
    assert survey is not None
    assert survey.incomplete
    assert [wait.count for wait in survey.waits()] == [3]


def test_who_does_not_lead_knows_nothing_of_what_waits() -> None:
    asked = Asked()
    found = Waits(asked.api)
    assert asyncio.run(found.survey()) is not None
    asked.leading = False
    assert asyncio.run(found.survey()) is None, "what it found while it led is old"
