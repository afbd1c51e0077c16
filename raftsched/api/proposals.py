"""From a request to a committed command, and to a view that a linearizable read may use."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import consistency_pb2

from raftsched.api.context import ApiContext
from raftsched.api.door.actor import ACTOR
from raftsched.api.door.errors import (
    no_leader,
    no_time,
    not_leader,
    not_yet,
    outcome_unknown,
    overloaded,
    raise_for_fate,
)
from raftsched.api.door.reach import unconfirmed
from raftsched.commands.envelope import Envelopes
from raftsched.commands.gate import NotYetAllowed
from raftsched.ports import Fate, Reader, Table

DECISION_TIMEOUT_S = 10.0
"""A call without a deadline of its own waits this long for the log."""
ATTEMPTS = 5
"""Of a change that others got in the way of."""
MAX_VIEWS = 64
"""Views of the store that may be open at once; each pins pages of the database."""
_T = TypeVar("_T")


class Proposals:
    """Writes commands to the log and waits for what they did."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._envelopes = Envelopes(api.log, api.clock, api.node_id, api.gate)

    def command(self, request_id: str = "") -> pb.Command:
        """A command that carries clock, leader, term, request id and actor, and nothing else yet.

        Raises ApiError (UNAVAILABLE): nobody knows what time it is.
        """
        if not self._api.clock.known:
            raise no_time(self._api.clock.status().problem)
        return self._envelopes.command(self._api.log.term, request_id=request_id, actor=ACTOR.get())

    async def propose(self, command: pb.Command) -> pb.Outcome:
        """The outcome of applying the command; it is durable on a majority and visible in the store.

        Raises ApiError: NOT_LEADER, OVERLOADED, CLUSTER_VERSION (not applied) or OUTCOME_UNKNOWN.
        """
        return await self._decided(command, lambda outcome: outcome, early=False)

    async def propose_early(self, command: pb.Command, look: Callable[[pb.Outcome, Reader], _T]) -> _T:
        """What ``look`` makes of the outcome, and of the tables as the command left them.

        It is durable on a majority, and not yet visible in the store: only views that are asked for as linearizable are
        sure to show it. Raises ApiError as ``propose``, and what ``look`` raises.
        """
        return await self._decided(command, lambda outcome: look(outcome, self._api.store.batch()), early=True)

    async def _decided(self, command: pb.Command, look: Callable[[pb.Outcome], _T], *, early: bool) -> _T:
        decided: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

        def done(fate: Fate, outcome: bytes) -> None:
            if decided.done():
                return
            try:
                if fate is not Fate.DONE:
                    raise_for_fate(fate, self._api.leader_address(), unconfirmed(self._api))
                decided.set_result(look(pb.Outcome.FromString(outcome)))
            except Exception as error:  # noqa: BLE001 - it is the caller's
                decided.set_exception(error)

        try:
            self._envelopes.propose(command, done, early=early)
        except NotYetAllowed as error:
            raise not_yet(str(error)) from None
        try:
            return await _in_time(decided)
        except TimeoutError:
            who = unconfirmed(self._api)
            raise outcome_unknown(f"no majority confirmed the change within {DECISION_TIMEOUT_S:g} s{who}") from None


class Reads:
    """Opens views of the store that are as fresh as a request asks."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._views = asyncio.Semaphore(MAX_VIEWS)

    @asynccontextmanager
    async def view(self, consistency: int = consistency_pb2.CONSISTENCY_LINEARIZABLE) -> AsyncIterator[Reader]:
        """A view of the store. ``consistency`` is a ``raftsched.v1.Consistency``.

        Raises ApiError (UNAVAILABLE, RESOURCE_EXHAUSTED) when it cannot be linearizable.
        """
        if consistency != consistency_pb2.CONSISTENCY_STALE:
            await self._barrier()
        async with self._views:
            with self._api.store.read() as reader:
                yield reader

    async def _barrier(self) -> None:
        confirmed: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()

        def done(fate: Fate) -> None:
            if not confirmed.done():
                confirmed.set_result(fate)

        self._api.log.read_barrier(done)
        try:
            fate = await _in_time(confirmed)
        except TimeoutError:
            who = unconfirmed(self._api)
            raise no_leader(f"no majority confirmed the leader{who}; nothing was read. Repeat the call") from None
        if fate is Fate.OVERLOADED:
            raise overloaded("too many reads are under way")
        if fate is not Fate.DONE:
            raise not_leader(self._api.leader_address())


async def _in_time(awaited: asyncio.Future[_T]) -> _T:
    """What the log says. Raises TimeoutError when it says nothing.

    ``asyncio.timeout`` does the same for any number of awaits, and costs three times as much.
    """
    alarm = awaited.get_loop().call_later(DECISION_TIMEOUT_S, _give_up, awaited)
    try:
        return await awaited
    finally:
        alarm.cancel()


def _give_up(awaited: asyncio.Future[_T]) -> None:
    if not awaited.done():
        awaited.set_exception(TimeoutError())


def remembered(reader: Reader, request_id: str) -> pb.Outcome | None:
    """The outcome of a request id that was applied before, or None."""
    row = reader.get(Table.REQUESTS, request_id.encode()) if request_id else None
    return None if row is None else pb.RequestRow.FromString(row).outcome


def scoped(rpc: str, request_id: str) -> str:
    """The request id as the log knows it: the same id in calls of different kinds means different requests."""
    return f"{rpc}/{request_id}" if request_id else ""
