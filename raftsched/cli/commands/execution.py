"""``raftsched execution``: what ran and what runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.await_end import waits_for
from raftsched.cli.files.save import save
from raftsched.cli.flags.options import ExecutionId, ExecutionStateChoice, Interval, Limit, Since, Stale, Until, Watch
from raftsched.cli.session import Session, command, complete_task
from raftsched.cli.show import attempts, describe, lists, tables
from raftsched.cli.show.output import Format, enum_name, note, one_line, print_document, print_message, to_json
from raftsched.cli.times import show_instant

if TYPE_CHECKING:
    from raftsched_client import Execution, GetOutputResponse

app = typer.Typer(no_args_is_help=True, help="Look at executions, read their output, cancel them.")
_DEFAULT_LIMIT = 100
_COLUMNS = (
    "ID",
    "TASK",
    "NOMINAL TIME^18",
    "STATE",
    "RESULT",
    "ATTEMPTS#",
    "DELAY#",
    "RUN TIME#",
    "EXECUTOR",
    "ERROR, OR WHAT IT WAITS FOR~",
)
_DISPENSABLE = ("EXECUTOR", "ATTEMPTS", "RUN TIME", "DELAY", "RESULT", "ERROR, OR WHAT IT WAITS FOR")


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
    watch: Watch = False,
    interval: Interval = None,
    stale: Stale = False,
) -> None:
    """List executions, newest nominal time first.

    \b
    Examples:
      raftsched execution list --state running --watch
      raftsched execution list --task report --since -24h
      raftsched execution list --state failed --state timed-out --limit 0 -o json
    """
    from raftsched_client import ExecutionState

    states = [ExecutionState.Value(f"EXECUTION_STATE_{each.name}") for each in state or []]
    # One more than is shown tells whether there are more.
    page = min(limit + 1, 1000) if limit else 1000
    find = partial(
        session.client.list_executions, task=task, states=states, start=since, end=until, page_size=page, stale=stale
    )
    lists.show(session, lists.Listing("executions", find, _table, "--limit or --since"), limit, watch, interval)


def _table(executions: Iterable[Execution]) -> tables.TextTable:
    return tables.TextTable(_COLUMNS, [*map(_row, executions)], _DISPENSABLE)


@command(app, "show")
def show(session: Session, execution_id: ExecutionId, stale: Stale = False) -> None:
    """Show one execution, and each of its attempts if there was more than one.

    \b
    Examples:
      raftsched execution show 01JD9ZK3M0V6X8QH2T4B5N7R9C
      raftsched execution show 01JD9ZK3M0V6X8QH2T4B5N7R9C -o json
    """
    execution = session.client.get_execution(execution_id, stale=stale)
    if session.form is not Format.TABLE:
        found = session.client.list_attempts(execution_id, stale=stale)
        print_document({**to_json(execution), "attempts": [to_json(each) for each in found]}, session.form)
        return
    shown: list[tables.Part] = [tables.fields(_fields(execution))]
    if execution.attempt > 1:
        found = session.client.list_attempts(execution_id, stale=stale)
        shown += ["", *attempts.parts(execution.id, list(found))]
    tables.show(*shown)


@command(app, "output")
def output(
    session: Session,
    execution_id: ExecutionId,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the execution has ended.")] = False,
    offset: Annotated[
        int, typer.Option("--offset", min=0, metavar="BYTES", help="Leave out this many at the beginning.")
    ] = 0,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, metavar="N", help="Only what this attempt wrote. Default: the last."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--save", metavar="FILE", help="Write it to a file, which is replaced once all of it has arrived."
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="On a terminal, too, write it as it is: it may change what the terminal does.")
    ] = False,
) -> None:
    """Print what an execution wrote, up to 1 MiB unless configured otherwise, and beyond it the last 64 KiB.

    A terminal is shown control characters as escapes.

    \b
    Examples:
      raftsched execution output 01JD9ZK3M0V6X8QH2T4B5N7R9C --follow
      raftsched execution output 01JD9ZK3M0V6X8QH2T4B5N7R9C --offset 1000000
      raftsched execution output 01JD9ZK3M0V6X8QH2T4B5N7R9C --attempt 1
      raftsched execution output 01JD9ZK3M0V6X8QH2T4B5N7R9C --save report.log
    """
    if session.form is not Format.TABLE:
        from raftsched.cli.failures import usage

        raise usage("execution output prints bytes as they are: leave out -o")
    found = session.client.get_output(execution_id, follow=follow, offset=offset, attempt=attempt or 0)
    if file is not None:
        note(f"saved {save(_pieces(found), file):,} bytes to {file}")
        return
    pieces = _pieces(found)
    for data in pieces if raw or not sys.stdout.isatty() else _shown(pieces):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _shown(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Output for a terminal, which it cannot steer; what is not UTF-8 shows as escapes too."""
    from codecs import getincrementaldecoder

    from raftsched.cli.show.tables import visible

    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    for data in pieces:
        yield visible(decoder.decode(data).replace("\r\n", "\n"), kept="\n\t").encode()
    yield visible(decoder.decode(b"", final=True)).encode()


def _pieces(found: Iterable[GetOutputResponse]) -> Iterator[bytes]:
    for piece in found:
        if piece.truncated_bytes:
            sys.stdout.flush()
            note(f"[{piece.truncated_bytes:,} bytes before this are not kept]")
        yield piece.data


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
        enum_name(execution, "state"),
        describe.result(execution),
        str(execution.attempt),
        describe.delay(execution),
        describe.run_time(execution),
        execution.executor_id,
        one_line(execution.error or execution.waiting_detail),
    )


def _fields(execution: Execution) -> list[tuple[str, str]]:
    rows = [
        ("id", execution.id),
        ("task", execution.task),
        ("state", describe.ending(execution)),
        ("error", execution.error),
        ("trigger", enum_name(execution, "trigger")),
        ("nominal time", show_instant(execution.nominal_time)),
        ("decided", show_instant(execution.fire_time)),
        ("first start", show_instant(execution.first_start_time) if execution.attempt > 1 else ""),
        ("started", show_instant(execution.start_time)),
        ("ended", show_instant(execution.end_time)),
        ("delay", describe.delay(execution)),
        ("run time", describe.run_time(execution)),
        ("attempts", str(execution.attempt)),
        ("start deadline", show_instant(execution.start_deadline_time)),
        ("priority", str(execution.priority) if execution.priority else ""),
        ("waits for", waits_for(execution)),
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
