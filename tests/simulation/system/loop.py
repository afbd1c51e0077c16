"""An asyncio event loop on virtual time: the shell of a process runs in the simulation as it is.

Callbacks run in the order in which they were planned, as asyncio promises, so that a seed replays. A process that is
paused does nothing; one that is killed never does anything again, not even the clean-up of its coroutines.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any

from tests.simulation.consensus.world import NodeClock, Violation, World

_MAX_CALLBACKS_AT_ONCE = 20_000
_CLOSING_ATTEMPTS = 20


class _Handle:
    """A planned callback."""

    __slots__ = ("_when", "args", "callback", "context", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...], context: Context | None) -> None:
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.is_cancelled = False
        self._when = 0.0

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self._when


class VirtualLoop(asyncio.AbstractEventLoop):
    """The event loop of one simulated process. What a thread does takes some time, and is done in one go."""

    def __init__(self, world: World, clock: NodeClock, name: str) -> None:
        self.over = False
        self.paused = False
        self._world = world
        self._clock = clock
        self._random = world.random(f"loop {name}")
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._planned = 0
        self._run_at = float("inf")
        self._tasks: dict[asyncio.Task[Any], Coroutine[Any, Any, Any]] = {}

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._clock.loop_time()

    def call_soon(self, callback: Callable[..., object], *args: object, context: Context | None = None) -> _Handle:
        handle = _Handle(callback, args, context)
        if not self.over:
            self._ready.append(handle)
            self._plan(self._world.now)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> _Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> _Handle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> _Handle:
        handle = _Handle(callback, args, context)
        handle._when = when
        if not self.over:
            self._planned += 1
            heapq.heappush(self._timers, (when, self._planned, handle))
            self._plan(self._clock.world_time_of_loop(when))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        self._tasks[task] = coro
        task.add_done_callback(lambda task: self._tasks.pop(task, None))
        return task

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: object) -> asyncio.Future[Any]:
        """Do it at once or when the time that it takes has passed: both may happen with a thread."""
        future = self.create_future()
        early = self._random.random() < 0.5
        done = [_attempt(func, args)] if early else []

        def finish() -> None:
            value, error = done[0] if done else _attempt(func, args)
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)

        self.call_later(self._random.choice([0.0002, 0.002, 0.02]), finish)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.over

    def is_closed(self) -> bool:
        return self.over

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Told by the garbage collector, at no certain time, of what nobody awaited: no part of a run."""

    # What the simulation does with it

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._run_at = float("inf")
        self._plan(self._world.now)

    def kill(self) -> None:
        """Nothing of this process runs any more."""
        self.over = True
        self._ready.clear()
        self._timers.clear()
        for task, coroutine in list(self._tasks.items()):
            task._log_destroy_pending = False
            _close(coroutine)
        self._tasks.clear()

    def _plan(self, time: float) -> None:
        if time < self._run_at and not self.paused:
            self._run_at = time
            self._world.at(time, lambda: self._run(time))

    def _run(self, planned: float) -> None:
        if self.over or self.paused or planned != self._run_at:
            return
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            self._run_ready()
        finally:
            asyncio._set_running_loop(before)
        self._run_at = float("inf")
        if not self.over and self._timers:
            self._plan(self._clock.world_time_of_loop(self._timers[0][0]))

    def _run_ready(self) -> None:
        # A timer that the rounding of two clocks makes early by a hair is due.
        now, timers = self.time() + 1e-7, self._timers
        for _ in range(_MAX_CALLBACKS_AT_ONCE):
            while timers and (timers[0][0] <= now or timers[0][2].is_cancelled):
                self._ready.append(heapq.heappop(timers)[2])
            if not self._ready or self.over:
                return
            handle = self._ready.popleft()
            if not handle.is_cancelled:
                handle.context.run(handle.callback, *handle.args)
        raise Violation("a process spins: its event loop does not come to rest")


def _attempt(func: Callable[..., Any], args: tuple[object, ...]) -> tuple[Any, Exception | None]:
    try:
        return func(*args), None
    except Exception as error:
        return None, error


def _close(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Take its frames apart, whatever its clean-up still wants to await."""
    for _ in range(_CLOSING_ATTEMPTS):
        try:
            coroutine.close()
            return
        except RuntimeError:
            continue
        except Exception:
            return
    with contextlib.suppress(BaseException):
        coroutine.throw(GeneratorExit)
