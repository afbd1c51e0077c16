"""One stream to the leader, from the hello to its end."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import grpc
import structlog
from raftsched_proto.internal.v1 import executor_pb2 as pb

from raftsched.executor.keys import AttemptKey
from raftsched.executor.workload import Workload
from raftsched.ports import Clock

LeaderStream = grpc.aio.StreamStreamCall[pb.ConnectRequest, pb.ConnectResponse]

_MAX_FETCHES = 256
"""Reads of output that wait to be answered. More are not answered: the leader's caller runs into its deadline."""
_MAX_UNANSWERED = 64
_RESEND_S = 5.0

_log = structlog.get_logger(__name__)


class SessionOver(Exception):
    """The stream ended; its text says why."""


class Redirected(Exception):
    """The node asked does not lead."""

    def __init__(self, leader_address: str) -> None:
        super().__init__(f"the leader is {leader_address or 'unknown'}")
        self.leader_address = leader_address


class LeaderSession:
    """Speaks with one leader. All that must survive the stream is kept by ``Workload``."""

    def __init__(
        self,
        call: LeaderStream,
        workload: Workload,
        clock: Clock,
        draining: Callable[[], bool],
        on_copy_nodes: Callable[[Sequence[pb.CopyNode]], None],
    ) -> None:
        """``on_copy_nodes`` takes the nodes that take second copies of outputs, whenever the leader names them."""
        self._call = call
        self._workload = workload
        self._clock = clock
        self._draining = draining
        self._on_copy_nodes = on_copy_nodes
        self._wake = asyncio.Event()
        self._fetches: deque[pb.FetchOutput] = deque()
        self._beat_due = False
        self._sequence = 0
        self._sent_s: deque[tuple[int, float]] = deque(maxlen=_MAX_UNANSWERED)
        """Heartbeats that were sent and not answered, and when they were."""
        self._drain_sequence = 0
        self.drain_known = asyncio.Event()
        """Set when the leader has answered a heartbeat that said so: what it assigned before has arrived."""
        self._echo_due = False
        self._echo_sequence = 0
        self._echoed = asyncio.Event()
        self._heard = 0.0
        self._welcome = pb.Welcome()

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def beat(self) -> None:
        """Send a heartbeat now."""
        self._beat_due = True
        self._wake.set()

    async def all_read(self) -> None:
        """Wait until the leader has read all that there is to send: it answers a heartbeat that follows it."""
        self._echoed.clear()
        self._echo_due = True
        self._wake.set()
        await self._echoed.wait()

    async def greet(self, hello: pb.Hello) -> None:
        """Introduce the executor and wait to be welcome. Raises Redirected, SessionOver."""
        asked_s = self._clock.monotonic()
        await self._call.write(pb.ConnectRequest(hello=hello))
        answer = await self._read()
        if answer.HasField("redirect"):
            raise Redirected(answer.redirect.leader_address)
        if not answer.HasField("welcome"):
            raise SessionOver(f"the first answer was {answer.WhichOneof('kind')}, not a welcome")
        self._welcome = answer.welcome
        if self._welcome.lease_ms <= 0 or self._welcome.heartbeat_interval_ms <= 0:
            raise SessionOver("the welcome names no lease or no heartbeat interval")
        inbox = self._workload.inbox
        if self._welcome.term < inbox.term:
            # It does not know yet that it was deposed, nor what was assigned since.
            raise SessionOver(f"the node leads in term {self._welcome.term}, and term {inbox.term} was seen")
        self._workload.time.heard(self._welcome.now_us, asked_s)
        self._lease(asked_s)
        inbox.connected(self._welcome.term, _keys(self._welcome.revoked))
        self._on_copy_nodes(self._welcome.copy_nodes)

    async def run(self) -> None:
        """Serve until the stream ends, which raises Redirected, SessionOver, StoreFailed or grpc.RpcError."""
        self._heard = self._clock.monotonic()
        self._wake.set()
        tasks = [asyncio.ensure_future(part) for part in (self._receive(), self._send(), self._keep_alive())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.cancelled():
                    raise SessionOver("the call was cancelled")
                if task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> pb.ConnectResponse:
        answer = await self._call.read()
        if not isinstance(answer, pb.ConnectResponse):
            raise SessionOver("the leader ended the stream")
        return answer

    async def _receive(self) -> None:
        while True:
            message = await self._read()
            self._heard = self._clock.monotonic()
            kind = message.WhichOneof("kind")
            if kind == "assignments":
                self._workload.time.heard_at_least(message.assignments.now_us)
                await self._workload.inbox.take(message.assignments.items)
            elif kind == "acknowledge":
                self._workload.inbox.acknowledged(_keys(message.acknowledge.keys))
            elif kind == "cancel":
                self._workload.inbox.cancel(_keys(message.cancel.keys))
            elif kind == "withdraw":
                self._workload.inbox.withdraw(message.withdraw.items)
            elif kind == "heartbeat":
                self._learn_time(message.heartbeat)
                if 0 < self._drain_sequence <= message.heartbeat.sequence:
                    self.drain_known.set()
                if 0 < self._echo_sequence <= message.heartbeat.sequence:
                    self._echoed.set()
            elif kind == "fetch_output":
                self._fetch(message.fetch_output)
            elif kind == "copy_nodes":
                self._on_copy_nodes(message.copy_nodes.nodes)
            elif kind == "redirect":
                raise Redirected(message.redirect.leader_address)
            if self._workload.inbox.wants_left_out:
                # A leader gives what is assigned to an executor, and not held by it, when the executor connects.
                raise SessionOver("there is room for assignments that were left out: connecting anew to be given them")

    def _learn_time(self, answer: pb.Heartbeat) -> None:
        while self._sent_s and self._sent_s[0][0] <= answer.sequence:
            sequence, asked_s = self._sent_s.popleft()
            if sequence == answer.sequence:
                self._workload.time.heard(answer.now_us, asked_s)
                self._lease(asked_s)

    def _lease(self, asked_s: float) -> None:
        """The leader heard of this executor then, or later."""
        armed = self._workload.inbox.armed
        armed.leased_until_s = asked_s + self._welcome.armed_lease_ms / 1000
        armed.look()

    def _fetch(self, wanted: pb.FetchOutput) -> None:
        if len(self._fetches) < _MAX_FETCHES:
            self._fetches.append(wanted)
            self._wake.set()

    async def _send(self) -> None:
        while True:
            message = self._next_message()
            if message is None and self._fetches:
                message = pb.ConnectRequest(output=await self._workload.outbox.output(self._fetches.popleft()))
            if message is None:
                self._wake.clear()
                await self._wake.wait()
            else:
                await self._call.write(message)

    def _next_message(self) -> pb.ConnectRequest | None:
        if self._beat_due:
            self._beat_due = False
            return pb.ConnectRequest(heartbeat=self._next_beat())
        reports = self._workload.outbox.next_reports()
        if reports is not None:
            return pb.ConnectRequest(reports=reports)
        copied = self._workload.outbox.next_copied()
        if copied is not None:
            return pb.ConnectRequest(output_copied=copied)
        if self._echo_due:
            self._echo_due = False
            beat = self._next_beat()
            self._echo_sequence = beat.sequence
            return pb.ConnectRequest(heartbeat=beat)
        return None

    def _next_beat(self) -> pb.Heartbeat:
        self._sequence += 1
        self._sent_s.append((self._sequence, self._clock.monotonic()))
        draining = self._draining()
        if draining and not self._drain_sequence:
            self._drain_sequence = self._sequence
        return pb.Heartbeat(sequence=self._sequence, draining=draining, slots_used=self._workload.runs.slots_used)

    async def _keep_alive(self) -> None:
        lease_s = self._welcome.lease_ms / 1000
        while True:
            await asyncio.sleep(self._welcome.heartbeat_interval_ms / 1000)
            if self._clock.monotonic() - self._heard > lease_s:
                raise SessionOver(f"the leader was silent for {lease_s:g} s")
            self._workload.outbox.resend(max(lease_s, _RESEND_S))
            self.beat()


def _keys(keys: Iterable[pb.AttemptKey]) -> list[AttemptKey]:
    return [(key.execution_id, key.attempt) for key in keys]
