"""``raftsched execution``: what ran and what runs."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli import describe, tables
from raftsched.cli.options import ExecutionId, ExecutionStateChoice, Limit, Since, Stale, Until
from raftsched.cli.output import (
    Format,
    enum_name,
    note,
    note_more,
    one_line,
    print_items,
    print_message,
)
from raftsched.cli.session import Session, command, complete_task
from raftsched.cli.times import show_instant, show_seconds

if TYPE_CHECKING:
    from raftsched_client import Execution

app = typer.Typer(no_args_is_help=True, help="Look at executions, read their output, cancel them.")
_DEFAULT_LIMIT = 100


@command(app, "list")
def list_(
    session: Session,
    task: Annotated[
        str, typer.Option("--task", metavar="TASK", help="Only of this task.", autocompletion=complete_task)
    ] = "",
    state: Annotated[
        list[ExecutionStateChoice] | None, typer.Option("--state", help="Only in this state. Repeatable.")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = _DEFAULT_LIMIT,
    stale: Stale = False,
) -> None:
    """List executions, newest nominal time first.

    \b
    Examples:
      raftsched execution list --task report --since -24h
      raftsched execution list --state failed --state timed-out --limit 0 -o json
    """
    from raftsched_client import ExecutionState

    states = [ExecutionState.Value(f"EXECUTION_STATE_{each.name}") for each in state or []]
    # One more than is shown tells whether there are more.
    page = min(limit + 1, 1000) if limit else 1000
    found = session.client.list_executions(
        task=task, states=states, start=since, end=until, page_size=page, stale=stale
    )
    executions = islice(found, limit or None)
    if session.form is not Format.TABLE:
        print_items("executions", executions, session.form)
    else:
        tables.print_rows(
            ("ID", "TASK", "NOMINAL TIME", "STATE", "ATTEMPT#", "DELAY#", "RUN TIME#", "EXECUTOR", "ERROR"),
            executions,
            _row,
        )
    note_more(found, limit, "use --limit or --since")


@command(app, "show")
def show(session: Session, execution_id: ExecutionId, stale: Stale = False) -> None:
    """Show one execution.

    \b
    Examples:
      raftsched execution show 01JD9ZK3M0V6X8QH2T4B5N7R9C
    """
    execution = session.client.get_execution(execution_id, stale=stale)
    if session.form is not Format.TABLE:
        print_message(execution, session.form)
        return
    tables.show(tables.Table(("FIELD", "VALUE"), _fields(execution)))


@command(app, "output")
def output(
    session: Session,
    execution_id: ExecutionId,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the execution has ended.")] = False,
    offset: Annotated[
        int, typer.Option("--offset", min=0, metavar="BYTES", help="Leave out so many at the beginning.")
    ] = 0,
) -> None:
    """Print what an execution wrote, up to 1 MiB unless configured otherwise, and beyond it the last 64 KiB.

    \b
    Examples:
      raftsched execution output 01JD9ZK3M0V6X8QH2T4B5N7R9C --follow
      raftsched execution output 01JD9ZK3M0V6X8QH2T4B5N7R9C --offset 1000000
    """
    if session.form is not Format.TABLE:
        from raftsched.cli.failures import usage

        raise usage("execution output prints bytes as they are: leave out -o")
    for piece in session.client.get_output(execution_id, follow=follow, offset=offset):
        if piece.truncated_bytes:
            sys.stdout.flush()
            note(f"[{piece.truncated_bytes:,} bytes before this are not kept]")
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()


@command(app, "cancel")
def cancel(session: Session, execution_id: ExecutionId) -> None:
    """End a pending execution, or have a running one killed.

    \b
    Examples:
      raftsched execution cancel 01JD9ZK3M0V6X8QH2T4B5N7R9C
    """
    execution = session.client.cancel_execution(execution_id)
    if session.form is not Format.TABLE:
        print_message(execution, session.form)
        return
    state = enum_name(execution, "state")
    print(f"cancelled {execution.id}" if state == "CANCELLED" else f"{execution.id} is {state}; its executor was asked")


def _row(execution: Execution) -> tuple[str, ...]:
    return (
        execution.id,
        execution.task,
        show_instant(execution.nominal_time),
        describe.ending(execution),
        str(execution.attempt),
        _delay(execution),
        describe.run_time(execution),
        execution.executor_id,
        one_line(execution.error),
    )


def _delay(execution: Execution) -> str:
    """From the nominal time to the start."""
    if not execution.HasField("start_time"):
        return ""
    late_s = (execution.start_time.ToNanoseconds() - execution.nominal_time.ToNanoseconds()) / 1e9
    return show_seconds(late_s) if late_s >= 0 else f"-{show_seconds(-late_s)}"


def _waits_for(execution: Execution) -> str:
    if execution.queued:
        return "another execution of the task to end"
    if execution.HasField("next_attempt_time"):
        what = "its next attempt" if execution.attempt > 1 else "its start"
        return f"{what} at {show_instant(execution.next_attempt_time)}"
    if execution.pinned_executor_id and enum_name(execution, "state") == "PENDING":
        return f"the executor {execution.pinned_executor_id}"
    return ""


def _fields(execution: Execution) -> list[tuple[str, str]]:
    rows = [
        ("id", execution.id),
        ("task", execution.task),
        ("state", describe.ending(execution)),
        ("error", execution.error),
        ("trigger", enum_name(execution, "trigger")),
        ("nominal time", show_instant(execution.nominal_time)),
        ("decided", show_instant(execution.fire_time)),
        ("started", show_instant(execution.start_time)),
        ("ended", show_instant(execution.end_time)),
        ("delay", _delay(execution)),
        ("run time", describe.run_time(execution)),
        ("attempt", str(execution.attempt)),
        ("start deadline", show_instant(execution.start_deadline_time)),
        ("priority", str(execution.priority) if execution.priority else ""),
        ("waits for", _waits_for(execution)),
        *((f"attempt {past.attempt}", describe.past_attempt(past)) for past in execution.past_attempts),
        ("fencing token", str(execution.fencing_token)),
        ("runs after", " ".join(execution.parent_execution_ids)),
        ("root", execution.root_execution_id),
        ("executor", execution.executor_id),
        ("pinned to", execution.pinned_executor_id),
        ("leader", f"{execution.leader_id} (term {execution.term})" if execution.leader_id else ""),
        ("task uid", execution.task_uid),
        ("output", f"{execution.output_size_bytes:,} bytes" if execution.output_size_bytes else ""),
    ]
    return [(field, value) for field, value in rows if value]
