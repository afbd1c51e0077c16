"""gRPC calls to real servers: one of ours, which has reflection, and one that the test describes itself."""

import asyncio
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection
from raftsched_proto.v1 import cluster_pb2, cluster_pb2_grpc, task_pb2

from raftsched.core.state import ids
from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.base import AttemptContext, Result
from raftsched.executor.actions.grpc_call import GrpcRunner
from raftsched.executor.actions.grpc_schema import SchemaError, by_reflection
from raftsched.executor.output import Output
from tests.support.action_bench import DEADLINE_S, EXECUTION_ID, TRACEPARENT, Stopper, new_context

METHOD = "raftsched.v1.ClusterService/GetStatus"
Call = Callable[..., Awaitable[tuple[Result, Output]]]


class Seen(NamedTuple):
    request: cluster_pb2.GetStatusRequest
    metadata: dict[str, str | bytes]
    time_left_s: float | None


class Servicer(cluster_pb2_grpc.ClusterServiceServicer):
    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.hang = asyncio.Event()

    async def GetStatus(
        self, request: cluster_pb2.GetStatusRequest, context: grpc.aio.ServicerContext
    ) -> cluster_pb2.GetStatusResponse:
        metadata = dict(context.invocation_metadata() or ())
        self.seen.append(Seen(request, metadata, context.time_remaining()))
        if metadata.get("x-do") == "fail":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like this")
        if metadata.get("x-do") == "hang":
            await self.hang.wait()
        return cluster_pb2.GetStatusResponse(leader_id="n1")


