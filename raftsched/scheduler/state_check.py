"""Compares the state tables of all nodes, a few rows at a time, while this node leads. See core/state_check.py."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
import structlog

from raftsched.core.machine import COMMAND_VERSION
from raftsched.core.state_check import FIRST, CheckMemory, HashedRange
from raftsched.internal.v1 import check_pb2, check_pb2_grpc
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Clock, Fate, Log

_US = 1_000_000
_ASK_AGAIN_S = 0.1
_ASK_TIMES = 10
_MAX_BYTES = 256 << 10
_IDLE_S = 1.0
_log = structlog.get_logger(__name__)

Ask = Callable[[str, int], Awaitable[bytes]]
"""Takes the id of another node and an entry: the digest of that node; empty: not yet, or never."""


@dataclass(frozen=True, slots=True)
class StateCheckSettings:
    """How often, and how much at once."""

    pause_s: float = 600.0
    """Between the end of one pass and the beginning of the next; 0: there are none."""
    step_s: float = 1.0
    """Between two steps of a pass."""
    step_rows: int = 1_000


class StateChecker:
    """Proposes the steps of passes, and gathers what the nodes make of them."""

    def __init__(
        self,
        *,
        log: Log,
        clock: Clock,
        node_id: str,
        others: tuple[str, ...],
        memory: CheckMemory,
        ask: Ask,
        settings: StateCheckSettings,
    ) -> None:
        self._log = log
        self._clock = clock
        self._node_id = node_id
        self._others = others
        self._memory = memory
        self._ask = ask
        self._settings = settings
        self._term: int | None = None
        self._may_begin_s = clock.monotonic() + settings.pause_s / 10

    def lead(self, term: int | None) -> None:
        """Begin to lead in ``term``, or stop leading (None)."""
        self._term = term

    async def run(self) -> None:
        """Check until cancelled. An exception is a defect of ours and must stop the node."""
        if not self._settings.pause_s:
            await asyncio.Event().wait()
        pause_s = _IDLE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = await self._step()

    async def _step(self) -> float:
        """Go on with the pass under way, or begin one when it is time; how long to wait."""
        term, last = self._term, self._memory.last
        if term is None or (last is None and self._clock.monotonic() < self._may_begin_s):
            return _IDLE_S
        command = pb.Command(version=COMMAND_VERSION, now_us=self._clock.now_us(), leader_id=self._node_id, term=term)
        if last is None:
            self._fill(command.check_state, FIRST, command.now_us)
        else:
            command.check_state.found.CopyFrom(await self._gather(last))
            self._fill(command.check_state, last.next, self._memory.pass_us)
        if await self._propose(command) and command.check_state.ends_pass:
            self._may_begin_s = self._clock.monotonic() + self._settings.pause_s
        return self._settings.step_s

    def _fill(self, step: check_pb2.CheckState, start: tuple[str, bytes] | None, pass_us: int) -> None:
        step.pass_us = pass_us
        step.max_rows, step.max_bytes = self._settings.step_rows, _MAX_BYTES
        if start is None:
            step.ends_pass = True
        else:
            step.start.table, step.start.key = start

    async def _gather(self, step: HashedRange) -> check_pb2.StateDigests:
        """The digests of all nodes that give one in time."""
        found = check_pb2.StateDigests(index=step.index)
        answers = await asyncio.gather(*(self._digest_of(node_id, step.index) for node_id in self._others))
        for node_id, digest in ((self._node_id, step.digest), *zip(self._others, answers, strict=True)):
            if digest:
                found.nodes.add(node_id=node_id, digest=digest)
        return found

    async def _digest_of(self, node_id: str, index: int) -> bytes:
        for _ in range(_ASK_TIMES):
            digest = await self._ask(node_id, index)
            if digest:
                return digest
            await asyncio.sleep(_ASK_AGAIN_S)
        return b""

    async def _propose(self, command: pb.Command) -> bool:
        done: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()

        def finish(fate: Fate, _outcome: bytes) -> None:
            if not done.done():
                done.set_result(fate)

        self._log.propose(command.SerializeToString(), finish)
        return await done is Fate.DONE


class StateCheckService(check_pb2_grpc.StateCheckServiceServicer):
    """Tells the leader what this node made of a step."""

    def __init__(self, memory: CheckMemory) -> None:
        self._memory = memory

    async def GetDigest(  # noqa: N802 - the name is the protocol's
        self, request: check_pb2.GetDigestRequest, _context: object
    ) -> check_pb2.GetDigestResponse:
        """See check.proto."""
        return check_pb2.GetDigestResponse(digest=self._memory.digest(request.index))


async def ask_over(channel: grpc.aio.Channel, index: int) -> bytes:
    """What the node at the other end of the channel made of a step; empty when it does not answer."""
    request = check_pb2.GetDigestRequest(index=index)
    try:
        response = await check_pb2_grpc.StateCheckServiceStub(channel).GetDigest(request, timeout=1.0)
    except grpc.aio.AioRpcError:
        return b""
    return bytes(response.digest)
