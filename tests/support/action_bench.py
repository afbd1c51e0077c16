"""Runs single actions as an executor does, with an attempt that the test knows."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable

from raftsched_proto.v1 import task_pb2

from raftsched.core.state import ids
from raftsched.executor.actions.base import AttemptContext, Result, Runner, StopSignal
from raftsched.executor.leftovers import Marks
from raftsched.executor.output import Output

EXECUTION_ID = ids.execution_id(7, 1, 1_700_000_000_250_000)
EXECUTOR_ID = f"e{os.getpid()}"
"""Tests that run beside this one must not end each other's processes."""
SECRET = b"of the directory of these tests"
DEADLINE_S = 60.0
_SPAN = hashlib.sha256(EXECUTION_ID + (3).to_bytes(4, "big")).hexdigest()[:16]
TRACEPARENT = f"00-{EXECUTION_ID.hex()}-{_SPAN}-01"


def new_context(time_limit_us: int = 0) -> AttemptContext:
    return AttemptContext(
        executor_id=EXECUTOR_ID,
        task="nightly",
        execution_id=EXECUTION_ID,
        nominal_us=1_700_000_000_250_000,
        attempt=3,
        fencing_token=42,
        stop=StopSignal(asyncio.get_running_loop()),
        time_limit_us=time_limit_us,
        marks=Marks(EXECUTOR_ID, SECRET),
    )


Stopper = Callable[[AttemptContext], Awaitable[None]]


def perform(
    runner: Runner, action: task_pb2.Action, stopper: Stopper | None = None, time_limit_us: int = 0
) -> tuple[Result, Output]:
    """Run one action to its end; the stopper runs beside it and may stop it."""

    async def main() -> tuple[Result, Output]:
        context = new_context(time_limit_us)
        running = asyncio.ensure_future(runner.run(action, context))
        try:
            async with asyncio.timeout(DEADLINE_S):
                if stopper is not None:
                    await stopper(context)
                return await running, context.output
        finally:
            await runner.close()

    return asyncio.run(main())
