"""``raftsched logs``: what happened, found by text and by what it was."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.flags.options import ExecutionStateChoice, Limit, TaskName, parse_pairs
from raftsched.cli.flags.options import instant as _instant
from raftsched.cli.session import Session, command, complete_task, duration
from raftsched.cli.show import describe, tables
from raftsched.cli.show.output import Format, enum_name, note_more, one_line, pairs, print_items, print_message
from raftsched.cli.times import show_duration, show_instant

if TYPE_CHECKING:
    from raftsched_client import LogRecord, TaskChange
    from raftsched_proto.v1.history_pb2 import LogBucket, Percentiles, SinkStatus

app = typer.Typer(no_args_is_help=True, help="Search what happened, count it, see who changed a task.")
_DEFAULT_LIMIT = 50


class KindChoice(StrEnum):
    """Kinds of records."""

    EXECUTION = "execution"
    DECISION = "decision"
    TASK_CHANGE = "task-change"


def since(text: str) -> datetime:
    """A time; a bare span such as 2h means that long ago."""
    return _instant(f"-{text}" if text[:1].isdigit() and text[4:5] != "-" else text)


Since = Annotated[
    datetime | None,
    typer.Option(
        "--since", parser=since, metavar="TIME", help="At or after: RFC 3339 with an offset, or 2h for 2h ago."
    ),
]
Until = Annotated[
    datetime | None, typer.Option("--until", parser=since, metavar="TIME", help="Before; as for --since.")
]
Label = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Only of tasks with this label. Repeatable.")
]
Task = Annotated[str, typer.Option("--task", metavar="TASK", help="Only of this task.", autocompletion=complete_task)]


@command(app, "search")
def search(
    session: Session,
    query: Annotated[
        str,
        typer.Argument(metavar="[QUERY]", help="Words that error, reason or output must contain.", show_default=False),
    ] = "",
    task: Task = "",
    label: Label = None,
    kind: Annotated[
        list[KindChoice] | None,
        typer.Option("--kind", help="Only this kind. Default: execution, decision. Repeatable."),
    ] = None,
    state: Annotated[
        list[ExecutionStateChoice] | None, typer.Option("--state", help="Only in this state. Repeatable.")
    ] = None,
    executor: Annotated[str, typer.Option("--executor", metavar="ID", help="Only run by this executor.")] = "",
    since: Since = None,
    until: Until = None,
    min_duration: Annotated[
        timedelta | None, typer.Option("--longer", parser=duration, metavar="SPAN", help="Ran for at least this long.")
    ] = None,
    max_duration: Annotated[
        timedelta | None, typer.Option("--shorter", parser=duration, metavar="SPAN", help="Ran for at most this long.")
    ] = None,
    exit_code: Annotated[list[int] | None, typer.Option("--exit-code", help="Only with this one. Repeatable.")] = None,
    limit: Limit = _DEFAULT_LIMIT,
) -> None:
    """Search executions and skipped nominal times, newest first.

    Words must all occur, in any case and order; "a phrase", refus*, a OR b, a NOT b, (a OR b) c, error:word and
    output:word narrow or widen that. Of a long output the first and the last 128 KiB are searched, unless configured
    otherwise.

    \b
    Examples:
      raftsched logs search 'connection refused' --since 2h --state failed
      raftsched logs search '"permission denied" OR error:timeout' --label team=ops
      raftsched logs search --exit-code 137 --longer 10m -o json
    """
    from raftsched_client import ExecutionState, LogKind

    found = session.client.search_logs(
        query,
        kinds=[LogKind.Value(f"LOG_KIND_{each.name}") for each in kind or []],
        task=task,
        labels=parse_pairs("--label", label),
        states=[ExecutionState.Value(f"EXECUTION_STATE_{each.name}") for each in state or []],
        executor_id=executor,
        start=since,
        end=until,
        min_duration=min_duration,
        max_duration=max_duration,
        exit_codes=exit_code or [],
        # One more than is shown tells whether there are more.
        page_size=min(limit + 1, 1000) if limit else 1000,
    )
    records = islice(found, limit or None)
    if session.form is not Format.TABLE:
        print_items("records", records, session.form)
    else:
        tables.print_rows(
            ("TIME~18", "TASK", "WHAT", "RUN TIME#", "EXECUTOR", "ID", "TEXT~20"),
            records,
            _row,
            dispensable=("EXECUTOR", "RUN TIME", "WHAT", "TASK"),
        )
    note_more(found, limit, "use --limit or narrow the search")


@command(app, "count")
def count(
    session: Session,
    task: Task = "",
    label: Label = None,
    since: Since = None,
    until: Until = None,
    bucket: Annotated[
        timedelta | None, typer.Option("--bucket", parser=duration, metavar="SPAN", help="Width of a row.")
    ] = None,
) -> None:
    """Count executions per stretch of time, by state, and tell how late they started and how long they ran.

    LATE counts those that started more than 10 s after their nominal time, or have not started by then.

    By default the last hour in 60 rows; stretches in which nothing fired are left out.

    \b
    Examples:
      raftsched logs count
      raftsched logs count --task report --since 7d --bucket 1d
    """
    counted = session.client.count_logs(
        start=since,
        end=until,
        bucket=bucket,
        task=task,
        labels=parse_pairs("--label", label),
        percentiles=True,
    )
    if session.form is not Format.TABLE:
        print_message(counted, session.form)
        return
    tables.print_rows(
        ("FROM", "COUNTS~", "LATE#", "LATE P50#", "LATE P99#", "RAN P50#", "RAN P99#"), counted.buckets, _bucket_row
    )


@command(app, "changes")
def changes(session: Session, task: TaskName, limit: Limit = _DEFAULT_LIMIT) -> None:
    """Show how a task was changed, when and by whom, newest first.

    \b
    Examples:
      raftsched logs changes report
      raftsched logs changes report --limit 1 -o yaml
    """
    found = session.client.list_task_changes(task)
    shown = islice(found, limit or None)
    if session.form is not Format.TABLE:
        print_items("changes", shown, session.form)
    else:
        tables.print_rows(("TIME", "CHANGE", "FIELDS~", "BY", "REVISION#"), shown, _change_row, ("REVISION",))
    note_more(found, limit, "use --limit")


@command(app, "status")
def status(session: Session) -> None:
    """Show what the history index of the node at hand holds, and how far it is.

    \b
    Examples:
      raftsched logs status
    """
    found = session.client.get_history_status()
    if session.form is not Format.TABLE:
        print_message(found, session.form)
        return
    rows = [
        ("node", found.node_id),
        ("problem", found.problem),
        ("log index", f"{found.cursor_index:,} ({found.lag_entries:,} behind)"),
        ("catching up", f"{found.caught_up_rows:,} rows so far" if found.catching_up else ""),
        ("executions", f"{found.executions:,}"),
        ("decisions", f"{found.decisions:,}"),
        ("task changes", f"{found.task_changes:,}"),
        ("size", f"{found.size_bytes / (1 << 20):,.1f} MiB"),
        ("oldest", show_instant(found.oldest_time)),
        ("deleted", f"{found.deleted_records:,}"),
        ("outputs to index", f"{found.waiting_outputs:,}" if found.waiting_outputs else ""),
        ("outputs not found", f"{found.missing_outputs:,}" if found.missing_outputs else ""),
        ("lost to sinks", f"{found.lost_records:,}" if found.lost_records else ""),
        *((f"sink {sink.name}", _sink_text(sink)) for sink in found.sinks),
    ]
    tables.show_fields([row for row in rows if row[1]])


def _sink_text(sink: SinkStatus) -> str:
    parts = [f"{sink.kind}, {'ships' if sink.active else 'the leader ships'}, {sink.waiting_records:,} wait"]
    if sink.active:
        parts.append(f"{sink.shipped_records:,} shipped")
    if sink.refused_records:
        parts.append(f"{sink.refused_records:,} refused")
    if sink.problem:
        parts.append(f"fails since {show_instant(sink.failing_since)}: {one_line(sink.problem)}")
    return ", ".join(parts)


def _row(record: LogRecord) -> tuple[str, ...]:
    kind = record.WhichOneof("record")
    if kind == "execution":
        execution = record.execution
        return (
            show_instant(record.time),
            record.task,
            describe.ending(execution),
            describe.run_time(execution),
            execution.executor_id,
            execution.id,
            one_line(record.snippet or execution.error),
        )
    if kind == "decision":
        decision = record.decision
        what = enum_name(decision, "decision") + (f" x{decision.count}" if decision.count > 1 else "")
        return (show_instant(record.time), record.task, what, "", "", "", one_line(decision.reason))
    change = record.change
    what = f"TASK {enum_name(change, 'kind')}"
    return (show_instant(record.time), record.task, what, "", "", "", _change_text(change))


def _change_text(change: TaskChange) -> str:
    return one_line(", ".join(change.changed_fields) + (f" by {change.actor}" if change.actor else ""))


def _change_row(change: TaskChange) -> tuple[str, ...]:
    return (
        show_instant(change.time),
        enum_name(change, "kind"),
        ", ".join(change.changed_fields),
        change.actor,
        str(change.revision),
    )


def _bucket_row(bucket: LogBucket) -> tuple[str, ...]:
    return (
        show_instant(bucket.start_time),
        pairs((enum_name(each, "state"), f"{each.count}") for each in bucket.counts),
        f"{bucket.late_count:,}" if bucket.late_count else "",
        *(_shown(spread, name) for spread in (bucket.lateness, bucket.duration) for name in ("p50", "p99")),
    )


def _shown(spread: Percentiles, name: str) -> str:
    return show_duration(getattr(spread, name)) if spread.count else ""
