import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from raftsched_client import AsyncClient, Client

from tests.support.peer_cluster import Cluster


class Blocking:
    """An asynchronous client with the surface of the synchronous one, so that one test serves both."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._runner = asyncio.Runner()
        try:
            self._client = self._runner.run(self._make(*args, **kwargs))
        except ValueError:
            self._runner.close()
            raise

    async def _make(self, *args: Any, **kwargs: Any) -> AsyncClient:
        return AsyncClient(*args, **kwargs)

    def __enter__(self) -> "Blocking":
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            result = attribute(*args, **kwargs)
            return self._await(result) if inspect.iscoroutine(result) else self._iterate(result)

        return call

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(coroutine)

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._runner.run(anext(items))
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(items.aclose())


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(size=3) as running:
        yield running


@pytest.fixture(params=[Client, Blocking], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients that are closed after the test."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(request.param(*args, **kwargs))


@pytest.fixture
def client(cluster: Cluster, connect: Callable[..., Any]) -> Any:
    return connect(cluster.endpoints)
