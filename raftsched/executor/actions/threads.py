"""Runs calls that block, in threads that do not keep the process from ending."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


def in_thread(name: str, function: Callable[[], _T]) -> "asyncio.Future[_T]":
    """Call the function in a daemon thread of its own; the future belongs to the running loop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def finish(result: _T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # there is no error, so this is what the function gave

    def work() -> None:
        result, failure = None, None
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - it is raised where the future is awaited
            failure = error
        # A closed loop has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, result, failure)

    threading.Thread(target=work, name=name, daemon=True).start()
    return done


def released(work: "asyncio.Future[_T]") -> "asyncio.Future[None]":
    """Done when the work is, whatever came of it: what ``Result.busy`` asks for."""
    busy: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def finish(ended: "asyncio.Future[_T]") -> None:
        if not ended.cancelled():
            # Nobody asks for it any more.
            ended.exception()
        busy.set_result(None)

    work.add_done_callback(finish)
    return busy
