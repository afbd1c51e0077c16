"""``raftsched simulate``: the fires to come, and a picture of the herd. Needs no cluster for tasks in a file
that name no calendar.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.calendars import Calendars
from raftsched.cli.commands.crontab import read_jobs
from raftsched.cli.failures import usage
from raftsched.cli.files.taskfile import read_tasks
from raftsched.cli.flags.options import instant
from raftsched.cli.register import warn
from raftsched.cli.session import Session
from raftsched.cli.show import tables
from raftsched.cli.show.output import Format, note
from raftsched.cli.times import now, zone_of

if TYPE_CHECKING:
    from raftsched_client import Task

MAX_FIRES = 1_000_000
_MAX_BARS = 60
_BAR_CHARS = 50
_DEFAULT_SPAN = timedelta(hours=1)
_MINUTE_US = 60_000_000


def simulate(
    session: Session,
    what: Annotated[str, typer.Argument(metavar="FILE|TASK", help="A file of tasks (-: standard input), or a task.")],
    start: Annotated[
        datetime | None, typer.Option("--from", parser=instant, metavar="TIME", help="From this time. Default now.")
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option("--to", parser=instant, metavar="TIME", help="Before this time. Default: an hour after --from."),
    ] = None,
    crontab: Annotated[
        bool, typer.Option("--crontab", help="FILE is a crontab of a user, in the time zone of this machine.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="List at most this many fires; 0: all.")] = 20,
) -> None:
    """Show when tasks will fire, and how many at once, minute by minute. Jitter is left out; nothing is changed.

    A name without a file of that name is a task of the cluster. What counts from the registration counts from --from in
    a file. Calendars are those of the cluster.

    \b
    Examples:
      raftsched simulate tasks.yaml --from 2026-03-08T00:00:00-05:00 --to 2026-03-09T00:00:00-04:00
      raftsched simulate report --to +7d
      crontab -l | raftsched simulate - --crontab --to +1d
    """
    from raftsched.definitions.remarks import as_warnings, schedule_notes

    if session.form is not Format.TABLE:
        raise usage("simulate prints a table: leave out -o")
    begin = start or now()
    until = end or begin + _DEFAULT_SPAN
    if until <= begin:
        raise usage("--to must be after --from")
    first_us, last_us = _us(begin), _us(until) - 1
    tasks = _tasks(session, what, crontab)
    warn((task.name, as_warnings(schedule_notes(task.schedule))) for task in tasks)
    calendars = Calendars(session)
    fires = sorted(
        (at_us, number) for number, task in enumerate(tasks) for at_us in _fires(task, first_us, last_us, calendars)
    )
    shown = fires[: limit or None]
    tables.print_rows(
        ("NOMINAL TIME", "TASK"), shown, lambda fire: (_local(tasks[fire[1]], fire[0]), tasks[fire[1]].name)
    )
    if len(shown) < len(fires):
        note(f"there are {len(fires) - len(shown):,} more; use --limit")
    print(f"\n{tables.counted(len(fires), 'fire')} of {tables.counted(len(tasks), 'task')}")
    for line in picture([at_us for at_us, _ in fires], first_us, last_us):
        print(line)


def picture(times_us: list[int], first_us: int, last_us: int) -> list[str]:
    """One line per minute that has fires, or per as many minutes as make 60 lines: a bar, and fires per minute."""
    minutes = last_us // _MINUTE_US - first_us // _MINUTE_US + 1
    width = -(-minutes // _MAX_BARS)
    origin = first_us // _MINUTE_US
    counts = Counter((time_us // _MINUTE_US - origin) // width for time_us in times_us)
    largest = max(counts.values(), default=0)
    lines = [f"fires per {'minute' if width == 1 else f'{width} minutes'} (UTC), at most {largest:,}:"]
    for bar, count in sorted(counts.items()):
        at = datetime.fromtimestamp((origin + bar * width) * 60, UTC)
        lines.append(f"{at:%Y-%m-%d %H:%M} {'#' * max(1, count * _BAR_CHARS // largest)} {count:,}")
    return lines


def _tasks(session: Session, what: str, crontab: bool) -> list[Task]:
    if crontab:
        return read_jobs(what)
    return read_tasks(what) if what == "-" or Path(what).is_file() else [session.client.get_task(what)]


def _fires(task: Task, first_us: int, last_us: int, calendars: Calendars) -> list[int]:
    from raftsched.core.state.rows import schedule_from_proto
    from raftsched.core.times.schedule import ScheduleError, fires
    from raftsched.definitions.task import check_schedule
    from raftsched.definitions.violations import Invalid, Violations

    if task.schedule.WhichOneof("kind") is None:
        if task.after:
            note(f"{task.name} runs after others and is left out")
            return []
        raise usage(f"{task.name}: has no schedule")
    violations = Violations()
    try:
        check_schedule(violations, task.schedule, task.name, first_us, calendars=calendars)
        violations.raise_any()
        found = fires(schedule_from_proto(task.schedule, task.name, calendars), first_us, last_us, MAX_FIRES + 1)
    except Invalid as error:
        wrong = error.violations[0]
        raise usage(f"{task.name}: {wrong.field.removeprefix('task.')}: {wrong.description}") from error
    except ScheduleError as error:
        raise usage(f"{task.name}: {error.field}: {error}") from error
    if len(found) > MAX_FIRES:
        raise usage(f"{task.name} fires more than {MAX_FIRES:,} times; choose a shorter time")
    return found


def _local(task: Task, time_us: int) -> str:
    """The time in the zone of the schedule."""
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC).replace(microsecond=time_us % 1_000_000)
    return moment.astimezone(zone_of(task)).isoformat(sep=" ")


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
