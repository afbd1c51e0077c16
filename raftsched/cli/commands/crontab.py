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

from raftsched.cli.crontab_import import carry_out, look_up
from raftsched.cli.failures import ExitCode, Failure, usage
from raftsched.cli.files.crontab_plan import ImportPlan, ImportStep, Job, only, plan_import
from raftsched.cli.files.text import check_unicode_form, read_bytes
from raftsched.cli.flags.options import parse_pairs
from raftsched.cli.flags.policies import PolicyFlags
from raftsched.cli.register import INVALID_ARGUMENT, exit_code_of
from raftsched.cli.session import Session, command
from raftsched.cli.show import tables
from raftsched.cli.show.output import Format, Json, note, print_document

if TYPE_CHECKING:
    from raftsched_client import Task

    from raftsched.cli.files.crontab import CrontabLine, CrontabTask

app = typer.Typer(no_args_is_help=True, help="Register tasks from what other schedulers run.")
_DRY_RUN_FIRES = 3
_LOCALTIME = Path("/etc/localtime")
_MAX_LABEL_CHARS = 255


@dataclass
class Line:
    """What became of one line of the crontab."""

    number: int
    """0: there is no such line any more."""
    text: str
    result: str
    """As the table in ``docs/cli.md`` lists them."""
    message: str = ""
    job: Job | None = None
    task: Task | None = None
    """With its name, as it is or shall be."""
    code: int = 0
    """google.rpc.Code of what went wrong."""
    next_fires: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """For programs."""
        # What is not UTF-8 in a comment has no place in JSON.
        text = self.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return {
            "line": self.number,
            "text": text,
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
    set_name: Annotated[
        str,
        typer.Option(
            "--set",
            metavar="NAME",
            help="Which crontab this is, when it is imported again: its tasks get the label raftsched/set=NAME. "
            "Default: crontab:FILE.",
        ),
    ] = "",
    prune: Annotated[bool, typer.Option("--prune", help="Remove tasks of this crontab that no line runs.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Carry the plan out without asking.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; show the plan, and the next nominal times of each task.")
    ] = False,
    *,
    policy: PolicyFlags,
) -> None:
    """Register the jobs of a crontab and say what became of each line.

    A crontab may be imported again whatever was inserted, deleted, moved or commented out: each line finds its task by
    what it says. What is the same stays as it is; a task whose line has another time or other arguments is changed; one
    that no line runs any more goes on firing unless there is --prune. Before a task is changed or removed, the plan is
    shown, and --yes or an answer is needed. Lines that cannot be read are reported (exit code 2) and do not stop the
    others; nothing is removed then.

    \b
    Examples:
      crontab -l | raftsched import crontab - --dry-run
      raftsched import crontab /etc/crontab --system --zone Europe/Berlin
      raftsched import crontab /etc/crontab --system --prune --yes
    """
    parse_pairs("--label", policy.label)
    lines = _read(file, system, zone or system_zone(), _policies(policy))
    plan = _plan(session, lines, set_name or _default_set(file))
    prune = prune and not _cannot_prune(lines, plan)
    if dry_run or not (yes or _harmless(plan, prune)):
        _write_plan(lines, plan, prune)
        _show(session.form, file, lines)
        if dry_run:
            _end(lines, plan, prune)
            return
        if not _agreed(session.form, file):
            raise Failure("nothing was done: look at the plan, then say --yes", ExitCode.CONFLICT)
    done = carry_out(session.client, plan, prune)
    _write_results(lines, plan, done.refused, done.pruned)
    _show(session.form, file, lines)
    _end(lines, plan, done.pruned)


def system_zone() -> str:
    """The IANA zone of this machine, from TZ or /etc/localtime; UTC when neither names one."""
    if named := os.environ.get("TZ", "").removeprefix(":"):
        return named
    _, found, zone = str(_LOCALTIME.resolve()).partition("/zoneinfo/")
    return zone if found else "UTC"


