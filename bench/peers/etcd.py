"""Three etcd nodes, and puts of the size of a task's registration.

Requests are encoded by hand (etcd's rpc.proto): a PutRequest has the key as field 1 and the value as field 2, and a
TxnRequest has RequestOp messages as field 2, whose field 2 is a PutRequest. A StatusResponse has a header as field 1,
with the id of the member as field 2, and the id of the leader as field 4.
"""

import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc

from bench.measure import Figures, Stopwatch, quantile, usage
from bench.peers import free_ports, program

_ADVICE = "on Debian: apt-get install etcd-server"
_VALUE = b"v" * 150
_READY_S = 20.0
_CALL_S = 2.0
_BETWEEN_CALLS_S = 0.03


def register(*, sequential: int = 300, concurrent: int = 3_000, batched: int = 30_000, in_flight: int = 64) -> Figures:
    """Puts per second: one by one, 64 in flight, and transactions of 100 one by one and 16 in flight."""
    with _nodes(program("etcd", _ADVICE, "root/usr/bin/etcd")) as (ports, processes):
        pids = [process.pid for process in processes]
        return asyncio.run(_measure(ports[0], pids, sequential, concurrent, batched, in_flight))


def takeover(*, kill_runs: int = 10) -> Figures:
    """From SIGKILL of the leader to the next write that another node acknowledges."""
    with _nodes(program("etcd", _ADVICE, "root/usr/bin/etcd")) as (ports, processes):
        outages_ms = sorted(asyncio.run(_kill(ports, processes)) for _ in range(kill_runs))
    return {
        "kills": kill_runs,
        "kill_to_next_write_median_ms": round(quantile(outages_ms, 0.5)),
        "kill_to_next_write_lowest_ms": round(outages_ms[0]),
        "kill_to_next_write_highest_ms": round(outages_ms[-1]),
    }


async def _kill(ports: list[int], processes: list["subprocess.Popen[bytes]"]) -> float:
    """One kill, in milliseconds; the node is started again."""
    async with contextlib.AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(_client(port)) for port in ports]
        puts = [channel.unary_unary("/etcdserverpb.KV/Put") for channel in channels]
        for put in puts:
            await _until_ready(put)
        leader = await _leader(channels)
        others = [put for number, put in enumerate(puts) if number != leader]
        processes[leader].kill()
        outage = Stopwatch()
        acknowledged = asyncio.Event()
        calls = []
        while not acknowledged.is_set():
            calls += [asyncio.create_task(_acknowledge(put, acknowledged)) for put in others]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BETWEEN_CALLS_S):
                    await acknowledged.wait()
        outage_ms = outage.seconds * 1000
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    processes[leader].wait()
    processes[leader] = _start(processes[leader].args)
    return outage_ms


async def _acknowledge(put: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", acknowledged: asyncio.Event) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError):
        await put(_put(b"after"), timeout=_CALL_S)
        acknowledged.set()


async def _leader(channels: list[grpc.aio.Channel]) -> int:
    """Which node leads, from 0."""
    while True:
        for number, channel in enumerate(channels):
            answer = _fields(await channel.unary_unary("/etcdserverpb.Maintenance/Status")(b""))
            if answer.get(4) and _fields(bytes(answer[1])).get(2) == answer[4]:
                return number
        await asyncio.sleep(0.1)


async def _measure(
    port: int, pids: list[int], sequential: int, concurrent: int, batched: int, in_flight: int
) -> Figures:
    async with _client(port) as channel:
        put: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/etcdserverpb.KV/Put")
        txn: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/etcdserverpb.KV/Txn")
        await _until_ready(put)
        delays_ms = []
        watch = Stopwatch()
        for number in range(sequential):
            call = Stopwatch()
            await put(_put(b"sequential-%07d" % number))
            delays_ms.append(call.seconds * 1000)
        figures: Figures = {
            "sequential_per_s": round(sequential / watch.seconds),
            "sequential_p50_ms": round(quantile(delays_ms, 0.5), 2),
        }
        before = usage(pids)
        seconds = await _all(put, (_put(b"concurrent-%07d" % number) for number in range(concurrent)), in_flight)
        figures["concurrent_64_per_s"] = round(concurrent / seconds)
        figures["concurrent_cpu_s_per_1000"] = round((usage(pids).cpu_s - before.cpu_s) / concurrent * 1000, 3)
        for workers, name in ((1, "batches_of_100_per_s"), (16, "batches_of_100_16_in_flight_per_s")):
            requests = [_txn(b"%d-%07d" % (workers, start), 100) for start in range(0, batched, 100)]
            figures[name] = round(batched / await _all(txn, iter(requests), workers))
    return figures


async def _all(
    call: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", requests: Iterator[bytes], in_flight: int
) -> float:
    async def worker() -> None:
        for request in requests:
            await call(request)

    watch = Stopwatch()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return watch.seconds


async def _until_ready(put: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]") -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            await put(_put(b"ready"), timeout=1.0)
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


@asynccontextmanager
async def _client(port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield channel


@contextmanager
def _nodes(etcd: str) -> Iterator[tuple[list[int], list["subprocess.Popen[bytes]"]]]:
    clients, peers = free_ports(3), free_ports(3)
    cluster = ",".join(f"e{number}=http://127.0.0.1:{port}" for number, port in enumerate(peers))
    with tempfile.TemporaryDirectory(prefix="raftsched-bench-etcd-") as directory:
        processes = []
        for number in range(3):
            client, peer = (f"http://127.0.0.1:{ports[number]}" for ports in (clients, peers))
            addresses = ["--listen-client-urls", client, "--advertise-client-urls", client]
            addresses += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command = [etcd, "--name", f"e{number}", "--data-dir", f"{directory}/e{number}", *addresses]
            command += ["--initial-cluster", cluster, "--logger", "zap", "--log-level", "error"]
            processes.append(_start(command))
        try:
            yield clients, processes
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _start(command: Any) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "ETCD_UNSUPPORTED_ARCH": ""}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def _put(key: bytes) -> bytes:
    return _field(1, key) + _field(2, _VALUE)


def _txn(prefix: bytes, count: int) -> bytes:
    return b"".join(_field(2, _field(2, _put(b"%s-%03d" % (prefix, number)))) for number in range(count))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    length, size = bytearray(), len(content)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | 2,)) + bytes(length) + content


def _fields(message: bytes) -> dict[int, int | bytes]:
    """The last value of each field of a message that has varints and length-delimited fields only."""
    found: dict[int, int | bytes] = {}
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        tag = varint()
        value = varint()
        if tag & 7 == 2:
            found[tag >> 3] = message[position : position + value]
            position += value
        else:
            found[tag >> 3] = value
    return found
