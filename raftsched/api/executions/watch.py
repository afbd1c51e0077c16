"""WatchExecutions: changes of executions as the leader applies them."""

from collections.abc import AsyncIterator

from raftsched_proto.v1 import execution_pb2

from raftsched.api.context import ApiContext, CallContext
from raftsched.api.convert import public_execution
from raftsched.api.door.errors import ApiError, stream_ended
from raftsched.api.executions.feed import Subscription
from raftsched.api.executions.listing import read_execution
from raftsched.api.proposals import Reads
from raftsched.core.state.model import ExecutionState

_LEADERSHIP_CHECK_S = 1.0


class Watch:
    """One watcher. Ends with STREAM_ENDED when this node stops leading; the caller watches again.

    The initial metadata tell the caller that it misses nothing from then on.
    """

    def __init__(self, api: ApiContext, reads: Reads, context: CallContext) -> None:
        self._context = context
        self._api = api
        self._reads = reads

    async def many(self, task: str) -> AsyncIterator[execution_pb2.WatchExecutionsResponse]:
        """Every change from now on of the executions of a task, or of all tasks ("")."""
        with self._api.feed.subscribe(task) as subscription:
            await self._context.send_initial_metadata(())
            async for response in self._changes(subscription):
                yield response

    async def one(self, execution_id: bytes, unknown: ApiError) -> AsyncIterator[execution_pb2.WatchExecutionsResponse]:
        """The execution as it is, then its changes until it has ended. Raises ``unknown`` when there is none."""
        with self._api.feed.subscribe(execution_id) as subscription:
            async with self._reads.view() as reader:
                execution = read_execution(reader, execution_id)
            if execution is None:
                raise unknown
            yield execution_pb2.WatchExecutionsResponse(execution=execution)
            if ExecutionState(execution.state).ended:
                return
            async for response in self._changes(subscription):
                yield response
                if ExecutionState(response.execution.state).ended:
                    return

    async def _changes(self, subscription: Subscription) -> AsyncIterator[execution_pb2.WatchExecutionsResponse]:
        while True:
            taken = subscription.take()
            if taken is not None:
                (execution_id, row), dropped = taken
                execution = public_execution(execution_id, row)
                yield execution_pb2.WatchExecutionsResponse(execution=execution, dropped=dropped)
                continue
            if not self._api.leads():
                raise stream_ended()
            await subscription.arrived(_LEADERSHIP_CHECK_S)
