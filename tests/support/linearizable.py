"""Is a history of calls to one task linearizable? Shares no code with the scheduler.

The search is that of Wing and Gong with the memory of Lowe (Testing for linearizability, 2017): calls are put in order
one by one, never before a call that had ended when they began, and a configuration that failed once is not tried
again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

FOREVER = float("inf")
DEFAULT_BUDGET = 2_000_000
State = str | None
"""What a task holds, or None where there is no task of that name."""


class Kind(Enum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    GET = "get"


class End(Enum):
    OK = "ok"
    REFUSED = "refused"
    """There was a task that must not be there, or none where there must be one."""
    UNKNOWN = "unknown"
    """It may have taken effect, may do so later, or never."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call and how it ended. ``value``: what CREATE and UPDATE wrote, what GET returned."""

    kind: Kind
    value: State
    began: float
    ended: float
    end: End = End.OK


class BudgetExceeded(Exception):
    """The history is too tangled to be judged with the steps that were allowed."""


def is_linearizable(calls: Sequence[Call], *, initial: State = None, budget: int = DEFAULT_BUDGET) -> bool:
    """Whether some order of the calls explains all answers. Raises BudgetExceeded."""
    ordered = sorted((call for call in calls if not _says_nothing(call)), key=lambda call: call.began)
    definite = sum(1 << number for number, call in enumerate(ordered) if call.end is not End.UNKNOWN)
    seen = {(0, initial)}
    stack = [(0, initial)]
    while stack:
        taken, state = stack.pop()
        if taken & definite == definite:
            return True
        for number in _next(ordered, taken):
            after = step(ordered[number], state)
            if after is None:
                continue
            configuration = (taken | 1 << number, after[0])
            if configuration not in seen:
                seen.add(configuration)
                stack.append(configuration)
        if len(seen) > budget:
            raise BudgetExceeded(f"{len(ordered)} calls, over {budget} configurations")
    return False


def step(call: Call, state: State) -> tuple[State] | None:
    """The state after the call, or None: the answer cannot be given in this state, or (unknown) it would do nothing."""
    there = state is not None
    match call.kind, call.end:
        case Kind.GET, _:
            return (state,) if call.value == state else None
        case Kind.CREATE, End.REFUSED:
            return (state,) if there else None
        case Kind.CREATE, _:
            return None if there else (call.value,)
        case _, End.REFUSED:
            return None if there else (state,)
        case Kind.DELETE, _:
            return (None,) if there else None
        case _:
            return (call.value,) if there else None


def describe(calls: Iterable[Call]) -> str:
    """The history, one line for each call, with times from its beginning."""
    ordered = sorted(calls, key=lambda call: call.began)
    zero = ordered[0].began if ordered else 0.0
    return "\n".join(
        f"{call.began - zero:9.3f} {call.ended - zero:9.3f} {call.kind.value:6} {call.value} {call.end.value}"
        for call in ordered
    )


def _says_nothing(call: Call) -> bool:
    return call.kind is Kind.GET and call.end is not End.OK


def _next(ordered: Sequence[Call], taken: int) -> Iterator[int]:
    """Calls that may come next: begun before every call that is not yet taken ended."""
    horizon = FOREVER
    for number, call in enumerate(ordered):
        if call.began > horizon:
            return
        if not taken >> number & 1:
            yield number
            if call.end is not End.UNKNOWN:
                horizon = min(horizon, call.ended)
