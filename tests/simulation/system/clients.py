"""Clients of the simulated cluster: they call the real API services, repeat calls, and keep what they were told."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from raftsched_proto.v1 import execution_pb2, task_pb2

from raftsched.api.door.errors import NO_LEADER, NOT_LEADER, ApiError, refusal
from raftsched.definitions.violations import Invalid
from tests.simulation.consensus.world import Violation, World
from tests.simulation.system.lines import Lines
from tests.simulation.system.node import Node
from tests.simulation.system.witness import Witness
from tests.support.linearizable import FOREVER, Call, End, Kind

CALL_TIMEOUT_S = 3.0
PATIENCE_S = 9.0
_ELSEWHERE = (NO_LEADER, NOT_LEADER, "OVERLOADED")
_LOST = 0.01

Request = Callable[[Node], Coroutine[Any, Any, Any]]


@dataclass
class Operation:
    """One call with its repetitions."""

    what: str
    request: Request
    began: float
    then: Callable[["Operation"], None]
    doubtful: bool = False
    """Some attempt may have been carried out, and nobody said so."""
    end: End | None = None
    """None: nothing was done, and all attempts were refused for reasons of the cluster."""
    over: bool = False
    value: Any = None
    code: grpc.StatusCode | None = None
    attempts: int = 0
    ended: float = FOREVER


@dataclass
class Observed:
    """What clients were told."""

    registers: dict[str, list[Call]] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Registrations that nobody takes back: name -> uid."""
    runs: list[str] = field(default_factory=list)
    """Execution ids of acknowledged manual runs."""
    cancelled: list[str] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)


