"""``raftsched group``: limits that several tasks share."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import usage
from raftsched.cli.flags.options import Stale
from raftsched.cli.session import Session, command, duration
from raftsched.cli.show import tables
from raftsched.cli.show.output import Format, print_items, print_message
from raftsched.cli.times import show_duration

if TYPE_CHECKING:
    from raftsched_client import Group

app = typer.Typer(no_args_is_help=True, help="Limits that several tasks share.")
GroupName = Annotated[str, typer.Argument(metavar="GROUP", help="Name of the group.", show_default=False)]
MaxRunning = Annotated[
    int | None, typer.Option("--max-running", metavar="N", min=0, max=10_000, help="Attempts at once; 0: no limit.")
]
MaxStarts = Annotated[
    int | None,
    typer.Option("--max-starts", metavar="N", min=0, max=10_000, help="Starts within --period; 0: no limit."),
]
Period = Annotated[
    timedelta | None,
    typer.Option("--period", parser=duration, metavar="SPAN", help="Period of --max-starts. Default 1m."),
]


@command(app, "create")
def create(
    session: Session,
    name: GroupName,
    max_running: MaxRunning = None,
    max_starts: MaxStarts = None,
    period: Period = None,
) -> None:
    """Create a group. Tasks join it with --group.

    \b
    Examples:
      raftsched group create db --max-running 2
      raftsched group create api --max-starts 60 --period 1m
    """
    _show(session, session.client.create_group(_group(name, max_running, max_starts, period)))


@command(app, "update")
def update(
    session: Session,
    name: GroupName,
    max_running: MaxRunning = None,
    max_starts: MaxStarts = None,
    period: Period = None,
) -> None:
    """Change limits of a group. What runs goes on.

    \b
    Examples:
      raftsched group update db --max-running 4
    """
    given = {"max_running": max_running, "max_starts": max_starts, "period": period}
    mask = [path for path, value in given.items() if value is not None]
    if not mask:
        raise usage("nothing to change: give at least one option")
    _show(session, session.client.update_group(_group(name, max_running, max_starts, period), mask))


@command(app, "list")
def list_(session: Session, stale: Stale = False) -> None:
    """List groups, with what runs and waits in them.

    \b
    Examples:
      raftsched group list
    """
    groups = session.client.list_groups(stale=stale)
    if session.form is not Format.TABLE:
        print_items("groups", groups, session.form)
        return
    tables.print_rows(("GROUP", "RUNNING#", "WAITING#", "TASKS#", "LIMITS~"), groups, _row)


@command(app, "show")
def show(session: Session, name: GroupName, stale: Stale = False) -> None:
    """Show one group.

    \b
    Examples:
      raftsched group show db
    """
    _show(session, session.client.get_group(name, stale=stale))


@command(app, "delete")
def delete(session: Session, name: GroupName) -> None:
    """Remove a group that no task is in.

    \b
    Examples:
      raftsched group delete db
    """
    session.client.delete_group(name)
    if session.form is Format.TABLE:
        print(f"deleted {name}")


def _group(name: str, max_running: int | None, max_starts: int | None, period: timedelta | None) -> Group:
    from raftsched_client import Group

    group = Group(name=name, max_running=max_running or 0, max_starts=max_starts or 0)
    if period is not None:
        group.period.FromTimedelta(period)
    return group


def _show(session: Session, group: Group) -> None:
    if session.form is not Format.TABLE:
        print_message(group, session.form)
        return
    tables.print_rows(("GROUP", "RUNNING#", "WAITING#", "TASKS#", "LIMITS~"), [group], _row)


def _row(group: Group) -> tuple[str, ...]:
    words = [f"{group.max_running} running"] if group.max_running else []
    if group.max_starts:
        words.append(f"{group.max_starts} starts per {show_duration(group.period)}")
    return group.name, f"{group.running:,}", f"{group.waiting:,}", f"{group.tasks:,}", ", ".join(words)
