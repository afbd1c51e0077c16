"""The leader's end of the executor protocol, played by a test: a real gRPC server that does what the test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
from raftsched_proto.internal.v1 import executor_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2_grpc as pb_grpc
from raftsched_proto.v1 import task_pb2

from raftsched.core.state import ids

Key = tuple[bytes, int]


def key_of(number: int, attempt: int = 1) -> Key:
    """The attempt of an execution that a test knows by number."""
    return ids.execution_id(number, 1, 1_700_000_000_000_000 + number), attempt


def assignment(key: Key, action: task_pb2.Action | None, **fields: object) -> pb.Assignment:
    """An assignment whose fencing token rises with the attempt."""
    values: dict[str, object] = {
        "task": "t",
        "nominal_us": 1_700_000_000_250_000,
        "fencing_token": 10 * key[1],
        **fields,
    }
    item = pb.Assignment(key=pb.AttemptKey(execution_id=key[0], attempt=key[1]), **values)
    if action is not None:
        item.action.CopyFrom(action)
    return item


def command(*argv: str, shell: bool = False, **fields: object) -> task_pb2.Action:
    return task_pb2.Action(command=task_pb2.CommandAction(argv=argv, shell=shell, **fields))


def script(text: str) -> task_pb2.Action:
    return command(text, shell=True)


def noop() -> task_pb2.Action:
    return task_pb2.Action(noop=task_pb2.NoopAction())


class FakeLeader(pb_grpc.ExecutorServiceServicer):
    """Welcomes every executor, answers heartbeats, acknowledges ends unless told otherwise, and keeps all it hears."""

    def __init__(self, *, lease_ms: int = 60_000, heartbeat_ms: int = 50) -> None:
        """An executor leaves a leader that is silent for ``lease_ms``, as this process may be on a busy machine."""
        self.lease_ms = lease_ms
        self.heartbeat_ms = heartbeat_ms
        self.now_us: Callable[[], int] = lambda: 0
        """The time that it says; 0: it says none, as a leader of an older version."""
        self.acknowledges = True
        self.answers_heartbeats = True
        self.redirect: str | None = None
        self.revoked: list[Key] = []
        self.hellos: list[pb.Hello] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.heartbeats: list[pb.Heartbeat] = []
        self.report_messages = 0
        self.running: dict[Key, int] = {}
        """How often an attempt was reported as running."""
        self.ends: dict[Key, list[pb.AttemptReport]] = {}
        self.outputs: dict[int, pb.Output] = {}
        self._changed = asyncio.Event()
        self._queue: asyncio.Queue[pb.ConnectResponse | None] | None = None
        self._server: grpc.aio.Server | None = None
        self.address = ""

    async def __aenter__(self) -> "FakeLeader":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after a stop, on the same address as before."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        pb_grpc.add_ExecutorServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(self.address or "127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def Connect(
        self, request_iterator: AsyncIterator[pb.ConnectRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.ConnectResponse]:
        self.metadata.append(dict(context.invocation_metadata() or ()))
        first = await anext(request_iterator)
        assert first.HasField("hello")
        if self.redirect is not None:
            yield pb.ConnectResponse(redirect=pb.Redirect(leader_address=self.redirect))
            return
        queue = self._queue = asyncio.Queue()
        welcome = pb.Welcome(term=1, lease_ms=self.lease_ms, heartbeat_interval_ms=self.heartbeat_ms)
        welcome.now_us, welcome.armed_lease_ms = self.now_us(), self.lease_ms
        welcome.revoked.extend(pb.AttemptKey(execution_id=key[0], attempt=key[1]) for key in self.revoked)
        yield pb.ConnectResponse(welcome=welcome)
        self.hellos.append(first.hello)
        self._changed.set()
        listener = asyncio.create_task(self._listen(request_iterator, queue))
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _listen(
        self, requests: AsyncIterator[pb.ConnectRequest], queue: "asyncio.Queue[pb.ConnectResponse | None]"
    ) -> None:
        async for request in requests:
            if request.HasField("heartbeat"):
                self.heartbeats.append(request.heartbeat)
                if self.answers_heartbeats:
                    answer = pb.Heartbeat(sequence=request.heartbeat.sequence, now_us=self.now_us())
                    queue.put_nowait(pb.ConnectResponse(heartbeat=answer))
            elif request.HasField("output"):
                self.outputs[request.output.call] = request.output
            elif request.HasField("reports"):
                self._take(request.reports, queue)
            self._changed.set()

    def _take(self, reports: pb.Reports, queue: "asyncio.Queue[pb.ConnectResponse | None]") -> None:
        self.report_messages += 1
        done = pb.Acknowledge()
        for item in reports.items:
            key = (item.key.execution_id, item.key.attempt)
            if item.state == task_state("RUNNING"):
                self.running[key] = self.running.get(key, 0) + 1
            else:
                self.ends.setdefault(key, []).append(item)
                done.keys.add().CopyFrom(item.key)
        if self.acknowledges and done.keys:
            queue.put_nowait(pb.ConnectResponse(acknowledge=done))

    def send(self, message: pb.ConnectResponse) -> None:
        assert self._queue is not None, "no executor is connected"
        self._queue.put_nowait(message)

    def hang_up(self) -> None:
        assert self._queue is not None
        self._queue.put_nowait(None)

    def assign(self, *items: pb.Assignment) -> None:
        self.send(pb.ConnectResponse(assignments=pb.Assignments(items=items, now_us=self.now_us())))

    def cancel(self, *keys: Key) -> None:
        self.send(pb.ConnectResponse(cancel=pb.Cancel(keys=_pack(keys))))

    def acknowledge(self, *keys: Key) -> None:
        self.send(pb.ConnectResponse(acknowledge=pb.Acknowledge(keys=_pack(keys))))

    async def until(self, condition: Callable[[], object], deadline_s: float = 60.0) -> None:
        """Wait until the condition holds; it is looked at after everything that is heard, and every 20 ms."""
        async with asyncio.timeout(deadline_s):
            while not condition():
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), 0.02)
                except TimeoutError:
                    continue

    async def end_of(self, key: Key) -> pb.AttemptReport:
        """The first report of the attempt's end."""
        await self.until(lambda: key in self.ends)
        return self.ends[key][0]

    async def fetch(self, key: Key, offset: int = 0) -> pb.Output:
        call = len(self.outputs) + 1
        wanted = pb.FetchOutput(call=call, key=pb.AttemptKey(execution_id=key[0], attempt=key[1]), offset=offset)
        self.send(pb.ConnectResponse(fetch_output=wanted))
        await self.until(lambda: call in self.outputs)
        return self.outputs[call]

    async def first_output(self, key: Key) -> pb.Output:
        """What the attempt has written, as soon as it has written anything."""
        while not (output := await self.fetch(key)).data:
            assert not output.ended, "it ended without any output"
            await asyncio.sleep(0.02)
        return output

    async def connected(self, times: int = 1) -> pb.Hello:
        """The hello of the latest of so many connections."""
        await self.until(lambda: len(self.hellos) >= times)
        return self.hellos[-1]


def task_state(name: str) -> int:
    from raftsched_proto.v1 import execution_pb2

    return execution_pb2.ExecutionState.Value(f"EXECUTION_STATE_{name}")


def _pack(keys: tuple[Key, ...]) -> list[pb.AttemptKey]:
    return [pb.AttemptKey(execution_id=key[0], attempt=key[1]) for key in keys]


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test, within four minutes."""

    async def bounded() -> None:
        async with asyncio.timeout(240):
            await test()

    asyncio.run(bounded())
