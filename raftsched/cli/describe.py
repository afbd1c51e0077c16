"""Schedules, actions and executions in a few words."""

from __future__ import annotations

import shlex
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from raftsched.cli.output import enum_name, one_line
from raftsched.cli.times import show_duration, show_instant, show_relative, zone_of

if TYPE_CHECKING:
    from raftsched_client import Action, Attempt, CronSchedule, Exclusion, Execution, RruleSchedule, Schedule, Task

_SHOWN_EXCLUSIONS = 10


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
    from raftsched.core.rows import calendar_names

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
    from raftsched.core.cron_hash import resolve

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


def ending(execution: Execution | Attempt) -> str:
    """Its state, and how it ended: ``FAILED (exit code 2)``."""
    state = enum_name(execution, "state")
    if execution.HasField("exit_code"):
        code = execution.exit_code
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
    elif execution.HasField("http_status"):
        how = f"HTTP {execution.http_status}"
    else:
        return state
    return f"{state} ({how})"


def past_attempt(attempt: Attempt) -> str:
    """How an earlier attempt ended, when, where and why."""
    words = (ending(attempt), show_instant(attempt.end_time), attempt.executor_id, one_line(attempt.error))
    return "  ".join(filter(None, words))


def run_time(execution: Execution) -> str:
    """How long the attempt ran; empty while it runs."""
    if not (execution.HasField("start_time") and execution.HasField("end_time")):
        return ""
    from raftsched.cli.times import show_seconds

    return show_seconds((execution.end_time.ToNanoseconds() - execution.start_time.ToNanoseconds()) / 1e9)
