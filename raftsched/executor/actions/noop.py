"""Does nothing, successfully: measures the way of a task without its work.

It needs no slot, no asyncio task and no time, so the executor ends it while it accepts it.
"""

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.base import Result

KIND = "noop"
RESULT = Result(ExecutionState.SUCCEEDED)


def run() -> Result:
    """How every noop ends."""
    return RESULT
