"""``raftsched explain``: what became of one nominal time, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.calendars import Calendars
from raftsched.cli.failures import ExitCode, Failure
from raftsched.cli.flags.options import TaskName, instant
from raftsched.cli.left_out import left_out
from raftsched.cli.session import Session
from raftsched.cli.show import describe, tables
from raftsched.cli.show.output import Format, enum_name, one_line, print_message
from raftsched.cli.times import now, show_instant, show_seconds, zone_of

_LOOK_BACK = (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=31), None)
"""How far back the record is read at once: most questions are about lately, and it may be long."""

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

    A nominal time that was also run by hand or by a backfill has several entries; -o prints each.

    \b
    Examples:
      raftsched explain report
      raftsched explain report --at 2026-03-08T03:00:00-04:00
    """
    found = _find(session.client, name, at or now())
    rows = _left_out(session, name, at or now(), found) if session.form is Format.TABLE else []
    if not found and not rows:
        raise Failure(f"nothing was decided for {name} at or before that time", ExitCode.NOT_FOUND)
    if session.form is not Format.TABLE:
        for entry in found:
            print_message(entry, session.form)
        return
    for entry in found:
        task = _task(session.client, entry)
        rows += _decision(entry, task) + _coalesced(session.client, entry, task) + _policies(entry, task)
        for execution_id in entry.execution_ids or [entry.execution_id]:
            rows += _run(execution_id, _execution(session.client, execution_id))
    tables.show_fields([(field, value) for field, value in rows if value])


def _find(client: Client, name: str, at: datetime) -> list[LedgerEntry]:
    """The entries of the last nominal time at or before ``at``; several when it was also run by hand or a backfill."""
    from raftsched_proto.v1 import execution_pb2

    end = at + timedelta(microseconds=1)
    for span in _LOOK_BACK:
        found: list[LedgerEntry] = []
        scheduled: LedgerEntry | None = None
        for entry in client.list_ledger(name, start=end - span if span else None, end=end, page_size=10_000):
            if found and found[0].nominal_time != entry.nominal_time:
                found.clear()
            found.append(entry)
            if entry.trigger == execution_pb2.TRIGGER_SCHEDULE:
                scheduled = entry
        backfilled = bool(found) and found[-1].trigger == execution_pb2.TRIGGER_BACKFILL
        if found and (scheduled is not None or not backfilled or span is None):
            return _beside(found, scheduled, at) if backfilled and scheduled is not None else found
    return []


def _beside(found: list[LedgerEntry], scheduled: LedgerEntry, at: datetime) -> list[LedgerEntry]:
    """A backfill's entries, with the one by schedule of the same nominal time: it may begin before as a range.

    Only that one when the range goes on behind them, so that the last nominal time was not among them.
    """
    if scheduled.task_uid != found[-1].task_uid or any(entry is scheduled for entry in found):
        return found
    from raftsched_client import to_datetime

    until = min(at, to_datetime(scheduled.last_nominal_time))
    time = to_datetime(found[0].nominal_time)
    if until < time:
        return found
    return [scheduled] if until > time else [scheduled, *found]


def _left_out(session: Session, name: str, at: datetime, found: list[LedgerEntry]) -> list[tuple[str, str]]:
    """What leaves out the last time that the schedule would have, if that lies behind the last decision."""
    from raftsched_client import NotFoundError

    try:
        task = session.client.get_task(name)
    except NotFoundError:
        return []
    time_us, words = left_out(task, int(at.timestamp() * 1_000_000), Calendars(session))
    decided_us = max((entry.last_nominal_time.ToMicroseconds() for entry in found), default=0)
    return [("left out", words)] if time_us > decided_us else []