def read_jobs(file: str) -> list[Task]:
    """The tasks that the crontab of a user gives. Raises Failure: it cannot be read, or a line is wrong."""
    from raftsched_client import Task

    tasks = []
    for line in _read(file, False, system_zone(), Task()):
        if line.code:
            raise usage(f"{file}:{line.number}: {line.message}")
        if line.job:
            line.job.wanted.name = line.job.entry.name
            tasks.append(line.job.wanted)
    return tasks


def _default_set(file: str) -> str:
    name = f"crontab:{file if file == '-' else os.path.normpath(file)}"
    if len(name) > _MAX_LABEL_CHARS:
        raise usage("the name of the file is too long to be that of the set; give one with --set")
    return name


def _read(file: str, system: bool, zone: str, policies: Task) -> list[Line]:
    from raftsched.cli.files.crontab import parse
    from raftsched.core.times.schedule import ScheduleError

    data = read_bytes(file)
    check_unicode_form(data, file)
    text = data.decode("utf-8", "surrogateescape")
    try:
        return [_line(line, policies) for line in parse(text, system=system, default_zone=zone)]
    except ScheduleError as error:
        raise usage(f"{error}; give one with --zone") from error


def _line(parsed: CrontabLine, policies: Task) -> Line:
    line = Line(parsed.number, parsed.text, parsed.kind.value, parsed.message)
    if parsed.task:
        wanted = build(parsed.task)
        wanted.MergeFrom(policies)
        stated = frozenset(each.name for each, _ in wanted.ListFields())
        line.job = Job(parsed.number, parsed.task, wanted, stated)
    elif line.result == "error":
        line.code = INVALID_ARGUMENT
    return line


def build(job: CrontabTask) -> Task:
    """The task that does what cron does for the line, without a name."""
    from raftsched_client import task

    return task(
        "",
        cron=job.expression,
        zone=job.time_zone,
        command=job.argv,
        env=job.env,
        working_directory=job.working_directory,
        stdin=job.stdin,
    )


def _policies(flags: PolicyFlags) -> Task:
    """What the options say, with the defaults that the cluster writes out; what they leave open is not in it."""
    from raftsched_client import NoopAction, Task

    from raftsched.definitions.task import check_definition
    from raftsched.definitions.violations import Invalid

    said = Task()
    flags.apply(said)
    complete = Task(name="any")
    complete.MergeFrom(said)
    complete.schedule.at.seconds = 1
    complete.action.noop.CopyFrom(NoopAction())
    # What is against a value, the cluster says.
    with suppress(Invalid):
        check_definition(complete, 0)
    return only(complete, [each.name for each, _ in said.ListFields()])


def _plan(session: Session, lines: list[Line], set_name: str) -> ImportPlan:
    jobs = [line.job for line in lines if line.job]
    return plan_import(jobs, look_up(session.client, jobs, set_name), set_name)


def _cannot_prune(lines: list[Line], plan: ImportPlan) -> bool:
    """A line that cannot be read may be that of a task that no other line runs."""
    unread = [line.number for line in lines if line.code]
    if unread and plan.gone:
        note(f"nothing is pruned while lines cannot be read ({', '.join(map(str, unread[:5]))})")
    return bool(unread)


def _harmless(plan: ImportPlan, prune: bool) -> bool:
    """Whether nothing is changed or removed, and nothing is registered beside what may be an older form of it."""
    new = plan.of("create")
    return not (plan.of("change") or (plan.gone and (prune or new)) or any(step.note for step in new))


def _agreed(form: Format, file: str) -> bool:
    return form is Format.TABLE and file != "-" and sys.stdin.isatty() and typer.confirm("Carry this out?", err=True)


