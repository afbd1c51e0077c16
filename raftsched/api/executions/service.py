"""ExecutionService: what ran, what runs, and what was decided. Runs on the leader, but for stale reads."""
# The names of the methods are those of the rpcs, each of which is given a context.
# ruff: noqa: ARG002, N802

from collections.abc import AsyncIterator

from raftsched_proto.v1 import execution_pb2, execution_pb2_grpc

from raftsched.api.context import ApiContext, CallContext
from raftsched.api.door.errors import ApiError, invalid_field, not_found, raise_for_outcome
from raftsched.api.executions.ledger import list_ledger, list_ledgers
from raftsched.api.executions.listing import list_attempts, list_executions, read_execution
from raftsched.api.executions.output import OutputReader
from raftsched.api.executions.waits import explain_with
from raftsched.api.executions.watch import Watch
from raftsched.api.proposals import Proposals, Reads, scoped
from raftsched.core.state import ids
from raftsched.core.state.past_attempts import as_of
from raftsched.core.state.rows import ExecutionRow
from raftsched.definitions.fields import check_name, check_request_id, quoted
from raftsched.definitions.violations import Violations
from raftsched.ports import Table


class ExecutionService(execution_pb2_grpc.ExecutionServiceServicer):
    """See execution.proto."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._proposals = Proposals(api)
        self._reads = Reads(api)

    async def GetExecution(
        self, request: execution_pb2.GetExecutionRequest, context: CallContext
    ) -> execution_pb2.GetExecutionResponse:
        """Read one execution."""
        execution_id = _parsed(request.id)
        async with self._reads.view(request.consistency) as reader:
            execution = read_execution(reader, execution_id, explain_with(self._api.explainer(reader)))
        if execution is None:
            raise _unknown(request.id)
        return execution_pb2.GetExecutionResponse(execution=execution)

    async def ListExecutions(
        self, request: execution_pb2.ListExecutionsRequest, context: CallContext
    ) -> execution_pb2.ListExecutionsResponse:
        """Read a page of executions, newest first."""
        async with self._reads.view(request.consistency) as reader:
            return await list_executions(reader, request, explain_with(self._api.explainer(reader)))

    async def ListAttempts(
        self, request: execution_pb2.ListAttemptsRequest, context: CallContext
    ) -> execution_pb2.ListAttemptsResponse:
        """Read a page of the attempts of an execution, oldest first."""
        execution_id = _parsed(request.id)
        async with self._reads.view(request.consistency) as reader:
            response = await list_attempts(reader, request, execution_id)
        if response is None:
            raise _unknown(request.id)
        return response

    async def WatchExecutions(
        self, request: execution_pb2.WatchExecutionsRequest, context: CallContext
    ) -> AsyncIterator[execution_pb2.WatchExecutionsResponse]:
        """Send changes as they are committed."""
        if request.id and request.task:
            raise invalid_field("task", "must be empty when an id is given")
        watch = Watch(self._api, self._reads, context)
        if request.id:
            responses = watch.one(_parsed(request.id), _unknown(request.id))
        else:
            if request.task:
                _check_name(request.task)
            responses = watch.many(request.task)
        async for response in responses:
            yield response

    async def GetOutput(
        self, request: execution_pb2.GetOutputRequest, context: CallContext
    ) -> AsyncIterator[execution_pb2.GetOutputResponse]:
        """Send what the last attempt wrote, or the one that is asked for."""
        execution_id = _parsed(request.id)
        for field in ("offset", "attempt"):
            if getattr(request, field) < 0:
                raise invalid_field(field, "must not be negative")
        async with self._reads.view() as reader:
            value = reader.get(Table.EXECUTIONS, execution_id)
            if value is None:
                raise _unknown(request.id)
            last = ExecutionRow.FromString(value)
            row = as_of(reader, execution_id, last, request.attempt) if request.attempt else last
        if row is None:
            raise _unknown_attempt(request, last.attempt)
        # The caller learns that the execution exists, even if it is silent for long.
        await context.send_initial_metadata(())
        output = OutputReader(self._api, execution_id, row, request.offset, only_attempt=bool(request.attempt))
        async for response in output.responses(follow=request.follow):
            yield response

    async def CancelExecution(
        self, request: execution_pb2.CancelExecutionRequest, context: CallContext
    ) -> execution_pb2.CancelExecutionResponse:
        """End an execution that waits; have one that runs killed."""
        execution_id = _parsed(request.id)
        violations = Violations()
        check_request_id(violations, request.request_id)
        violations.raise_any()
        command = self._proposals.command(scoped("CancelExecution", request.request_id))
        command.cancel_execution.id = execution_id
        raise_for_outcome(await self._proposals.propose(command))
        with self._api.store.read() as reader:
            execution = read_execution(reader, execution_id) or execution_pb2.Execution(id=request.id)
        return execution_pb2.CancelExecutionResponse(execution=execution)

    async def ListLedger(
        self, request: execution_pb2.ListLedgerRequest, context: CallContext
    ) -> execution_pb2.ListLedgerResponse:
        """Read a page of the fire record of a task, oldest first."""
        async with self._reads.view(request.consistency) as reader:
            return await list_ledger(reader, request)

    async def ListLedgers(
        self, request: execution_pb2.ListLedgersRequest, context: CallContext
    ) -> execution_pb2.ListLedgersResponse:
        """Read a page of the fire record of many tasks."""
        async with self._reads.view(request.consistency) as reader:
            return await list_ledgers(reader, request)


def _parsed(text: str) -> bytes:
    try:
        return ids.from_text(text)
    except ValueError as error:
        raise invalid_field("id", str(error)) from None


def _unknown(text: str) -> ApiError:
    return not_found(f"execution {quoted(text)}; it never was, or retention has removed it")


def _unknown_attempt(request: execution_pb2.GetOutputRequest, last: int) -> ApiError:
    why = f"it has made {last} so far" if request.attempt > last else "it is no longer kept"
    return not_found(f"attempt {request.attempt} of execution {quoted(request.id)}; {why}")


def _check_name(task: str) -> None:
    violations = Violations()
    check_name(violations, "task", task)
    violations.raise_any()
