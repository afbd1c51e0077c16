"""The interface between the pool and the kinds of action.

A kind of action is one module with a function that makes its ``Runner``, named by an entry point of the group
``raftsched.actions``. Those of raftsched itself are found in the same way as those of others.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from raftsched_proto.v1 import task_pb2

from raftsched.core.state import ids
from raftsched.core.state.model import ExecutionState
from raftsched.executor.leftovers import Marks
from raftsched.executor.output import Output
from raftsched.executor.settings import ExecutorSettings
from raftsched.ports import Clock

_T = TypeVar("_T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended."""

    state: ExecutionState
    """SUCCEEDED, FAILED, TIMED_OUT, CANCELLED or LOST."""
    exit_code: int | None = None
    """Of a command; negative: killed by that signal."""
    http_status: int | None = None
    error: str = ""
    """Why it did not succeed."""
    busy: "asyncio.Future[None] | None" = None
    """Done when what the attempt occupied is free again; None: it is."""


class StopSignal:
    """Tells a running attempt to end early. The first reason counts."""

    __slots__ = ("forced", "requested")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.requested: asyncio.Future[Result] = loop.create_future()
        """Done when the attempt shall end, with the result that it shall end with."""
        self.forced: asyncio.Future[None] = loop.create_future()
        """Done when no grace is left."""

    def request(self, state: ExecutionState, error: str) -> None:
        """End in that state, with the grace that the action gives."""
        if not self.requested.done():
            self.requested.set_result(Result(state, error=error))

    def force(self, state: ExecutionState, error: str) -> None:
        """End in that state at once."""
        self.request(state, error)
        if not self.forced.done():
            self.forced.set_result(None)


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What an action knows of the attempt that it runs for."""

    executor_id: str
    task: str
    execution_id: bytes
    nominal_us: int
    attempt: int
    fencing_token: int
    stop: StopSignal
    output: Output = field(default_factory=Output)
    time_limit_us: int = 0
    """0: none. ``stop`` is requested when it has passed."""
    parent_execution_ids: tuple[bytes, ...] = ()
    """Of an execution that a chain made: those that it runs after."""
    marks: Marks | None = None
    """Make the marks of this executor's processes; None: they have none, and are not found where they moved away."""

    @property
    def process_mark(self) -> str:
        """What the processes of this attempt are known by; "" when they are not."""
        return "" if self.marks is None else self.marks.of((self.execution_id, self.attempt))

    @property
    def execution_id_text(self) -> str:
        """The execution id as a ULID."""
        return ids.to_text(self.execution_id)

    @property
    def parent_execution_ids_text(self) -> str:
        """Their ids as ULIDs, separated by commas; empty when no chain made the execution."""
        return ",".join(map(ids.to_text, self.parent_execution_ids))

    @property
    def nominal_time(self) -> datetime:
        """The nominal time, aware, in UTC."""
        return _EPOCH + timedelta(microseconds=self.nominal_us)

    @property
    def nominal_time_text(self) -> str:
        """The nominal time by RFC 3339, in UTC."""
        return self.nominal_time.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a runner may use of the executor that it belongs to."""

    settings: ExecutorSettings
    clock: Clock


class Runner(Protocol):
    """Runs one kind of action.

    ``holds_slot`` (default True, where a runner does not say) is False for a kind whose work is done elsewhere: its
    attempts take no slot of the pool, and are bounded by ``ExecutorSettings.remote_slots``.
    """

    async def run(self, action: task_pb2.Action, context: AttemptContext) -> Result:
        """Run it until it ends or ``context.stop`` is requested.

        Returns only when nothing of it runs any more, save what ``Result.busy`` stands for. Failures of the action are
        results; an exception is a defect of the runner.
        """

    async def close(self) -> None:
        """Release what is kept between runs. Nothing runs any more."""


RunnerFactory = Callable[[Surroundings], Runner]
"""What an entry point of the group ``raftsched.actions`` names. Called once, when the executor starts."""


async def first_of(work: "asyncio.Future[_T]", stop: StopSignal) -> bool:
    """Wait until the work is done or shall stop; True when it is done."""
    # What asyncio.wait does, without what that does for more than two, and for coroutines.
    either: asyncio.Future[None] = work.get_loop().create_future()

    def tell(_: object) -> None:
        if not either.done():
            either.set_result(None)

    work.add_done_callback(tell)
    stop.requested.add_done_callback(tell)
    try:
        await either
    finally:
        work.remove_done_callback(tell)
        stop.requested.remove_done_callback(tell)
    return work.done()
