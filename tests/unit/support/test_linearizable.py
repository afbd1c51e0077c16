"""The checker itself: it accepts what one copy could have answered, and catches each way of being wrong."""

import itertools
import random

import pytest

from tests.support.linearizable import FOREVER, BudgetExceeded, Call, End, Kind, State, is_linearizable, step

CREATE, UPDATE, DELETE, GET = Kind.CREATE, Kind.UPDATE, Kind.DELETE, Kind.GET
A, B = "a", "b"

GOOD = {
    "one after the other": [Call(CREATE, A, 0, 1), Call(GET, A, 2, 3), Call(DELETE, None, 4, 5), Call(GET, None, 6, 7)],
    "a read during a write sees either": [Call(CREATE, A, 0, 10), Call(GET, None, 1, 2), Call(GET, A, 3, 4)],
    "an unknown write took effect late": [
        Call(CREATE, A, 0, 1), Call(UPDATE, B, 2, 3, End.UNKNOWN), Call(GET, A, 4, 5), Call(GET, B, 6, 7),
    ],
    "an unknown write never took effect": [
        Call(CREATE, A, 0, 1), Call(UPDATE, B, 2, 3, End.UNKNOWN), Call(GET, A, 4, 5),
    ],
    "an unknown create explains a refusal": [Call(CREATE, A, 0, 1, End.UNKNOWN), Call(CREATE, B, 2, 3, End.REFUSED)],
    "of two creates at once one is refused": [Call(CREATE, A, 0, 5), Call(CREATE, B, 1, 4, End.REFUSED)],
    "a read without an answer says nothing": [Call(GET, B, 0, 1, End.UNKNOWN)],
}  # fmt: skip
BAD = {
    "a stale read": [Call(CREATE, A, 0, 1), Call(UPDATE, B, 2, 3), Call(GET, A, 4, 5)],
    "a lost write": [Call(CREATE, A, 0, 1), Call(GET, None, 2, 3)],
    "a deleted task that comes back": [Call(CREATE, A, 0, 1), Call(DELETE, None, 2, 3), Call(GET, A, 4, 5)],
    "two creates that both succeed": [Call(CREATE, A, 0, 5), Call(CREATE, B, 1, 4)],
    "a value that nobody wrote": [Call(CREATE, A, 0, 1), Call(GET, B, 2, 3)],
    "reads that go back in time": [
        Call(CREATE, A, 0, 1), Call(UPDATE, B, 2, 9), Call(GET, B, 3, 4), Call(GET, A, 5, 6),
    ],
    "a refused update of a task that is there": [Call(CREATE, A, 0, 1), Call(UPDATE, B, 2, 3, End.REFUSED)],
    "an unknown write seen before it began": [
        Call(CREATE, A, 0, 1), Call(GET, B, 2, 3), Call(UPDATE, B, 4, 5, End.UNKNOWN),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_one_copy_could_answer_is_linearizable(name: str) -> None:
    assert is_linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_what_no_single_copy_could_answer_is_not(name: str) -> None:
    assert not is_linearizable(BAD[name])


@pytest.mark.parametrize("seed", range(300))
def test_it_agrees_with_trying_all_orders(seed: int) -> None:
    dice = random.Random(seed)
    calls = [_random_call(dice) for _ in range(dice.randint(1, 6))]
    assert is_linearizable(calls) == _by_trying_all(calls)


def test_a_history_beyond_the_budget_is_not_judged() -> None:
    tangle = [Call(UPDATE, str(number), 0, 100) for number in range(20)] + [Call(CREATE, "x", 0, 100)]
    with pytest.raises(BudgetExceeded):
        is_linearizable([*tangle, Call(GET, "never", 0, 100)], budget=1_000)


def _random_call(dice: random.Random) -> Call:
    kind = dice.choice(list(Kind))
    began = dice.randint(0, 10)
    value = dice.choice([A, B, None] if kind is GET else [A, B])
    end = dice.choice([End.OK, End.OK, End.REFUSED, End.UNKNOWN]) if kind is not GET else End.OK
    return Call(kind, value, began, began + dice.randint(1, 6), end)


def _by_trying_all(calls: list[Call]) -> bool:
    unknown = [call for call in calls if call.end is End.UNKNOWN]
    definite = [call for call in calls if call.end is not End.UNKNOWN]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            if any(_explains(order) for order in itertools.permutations([*definite, *chosen])):
                return True
    return False


def _explains(order: tuple[Call, ...]) -> bool:
    for first, second in itertools.combinations(order, 2):
        if _end_of(second) < first.began:
            return False
    state: State = None
    for call in order:
        after = step(call, state)
        if after is None:
            return False
        state = after[0]
    return True


def _end_of(call: Call) -> float:
    return FOREVER if call.end is End.UNKNOWN else call.ended
