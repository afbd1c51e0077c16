"""What the HTTP server does with clients that dawdle, and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from raftsched.rest import body, server, stream
from raftsched.rest.calls import connectable
from raftsched.rest.server import ListenError, RestServer
from tests.support.api_cluster import ApiCluster, eventually, eventually_true, on_cluster

DEADLINE_S = 20.0


@asynccontextmanager
async def served(cluster: ApiCluster, connections: int = 100) -> AsyncIterator[tuple[RestServer, int]]:
    address = cluster.nodes[0].me.address
    rest = RestServer(address, "1.2.3", ui=Path("/nonexistent"), max_connections=connections)
    port = rest.listen("127.0.0.1:0")
    rest.start()
    try:
        yield rest, port
    finally:
        await rest.stop()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def hung_up(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    except ConnectionResetError:
        return b""


@on_cluster()
async def test_who_does_not_send_the_headers_is_hung_up_on(
    cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT_S", 0.2)
    async with served(cluster) as (_, port):
        async with connected(port) as (reader, _):
            assert await hung_up(reader) == b"", "a connection without a word"
        async with connected(port) as (reader, writer):
            writer.write(b"GET /docs HTTP/1.1\r\nHost: localhost\r\n")
            assert await hung_up(reader) == b"", "a connection with half of the headers"
        async with connected(port) as (reader, writer):
            writer.write(b"GET /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await asyncio.wait_for(reader.readline(), DEADLINE_S)).startswith(b"HTTP/1.1 404")


GET = b"GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n"
WATCH = b"GET /v1/executions:watch HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = GET) -> None:
    """Ask, and read the answer: of a stream its head."""
    writer.write(said)
    async with asyncio.timeout(DEADLINE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200")
        if said is GET:
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))


@on_cluster()
async def test_a_new_connection_takes_the_place_of_the_one_that_is_idle_for_longest(cluster: ApiCluster) -> None:
    async with (
        served(cluster, connections=2) as (_, port),
        connected(port) as silent,
        connected(port) as used,
        connected(port) as third,
    ):
        await answered(*third)
        assert await hung_up(silent[0]) == b"", "it had not said a word"
        await answered(*used)
        async with connected(port) as fourth:
            await answered(*fourth)
            assert b"HTTP/1.1 200" not in await hung_up(third[0]), "its answer was read; then it was idle for longer"
            await answered(*used)


@on_cluster()
async def test_when_all_are_being_answered_a_new_connection_is_refused(cluster: ApiCluster) -> None:
    async with (
        served(cluster, connections=2) as (_, port),
        connected(port) as first,
        connected(port) as second,
    ):
        await answered(*first, WATCH)
        await answered(*second, WATCH)
        async with connected(port) as third:
            third[1].write(GET)
            assert await hung_up(third[0]) == b""
        second[1].close()
        await second[1].wait_closed()
        await eventually_true(lambda: _is_answered(port))


async def _is_answered(port: int) -> bool:
    async with connected(port) as (reader, writer):
        writer.write(GET)
        try:
            return (await asyncio.wait_for(reader.readline(), DEADLINE_S)).startswith(b"HTTP/1.1 200")
        except ConnectionResetError:
            return False


@on_cluster()
async def test_who_does_not_send_the_body_is_told_so(cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_TIMEOUT_S", 0.2)
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    async with served(cluster) as (_, port), connected(port) as (reader, writer):
        writer.write(head)
        assert (await asyncio.wait_for(reader.readline(), DEADLINE_S)).startswith(b"HTTP/1.1 408")


@on_cluster()
async def test_bodies_share_a_bound(cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_BUFFERED_BYTES", 100)
    async with served(cluster) as (_, port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.post("/v1/tasks", json={"name": "x" * 200})
        assert (answer.status_code, answer.json()["reason"]) == (429, "OVERLOADED")
        assert answer.headers["retry-after"] == "1"
        assert (await client.post("/v1/tasks", json={"name": "x"})).status_code == 400, "what was held is free again"


@on_cluster()
async def test_a_silent_stream_is_kept_alive(cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_S", 0.05)
    async with (
        served(cluster) as (_, port),
        httpx.AsyncClient() as client,
        client.stream("GET", f"http://127.0.0.1:{port}/v1/executions:watch") as response,
        asyncio.timeout(DEADLINE_S),
    ):
        lines = response.aiter_lines()
        while await anext(lines) != ": keep-alive":
            pass


@on_cluster()
async def test_a_stop_ends_the_streams_with_a_reason(cluster: ApiCluster) -> None:
    feed = cluster.node.api.feed
    async with served(cluster) as (rest, port), httpx.AsyncClient() as client:
        async with client.stream("GET", f"http://127.0.0.1:{port}/v1/executions:watch") as response:
            await eventually(lambda: feed.watchers == 1)
            stopping = asyncio.create_task(rest.stop())
            text = (await response.aread()).decode()
        await asyncio.wait_for(stopping, DEADLINE_S)
    assert "event: problem" in text
    assert '"reason": "STREAM_ENDED"' in text
    await eventually(lambda: feed.watchers == 0)


@on_cluster()
async def test_output_that_cannot_go_on_does_not_look_complete(cluster: ApiCluster) -> None:
    task = {"name": "t", "schedule": {"cron": {"expression": "@yearly"}}, "action": {"noop": {}}}
    async with served(cluster) as (rest, port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await client.post("/v1/tasks", json=task)
        execution = (await client.post("/v1/tasks/t:run")).json()["id"]
        async with client.stream("GET", f"/v1/executions/{execution}/output", params={"follow": "true"}) as response:
            assert response.status_code == 200
            stopping = asyncio.create_task(rest.stop())
            with pytest.raises(httpx.RemoteProtocolError):
                await response.aread()
        await asyncio.wait_for(stopping, DEADLINE_S)


@on_cluster()
async def test_a_port_in_use_is_refused(cluster: ApiCluster) -> None:
    async with served(cluster) as (_, port):
        with pytest.raises(ListenError, match="in use"):
            RestServer(cluster.nodes[0].me.address, "1.2.3").listen(f"127.0.0.1:{port}")


def test_a_node_that_listens_everywhere_is_reached_on_this_machine() -> None:
    assert connectable("0.0.0.0:7101") == "127.0.0.1:7101"
    assert connectable("[::]:7101") == "[::1]:7101"
    assert connectable("10.0.0.1:7101") == "10.0.0.1:7101"
