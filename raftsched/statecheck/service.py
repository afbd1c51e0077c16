"""Compares the state tables of all nodes, a few rows at a time, while this node leads. See statecheck/comparison.py."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
import structlog
from raftsched_proto.internal.v1 import check_pb2, check_pb2_grpc
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.envelope import Envelopes
from raftsched.core.machine.hashing import FIRST, HashedRange
from raftsched.ports import Clock, Fate, MemberList, Peer
from raftsched.statecheck.memory import CheckMemory, Origin

_ASK_TIMEOUT_S = 1.0
_ASK_AGAIN_S = 0.1
_ASK_TIMES = 10
_MAX_BYTES = 256 << 10
_IDLE_S = 1.0
_log = structlog.get_logger(__name__)

Ask = Callable[[Peer, int], Awaitable[tuple[bytes, Origin]]]
"""Takes another node and an entry: the digest of that node, and its origin; empty: not yet, or never."""


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
        envelopes: Envelopes,
        clock: Clock,
        node_id: str,
        members: MemberList,
        memory: CheckMemory,
        ask: Ask,
        settings: StateCheckSettings,
    ) -> None:
        self._envelopes = envelopes
        self._clock = clock
        self._node_id = node_id
        self._members = members
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
        command = self._envelopes.command(term)
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
        others = self._members.others(self._node_id)
        answers = await asyncio.gather(*(self._digest_of(peer, step.index) for peer in others))
        own = (step.digest, self._memory.origin())
        for node_id, (digest, origin) in (
            (self._node_id, own),
            *zip((peer.id for peer in others), answers, strict=True),
        ):
            if digest:
                found.nodes.add(
                    node_id=node_id,
                    digest=digest,
                    cluster_identity=origin.cluster_identity,
                    since_index=origin.since_index,
                )
        return found

    async def _digest_of(self, peer: Peer, index: int) -> tuple[bytes, Origin]:
        for _ in range(_ASK_TIMES):
            digest, origin = await self._ask(peer, index)
            if digest:
                return digest, origin
            await asyncio.sleep(_ASK_AGAIN_S)
        return b"", Origin()

    async def _propose(self, command: pb.Command) -> bool:
        done: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()

        def finish(fate: Fate, _outcome: bytes) -> None:
            if not done.done():
                done.set_result(fate)

        self._envelopes.propose(command, finish)
        return await done is Fate.DONE


class StateCheckService(check_pb2_grpc.StateCheckServiceServicer):
    """Tells the leader what this node made of a step."""

    def __init__(self, memory: CheckMemory) -> None:
        self._memory = memory

    async def GetDigest(  # noqa: N802 - the name is the protocol's
        self, request: check_pb2.GetDigestRequest, _context: object
    ) -> check_pb2.GetDigestResponse:
        """See check.proto."""
        origin = self._memory.origin()
        return check_pb2.GetDigestResponse(
            digest=self._memory.digest(request.index),
            cluster_identity=origin.cluster_identity,
            since_index=origin.since_index,
        )


async def ask_over(channel: grpc.aio.Channel, index: int) -> tuple[bytes, Origin]:
    """What the node at the other end of the channel made of a step, and its origin; empty when it does not answer."""
    request = check_pb2.GetDigestRequest(index=index)
    try:
        response = await check_pb2_grpc.StateCheckServiceStub(channel).GetDigest(request, timeout=_ASK_TIMEOUT_S)
    except grpc.aio.AioRpcError:
        return b"", Origin()
    return bytes(response.digest), Origin(response.cluster_identity, response.since_index)
