"""What watchers of executions are given, and what they miss."""

import asyncio

import pytest

from raftsched.api.door.errors import ApiError
from raftsched.api.executions.feed import MAX_WATCHERS, QUEUE_BYTES, Change, ExecutionFeed, Subscription
from raftsched.core.state.rows import ExecutionRow


def change(number: int, task: str = "t") -> Change:
    return number.to_bytes(16, "big"), ExecutionRow(task=task, attempt=number)


def taken(subscription: Subscription) -> list[tuple[int, int]]:
    """Attempt of each change that is left, and how many were dropped before it."""
    found = []
    while (next_one := subscription.take()) is not None:
        (_, row), dropped = next_one
        found.append((row.attempt, dropped))
    return found


def test_a_watcher_is_woken_by_a_change_and_waits_when_it_has_taken_all() -> None:
    async def test() -> None:
        subscription = Subscription()
        subscription.add(change(1), 300)
        async with asyncio.timeout(20):
            await subscription.arrived(3_600)
        assert taken(subscription) == [(1, 0)]
        waiting = asyncio.ensure_future(subscription.arrived(3_600))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        subscription.add(change(2), 300)
        async with asyncio.timeout(20):
            await waiting

    asyncio.run(test())


def test_a_watcher_that_reads_too_slowly_loses_the_oldest_beyond_the_bound_and_is_told_how_many() -> None:
    half = QUEUE_BYTES // 2
    subscription = Subscription()
    subscription.add(change(1), half)
    subscription.add(change(2), half)
    assert taken(subscription) == [(1, 0), (2, 0)]
    for number, size_bytes in enumerate((half, half, 1, half), start=3):
        subscription.add(change(number), size_bytes)
    assert taken(subscription) == [(5, 2), (6, 0)]
    subscription.add(change(7), half)
    assert taken(subscription) == [(7, 0)]


def test_a_change_concerns_who_watches_its_execution_its_task_or_all() -> None:
    feed = ExecutionFeed()
    first, second = change(1, "a"), change(2, "b")
    with feed.subscribe("") as all_of_them, feed.subscribe("a") as of_task, feed.subscribe(second[0]) as of_execution:
        assert feed.watchers == 3
        feed.publish([first, second])
        assert [taken(each) for each in (all_of_them, of_task, of_execution)] == [
            [(1, 0), (2, 0)],
            [(1, 0)],
            [(2, 0)],
        ]
    assert feed.watchers == 0
    assert feed._groups == {}, "nothing is kept of what nobody watches"
    feed.publish([first])
    assert [taken(each) for each in (all_of_them, of_task, of_execution)] == [[], [], []]


def test_two_of_a_group_are_given_the_same_and_one_stays_when_the_other_leaves() -> None:
    feed = ExecutionFeed()
    with feed.subscribe("a") as stays:
        with feed.subscribe("a") as leaves:
            feed.publish([change(1, "a")])
        feed.publish([change(2, "a")])
        assert taken(stays) == [(1, 0), (2, 0)]
        assert taken(leaves) == [(1, 0)]


def test_watchers_beyond_the_bound_are_refused() -> None:
    feed = ExecutionFeed()
    watchers = [feed.subscribe("") for _ in range(MAX_WATCHERS)]
    for each in watchers:
        each.__enter__()
    with pytest.raises(ApiError, match=f"{MAX_WATCHERS} watchers are connected"), feed.subscribe(""):
        pass
    watchers[0].__exit__(None, None, None)
    with feed.subscribe(""):
        assert feed.watchers == MAX_WATCHERS
