"""Actions that a test can hold and let go."""

import asyncio

from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.base import AttemptContext, Result, first_of

SUCCEEDED = Result(ExecutionState.SUCCEEDED)


class HeldRunner:
    """Runs each action until the test releases it, or it is stopped; knows them by their nominal time."""

    def __init__(self) -> None:
        self.holds_slot = True
        self.is_stubborn = False
        """Whether what is stopped goes on until it is released."""
        self.started: list[int] = []
        self.gates: dict[int, asyncio.Future[Result]] = {}

    async def run(self, _: task_pb2.Action, context: AttemptContext) -> Result:
        number = context.nominal_us
        self.started.append(number)
        gate = self.gates[number] = asyncio.get_running_loop().create_future()
        if await first_of(gate, context.stop):
            return gate.result()
        if self.is_stubborn:
            await gate
        return context.stop.requested.result()

    async def close(self) -> None:
        pass
