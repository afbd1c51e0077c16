"""``raftsched task``: register tasks and change them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.await_end import await_end
from raftsched.cli.failures import ExitCode, Failure, usage
from raftsched.cli.files.taskfile import read_tasks
from raftsched.cli.flags.actions import ActionFlags
from raftsched.cli.flags.notify import NotifyFlags
from raftsched.cli.flags.options import (
    Interval,
    Limit,
    Stale,
    TaskConditionChoice,
    TaskName,
    TaskStateChoice,
    Watch,
    instant,
    parse_pairs,
)
from raftsched.cli.flags.policies import PolicyFlags
from raftsched.cli.flags.task import ScheduleFlags
from raftsched.cli.register import register
from raftsched.cli.session import Session, command, complete_task
from raftsched.cli.show import describe, lists, tables
from raftsched.cli.show.output import Format, enum_name, note, note_warnings, pairs, print_items, print_message
from raftsched.cli.times import now, show_instant, zone_of

if TYPE_CHECKING:
    from raftsched_client import BackfilledTime, Client, Execution, Task

app = typer.Typer(no_args_is_help=True, help="Register tasks, look at them and change them.")
_COLUMNS = ("NAME", "STATE", "SCHEDULE~", "NEXT FIRE~25", "ACTION~")
Program = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- PROGRAM [ARG...]", help="Program to run and its arguments, behind a double dash."),
]


@command(app, "create")
def create(
    session: Session,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="1 to 200 of A-Z a-z 0-9 . _ - , beginning with a letter or digit."),
    ] = None,
    program: Program = None,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--file",
            metavar="FILE",
            help="Register the tasks of a JSON or YAML file (- for standard input) instead.",
        ),
    ] = None,
    schedule: ScheduleFlags,
    action: ActionFlags,
    policy: PolicyFlags,
    notify: NotifyFlags,
    paused: Annotated[bool, typer.Option("--paused", help="Do not fire until resumed.")] = False,
) -> None:
    """Register a task, or all tasks of a file.

    \b
    Examples:
      raftsched task create beat --every 10s -- /usr/bin/beat --verbose
      raftsched task create report --cron '30 2 * * *' --zone Europe/Berlin --shell 'cd /srv && ./report'
      raftsched task create ping --every 1m --http https://example.org/ping --expect 204
      raftsched task create once --at +30s --noop
      raftsched task create publish --after report --after check=completion --noop
      raftsched task create -f tasks.yaml
    """
    if file is not None:
        policy_given = notify.given or any(value is not None for value in vars(policy).values())
        if name is not None or paused or schedule.given or action.given(program) or policy_given:
            raise usage("-f takes everything from the file: leave out the name and the other options of the task")
        register(session, read_tasks(file))
        return
    if name is None:
        raise usage("give the NAME of the task, or -f FILE")
    from raftsched_client import Task

    when = schedule.schedule() if schedule.given or not policy.after else None
    task = Task(name=name, schedule=when, action=action.action(program), paused=paused)
    policy.apply(task)
    notify.apply(task)
    _show_change(session, "created", session.client.create_task(task))


@command(app, "list")
def list_(
    session: Session,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Names that begin with this.")] = "",
    search: Annotated[
        str, typer.Option("--search", metavar="TEXT", help="Names that contain this, in upper or lower case.")
    ] = "",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY[=VALUE]", help="Tasks that carry this label. Repeatable."),
    ] = None,
    state: Annotated[TaskStateChoice | None, typer.Option("--state", help="Tasks in this state.")] = None,
    condition: Annotated[
        TaskConditionChoice | None,
        typer.Option(
            "--condition", help="Tasks whose last execution failed, or whose executions have waited for more than 10 s."
        ),
    ] = None,
    limit: Limit = 0,
    watch: Watch = False,
    interval: Interval = None,
    stale: Stale = False,
) -> None:
    """List tasks by name, with their next nominal time in their own time zone.

    \b
    Examples:
      raftsched task list --prefix report- --label team=a
      raftsched task list --search backup
      raftsched task list --limit 30 --watch
      raftsched task list --state paused -o json
      raftsched task list --condition waiting
    """
    from raftsched_client import TaskCondition, TaskState

    labels = parse_pairs("--label", [each if "=" in each else f"{each}=" for each in label or []])
    number = TaskState.Value(f"TASK_STATE_{state.name}" if state else "TASK_STATE_UNSPECIFIED")
    page = min(limit + 1, 1000) if limit else 1000
    needs = TaskCondition.Value(f"TASK_CONDITION_{condition.name if condition else 'UNSPECIFIED'}")
    find = partial(
        session.client.list_tasks,
        name_prefix=prefix,
        name_contains=search,
        labels=labels,
        state=number,
        condition=needs,
        page_size=page,
        stale=stale,
    )
    lists.show(session, lists.Listing("tasks", find, _table, "--limit, --search or --prefix"), limit, watch, interval)


def _table(tasks: Iterable[Task]) -> tables.TextTable:
    at = now()
    return tables.TextTable(_COLUMNS, [_row(task, at) for task in tasks], dispensable=("ACTION", "SCHEDULE"))


@command(app, "show")
def show(session: Session, name: TaskName, stale: Stale = False) -> None:
    """Show one task.

    \b
    Examples:
      raftsched task show report -o yaml > report.yaml
    """
    task = session.client.get_task(name, stale=stale)
    if session.form is not Format.TABLE:
        print_message(task, session.form)
        return
    tables.show_fields(_fields(task))
    note_warnings(task.name, task.warnings)


@command(app, "update")
def update(
    session: Session,
    name: TaskName,
    program: Program = None,
    *,
    schedule: ScheduleFlags,
    action: ActionFlags,
    policy: PolicyFlags,
    notify: NotifyFlags,
    remove_label: Annotated[
        list[str] | None, typer.Option("--remove-label", metavar="KEY", help="Take a label away. Repeatable.")
    ] = None,
    remove_executor_label: Annotated[
        list[str] | None,
        typer.Option("--remove-executor-label", metavar="KEY", help="Stop asking for this label. Repeatable."),
    ] = None,
    no_time_limit: Annotated[bool, typer.Option("--no-time-limit", help="Let attempts run without a limit.")] = False,
    no_notify: Annotated[bool, typer.Option("--no-notify", help="Send no more notifications.")] = False,
    no_start: Annotated[bool, typer.Option("--no-start", help="Remove the start of the schedule.")] = False,
    no_after: Annotated[bool, typer.Option("--no-after", help="No longer run after other tasks.")] = False,
    no_end: Annotated[bool, typer.Option("--no-end", help="Remove the end of the schedule.")] = False,
    etag: Annotated[
        str, typer.Option("--etag", metavar="ETAG", help="Change it only if it still has this etag, as shown before.")
    ] = "",
) -> None:
    """Change a task. What is not given stays; an action is replaced as a whole, labels are added.

    The change is refused if somebody else changes the task at the same moment.

    \b
    Examples:
      raftsched task update report --cron '0 3 * * *' --time-limit 10m
      raftsched task update report --label team=b --remove-label old
    """
    task = session.client.get_task(name)
    if etag:
        task.etag = etag
    paths = {*policy.apply(task), *notify.apply(task)}
    if schedule.given or no_start or no_end:
        if no_start:
            task.schedule.ClearField("start_time")
        if no_end:
            task.schedule.ClearField("end_time")
        task.schedule.CopyFrom(schedule.schedule(task.schedule))
        paths.add("schedule")
    if action.given(program):
        task.action.CopyFrom(action.action(program))
        paths.add("action")
    if no_after:
        del task.after[:]
        paths.add("after")
    for key in remove_label or []:
        task.labels.pop(key, None)
        paths.add("labels")
    for key in remove_executor_label or []:
        task.executor_labels.pop(key, None)
        paths.add("executor_labels")
    if no_time_limit:
        task.ClearField("time_limit")
        paths.add("time_limit")
    if no_notify:
        task.ClearField("notifications")
        paths.add("notifications")
    if not paths:
        raise usage("nothing to change: give at least one option")
    _show_change(session, "updated", session.client.update_task(task, sorted(paths)))


@command(app, "delete")
def delete(
    session: Session,
    names: Annotated[list[str], typer.Argument(metavar="TASK...", help="Names.", autocompletion=complete_task)],
    etag: Annotated[
        str, typer.Option("--etag", metavar="ETAG", help="Delete it only if it still has this etag, as shown before.")
    ] = "",
) -> None:
    """Remove tasks. What they ran stays on record until retention removes it.

    \b
    Examples:
      raftsched task delete report
    """
    if etag and len(names) > 1:
        raise usage("--etag goes with one task")
    for name in names:
        session.client.delete_task(name, etag=etag)
        if session.form is Format.TABLE:
            print(f"deleted {name}")


@command(app, "pause")
def pause(
    session: Session,
    name: TaskName,
    until: Annotated[
        datetime | None,
        typer.Option("--until", parser=instant, metavar="TIME", help="Resume by itself then: RFC 3339, or +2h."),
    ] = None,
) -> None:
    """Stop firing a task by its schedule. Nominal times that pass meanwhile are recorded as skipped.

    \b
    Examples:
      raftsched task pause report
      raftsched task pause report --until +2h
    """
    _show_change(session, "paused", session.client.pause_task(name, until=until))


@command(app, "resume")
def resume(session: Session, name: TaskName) -> None:
    """Fire a paused task by its schedule again.

    \b
    Examples:
      raftsched task resume report
    """
    _show_change(session, "resumed", session.client.resume_task(name))


@command(app, "run")
def run(
    session: Session,
    name: TaskName,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Wait for the end; exit code 0 if each execution succeeded, else 1, 130 when interrupted."
        ),
    ] = False,
) -> None:
    """Fire a task now, whatever its schedule says, paused or not.

    With placement every it has one execution on each executor that is connected just now.

    \b
    Examples:
      raftsched task run report --wait
    """
    failed = None
    for execution in _executions(session.client, session.client.run_task(name)):
        if wait:
            if session.form is Format.TABLE:
                note(f"execution {execution.id} of {name}")
            execution = await_end(session.client, execution)
        if session.form is not Format.TABLE:
            print_message(execution, session.form)
        elif not wait:
            print(execution.id)
        else:
            print(f"{describe.ending(execution)} {describe.run_time(execution)}".rstrip())
        if wait and enum_name(execution, "state") != "SUCCEEDED":
            failed = execution
    if failed is not None:
        raise Failure(f"the execution did not succeed: {failed.error or describe.ending(failed)}", ExitCode.FAILURE)


def _executions(client: Client, first: Execution) -> list[Execution]:
    """The execution of a run, or those on every executor."""
    if not first.pinned_executor_id:
        return [first]
    from raftsched_client import to_datetime

    at = to_datetime(first.nominal_time)
    entries = client.list_ledger(first.task, start=at, end=at + timedelta(microseconds=1))
    ids = next(found for each in entries if first.id in (found := list(each.execution_ids)))
    return [client.get_execution(each) for each in ids]


@command(app, "backfill")
def backfill(
    session: Session,
    name: TaskName,
    start: Annotated[
        datetime,
        typer.Option("--from", parser=instant, metavar="TIME", help="Nominal times at or after: RFC 3339, -2d."),
    ],
    end: Annotated[
        datetime,
        typer.Option("--to", parser=instant, metavar="TIME", help="Nominal times before; may not lie in the future."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the nominal times, and what was decided for them.")
    ] = False,
    max_executions: Annotated[
        int, typer.Option("--max", min=1, max=1000, help="Refuse a range with more nominal times.")
    ] = 100,
    max_running: Annotated[
        int, typer.Option("--max-running", min=1, max=100, help="How many may be open at once.")
    ] = 1,
    request_id: Annotated[
        str, typer.Option("--request-id", metavar="ID", help="Repeated within an hour: show the first outcome again.")
    ] = "",
) -> None:
    """Run the nominal times of a past range, whatever was decided for them. See --dry-run first.

    They wait for each other, behind what the task has queued, and no leader forgets them. The fire record keeps what
    was decided before, beside an entry with trigger BACKFILL for each.

    \b
    Examples:
      raftsched task backfill report --from 2026-03-01T00:00:00Z --to 2026-03-08T00:00:00Z --dry-run
      raftsched task backfill report --from -7d --to -1d --max 500 --max-running 4
    """
    times = session.client.backfill_task(
        name,
        start=start,
        end=end,
        dry_run=dry_run,
        max_executions=max_executions,
        max_running=max_running,
        request_id=request_id or None,
    )
    if session.form is not Format.TABLE:
        print_items("times", times, session.form)
        return
    columns = ("NOMINAL TIME", "DECIDED~26") if dry_run else ("NOMINAL TIME", "EXECUTION")
    tables.print_rows(columns, times, _decided if dry_run else _backfilled)
    print(f"{len(times):,} nominal times" + ("; nothing was changed" if dry_run else ""))


def _decided(time: BackfilledTime) -> tuple[str, ...]:
    shown = [
        f"{enum_name(entry, 'decision')} by {enum_name(entry, 'trigger').lower()} {entry.execution_id}".rstrip()
        for entry in time.decided
    ]
    return show_instant(time.nominal_time), "; ".join(shown) or "nothing"


def _backfilled(time: BackfilledTime) -> tuple[str, ...]:
    return show_instant(time.nominal_time), time.execution_id


def _show_change(session: Session, what: str, task: Task) -> None:
    if session.form is not Format.TABLE:
        print_message(task, session.form)
        return
    fire = "" if not task.HasField("next_fire_time") else f"; next fire {describe.next_fire(task, now())}"
    print(f"{what} {task.name}{fire}")
    note_warnings(task.name, task.warnings)


def _row(task: Task, at: datetime) -> tuple[str, ...]:
    return (
        task.name,
        enum_name(task, "state"),
        describe.schedule(task),
        describe.next_fire(task, at),
        describe.action(task.action),
    )


def _fields(task: Task) -> list[tuple[str, str]]:
    zone, at = zone_of(task), now()
    rows = [
        ("name", task.name),
        ("state", enum_name(task, "state")),
        ("schedule", describe.schedule(task)),
        ("after", describe.after(task)),
        ("start", show_instant(task.schedule.start_time, zone)),
        ("end", show_instant(task.schedule.end_time, zone)),
        ("excluded", describe.exclusions(task)),
        ("calendars", describe.calendars(task)),
        ("next fire", describe.next_fire(task, at)),
        ("resumes", show_instant(task.resume_time, zone)),
        *(("waiting", describe.waiting(each)) for each in task.waiting),
        ("last fire", show_instant(task.last_fire_time, zone)),
        ("action", describe.action(task.action)),
        ("labels", pairs(task.labels.items())),
        ("executor labels", pairs(task.executor_labels.items())),
        *describe.simple_fields(task),
        ("retry", describe.retry(task)),
        ("created", show_instant(task.create_time)),
        ("updated", show_instant(task.update_time)),
        ("uid", task.uid),
        ("etag", task.etag),
        ("generation", str(task.generation)),
    ]
    return [(field, value) for field, value in rows if value]
