"""Whether a task runs after others: decisions as pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from raftsched.core.state.model import ExecutionState

NOT_RUN = 0
"""State of an arrival: the parent was skipped in this round."""


class ChainCondition(IntEnum):
    """Which end of the parent; the numbers are those of ``raftsched.v1.ChainCondition``."""

    SUCCESS = 1
    FAILURE = 2
    COMPLETION = 3


@dataclass(frozen=True, slots=True)
class Parent:
    """A task that another runs after."""

    task: str
    on: int
    """A ChainCondition; 0 is SUCCESS."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a parent ended in a round."""

    task: str
    execution_id: bytes = b""
    """Empty: it was skipped."""
    state: int = NOT_RUN
    """An ExecutionState that ended, or NOT_RUN."""


_FAILURES = (ExecutionState.FAILED, ExecutionState.TIMED_OUT, ExecutionState.LOST, ExecutionState.EXPIRED)


def unmet(parents: Iterable[Parent], arrivals: Iterable[Arrival]) -> str:
    """Why a task does not run in a round in which its parents ended so; "" when it does.

    Parents that the round does not reach have no arrival, and no say.
    """
    conditions = {parent.task: ChainCondition(parent.on or ChainCondition.SUCCESS) for parent in parents}
    for arrival in arrivals:
        condition = conditions.get(arrival.task)
        if condition is not None and not _holds(condition, arrival.state):
            how = "was skipped" if arrival.state == NOT_RUN else f"ended as {ExecutionState(arrival.state).name}"
            return f"{arrival.task} {how}; runs on {condition.name.lower()} of it"
    return ""


def _holds(condition: ChainCondition, state: int) -> bool:
    match condition:
        case ChainCondition.SUCCESS:
            return state == ExecutionState.SUCCEEDED
        case ChainCondition.FAILURE:
            return state in _FAILURES
        case ChainCondition.COMPLETION:
            return state != NOT_RUN
