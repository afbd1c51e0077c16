"""A leader that cancels the call of an executor, as one that stops does, is dialled again."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import grpc
from raftsched_proto.internal.v1 import executor_pb2_grpc as rpc

from raftsched.clock import SystemClock
from raftsched.executor.agent import ExecutorAgent
from raftsched.executor.settings import ExecutorSettings

DIALS = 4


class Cancels(rpc.ExecutorServiceServicer):
    def __init__(self) -> None:
        self.dials = 0
        self.enough = asyncio.Event()

    async def Connect(self, _requests: object, context: Any) -> None:
        self.dials += 1
        if self.dials >= DIALS:
            self.enough.set()
        await context.abort(grpc.StatusCode.CANCELLED, "stopping")


def test_an_executor_whose_call_is_cancelled_dials_again(tmp_path: Path) -> None:
    async def body() -> None:
        leader = Cancels()
        server = grpc.aio.server()
        rpc.add_ExecutorServiceServicer_to_server(leader, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        agent = ExecutorAgent(
            ExecutorSettings(data_dir=tmp_path, name="x", slots=1), [f"127.0.0.1:{port}"], SystemClock()
        )
        await agent.start()
        try:
            await asyncio.wait_for(leader.enough.wait(), 20)
        finally:
            await agent.stop()
            await server.stop(None)

    asyncio.run(body())


def test_an_executor_stops_though_its_call_has_swallowed_the_cancellation(tmp_path: Path) -> None:
    async def body() -> None:
        asked = asyncio.Event()

        async def find_leader() -> None:
            """As a call of gRPC does that the peer cancels at the same time: it ends, and nobody hears of it."""
            asked.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        agent = ExecutorAgent(ExecutorSettings(data_dir=tmp_path, name="x", slots=1), find_leader, SystemClock())
        await agent.start()
        await asked.wait()
        async with asyncio.timeout(20):
            await agent.stop()

    asyncio.run(body())