@asynccontextmanager
async def serving(
    *, reflect: bool = True, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[tuple[str, Servicer]]:
    servicer = Servicer()
    server = grpc.aio.server()
    cluster_pb2_grpc.add_ClusterServiceServicer_to_server(servicer, server)
    if reflect:
        reflection.enable_server_reflection(["raftsched.v1.ClusterService", reflection.SERVICE_NAME], server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    try:
        yield f"{'127.0.0.1' if credentials is None else 'localhost'}:{port}", servicer
    finally:
        servicer.hang.set()
        await server.stop(None)


async def call(
    target: str, stopper: Stopper | None = None, time_limit_us: int = 0, **fields: object
) -> tuple[Result, Output]:
    action = task_pb2.Action(grpc=task_pb2.GrpcAction(**{"target": target, "method": METHOD, **fields}))
    runner, context = GrpcRunner("1.2"), new_context(time_limit_us)
    async with asyncio.timeout(DEADLINE_S):
        running = asyncio.ensure_future(runner.run(action, context))
        if stopper is not None:
            await stopper(context)
        result = await running
        await runner.close()
        return result, context.output


def test_method_is_found_by_reflection_and_the_attempt_told_in_metadata() -> None:
    async def main() -> None:
        async with serving() as (target, servicer):
            result, output = await call(
                target,
                request_json='{"localOnly": true}',
                metadata={"x-mine": "v", "x-raftsched-attempt": "forged"},
                time_limit_us=15_000_000,
            )
        assert result == Result(ExecutionState.SUCCEEDED)
        assert json.loads(output.tail()) == {"leaderId": "n1"}
        [seen] = servicer.seen
        assert seen.request.local_only
        assert seen.time_left_s is not None
        assert 0 < seen.time_left_s <= 15
        metadata = seen.metadata
        assert metadata["x-mine"] == "v"
        assert metadata["x-raftsched-task"] == "nightly"
        assert metadata["x-raftsched-attempt"] == "3"
        assert metadata["x-raftsched-fencing-token"] == "42"
        assert metadata["x-raftsched-nominal-time"] == "2023-11-14T22:13:20.250000Z"
        assert metadata["idempotency-key"] == metadata["x-raftsched-execution-id"] == ids.to_text(EXECUTION_ID)
        assert metadata["traceparent"] == TRACEPARENT

    asyncio.run(main())


def descriptor_set() -> bytes:
    """What `protoc --include_imports --descriptor_set_out` writes."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: object) -> None:
        for dependency in file.dependencies:
            add(dependency)
        if file.name not in found:
            file.CopyToProto(found.setdefault(file.name, descriptor_pb2.FileDescriptorProto()))

    add(cluster_pb2.DESCRIPTOR)
    return descriptor_pb2.FileDescriptorSet(file=found.values()).SerializeToString()


def test_descriptor_set_stands_in_for_reflection() -> None:
    async def main() -> None:
        async with serving(reflect=False) as (target, servicer):
            result, _ = await call(target)
            assert result.error.startswith("not called: the server has no reflection service")
            assert servicer.seen == []
            result, output = await call(target, descriptor_set=descriptor_set())
            assert result == Result(ExecutionState.SUCCEEDED)
            assert json.loads(output.tail()) == {"leaderId": "n1"}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"method": "raftsched.v1.ClusterService/Absent"}, "there is no method raftsched.v1.ClusterService/Absent"),
        ({"method": "no.Such/Method"}, "the server's reflection service"),
        ({"request_json": '{"nonsense": 1}'}, "request_json is no raftsched.v1.GetStatusRequest"),
        ({"request_json": "{"}, "request_json is no raftsched.v1.GetStatusRequest"),
        ({"descriptor_set": b"\xff\xff"}, "descriptor_set is no serialised FileDescriptorSet"),
        (
            {"method": "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"},
            "streams: only unary methods can be called",
        ),
    ],
)
def test_call_that_cannot_be_made_says_why(fields: dict[str, object], reason: str) -> None:
    async def main() -> None:
        async with serving() as (target, servicer):
            result, output = await call(target, **fields)
        assert result.state == ExecutionState.FAILED
        assert result.error.startswith("not called: ")
        assert reason in result.error
        assert (servicer.seen, output.size_bytes) == ([], 0)

    asyncio.run(main())


def test_server_with_the_older_reflection_only_is_asked_however_the_replies_and_questions_meet() -> None:
    """A server of threads, which answers while this process is busy between sending a call and its message."""
    server = grpc.server(ThreadPoolExecutor(4))
    reflection.enable_server_reflection([reflection.SERVICE_NAME], server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    async def be_busy() -> None:
        busy = False
        while True:
            await asyncio.sleep(0)
            if busy := not busy:
                time.sleep(0.005)  # noqa: ASYNC251 - the loop is to stand still

    async def main() -> None:
        hindrance = asyncio.create_task(be_busy())
        for _ in range(60):
            async with grpc.aio.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                with pytest.raises(SchemaError, match="only unary methods can be called"):
                    await by_reflection(channel, f"{reflection.SERVICE_NAME}/ServerReflectionInfo")
        hindrance.cancel()

    try:
        asyncio.run(main())
    finally:
        server.stop(None)


def test_status_of_the_server_is_the_error() -> None:
    async def main() -> None:
        async with serving() as (target, _):
            result, _ = await call(target, metadata={"x-do": "fail"})
        assert result == Result(
            ExecutionState.FAILED, error=f"{METHOD} at {target}: FAILED_PRECONDITION: not like this"
        )
        result, _ = await call(target)
        assert result.state == ExecutionState.FAILED
        assert f"{METHOD} at {target}: UNAVAILABLE" in result.error

    asyncio.run(main())


def test_stopped_call_is_given_up() -> None:
    async def main() -> None:
        async with serving() as (target, servicer):

            async def stop(context: AttemptContext) -> None:
                while not servicer.seen:  # noqa: ASYNC110 - what is awaited happens elsewhere
                    await asyncio.sleep(0.005)
                context.stop.request(ExecutionState.CANCELLED, "cancelled")

            result, _ = await call(target, stop, metadata={"x-do": "hang"})
            assert result == Result(ExecutionState.CANCELLED, error="cancelled")

    asyncio.run(main())


def test_deadline_of_the_call_ends_as_the_time_limit() -> None:
    async def main() -> None:
        async with serving() as (target, _):

            async def limit(context: AttemptContext) -> None:
                # The server may never see a call whose deadline passes on the way.
                await asyncio.sleep(1.2)
                context.stop.request(ExecutionState.TIMED_OUT, "the time limit of 1 s has passed")

            result, _ = await call(target, limit, time_limit_us=1_000_000, metadata={"x-do": "hang"})
            assert result == Result(ExecutionState.TIMED_OUT, error="the time limit of 1 s has passed")

    asyncio.run(main())


def test_tls_checks_the_server_against_the_authorities_of_the_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip

    async def main() -> None:
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        async with serving(credentials=credentials) as (target, servicer):
            monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(certificate))
            result, _ = await call(target, tls=True)
            assert result == Result(ExecutionState.SUCCEEDED)
            monkeypatch.delenv("SSL_CERT_FILE")
            result, _ = await call(target, tls=True)
            assert result.state == ExecutionState.FAILED
            assert "UNAVAILABLE" in result.error
            assert len(servicer.seen) == 1

    asyncio.run(main())