def _write_plan(lines: list[Line], plan: ImportPlan, prune: bool) -> None:
    words = {"create": "would create", "change": "would change", "adopt": "unchanged", "keep": "unchanged"}
    steps = {step.job.number: step for step in plan.steps}
    for line in lines:
        if line.job:
            _note_step(line, steps[line.number], words, _DRY_RUN_FIRES)
    _add_gone(lines, plan, "would prune" if prune else "gone")


def _write_results(lines: list[Line], plan: ImportPlan, refused: dict[str, tuple[int, str]], pruned: bool) -> None:
    words = {"create": "created", "change": "changed", "adopt": "unchanged", "keep": "unchanged"}
    steps = {step.job.number: step for step in plan.steps}
    for line in lines:
        if line.job:
            step = steps[line.number]
            _note_step(line, step, words, 1)
            if step.verb == "create" and step.name in refused:
                line.result, line.next_fires = "refused", []
                line.code, line.message = refused[step.name]
    _add_gone(lines, plan, "pruned" if pruned else "gone")


def _note_step(line: Line, step: ImportStep, words: dict[str, str], fires: int) -> None:
    if line.task is None:
        line.message = "; ".join(filter(None, (step.note, line.message)))
    line.result = words[step.verb]
    line.task = step.after or step.before
    line.next_fires = _next_fires(line.task, fires) if line.task else []


def _add_gone(lines: list[Line], plan: ImportPlan, result: str) -> None:
    lines[:] = [line for line in lines if line.number]
    message = {"gone": "no line runs it; it goes on firing without --prune"}.get(result, "no line runs it")
    lines += [Line(0, "", result, message, task=task) for task in plan.gone]


def _next_fires(task: Task, count: int) -> list[str]:
    """What it will do, as far as its definition says; a paused task fires when it is resumed."""
    from datetime import UTC, datetime

    from raftsched.cli.times import now, zone_of
    from raftsched.core.state.rows import schedule_from_proto
    from raftsched.core.times.schedule import ScheduleError, next_fire

    if task.paused or task.schedule.calendars or not task.schedule.WhichOneof("kind"):
        return []
    schedule = schedule_from_proto(task.schedule, task.name)
    after_us = round(now().timestamp() * 1e6)
    found: list[str] = []
    with suppress(ScheduleError):
        while len(found) < count and (after_us := next_fire(schedule, after_us)):
            moment = datetime.fromtimestamp(after_us / 1e6, UTC).astimezone(zone_of(task))
            found.append(moment.isoformat(sep=" "))
    return found


def _show(form: Format, file: str, lines: list[Line]) -> None:
    counts = Counter(line.result for line in lines if line.result != "comment")
    if form is not Format.TABLE:
        gone = [line.as_json() for line in lines if not line.number]
        print_document({"file": file, "lines": [line.as_json() for line in lines if line.number], "gone": gone}, form)
        return
    tables.print_rows(
        ("LINE#", "RESULT", "TASK", "SCHEDULE~", "NEXT FIRE~25", "NOTE~"),
        [line for line in lines if line.result != "comment"],
        _row,
    )
    print(", ".join(f"{count} {result}" for result, count in sorted(counts.items())) or "nothing to import")


def _row(line: Line) -> tuple[str, ...]:
    number = str(line.number or "-")
    if line.task is None:
        return (number, line.result, "", "", "", line.message)
    cron = line.task.schedule.cron
    return (
        number,
        line.result,
        line.task.name,
        f"{cron.expression}  {cron.time_zone}",
        ", ".join(line.next_fires),
        line.message,
    )


def _end(lines: list[Line], plan: ImportPlan, pruned: bool) -> None:
    """Say what is left to do, and fail if a line was not imported."""
    if plan.gone and not pruned:
        tasks = tables.counted(len(plan.gone), "task")
        note(f"no line runs {tasks} of this crontab any more, which fire on until they are removed: --prune")
    codes = [line.code for line in lines if line.code]
    if codes:
        total = len([line for line in lines if line.number])
        raise Failure(f"{len(codes)} of {total} lines were not imported", exit_code_of(codes))
