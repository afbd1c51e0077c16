"""Schedules, actions and executions in a few words."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from raftsched.cli.show.output import enum_name, one_line
from raftsched.cli.times import show_duration, show_instant, show_relative, show_seconds, zone_of
from raftsched.definitions.task_fields import TASK_FIELDS, TaskField

if TYPE_CHECKING:
    from raftsched_client import (
        Action,
        Attempt,
        CronSchedule,
        Exclusion,
        Execution,
        LedgerEntry,
        RruleSchedule,
        Schedule,
        Task,
        WaitingExecutions,
    )

_SHOWN_EXCLUSIONS = 10
_NOT_STARTED = {
    "PENDING": "waiting for an executor",
    "ARMED": "an executor holds it and starts it at its nominal time",
    "ASSIGNED": "given to an executor, which has not reported its start",
    "EXPIRED": "expired before it could start",
    "CANCELLED": "cancelled before it started",
}


def schedule(task: Task) -> str:
    """Its schedule: ``30 2 * * *  Europe/Berlin``, ``every 10s``, ``at 2026-01-31 09:00:00+01:00``, or several."""
    if task.schedule.WhichOneof("kind") is None:
        return f"after {after(task)}"
    parts = task.schedule.union.schedules if task.schedule.HasField("union") else [task.schedule]
    return "; ".join(_part(each, task.name) for each in parts)


def _part(kind: Schedule, task_name: str) -> str:
    if kind.HasField("cron"):
        return _cron(kind.cron, task_name)
    if kind.HasField("rrule"):
        lines = [line for line in kind.rrule.lines.split() if not line.startswith("DTSTART")]
        return one_line(" ".join(lines).replace("RRULE:", "")) + _clock(kind.rrule)
    if kind.HasField("interval"):
        return f"every {show_duration(kind.interval.every)}"
    return f"at {show_instant(kind.at)}"


def exclusions(task: Task) -> str:
    """What its schedule leaves out: ``2026-12-24 to 2026-12-26 (Christmas), 2027-01-01``; the first ten."""
    found = task.schedule.exclusions
    words = [exclusion(each, zone_of(task)) for each in found[:_SHOWN_EXCLUSIONS]]
    more = len(found) - len(words)
    return ", ".join(words) + (f" and {more} more" if more else "")


def calendars(task: Task) -> str:
    """The calendars that its schedule and the members of a union name."""
    from raftsched.core.state.rows import calendar_names

    return ", ".join(calendar_names(task.schedule))


def exclusion_row(of: Exclusion, zone: tzinfo | None = None) -> tuple[str, str]:
    """What is excluded, and why."""
    if of.HasField("start_time"):
        words = f"{show_instant(of.start_time, zone)} to {show_instant(of.end_time, zone)}"
    else:
        words = f"{of.date} to {of.last_date}" if of.last_date else of.date
    return words, one_line(of.reason)


def exclusion(of: Exclusion, zone: tzinfo | None) -> str:
    """``2026-12-24 to 2026-12-26 (Christmas)``."""
    words, reason = exclusion_row(of, zone)
    return f"{words} ({reason})" if reason else words


def after(task: Task) -> str:
    """The tasks that it runs after: ``import, check (completion)``."""
    return ", ".join(
        parent.task if enum_name(parent, "on") == "SUCCESS" else f"{parent.task} ({enum_name(parent, 'on').lower()})"
        for parent in task.after
    )


def _cron(kind: CronSchedule, task_name: str) -> str:
    """With the numbers that hashed values stand for: ``H 2 * * * (37 2 * * *)  UTC, gap SKIP``."""
    from raftsched.core.times.cron_hash import resolve

    resolved = resolve(kind.expression, task_name)
    words = f"{kind.expression} ({resolved})" if resolved != kind.expression else kind.expression
    return words + _clock(kind)


def _clock(kind: CronSchedule | RruleSchedule) -> str:
    words = f"  {kind.time_zone or 'UTC'}"
    if kind.gap:
        words += f", gap {enum_name(kind, 'gap')}"
    return f"{words}, fold {enum_name(kind, 'fold')}" if kind.fold else words


def action(of: Action) -> str:
    """What it does, on one line."""
    kind = of.WhichOneof("kind")
    if kind == "command":
        return one_line(of.command.argv[0] if of.command.shell else shlex.join(of.command.argv))
    if kind == "http":
        return one_line(f"{of.http.method or 'GET'} {of.http.url}")
    if kind == "python":
        return one_line(f"{of.python.callable}({of.python.kwargs_json})")
    if kind == "grpc":
        return one_line(f"{of.grpc.method} at {of.grpc.target}")
    if kind == "aws_lambda":
        return one_line(f"lambda {of.aws_lambda.function}")
    if kind == "container":
        return one_line(f"{of.container.image} {shlex.join(of.container.command)}".rstrip())
    if kind == "extension":
        return one_line(f"{of.extension.kind} {of.extension.parameters_json}".rstrip())
    return kind or ""


def next_fire(task: Task, at: datetime) -> str:
    """Its next nominal time, in its own zone, and how far away that is."""
    if not task.HasField("next_fire_time"):
        return "-"
    return f"{show_instant(task.next_fire_time, zone_of(task))} ({show_relative(task.next_fire_time, at)})"


def misfire(task: Task) -> str:
    """Its misfire policy and the bounds: ``ALL, after 10s, within 1h, the latest 20``."""
    words = [enum_name(task, "misfire_policy")]
    if task.HasField("misfire_threshold"):
        words.append(f"after {show_duration(task.misfire_threshold)}")
    if task.HasField("misfire_window"):
        words.append(f"within {show_duration(task.misfire_window)}")
    if task.misfire_max_runs:
        words.append(f"the latest {task.misfire_max_runs}")
    return ", ".join(words)


def overlap(task: Task) -> str:
    """Its overlap policy and the limits: ``QUEUE, 1 open, 10 queued``."""
    words = [enum_name(task, "overlap_policy")]
    if task.max_running:
        words.append(f"{task.max_running} open")
    if task.max_queued:
        words.append(f"{task.max_queued} queued")
    return ", ".join(words)


def simple_fields(task: Task) -> list[tuple[str, str]]:
    """What the simple fields say that nothing else here shows: titles and values; of what is not set, nothing."""
    set_ones = {field.name for field, _ in task.ListFields()}
    shown = [each for each in TASK_FIELDS if each.title and each.name not in _SHOWN_OTHERWISE and each.name in set_ones]
    return [(field.title, _simple_value(task, field)) for field in shown]


def _simple_value(task: Task, field: TaskField) -> str:
    if field.name in _IN_WORDS:
        return _IN_WORDS[field.name](task)
    if field.kind == "enum":
        return enum_name(task, field.name)
    value = getattr(task, field.name)
    if field.kind == "span":
        return show_duration(value)
    return one_line(str(value))


def retry(task: Task) -> str:
    """When it is tried again: ``3 attempts, after 1s to 10m, exit codes 75``; empty for never."""
    if not task.HasField("retry"):
        return ""
    policy = task.retry
    words = [f"{policy.max_attempts} attempts"]
    words.append(f"after {show_duration(policy.initial_backoff)} to {show_duration(policy.max_backoff)}")
    if policy.exit_codes:
        words.append(f"exit codes {' '.join(map(str, policy.exit_codes))}")
    if policy.http_statuses:
        words.append(f"HTTP statuses {' '.join(map(str, policy.http_statuses))}")
    return ", ".join(words)


_IN_WORDS: dict[str, Callable[[Task], str]] = {"misfire_policy": misfire, "overlap_policy": overlap}
_SHOWN_OTHERWISE = frozenset(
    ("paused", "resume_time", "misfire_threshold", "misfire_window", "misfire_max_runs", "max_running", "max_queued")
)
"""Fields that the state, and the words of other fields, say."""


def ending(execution: Execution | Attempt) -> str:
    """Its state, and how it ended: ``FAILED (exit code 2)``."""
    state, how = enum_name(execution, "state"), result(execution)
    return f"{state} ({how})" if how else state


def result(execution: Execution | Attempt) -> str:
    """How it ended: ``exit code 2``, ``signal 9``, ``HTTP 500``; empty where there is no such thing."""
    if execution.HasField("exit_code"):
        code = execution.exit_code
        return f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"HTTP {execution.http_status}" if execution.HasField("http_status") else ""


def decision(entry: LedgerEntry) -> str:
    """What was decided. RAN is said of what has started; before, it is DECIDED."""
    return "DECIDED" if not_started(entry) else enum_name(entry, "decision")


def not_started(entry: LedgerEntry) -> str:
    """That it was to run and has not started; empty otherwise."""
    if enum_name(entry, "decision") != "RAN" or entry.HasField("start_time"):
        return ""
    return _NOT_STARTED.get(enum_name(entry, "execution_state"), "")


def waiting(of: WaitingExecutions) -> str:
    """How many wait for what, since when."""
    oldest = show_instant(of.oldest_nominal_time)
    return f"{of.count:,} for more than 10 s, the oldest of {oldest}: {of.detail} ({enum_name(of, 'reason')})"


def past_attempt(attempt: Attempt) -> str:
    """How an earlier attempt ended, when, where and why."""
    words = (ending(attempt), show_instant(attempt.end_time), attempt.executor_id, one_line(attempt.error))
    return "  ".join(filter(None, words))


def run_time(execution: Execution | Attempt) -> str:
    """How long the attempt ran; empty while it runs."""
    if not (execution.HasField("start_time") and execution.HasField("end_time")):
        return ""
    return show_seconds((execution.end_time.ToNanoseconds() - execution.start_time.ToNanoseconds()) / 1e9)


def delay(of: Execution | LedgerEntry) -> str:
    """From the nominal time to the first start; empty when there is none."""
    # That of a ledger entry is the first.
    first = getattr(of, "first_start_time", of.start_time)
    start = first if first.ByteSize() else of.start_time
    if not start.ByteSize():
        return ""
    late_s = (start.ToNanoseconds() - of.nominal_time.ToNanoseconds()) / 1e9
    return show_seconds(late_s) if late_s >= 0 else f"-{show_seconds(-late_s)}"