class Clients:
    """Everything that is asked of the cluster."""

    def __init__(self, world: World, lines: Lines, nodes: dict[str, Node]) -> None:
        self.observed = Observed()
        self.under_way = 0
        self._world = world
        self._lines = lines
        self._nodes = nodes
        self._random = world.random("clients")
        self._leader = ""
        self._requests = 0
        self.witness: Witness | None = None

    def call(
        self, what: str, request: Request, then: Callable[[Operation], None] = lambda _: None, only: str = ""
    ) -> None:
        """Ask until there is an answer or patience ends; ``only`` names the one node that is asked."""
        operation = Operation(what, request, self._world.now, then)
        self.under_way += 1
        self._attempt(operation, only)

    def request_id(self) -> str:
        self._requests += 1
        return f"r{self._requests}"

    def _attempt(self, operation: Operation, only: str) -> None:
        if operation.over:
            return
        if self._world.now - operation.began > PATIENCE_S:
            self._finish(operation, End.UNKNOWN if operation.doubtful else None)
            return
        operation.attempts += 1
        attempt = operation.attempts
        name = only or (self._leader if self._random.random() < 0.85 and self._leader else "")
        node = self._nodes[name or self._random.choice(list(self._nodes))]

        def again(delay_s: float, doubtful: bool) -> None:
            if operation.attempts == attempt and not operation.over:
                operation.doubtful |= doubtful
                if not only:
                    self._leader = ""
                self._world.after(delay_s, lambda: self._attempt(operation, only))

        def arrive() -> None:
            if node.shard is None or node.loop is None:
                again(self._random.uniform(0.02, 0.3), doubtful=False)
            elif not self._lines.is_cut("clients", node.id) and self._random.random() > _LOST:
                node.loop.create_task(operation.request(node)).add_done_callback(answer)

        def answer(task: asyncio.Task[Any]) -> None:
            if task.cancelled():
                return
            error = task.exception()
            if isinstance(error, Invalid):
                # As the gateway tells it.
                error = refusal(error)
            value = None if error is not None else task.result()
            if not self._lines.is_cut(node.id, "clients") and self._random.random() > _LOST:
                delay = self._lines.delay(node.id, "clients")
                self._world.after(delay, lambda: told(value, error))

        def told(value: Any, error: BaseException | None) -> None:
            if operation.over:
                return
            if error is None:
                self._leader = node.id
                operation.value = value
                self._finish(operation, End.OK)
            elif not isinstance(error, ApiError):
                raise Violation(f"the API failed: {operation.what}: {error!r}") from error
            elif error.reason in _ELSEWHERE or error.applied != "no":
                again(self._random.uniform(0.02, 0.3), doubtful=error.applied != "no")
            else:
                operation.code = error.code
                self._finish(operation, End.UNKNOWN if operation.doubtful else End.REFUSED)

        self._world.after(self._lines.delay("clients", node.id), arrive)
        self._world.after(CALL_TIMEOUT_S, lambda: again(0.0, doubtful=True))

    def _finish(self, operation: Operation, end: End | None) -> None:
        operation.over = True
        operation.end = end
        operation.ended = self._world.now
        self.under_way -= 1
        ends = self.observed.ends
        ends[end.value if end else "gave up"] = ends.get(end.value if end else "gave up", 0) + 1
        self._world.note("answered", operation.what, end.value if end else "gave up")
        operation.then(operation)

    # The calls

    def _moves(self, name: str, then: Callable[[Operation], None]) -> Callable[[Operation], None]:
        """For a call after which the task may fire again."""
        witness = self.witness
        if witness is None:
            return then
        witness.asks_to_move(name)

        def told(operation: Operation) -> None:
            if operation.end in (End.OK, End.REFUSED):
                witness.moved(name)
            then(operation)

        return told

    def create(self, task: task_pb2.Task, then: Callable[[Operation], None], only: str = "") -> None:
        request = task_pb2.CreateTaskRequest(task=task, request_id=self.request_id())
        then = self._moves(task.name, then)
        self.call(f"create {task.name}", lambda node: node.tasks.CreateTask(request, _CONTEXT), then, only)

    def update(self, task: task_pb2.Task, paths: list[str], then: Callable[[Operation], None], only: str = "") -> None:
        request = task_pb2.UpdateTaskRequest(
            task=task, update_mask=FieldMask(paths=paths), request_id=self.request_id()
        )
        self.call(f"update {task.name}", lambda node: node.tasks.UpdateTask(request, _CONTEXT), then, only)

    def delete(self, name: str, then: Callable[[Operation], None] = lambda _: None, only: str = "") -> None:
        request = task_pb2.DeleteTaskRequest(name=name, request_id=self.request_id())
        self.call(f"delete {name}", lambda node: node.tasks.DeleteTask(request, _CONTEXT), then, only)

    def get(self, name: str, then: Callable[[Operation], None], only: str = "") -> None:
        request = task_pb2.GetTaskRequest(name=name)
        self.call(f"get {name}", lambda node: node.tasks.GetTask(request, _CONTEXT), then, only)

    def pause(self, name: str, *, paused: bool) -> None:
        id_ = self.request_id()
        if paused:
            stop = task_pb2.PauseTaskRequest(name=name, request_id=id_)
            self.call(f"pause {name}", lambda node: node.tasks.PauseTask(stop, _CONTEXT), self._paused(name))
        else:
            go_on = task_pb2.ResumeTaskRequest(name=name, request_id=id_)
            then = self._moves(name, lambda _: None)
            self.call(f"resume {name}", lambda node: node.tasks.ResumeTask(go_on, _CONTEXT), then)

    def _paused(self, name: str) -> Callable[[Operation], None]:
        answered = self.witness.asks_to_pause(name) if self.witness is not None else None

        def told(operation: Operation) -> None:
            if operation.end is End.OK and answered is not None:
                answered()

        return told

    def run(self, name: str, then: Callable[[Operation], None], request_id: str = "") -> str:
        """Returns the request id, a new one unless it is given."""
        request = task_pb2.RunTaskRequest(name=name, request_id=request_id or self.request_id())
        self.call(f"run {name}", lambda node: node.tasks.RunTask(request, _CONTEXT), then)
        return request.request_id

    def cancel(self, id_: str, then: Callable[[Operation], None]) -> None:
        request = execution_pb2.CancelExecutionRequest(id=id_, request_id=self.request_id())
        self.call(f"cancel {id_}", lambda node: node.executions.CancelExecution(request, _CONTEXT), then)

    def get_execution(self, id_: str, then: Callable[[Operation], None]) -> None:
        request = execution_pb2.GetExecutionRequest(id=id_)
        self.call(f"get execution {id_}", lambda node: node.executions.GetExecution(request, _CONTEXT), then)


_CONTEXT: Any = None
"""No method that is called here looks at it."""


def register_call(kind: Kind, value: str, operation: Operation) -> Call | None:
    """An operation on a register as the checker takes it; None: it says nothing."""
    began, ended, end = operation.began, operation.ended, operation.end
    if end is None:
        return None
    if kind is Kind.GET:
        if end is End.OK:
            return Call(kind, operation.value.task.labels["value"], began, ended)
        return Call(kind, None, began, ended) if operation.code is grpc.StatusCode.NOT_FOUND else None
    if end is End.UNKNOWN:
        return Call(kind, value, began, FOREVER, End.UNKNOWN)
    if end is End.REFUSED and operation.code not in (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.NOT_FOUND):
        return None
    return Call(kind, value, began, ended, end)
