"""What waits for the indexer."""

import random

from hypothesis import given
from hypothesis import strategies as st

from raftsched.history.frames import ChangedRows
from raftsched.history.pending import NO_ID, Pending

A, B, C = (letter * 16 for letter in (b"a", b"b", b"c"))


def entry(index: int, *executions: bytes) -> ChangedRows:
    return ChangedRows(index, list(executions), [], [])


def pending_of(*entries: ChangedRows) -> Pending:
    pending = Pending()
    for each in entries:
        pending.add(each)
    return pending


def test_an_execution_is_looked_at_once_however_often_it_changed() -> None:
    pending = pending_of(entry(1, A, B), entry(2, A), entry(3, A, B))
    assert pending.rows == 2
    assert pending.take(2) == entry(3, A, B)
    assert not pending
    assert pending.rows == 0


def test_an_execution_that_one_entry_changed_several_times_is_looked_at_once() -> None:
    pending = pending_of(entry(1, A, B, A), entry(2, C, C))
    assert pending.rows == 3
    assert sorted(pending.take(10).executions) == [A, B, C]
    assert (bool(pending), pending.rows) == (False, 0)


def test_what_changes_after_it_was_taken_is_looked_at_again() -> None:
    pending = pending_of(entry(1, A))
    pending.take(1)
    pending.add(entry(2, A))
    assert pending.take(1) == entry(2, A)


def test_executions_come_in_the_order_of_their_last_change() -> None:
    pending = pending_of(entry(1, A, B, C), entry(2, C), entry(3, A))
    assert pending.take(3) == entry(3, B, C, A)


def test_all_up_to_its_index_was_taken_and_nothing_of_an_entry_is_left_behind() -> None:
    pending = pending_of(entry(1, A, B), entry(2, A, C), ChangedRows(3, [], ["job"], [b"key"]), entry(4))
    assert pending.take(1) == entry(1, B, A)
    assert pending.rows == 3
    assert pending.take(1) == entry(2, C)
    assert pending.take(1) == ChangedRows(4, [], ["job"], [b"key"])
    assert not pending


def test_cleared_it_remembers_no_mention() -> None:
    pending = pending_of(entry(1, A))
    pending.clear()
    assert not pending
    assert pending.rows == 0
    pending.add(entry(2, A))
    assert pending.take(1) == entry(2, A)


BETWEEN = (B, C)
"""Of A, B and C only B is decided ahead."""


def test_what_is_decided_ahead_is_set_aside_and_the_index_does_not_pass_it() -> None:
    pending = Pending()
    pending.add(entry(1, A), BETWEEN)
    pending.add(entry(2, A, B, C), BETWEEN)
    pending.add(entry(3, A), BETWEEN)
    assert (pending.rows, pending.kept, pending.lowest_ahead) == (2, 3, B)
    assert pending.take(10) == entry(1, C, A)
    assert not pending
    assert pending.reaches(7) == 1


def test_what_was_set_aside_and_is_named_again_is_looked_at_with_that_entry() -> None:
    pending = Pending()
    pending.add(entry(1, B), BETWEEN)
    pending.add(entry(2, A, B), BETWEEN)
    assert (pending.rows, pending.kept, pending.lowest_ahead) == (2, 2, NO_ID)
    assert pending.take(10) == entry(2, B, A)
    assert pending.reaches(7) == 7


def test_what_was_set_aside_is_looked_at_when_it_is_released() -> None:
    pending = Pending()
    pending.add(entry(1, B, B[:15] + b"c"), (A, C))
    pending.add(entry(2, C), (A, C))
    pending.release(B[:15] + b"c")
    assert pending.lowest_ahead == B[:15] + b"c"
    assert pending.take(1) == ChangedRows(0, [B], [], [])
    assert pending.take(1) == ChangedRows(0, [C], [], [])
    pending.release(C)
    assert pending.take(1) == entry(2, B[:15] + b"c")
    assert (bool(pending), pending.kept, pending.lowest_ahead) == (False, 0, NO_ID)


@given(st.integers(0, 1 << 32))
def test_every_change_is_taken_after_it_was_told_and_before_the_index_passes_it(seed: int) -> None:
    chance = random.Random(seed)
    pending = Pending()
    unseen: dict[bytes, int] = {}
    """Of each execution the first change that no look has seen."""
    reached = told = 0
    ahead = (bytes([2]) * 16, bytes([5]) * 16)
    while told < 40 or pending.kept:
        if told < 40 and chance.random() < 0.6:
            told += 1
            names = [bytes([chance.randrange(6)]) * 16 for _ in range(chance.randrange(4))]
            names = list(dict.fromkeys(names))
            for name in names:
                unseen.setdefault(name, told)
            pending.add(entry(told, *names), ahead)
        elif chance.random() < 0.3 or not pending:
            pending.release(bytes([chance.randrange(2, 7)]) * 16)
        else:
            taken = pending.take(chance.randrange(1, 5))
            assert len(set(taken.executions)) == len(taken.executions)
            for name in taken.executions:
                unseen.pop(name)
            assert taken.index <= told
            reached = max(reached, taken.index)
            assert all(first > reached for first in unseen.values())
        assert pending.kept == len(unseen)
        assert pending.reaches(told) <= told
    assert not unseen
