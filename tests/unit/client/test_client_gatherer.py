"""Many coroutines register tasks in shared requests."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from raftsched_client import (
    AlreadyExistsError,
    AsyncClient,
    InvalidArgumentError,
    RaftschedError,
    ResourceExhaustedError,
    Task,
    TaskGatherer,
    _gather,
    task,
)

from tests.support.peer_cluster import Cluster, Fault, refusal


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(size=1) as running:
        yield running


def a_task(name: str) -> Task:
    return task(name, every=timedelta(minutes=1), noop=True)


async def create_all(cluster: Cluster, names: list[str]) -> list[str | BaseException]:
    async with AsyncClient(cluster.endpoints) as client, TaskGatherer(client) as gatherer:
        return await asyncio.gather(*(gatherer.create_task(a_task(name)) for name in names), return_exceptions=True)


def test_calls_that_come_together_share_a_request(cluster: Cluster) -> None:
    uids = asyncio.run(create_all(cluster, [f"t{number}" for number in range(100)]))
    assert len(set(uids)) == 100
    assert all(isinstance(uid, str) and uid for uid in uids)
    assert cluster.methods() == ["BatchCreateTasks"]


def test_what_comes_while_requests_are_under_way_goes_with_the_next_ones(cluster: Cluster) -> None:
    async def workers() -> None:
        names = iter(f"t{number}" for number in range(200))

        async def worker() -> None:
            for name in names:
                await gatherer.create_task(a_task(name))

        async with AsyncClient(cluster.endpoints) as client, TaskGatherer(client) as gatherer:
            await asyncio.gather(*(worker() for _ in range(20)))

    asyncio.run(workers())
    assert sum(len(call.request.tasks) for call in cluster.received) == 200
    assert len(cluster.received) < 100


def test_each_caller_learns_what_became_of_its_task(cluster: Cluster) -> None:
    good, bad, twice, again = asyncio.run(create_all(cluster, ["good", "bad name", "twice", "twice"]))
    assert isinstance(good, str)
    assert isinstance(twice, str)
    assert isinstance(bad, InvalidArgumentError)
    assert [violation.field for violation in bad.field_violations] == ["task.name"]
    assert isinstance(again, AlreadyExistsError)
    assert again.applied == "no"


def test_a_request_that_fails_fails_for_all_that_it_carried(cluster: Cluster) -> None:
    cluster.fail("BatchCreateTasks", Fault(refusal("INTERNAL", "broken")))
    first, second = asyncio.run(create_all(cluster, ["a", "b"]))
    assert isinstance(first, RaftschedError)
    assert isinstance(second, RaftschedError)
    assert str(first) == str(second) == "broken"
    assert first.request_id == second.request_id != ""
    assert first is not second


def test_a_caller_that_gives_up_before_its_task_is_sent_registers_nothing(cluster: Cluster) -> None:
    async def give_up() -> None:
        async with AsyncClient(cluster.endpoints) as client, TaskGatherer(client) as gatherer:
            first, second = (asyncio.create_task(gatherer.create_task(a_task(name))) for name in ("first", "second"))
            await asyncio.sleep(0)
            first.cancel()
            assert await second

    asyncio.run(give_up())
    sent = [each.name for call in cluster.received for each in call.request.tasks]
    assert sent == ["second"]


def test_more_than_the_bound_may_not_wait(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gather, "MAX_WAITING", 3)
    answers = asyncio.run(create_all(cluster, [f"t{number}" for number in range(5)]))
    assert [type(answer) for answer in answers] == [str, str, str, ResourceExhaustedError, ResourceExhaustedError]
    assert sum(len(call.request.tasks) for call in cluster.received) == 3


def test_the_number_of_requests_in_flight_is_at_least_one(cluster: Cluster) -> None:
    async def make() -> None:
        async with AsyncClient(cluster.endpoints) as client:
            TaskGatherer(client, max_in_flight=0)

    with pytest.raises(ValueError, match="max_in_flight"):
        asyncio.run(make())
