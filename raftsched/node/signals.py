"""Runs the parts of a process until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any


async def run_until_signalled(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run with an event that the first SIGTERM or SIGINT sets; the second cancels."""
    stop = asyncio.Event()
    running = asyncio.ensure_future(run(stop))

    def signalled() -> None:
        if stop.is_set():
            running.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    await asyncio.gather(running, return_exceptions=stop.is_set())


async def run_all(
    work: list[Coroutine[Any, Any, None]], stop: asyncio.Event, before_stop: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run all until ``stop`` is set, or until one ends, whose exception is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    stopped = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            task.result()
        await before_stop()
    finally:
        for task in [*tasks, stopped]:
            task.cancel()
        await asyncio.gather(*tasks, stopped, return_exceptions=True)
