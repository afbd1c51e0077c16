"""Calls Python callables that the operator has exposed."""

import asyncio
import inspect
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.base import AttemptContext, Result, Surroundings, first_of
from raftsched.executor.actions.callables import CallableRefused, Callables, Exposed, arguments, is_async
from raftsched.executor.context import RunContext, raftsched_context

_CLOSE_S = 1.0


class _Outcome(NamedTuple):
    result: Result
    written: bytes


def create(surroundings: Surroundings) -> "PythonRunner":
    """The runner of Python callables."""
    return PythonRunner(surroundings.settings.python_allow, surroundings.settings.kill_grace_s)


class PythonRunner:
    """Calls synchronous callables in a thread each, and asynchronous ones on an event loop of their own in one thread.

    The executor's event loop is not theirs: it carries heartbeats. A thread cannot be killed: a callable that has not
    returned when its time limit and the grace have passed ends as TIMED_OUT, and its slot stays occupied until it
    returns. So there are never more threads than slots. An asynchronous callable is cancelled and given the same grace.
    What a callable returns goes to the output: a string or bytes as is, None as nothing, anything else as its repr.
    """

    def __init__(self, allow: Sequence[str], kill_grace_s: float) -> None:
        self._callables = Callables(allow)
        self._kill_grace_s = kill_grace_s
        self._loop = _LoopThread()

    async def run(self, action: task_pb2.Action, context: AttemptContext) -> Result:
        """Import the callable if need be, call it, and write what it returns to the output."""
        call = _Call(self._callables, self._loop, action.python, context)
        call.start()
        if await first_of(call.ended, context.stop):
            outcome = call.ended.result()
            context.output.write(outcome.written)
            return outcome.result
        stopped = context.stop.requested.result()
        call.stop()
        await asyncio.wait(
            (call.ended, context.stop.forced), timeout=self._kill_grace_s, return_when=asyncio.FIRST_COMPLETED
        )
        if call.ended.done():
            context.output.write(call.ended.result().written)
            return stopped
        busy = asyncio.get_running_loop().create_future()
        call.ended.add_done_callback(lambda _: busy.set_result(None))
        return Result(stopped.state, error=f"{stopped.error}; the callable runs on and keeps its slot", busy=busy)

    async def close(self) -> None:
        """Cancel what still runs on the loop and end it. Threads that do not return are left behind."""
        await asyncio.to_thread(self._loop.close)


class _Call:
    """One call of one callable."""

    def __init__(
        self, callables: Callables, loop: "_LoopThread", action: task_pb2.PythonAction, context: AttemptContext
    ) -> None:
        self._callables = callables
        self._loop_thread = loop
        self._action = action
        self._owner = asyncio.get_running_loop()
        self._context = RunContext(
            task=context.task,
            execution_id=context.execution_id_text,
            nominal_time=context.nominal_time,
            attempt=context.attempt,
            fencing_token=context.fencing_token,
        )
        self._on_other_loop = False
        self._task: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[_Outcome] = self._owner.create_future()

    def start(self) -> None:
        """Begin. A callable that is known to be asynchronous needs no thread."""
        function = self._callables.known(self._action.callable)
        if function is not None and is_async(function):
            self._hand_over(function)
        else:
            threading.Thread(target=self._in_thread, name=f"python {self._action.callable}", daemon=True).start()

    def stop(self) -> None:
        """Ask the callable to return."""
        self._context.stopping.set()
        if self._on_other_loop:
            self._loop_thread.call(self._cancel)

    def _hand_over(self, function: Exposed) -> None:
        self._on_other_loop = True
        self._loop_thread.call(self._begin_async, function)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _in_thread(self) -> None:
        raftsched_context.set(self._context)
        try:
            function = self._callables.find(self._action.callable)
            if is_async(function):
                self._hand_over(function)
                return
            value = function(**arguments(self._action.kwargs_json))
            if inspect.iscoroutine(value):
                value.close()
            if inspect.isawaitable(value):
                raise TypeError("a synchronous callable returned an awaitable: make it an async function")
            outcome = _Outcome(Result(ExecutionState.SUCCEEDED), _text(value))
        except BaseException as error:  # noqa: BLE001 - whatever it raises is how the attempt ended
            outcome = _failure(error)
        self._finish(outcome)

    def _begin_async(self, function: Exposed) -> None:
        self._task = asyncio.get_running_loop().create_task(self._on_loop(function))
        if self._context.stopping.is_set():
            self._task.cancel()

    async def _on_loop(self, function: Exposed) -> None:
        raftsched_context.set(self._context)
        try:
            value = function(**arguments(self._action.kwargs_json))
            assert inspect.isawaitable(value)
            outcome = _Outcome(Result(ExecutionState.SUCCEEDED), _text(await value))
        except BaseException as error:  # noqa: BLE001 - whatever it raises is how the attempt ended
            outcome = _failure(error)
        self._finish(outcome)

    def _finish(self, outcome: _Outcome) -> None:
        # A closed loop has nobody left who waits.
        with suppress(RuntimeError):
            self._owner.call_soon_threadsafe(self.ended.set_result, outcome)


class _LoopThread:
    """An event loop in a thread of its own, started when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Have the loop call the function; from any thread."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="async callables", daemon=True)
                self._thread.start()
            self._loop.call_soon_threadsafe(function, *args)

    def close(self) -> None:
        """Cancel what runs and end the thread; one that is blocked by a callable is left behind."""
        with self._lock:
            if self._loop is None or self._thread is None:
                return
            self._loop.call_soon_threadsafe(self._cancel_all)
            self._thread.join(_CLOSE_S)
            if not self._thread.is_alive():
                self._loop.close()
            self._loop = None

    def _cancel_all(self) -> None:
        loop = asyncio.get_running_loop()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        asyncio.gather(*tasks, return_exceptions=True).add_done_callback(lambda _: loop.stop())


def _text(value: object) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text.encode("utf-8", "replace")


def _failure(error: BaseException) -> _Outcome:
    reason = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, CallableRefused):
        return _Outcome(Result(ExecutionState.FAILED, error=f"nothing was called: {error}"), b"")
    # The first frame is this file's.
    report = traceback.format_exception(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
    return _Outcome(Result(ExecutionState.FAILED, error=reason), "".join(report).encode("utf-8", "replace"))
