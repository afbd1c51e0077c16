"""Runs the scheduler on the event loop while this node leads, and serves the streams of the executors."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import count

import grpc
import structlog
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.internal.v1 import executor_pb2_grpc
from raftsched_proto.v1 import cluster_pb2

from raftsched.commands.gate import Gate
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import AgreedClock, Log, MemberList, Reader, Store
from raftsched.scheduler.border import hello_problem, message_problem
from raftsched.scheduler.executors import ExecutorSession
from raftsched.scheduler.scheduler import Scheduler
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.scheduler.waiting import Explainer

MAX_QUEUED_BYTES = 16 << 20
"""Of the messages that wait for one executor. It has ``has_room`` for assignments up to half of it."""
_MESSAGE_BYTES = 256
"""What a message takes beside what it says."""
_OUTPUT_TIMEOUT_S = 2.0
_log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[xpb.ConnectRequest, xpb.ConnectResponse]


def _no_stranger(_executor_id: str, _node_id: str) -> str:
    """Where nobody shows who they are."""
    return ""


class StreamLink:
    """The leader's end of one executor's stream: a bounded queue that the stream empties."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[xpb.ConnectResponse, int] | None] = asyncio.Queue()
        self._queued_bytes = 0
        self._closed = False

    @property
    def has_room(self) -> bool:
        """See ``executors.ExecutorLink``."""
        return self._queued_bytes < MAX_QUEUED_BYTES // 2

    def send(self, message: xpb.ConnectResponse) -> None:
        """Queue a message; an executor that lets 16 MiB of them pile up is cut off, and may connect again."""
        if self._closed:
            return
        size_bytes = _MESSAGE_BYTES + message.ByteSize()
        if self._queued_bytes + size_bytes > MAX_QUEUED_BYTES:
            self.close()
        else:
            self._queued_bytes += size_bytes
            self._queue.put_nowait((message, size_bytes))

    def close(self) -> None:
        """End the stream after what is queued."""
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[xpb.ConnectResponse]:
        """What was queued, until the link is closed."""
        while (queued := await self._queue.get()) is not None:
            message, size_bytes = queued
            self._queued_bytes -= size_bytes
            yield message


