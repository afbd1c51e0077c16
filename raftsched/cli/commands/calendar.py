"""``raftsched calendar``: days and windows that several tasks leave out."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import ExitCode, Failure, usage
from raftsched.cli.files.country_holidays import read_holidays
from raftsched.cli.files.ical import MAX_FILE_BYTES, read_events
from raftsched.cli.flags.exclusions import read_exclusions
from raftsched.cli.flags.options import Stale
from raftsched.cli.session import Session, command
from raftsched.cli.show import describe, tables
from raftsched.cli.show.output import Format, note, print_items, print_message
from raftsched.cli.times import now, show_instant

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from raftsched_client import Calendar, Exclusion

app = typer.Typer(no_args_is_help=True, help="Days and windows that several tasks leave out.")
_YEARS_AHEAD = 2
_MAX_YEARS = 30
_SHOWN_LINES = 20
"""Of events that were left out."""


def _years(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        years = range(int(first), int(last or first) + 1)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no year and no range of years such as 2026-2028") from None
    if not 0 < len(years) <= _MAX_YEARS or not 1970 <= years[0] <= 9998:
        raise typer.BadParameter(f"{text!r}: give from 1 to {_MAX_YEARS} years, the first before the last")
    return years


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    from raftsched.core.times.zone import is_known

    if not is_known(name):
        raise typer.BadParameter(f"unknown time zone {name!r}; give an IANA name such as Europe/Berlin")
    return ZoneInfo(name)


CalendarName = Annotated[str, typer.Argument(metavar="CALENDAR", help="Name of the calendar.", show_default=False)]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="DAY|FROM/TO|@FILE",
        help="A day (2026-12-25), days (2026-12-24/2026-12-26) or a window of two times with offsets. Repeatable; "
        "@FILE has one a line, with the reason behind a blank.",
    ),
]
Holidays = Annotated[
    list[str] | None,
    typer.Option(
        "--holidays",
        metavar="COUNTRY[-PART]",
        help="Public holidays of a country, or a part of it, such as DE-BY. Repeatable. Needs raftsched\\[holidays].",
    ),
]
Years = Annotated[
    range | None,
    typer.Option("--years", parser=_years, metavar="YEAR[-YEAR]", help="Default: this year and the next two."),
]
Add = Annotated[bool, typer.Option("--add", help="Keep those there are.")]


@command(app, "create")
def create(
    session: Session, name: CalendarName, exclude: Exclude = None, holidays: Holidays = None, years: Years = None
) -> None:
    """Create a calendar. Tasks leave out what is in it with --calendar.

    \b
    Examples:
      raftsched calendar create freeze --exclude '2026-12-20/2027-01-03 year end'
      raftsched calendar create bavaria --holidays DE-BY --years 2026-2028
    """
    calendar = _calendar(name, _read(exclude, holidays, years))
    _show(session, session.client.create_calendar(calendar))


@command(app, "update")
def update(
    session: Session,
    name: CalendarName,
    exclude: Exclude = None,
    holidays: Holidays = None,
    years: Years = None,
    add: Add = False,
) -> None:
    """Replace what is in a calendar, or add to it. Its tasks follow at once; what is due already stays.

    \b
    Examples:
      raftsched calendar update freeze --add --exclude '2027-03-26 audit'
    """
    if exclude is None and holidays is None:
        raise usage("nothing to change: give --exclude or --holidays")
    read = _read(exclude, holidays, years)
    _show(session, session.client.update_calendar(_changed(session, name, read, add)))


@command(app, "import")
def import_(
    session: Session,
    name: CalendarName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="An iCalendar file (-: standard input).")],
    years: Years = None,
    zone: Annotated[
        object, typer.Option("--zone", parser=_zone, metavar="ZONE", help="Time zone of times that name none.")
    ] = None,
    add: Add = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Change nothing when an event of the file cannot be read.")
    ] = False,
) -> None:
    """Create a calendar, or replace what is in it, by the events of an iCalendar file (RFC 5545).

    Only what touches --years is taken, of events that repeat each time. An event of whole days leaves out days, another
    one a window. An event that cannot be read is named, and does not keep the others out (exit code 1).

    \b
    Examples:
      raftsched calendar import holidays holidays.ics --years 2026-2028
    """
    from raftsched_client import NotFoundError

    read = read_events(_read_file(file), years or _default_years(), zone)  # type: ignore[arg-type]  # typer knows no ZoneInfo
    for remark in _first(read.remarks):
        note(remark)
    unread = f"{len(read.left_out):,} of {tables.counted(read.events, 'event')} cannot be read"
    if strict and read.left_out:
        raise Failure(f"{unread}; nothing was changed", ExitCode.USAGE, _first(read.left_out))
    if not read.exclusions:
        message = "no event of the file touches these years: see --years"
        raise Failure(message + (f"; {unread}" if read.left_out else ""), ExitCode.USAGE, _first(read.left_out))
    try:
        calendar = session.client.update_calendar(_changed(session, name, read.exclusions, add))
    except NotFoundError:
        calendar = session.client.create_calendar(_calendar(name, read.exclusions))
    _show(session, calendar)
    if read.left_out:
        message = f"{unread}; the calendar is without them"
        raise Failure(message, ExitCode.FAILURE, _first(read.left_out))


def _read_file(name: str) -> bytes:
    """Not more than what is refused as too large."""
    try:
        if name == "-":
            return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        with Path(name).open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise usage(f"cannot read {name}: {error.strerror}") from error


def _first(lines: list[str]) -> list[str]:
    """As many as one reads."""
    more = len(lines) - _SHOWN_LINES
    return lines[:_SHOWN_LINES] + ([f"and {more:,} more"] if more > 0 else [])


@command(app, "list")
def list_(session: Session, stale: Stale = False) -> None:
    """List calendars.

    \b
    Examples:
      raftsched calendar list
    """
    calendars = session.client.list_calendars(stale=stale)
    if session.form is not Format.TABLE:
        print_items("calendars", calendars, session.form)
        return
    tables.print_rows(("CALENDAR", "EXCLUSIONS#", "TASKS#", "CHANGED"), calendars, _row)


@command(app, "show")
def show(session: Session, name: CalendarName, stale: Stale = False) -> None:
    """Show what is in a calendar.

    \b
    Examples:
      raftsched calendar show bavaria
    """
    _show(session, session.client.get_calendar(name, stale=stale))


@command(app, "delete")
def delete(session: Session, name: CalendarName) -> None:
    """Remove a calendar that no task names.

    \b
    Examples:
      raftsched calendar delete freeze
    """
    session.client.delete_calendar(name)
    if session.form is Format.TABLE:
        print(f"deleted {name}")


def _default_years() -> range:
    return range(now().year, now().year + _YEARS_AHEAD + 1)


def _read(exclude: list[str] | None, holidays: list[str] | None, years: range | None) -> list[Exclusion]:
    if years is not None and not holidays:
        raise usage("--years goes with --holidays")
    found = read_exclusions(exclude or [])
    for place in holidays or []:
        found += read_holidays(place, years or _default_years())
    return found


def _calendar(name: str, exclusions: Iterable[Exclusion]) -> Calendar:
    """Each exclusion once. Raises Failure: they are too many."""
    from raftsched_client import Calendar

    from raftsched.definitions.calendar import MAX_CALENDAR_EXCLUSIONS

    once = {each.SerializeToString(): each for each in exclusions}
    if len(once) > MAX_CALENDAR_EXCLUSIONS:
        raise usage(
            f"these are {len(once):,} exclusions, and a calendar has at most {MAX_CALENDAR_EXCLUSIONS:,}; give fewer "
            "--years, or make several calendars: a task can name 16. Nothing was changed"
        )
    return Calendar(name=name, exclusions=once.values())


def _changed(session: Session, name: str, exclusions: list[Exclusion], add: bool) -> Calendar:
    if not add:
        return _calendar(name, exclusions)
    current = session.client.get_calendar(name)
    calendar = _calendar(name, [*current.exclusions, *exclusions])
    calendar.etag = current.etag
    return calendar


def _show(session: Session, calendar: Calendar) -> None:
    if session.form is not Format.TABLE:
        print_message(calendar, session.form)
        return
    shown = tables.TextTable(("EXCLUDED", "REASON~"), [describe.exclusion_row(each) for each in calendar.exclusions])
    excluded, used = tables.counted(calendar.exclusion_count, "exclusion"), tables.counted(calendar.tasks, "task")
    count = f"{excluded}, named by {used}"
    tables.show(f"{calendar.name}: {count}", *([shown] if shown.rows else []))


def _row(calendar: Calendar) -> tuple[str, ...]:
    changed = show_instant(calendar.update_time)
    return calendar.name, f"{calendar.exclusion_count:,}", f"{calendar.tasks:,}", changed
