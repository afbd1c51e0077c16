"""``raftsched explain``: what became of one nominal time, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli import describe, tables
from raftsched.cli.failures import ExitCode, Failure
from raftsched.cli.options import TaskName, instant
from raftsched.cli.output import Format, enum_name, one_line, print_message
from raftsched.cli.session import Session
from raftsched.cli.times import now, show_instant, show_seconds, zone_of

if TYPE_CHECKING:
    from raftsched_client import Client, Execution, LedgerEntry, Task


def explain(
    session: Session,
    name: TaskName,
    at: Annotated[
        datetime | None,
        typer.Option(
            "--at",
            parser=instant,
            metavar="TIME",
            help="The last decision at or before this time. Default now.",
        ),
    ] = None,
) -> None:
    """Tell what was decided for a nominal time, when, by whom, under which policies, and where it ran.

    With -o it prints the ledger entry.

    \b
    Examples:
      raftsched explain report
      raftsched explain report --at 2026-03-08T03:00:00-04:00
    """
    entry = _find(session.client, name, at or now())
    if entry is None:
        raise Failure(f"nothing was decided for {name} at or before that time", ExitCode.NOT_FOUND)
    if session.form is not Format.TABLE:
        print_message(entry, session.form)
        return
    task, execution = _task(session.client, entry), _execution(session.client, entry)
    rows = _decision(entry, task) + _policies(task) + _run(entry, execution)
    tables.show(tables.Table(("FIELD", "VALUE"), [(field, value) for field, value in rows if value]))


def _find(client: Client, name: str, at: datetime) -> LedgerEntry | None:
    """The last entry that begins at or before ``at``."""
    found = None
    for entry in client.list_ledger(name, end=at + timedelta(microseconds=1), page_size=10_000):
        found = entry
    return found


def _task(client: Client, entry: LedgerEntry) -> Task | None:
    """The task as it stands; None when it has been deleted since."""
    from raftsched_client import NotFoundError

    try:
        task = client.get_task(entry.task)
    except NotFoundError:
        return None
    return task if task.uid == entry.task_uid else None


def _execution(client: Client, entry: LedgerEntry) -> Execution | None:
    """The execution; None when there was none, or retention has removed it."""
    from raftsched_client import NotFoundError

    if not entry.execution_id:
        return None
    try:
        return client.get_execution(entry.execution_id)
    except NotFoundError:
        return None


def _decision(entry: LedgerEntry, task: Task | None) -> list[tuple[str, str]]:
    zone = zone_of(task) if task else None
    nominal = show_instant(entry.nominal_time, zone)
    if entry.count != 1:
        nominal += f" to {show_instant(entry.last_nominal_time, zone)} ({entry.count or 'many'})"
    after_s = (entry.decide_time.ToNanoseconds() - entry.nominal_time.ToNanoseconds()) / 1e9
    after = f" ({show_seconds(after_s)} after)" if after_s >= 0 else ""
    return [
        ("task", entry.task),
        ("nominal time", nominal),
        ("decision", enum_name(entry, "decision")),
        ("reason", entry.reason),
        ("trigger", enum_name(entry, "trigger")),
        ("decided", show_instant(entry.decide_time, zone) + after),
        ("decided by", f"{entry.leader_id} (term {entry.term})"),
    ]


def _policies(task: Task | None) -> list[tuple[str, str]]:
    if task is None:
        return [("policies", "the task has been deleted since")]
    return [
        ("schedule", describe.schedule(task)),
        ("misfire policy", enum_name(task, "misfire_policy")),
        ("overlap policy", describe.overlap(task)),
        ("retry", describe.retry(task)),
        ("delivery", enum_name(task, "delivery")),
        ("policies as of", show_instant(task.update_time)),
    ]


def _run(entry: LedgerEntry, execution: Execution | None) -> list[tuple[str, str]]:
    if execution is None:
        return [("execution", f"{entry.execution_id} (no longer kept)" if entry.execution_id else "")]
    return [
        ("execution", execution.id),
        ("state", describe.ending(execution)),
        ("error", one_line(execution.error)),
        *((f"attempt {past.attempt}", describe.past_attempt(past)) for past in execution.past_attempts),
        ("attempt", str(execution.attempt)),
        ("executor", execution.executor_id),
        ("started", show_instant(execution.start_time)),
        ("ended", show_instant(execution.end_time)),
        ("run time", describe.run_time(execution)),
    ]