def _coalesced(client: Client, entry: LedgerEntry, task: Task | None) -> list[tuple[str, str]]:
    """The nominal time that ran instead, and its execution."""
    from raftsched_client import to_datetime
    from raftsched_proto.v1 import execution_pb2

    if entry.decision != execution_pb2.DECISION_COALESCED:
        return []
    known = entry.HasField("coalesced_into_time")
    start = to_datetime(entry.coalesced_into_time if known else entry.last_nominal_time)
    for target in client.list_ledger(entry.task, start=start, page_size=10):
        scheduled = target.trigger == execution_pb2.TRIGGER_SCHEDULE and target.task_uid == entry.task_uid
        if scheduled and (known or target.decision not in (execution_pb2.DECISION_COALESCED,)):
            shown = show_instant(target.nominal_time, zone_of(task) if task else None)
            return [("coalesced into", f"{shown}  {describe.decision(target)}  {target.execution_id}".rstrip())]
    return [("coalesced into", "the next nominal time that runs; none has yet, or its entry is no longer kept")]


def _task(client: Client, entry: LedgerEntry) -> Task | None:
    """The task as it stands; None when it has been deleted since."""
    from raftsched_client import NotFoundError

    try:
        task = client.get_task(entry.task)
    except NotFoundError:
        return None
    return task if task.uid == entry.task_uid else None


def _execution(client: Client, execution_id: str) -> Execution | None:
    """The execution; None when there was none, or retention has removed it."""
    from raftsched_client import NotFoundError

    if not execution_id:
        return None
    try:
        return client.get_execution(execution_id)
    except NotFoundError:
        return None


def _decision(entry: LedgerEntry, task: Task | None) -> list[tuple[str, str]]:
    zone = zone_of(task) if task else None
    nominal = show_instant(entry.nominal_time, zone)
    if entry.count != 1:
        nominal += f" to {show_instant(entry.last_nominal_time, zone)} ({entry.count or 'many'})"
    after_s = (entry.decide_time.ToNanoseconds() - entry.nominal_time.ToNanoseconds()) / 1e9
    after = f" ({show_seconds(abs(after_s))} {'after' if after_s >= 0 else 'before'})"
    return [
        ("task", entry.task),
        ("nominal time", nominal),
        ("decision", describe.decision(entry)),
        ("reason", entry.reason),
        ("executions", f"{len(entry.execution_ids)}, one on every executor" if entry.execution_ids else ""),
        ("trigger", enum_name(entry, "trigger")),
        ("after", " ".join(entry.parent_execution_ids)),
        ("decided", show_instant(entry.decide_time, zone) + after),
        ("decided by", f"{entry.leader_id} (term {entry.term})"),
    ]


def _policies(entry: LedgerEntry, task: Task | None) -> list[tuple[str, str]]:
    """Those that decided, as the entry has them, and the schedule if it is still the same."""
    rows = [
        (field, enum_name(entry, name))
        for field, name in (
            ("misfire policy", "misfire_policy"),
            ("overlap policy", "overlap_policy"),
            ("delivery", "delivery"),
        )
        if getattr(entry, name)
    ]
    if task is None:
        return [("task", "has been deleted since"), *rows]
    changed = entry.generation and entry.generation != task.generation
    return [("schedule", "has been changed since" if changed else describe.schedule(task)), *rows]


def _run(execution_id: str, execution: Execution | None) -> list[tuple[str, str]]:
    if execution is None:
        return [("execution", f"{execution_id} (no longer kept)" if execution_id else "")]
    return [
        ("execution", execution.id),
        ("state", describe.ending(execution)),
        ("waits for", execution.waiting_detail),
        ("error", one_line(execution.error)),
        *((f"attempt {past.attempt}", describe.past_attempt(past)) for past in execution.past_attempts),
        ("attempts", str(execution.attempt)),
        ("executor", execution.executor_id or execution.pinned_executor_id),
        ("first start", show_instant(execution.first_start_time) if execution.attempt > 1 else ""),
        ("delay", describe.delay(execution)),
        ("started", show_instant(execution.start_time)),
        ("ended", show_instant(execution.end_time)),
        ("run time", describe.run_time(execution)),
    ]
