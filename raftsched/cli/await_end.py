"""Waits for the end of an execution, and says meanwhile what it waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from raftsched.cli.show.output import enum_name, note
from raftsched.cli.show.waiting import progress_line
from raftsched.cli.times import now, show_instant, show_relative

if TYPE_CHECKING:
    from raftsched_client import Client, Execution

_LOOK_S = 1.0


def await_end(client: Client, execution: Execution) -> Execution:
    """The execution as it ended. On a terminal one line of standard error tells how far it is.

    An interrupt ends the waiting, not the execution.
    """
    done = threading.Event()
    with progress_line() as show:
        looker = threading.Thread(target=_look, args=(client, execution.id, show, done), daemon=True)
        looker.start()
        try:
            for changed in client.watch_executions(execution_id=execution.id):
                execution = changed
        except KeyboardInterrupt:
            note(f"\nexecution {execution.id} goes on; raftsched execution show {execution.id} tells how far it is")
            raise
        finally:
            done.set()
            looker.join(_LOOK_S)
    return execution


def _look(client: Client, execution_id: str, show: Callable[[str], None], done: threading.Event) -> None:
    """Until ``done``; why an execution waits is told to who asks, and no change of it."""
    from raftsched_client import RaftschedError

    while not done.wait(_LOOK_S):
        try:
            text = where(client.get_execution(execution_id, stale=True))
        except RaftschedError as error:
            text = str(error)
        if not done.is_set():
            show(text)


def where(execution: Execution) -> str:
    """``RUNNING on n1-4d1fdb12, attempt 2, started 5s ago``; of what has not started what it waits for."""
    state = enum_name(execution, "state")
    if state == "PENDING":
        return f"PENDING: {execution.waiting_detail}" if execution.waiting_detail else _pending(execution)
    words = [f"{state} on {execution.executor_id}" if execution.executor_id else state]
    if execution.attempt > 1:
        words.append(f"attempt {execution.attempt}")
    if state == "ARMED":
        words.append(f"starts at {show_instant(execution.nominal_time)}")
    if execution.HasField("start_time"):
        words.append(f"started {show_relative(execution.start_time, now())}")
    return ", ".join(words)


def _pending(execution: Execution) -> str:
    return f"PENDING: waits for {waits_for(execution) or 'an executor'}"


def waits_for(execution: Execution) -> str:
    """What an execution that has not started waits for; empty where nobody says."""
    if execution.waiting_detail:
        return f"{execution.waiting_detail} ({enum_name(execution, 'waiting_reason')})"
    if execution.queued:
        return "another execution of the task to end"
    if execution.HasField("next_attempt_time"):
        what = "its next attempt" if execution.attempt > 1 else "its start"
        return f"{what} at {show_instant(execution.next_attempt_time)}"
    if execution.pinned_executor_id and enum_name(execution, "state") == "PENDING":
        return f"the executor {execution.pinned_executor_id}"
    return ""
