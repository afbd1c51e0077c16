"""``raftsched import crontab``: register what a crontab runs, and say what became of each line."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli import tables
from raftsched.cli.failures import Failure, usage
from raftsched.cli.options import parse_pairs
from raftsched.cli.output import Format, Json, print_document
from raftsched.cli.policy_flags import PolicyFlags
from raftsched.cli.register import ALREADY_EXISTS, INVALID_ARGUMENT, exit_code_of, explain, progress
from raftsched.cli.session import Session, command
from raftsched.cli.taskfile import definition

if TYPE_CHECKING:
    from raftsched_client import BatchCreateTaskResult, Client, Task

    from raftsched.core.crontab import CrontabLine, CrontabTask

app = typer.Typer(no_args_is_help=True, help="Register tasks from what other schedulers run.")
_DRY_RUN_FIRES = 3
_LOCALTIME = Path("/etc/localtime")


@dataclass
class Line:
    """What became of one line of the crontab."""

    number: int
    text: str
    result: str
    """comment, variable, skipped, error, would create, created, unchanged, differs or refused."""
    message: str = ""
    task: Task | None = None
    code: int = 0
    """google.rpc.Code of what went wrong."""
    next_fires: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """For programs."""
        return {
            "line": self.number,
            "text": self.text,
            "result": self.result,
            "message": self.message,
            "task": self.task.name if self.task else "",
            "schedule": self.task.schedule.cron.expression if self.task else "",
            "timeZone": self.task.schedule.cron.time_zone if self.task else "",
            "nextFireTimes": self.next_fires,
        }


@command(app, "crontab")
def crontab(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A crontab; - for standard input, as from `crontab -l`.")],
    system: Annotated[
        bool, typer.Option("--system", help="Its lines name a user, as in /etc/crontab and /etc/cron.d.")
    ] = False,
    zone: Annotated[
        str | None,
        typer.Option(
            "--zone",
            metavar="ZONE",
            help="IANA time zone of lines that are under no CRON_TZ. Default: that of this machine.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Register nothing; show the next nominal times of each task.")
    ] = False,
    *,
    policy: PolicyFlags,
) -> None:
    """Register the jobs of a crontab and say what became of each line.

    The name of a task comes from its command. A task that is there already is left as it is: reported as unchanged if
    it is the same, as one that differs if not (exit code 4). Lines that cannot be read are reported (exit code 2) and
    do not stop the others.

    \b
    Examples:
      crontab -l | raftsched import crontab - --dry-run
      raftsched import crontab /etc/crontab --system --zone Europe/Berlin
    """
    parse_pairs("--label", policy.label)
    lines = _read(file, system, zone or system_zone(), policy)
    tasks = [line for line in lines if line.task]
    if dry_run:
        for line in tasks:
            _foresee(line)
    else:
        _register(session.client, tasks)
    _show(session.form, file, lines)
    if codes := [line.code for line in lines if line.code]:
        raise Failure(f"{len(codes)} of {len(lines)} lines were not imported", exit_code_of(codes))


def system_zone() -> str:
    """The IANA zone of this machine, from TZ or /etc/localtime; UTC when neither names one."""
    if named := os.environ.get("TZ", "").removeprefix(":"):
        return named
    _, found, zone = str(_LOCALTIME.resolve()).partition("/zoneinfo/")
    return zone if found else "UTC"


def _read(file: str, system: bool, zone: str, policy: PolicyFlags) -> list[Line]:
    from raftsched.core.crontab import parse
    from raftsched.core.schedule import ScheduleError

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except OSError as error:
        raise usage(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise usage(f"{file} is not text in UTF-8: {error}") from error
    try:
        return [_line(line, policy) for line in parse(text, system=system, default_zone=zone)]
    except ScheduleError as error:
        raise usage(f"{error}; give one with --zone") from error


def read_jobs(file: str) -> list[Task]:
    """The tasks that the crontab of a user gives. Raises Failure: it cannot be read, or a line is wrong."""
    lines = _read(file, False, system_zone(), PolicyFlags())
    for line in lines:
        if line.code:
            raise usage(f"{file}: line {line.number}: {line.message}")
    return [line.task for line in lines if line.task]


def _line(parsed: CrontabLine, policy: PolicyFlags) -> Line:
    line = Line(parsed.number, parsed.text, parsed.kind.value, parsed.message)
    if parsed.task:
        line.task = build(parsed.task, policy)
    elif line.result == "error":
        line.code = INVALID_ARGUMENT
    return line


def build(job: CrontabTask, policy: PolicyFlags) -> Task:
    """The task that does what cron does for the line."""
    from raftsched_client import task

    built = task(
        job.name,
        cron=job.expression,
        zone=job.time_zone,
        command=job.argv,
        env=job.env,
        working_directory=job.working_directory,
        stdin=job.stdin.encode(),
    )
    policy.apply(built)
    return built


def _foresee(line: Line) -> None:
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from raftsched.cli.times import now
    from raftsched.core.rows import schedule_from_proto
    from raftsched.core.schedule import next_fire

    assert line.task
    cron = line.task.schedule.cron
    schedule = schedule_from_proto(line.task.schedule, line.task.name)
    after_us = round(now().timestamp() * 1e6)
    for _ in range(_DRY_RUN_FIRES):
        if not (after_us := next_fire(schedule, after_us)):
            break
        moment = datetime.fromtimestamp(after_us / 1e6, UTC).astimezone(ZoneInfo(cron.time_zone))
        line.next_fires.append(moment.isoformat(sep=" "))
    line.result = "would create"


def _register(client: Client, lines: list[Line]) -> None:
    tasks = [line.task for line in lines if line.task]
    results = progress(client.create_tasks(tasks), len(tasks), "registering")
    for line, result in zip(lines, results, strict=True):
        _note_result(client, line, result)


def _note_result(client: Client, line: Line, result: BatchCreateTaskResult) -> None:
    from raftsched_client import NotFoundError

    from raftsched.cli.times import show_instant, zone_of

    assert line.task
    if result.code not in (0, ALREADY_EXISTS):
        line.result, line.code, line.message = "refused", result.code, explain(result)
        return
    try:
        there = client.get_task(line.task.name)
    except NotFoundError:
        line.result, line.code, line.message = "refused", ALREADY_EXISTS, "somebody deleted it meanwhile; import again"
        return
    line.next_fires = [show_instant(there.next_fire_time, zone_of(there))] if there.HasField("next_fire_time") else []
    if not result.code:
        line.result = "created"
    elif same(line.task, there):
        line.result = "unchanged"
    else:
        line.result, line.code = "differs", ALREADY_EXISTS
        line.message = "a task of this name does something else; delete it, or update it"


def same(wanted: Task, there: Task) -> bool:
    """Whether both say the same; whether it is paused just now does not count."""
    return _normal(wanted) == _normal(there)


def _normal(task: Task) -> Task:
    """Its definition, with the defaults that the cluster writes out."""
    from raftsched.api.errors import ApiError
    from raftsched.api.validate import check_definition

    task = definition(task)
    task.paused = False
    task.ClearField("resume_time")
    # What is against a value, the cluster has said already; a schedule that has ended by now may stand there.
    with suppress(ApiError):
        check_definition(task, 0)
    return task


def _show(form: Format, file: str, lines: list[Line]) -> None:
    counts = Counter(line.result for line in lines if line.result != "comment")
    if form is not Format.TABLE:
        print_document({"file": file, "lines": [line.as_json() for line in lines]}, form)
        return
    tables.print_rows(
        ("LINE#", "RESULT", "TASK", "SCHEDULE", "NEXT FIRE", "NOTE"),
        [line for line in lines if line.result != "comment"],
        _row,
    )
    print(", ".join(f"{count} {result}" for result, count in sorted(counts.items())) or "nothing to import")


def _row(line: Line) -> tuple[str, ...]:
    if line.task is None:
        return (str(line.number), line.result, "", "", "", line.message)
    cron = line.task.schedule.cron
    return (
        str(line.number),
        line.result,
        line.task.name,
        f"{cron.expression}  {cron.time_zone}",
        ", ".join(line.next_fires),
        line.message,
    )
