"""What a task that talks over gRPC has to look at: whether somebody wants it to end."""

import asyncio


def is_being_cancelled() -> bool:
    """Whether the running task was asked to end, which tells it from a call that gRPC reports as cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def end_if_cancelled() -> None:
    """Raise CancelledError if the running task was asked to end.

    For loops that dial again: gRPC forgets a cancellation that comes while a call begins which the peer has cancelled,
    and reports the peer's status alone.
    """
    if is_being_cancelled():
        raise asyncio.CancelledError