class SchedulerService(executor_pb2_grpc.ExecutorServiceServicer):
    """Starts a Scheduler when this node becomes the leader and stops it when it is no longer."""

    def __init__(
        self,
        *,
        log: Log,
        store: Store,
        clock: AgreedClock,
        node_id: str,
        members: MemberList,
        settings: SchedulerSettings,
        gate: Gate,
        stranger: Callable[[str, str], str] = _no_stranger,
    ) -> None:
        """``stranger``: why whoever calls is not the executor of that id, of the node of that id; "" when it is."""
        self._stranger = stranger
        self._log = log
        self._store = store
        self._clock = clock
        self._node_id = node_id
        self._members = members
        members.subscribe(self._tell_copy_nodes)
        self._settings = settings
        self._gate = gate
        self._scheduler: Scheduler | None = None
        self._woken = asyncio.Event()
        self._calls = count(1)
        self._outputs: dict[int, asyncio.Future[xpb.Output]] = {}

    def lead(self, term: int | None) -> None:
        """Begin to lead in ``term``, or stop leading (None)."""
        if self._scheduler is not None:
            self._scheduler.stop()
            self._scheduler = None
        if term is not None:
            self._scheduler = Scheduler(
                log=self._log,
                store=self._store,
                clock=self._clock,
                node_id=self._node_id,
                term=term,
                wake=self._woken.set,
                settings=self._settings,
                gate=self._gate,
                members=self._members,
            )
        self._woken.set()

    def _tell_copy_nodes(self) -> None:
        if self._scheduler is not None:
            self._scheduler.tell_copy_nodes()

    def applied(self, executions: Iterable[tuple[bytes, ExecutionRow]], tasks: Iterable[str]) -> None:
        """Pass on what a commit changed."""
        if self._scheduler is not None:
            self._scheduler.applied(executions, tasks)

    async def run(self) -> None:
        """Step the scheduler until cancelled. An exception is a defect of ours and must stop the node."""
        while True:
            pause_s = None if self._scheduler is None else self._scheduler.step()
            # Lets streams and the log move between steps, however much there is to do.
            await asyncio.sleep(0)
            # Not wait_for: up to Python 3.11 it swallows a cancellation that comes together with the wake-up, as when a
            # node that fails stops leading, and the node would never end.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()
            self._woken.clear()

    # The stream of one executor

    async def Connect(  # noqa: N802 - the name is the protocol's
        self, request_iterator: AsyncIterator[xpb.ConnectRequest], context: Context
    ) -> AsyncIterator[xpb.ConnectResponse]:
        """Serve one executor's stream; a node that does not lead says who does."""
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("kind") != "hello":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be a Hello")
        problem = hello_problem(first.hello)
        if problem:
            _log.error("refused an executor", peer=context.peer(), reason=problem)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
        if stranger := self._stranger(first.hello.executor_id, first.hello.node_id):
            _log.error("refused an executor", peer=context.peer(), says_it_is=first.hello.executor_id, reason=stranger)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, stranger)
        link = StreamLink()
        connected = await self._connect(first.hello, link)
        if connected is None:
            yield xpb.ConnectResponse(redirect=xpb.Redirect(leader_address=self._members.address(self._log.leader_id)))
            return
        scheduler, session = connected
        _log.info("executor connected", executor=session.executor_id, slots=session.slots, held=len(session.held))
        reading = asyncio.create_task(self._read(scheduler, session, request_iterator, link))
        try:
            async for message in link.messages():
                yield message
        finally:
            reading.cancel()
            scheduler.disconnect(session)
            _log.info("executor disconnected", executor=session.executor_id, held=len(session.held))

    async def _connect(self, hello: xpb.Hello, link: StreamLink) -> tuple[Scheduler, ExecutorSession] | None:
        """Connect an executor to the scheduler of this node, which is told too; None: this node does not lead."""
        scheduler = self._scheduler
        if scheduler is None:
            return None
        with scheduler.look_up(hello) as held:
            while True:
                with self._store.read() as reader:
                    if held.look(reader, self._settings.look_up_attempts):
                        break
                await asyncio.sleep(0)
            if self._scheduler is not scheduler:
                return None
            return scheduler, scheduler.connect(hello, held, link)

    async def _read(
        self,
        scheduler: Scheduler,
        session: ExecutorSession,
        requests: AsyncIterator[xpb.ConnectRequest],
        link: StreamLink,
    ) -> None:
        try:
            async for message in requests:
                if problem := message_problem(message):
                    _log.error("cut off an executor", executor=session.executor_id, reason=problem)
                    return
                if message.WhichOneof("kind") == "output":
                    self._take_output(message.output)
                else:
                    scheduler.receive(session, message)
        finally:
            link.close()

    # Output that only the executor has

    async def fetch(
        self, executor_id: str, execution_id: bytes, attempt: int, offset: int, sha256: bytes = b""
    ) -> xpb.Output | None:
        """Ask the executor that ran an attempt for some of its output, of that digest unless it is empty.

        None when it is not connected, does not answer, or has it no longer.
        """
        if self._scheduler is None:
            return None
        session = self._scheduler.executors.get(executor_id)
        if session is None:
            return None
        call = next(self._calls)
        future = self._outputs[call] = asyncio.get_running_loop().create_future()
        message = xpb.ConnectResponse()
        message.fetch_output.call = call
        message.fetch_output.key.execution_id = execution_id
        message.fetch_output.key.attempt = attempt
        message.fetch_output.offset = offset
        message.fetch_output.sha256 = sha256
        session.link.send(message)
        try:
            output = await asyncio.wait_for(future, _OUTPUT_TIMEOUT_S)
        except TimeoutError:
            return None
        finally:
            del self._outputs[call]
        return output if output.found else None

    def _take_output(self, output: xpb.Output) -> None:
        future = self._outputs.get(output.call)
        if future is not None and not future.done():
            future.set_result(output)

    def knows_executors(self) -> bool:
        """Whether this node leads, and has for so long that every executor could connect."""
        return self._scheduler is not None and not self._scheduler.settling_s()

    def explainer(self, reader: Reader) -> Explainer | None:
        """What says why executions of this view wait; None when this node does not lead."""
        return None if self._scheduler is None else self._scheduler.explainer(reader)

    def executors(self) -> list[cluster_pb2.ExecutorStatus]:
        """The executors as the leader knows them, good until the next call; none when this node does not lead."""
        if self._scheduler is None:
            return []
        gone = cluster_pb2.EXECUTOR_STATE_DISCONNECTED
        return [session.status() for session in self._scheduler.executors] + [
            cluster_pb2.ExecutorStatus(id=executor_id, state=gone) for executor_id in self._scheduler.disconnected()
        ]
