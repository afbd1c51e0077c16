"""What this machine can do at best: the disk, LMDB and gRPC by themselves, without anything of ours."""

import asyncio
import tempfile
from pathlib import Path

import grpc
import lmdb

from bench.calibration import timed_syncs
from bench.measure import Figures, Stopwatch

_RECORD = b"x" * 200
_METHOD = "/bench.Echo/Echo"


def floor(*, syncs: int = 500, puts: int = 100_000, calls: int = 3_000) -> Figures:
    """Per second: appends with fdatasync, LMDB commits and puts, and gRPC echo calls one by one and 64 in flight."""
    with tempfile.TemporaryDirectory(prefix="raftsched-floor-") as directory:
        figures: Figures = {
            "fdatasync_per_s": round(syncs / sum(timed_syncs(Path(directory) / "file", syncs, _RECORD))),
            "lmdb_commits_per_s": round(_commits(Path(directory) / "commits", syncs, 1)),
            "lmdb_puts_per_s": round(_commits(Path(directory) / "puts", puts // 500, 500)),
        }
    return figures | asyncio.run(_echoes(calls))


def _commits(path: Path, commits: int, puts: int) -> float:
    with lmdb.open(str(path), subdir=False, map_size=1 << 32) as environment:
        watch = Stopwatch()
        for commit in range(commits):
            with environment.begin(write=True) as txn:
                for number in range(puts):
                    txn.put(b"%016d" % (commit * puts + number), _RECORD)
        return commits * puts / watch.seconds


async def _echoes(count: int) -> Figures:
    async def echo(request: bytes, _context: object) -> bytes:
        return request

    handlers = grpc.method_handlers_generic_handler("bench.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        await call(_RECORD)
        watch = Stopwatch()
        for _ in range(count // 10):
            await call(_RECORD)
        sequential = count // 10 / watch.seconds
        numbers = iter(range(count))

        async def worker() -> None:
            for _ in numbers:
                await call(_RECORD)

        watch = Stopwatch()
        await asyncio.gather(*(worker() for _ in range(64)))
        concurrent = count / watch.seconds
    await server.stop(None)
    return {"grpc_echo_per_s": round(sequential), "grpc_echo_64_in_flight_per_s": round(concurrent)}
