"""One stream to the leader, from the hello to its end."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import grpc
import structlog

from raftsched.executor.attempts import Attempts
from raftsched.executor.keys import AttemptKey
from raftsched.internal.v1 import executor_pb2 as pb
from raftsched.ports import Clock

Call = grpc.aio.StreamStreamCall[pb.ConnectRequest, pb.ConnectResponse]

_MAX_FETCHES = 256
"""Reads of output that wait to be answered. More are not answered: the leader's caller runs into its deadline."""
_RESEND_S = 5.0

_log = structlog.get_logger(__name__)


class SessionOver(Exception):
    """The stream ended; its text says why."""


class Redirected(Exception):
    """The node asked does not lead."""

    def __init__(self, leader_address: str) -> None:
        super().__init__(f"the leader is {leader_address or 'unknown'}")
        self.leader_address = leader_address


class Session:
    """Speaks with one leader. All that must survive the stream is kept by ``Attempts``."""

    def __init__(self, call: Call, attempts: Attempts, clock: Clock, draining: Callable[[], bool]) -> None:
        self._call = call
        self._attempts = attempts
        self._clock = clock
        self._draining = draining
        self._wake = asyncio.Event()
        self._fetches: deque[pb.FetchOutput] = deque()
        self._beat_due = False
        self._sequence = 0
        self._drain_sequence = 0
        self.drain_known = asyncio.Event()
        """Set when the leader has answered a heartbeat that said so: what it assigned before has arrived."""
        self._heard = 0.0
        self._welcome = pb.Welcome()

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def beat(self) -> None:
        """Send a heartbeat now."""
        self._beat_due = True
        self._wake.set()

    async def greet(self, hello: pb.Hello) -> None:
        """Introduce the executor and wait to be welcome. Raises Redirected, SessionOver."""
        await self._call.write(pb.ConnectRequest(hello=hello))
        answer = await self._read()
        if answer.HasField("redirect"):
            raise Redirected(answer.redirect.leader_address)
        if not answer.HasField("welcome"):
            raise SessionOver(f"the first answer was {answer.WhichOneof('kind')}, not a welcome")
        self._welcome = answer.welcome
        if self._welcome.lease_ms <= 0 or self._welcome.heartbeat_interval_ms <= 0:
            raise SessionOver("the welcome names no lease or no heartbeat interval")
        if self._welcome.term < self._attempts.term:
            # It does not know yet that it was deposed, nor what was assigned since.
            raise SessionOver(f"the node leads in term {self._welcome.term}, and term {self._attempts.term} was seen")
        self._attempts.connected(self._welcome.term, _keys(self._welcome.revoked))

    @property
    def copy_nodes(self) -> Sequence[pb.CopyNode]:
        """The nodes that take second copies of outputs, as the leader named them."""
        return self._welcome.copy_nodes

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
                await self._attempts.take(message.assignments.items)
            elif kind == "acknowledge":
                self._attempts.acknowledged(_keys(message.acknowledge.keys))
            elif kind == "cancel":
                self._attempts.cancel(_keys(message.cancel.keys))
            elif kind == "heartbeat":
                if 0 < self._drain_sequence <= message.heartbeat.sequence:
                    self.drain_known.set()
            elif kind == "fetch_output":
                self._fetch(message.fetch_output)
            elif kind == "redirect":
                raise Redirected(message.redirect.leader_address)
            if self._attempts.wants_left_out:
                # A leader gives what is assigned to an executor, and not held by it, when the executor connects.
                raise SessionOver("there is room for assignments that were left out: connecting anew to be given them")

    def _fetch(self, wanted: pb.FetchOutput) -> None:
        if len(self._fetches) < _MAX_FETCHES:
            self._fetches.append(wanted)
            self._wake.set()

    async def _send(self) -> None:
        while True:
            message = self._next_message()
            if message is None and self._fetches:
                message = pb.ConnectRequest(output=await self._attempts.output(self._fetches.popleft()))
            if message is None:
                self._wake.clear()
                await self._wake.wait()
            else:
                await self._call.write(message)

    def _next_message(self) -> pb.ConnectRequest | None:
        if self._beat_due:
            self._beat_due = False
            return pb.ConnectRequest(heartbeat=self._next_beat())
        reports = self._attempts.next_reports()
        if reports is not None:
            return pb.ConnectRequest(reports=reports)
        copied = self._attempts.next_copied()
        return None if copied is None else pb.ConnectRequest(output_copied=copied)

    def _next_beat(self) -> pb.Heartbeat:
        self._sequence += 1
        draining = self._draining()
        if draining and not self._drain_sequence:
            self._drain_sequence = self._sequence
        return pb.Heartbeat(sequence=self._sequence, draining=draining, slots_used=self._attempts.slots_used)

    async def _keep_alive(self) -> None:
        lease_s = self._welcome.lease_ms / 1000
        while True:
            await asyncio.sleep(self._welcome.heartbeat_interval_ms / 1000)
            if self._clock.monotonic() - self._heard > lease_s:
                raise SessionOver(f"the leader was silent for {lease_s:g} s")
            self._attempts.resend(max(lease_s, _RESEND_S))
            self.beat()


def _keys(keys: Iterable[pb.AttemptKey]) -> list[AttemptKey]:
    return [(key.execution_id, key.attempt) for key in keys]
