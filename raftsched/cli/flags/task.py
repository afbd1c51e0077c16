"""From the options of ``task create`` and ``task update`` to the fields of a task."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import usage
from raftsched.cli.flags.actions import text_of
from raftsched.cli.flags.exclusions import read_exclusions
from raftsched.cli.flags.options import FoldChoice, GapChoice, instant
from raftsched.cli.session import duration

if TYPE_CHECKING:
    from raftsched_client import CronSchedule, RruleSchedule, Schedule

_SCHEDULE = "Schedule (--cron, --rrule, --every, --at; several are a union)"


@dataclass(frozen=True)
class ScheduleFlags:
    """When the task fires."""

    cron: Annotated[
        list[str] | None,
        typer.Option(
            "--cron",
            metavar="EXPR",
            help="Five fields (minute hour day month weekday), six with seconds first, or @hourly, @daily, ... "
            "H and 1~5 are numbers that follow from the name of the task.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    rrule: Annotated[
        list[str] | None,
        typer.Option(
            "--rrule",
            metavar="RULE|@FILE",
            help="A recurrence rule of RFC 5545, such as FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=18, or lines with DTSTART, "
            "RRULE, RDATE and EXDATE. Default DTSTART: the beginning of this day.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    zone: Annotated[
        str | None,
        typer.Option(
            "--zone",
            metavar="ZONE",
            help="IANA time zone of --cron and --rrule, such as Europe/Berlin. Default UTC.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    gap: Annotated[
        GapChoice | None,
        typer.Option(
            "--gap",
            help="Local times that a clock change leaves out: shift them to its end, or skip them. Default: shift "
            "fixed times, skip where minute or hour begins with *.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    fold: Annotated[
        FoldChoice | None,
        typer.Option(
            "--fold",
            help="Local times that a clock change repeats: which occurrence fires. Default: first for fixed times, "
            "both where minute or hour begins with *.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    every: Annotated[
        list[timedelta] | None,
        typer.Option(
            "--every",
            parser=duration,
            metavar="SPAN",
            help="A fixed interval of at least 1s, such as 10s, 5m, 1h30m.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    anchor: Annotated[
        datetime | None,
        typer.Option(
            "--anchor",
            parser=instant,
            metavar="TIME",
            help="A time that --every counts from. Default: the time of registration.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    at: Annotated[
        list[datetime] | None,
        typer.Option(
            "--at",
            parser=instant,
            metavar="TIME",
            help="Once, at a time in RFC 3339 with an offset, or in a while, such as +30s.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    start: Annotated[
        datetime | None,
        typer.Option(
            "--start", parser=instant, metavar="TIME", help="Not before this time.", rich_help_panel=_SCHEDULE
        ),
    ] = None
    end: Annotated[
        datetime | None,
        typer.Option("--end", parser=instant, metavar="TIME", help="Before this time only.", rich_help_panel=_SCHEDULE),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="DAY|FROM/TO|@FILE",
            help="Leave out a day (2026-12-25), days (2026-12-24/2026-12-26) or a window of two times with offsets. "
            "Repeatable; @FILE has one a line, with the reason behind a blank. Replaces those there were.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    calendar: Annotated[
        list[str] | None,
        typer.Option(
            "--calendar",
            metavar="NAME",
            help="Leave out what is in this calendar. Repeatable. Replaces those there were; '' is none.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether any of them is."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    def schedule(self, old: Schedule | None = None) -> Schedule:
        """The schedule; what is not given stays as it is in ``old``. Raises Failure: they do not go together."""
        from raftsched_client import Schedule, UnionSchedule, to_timestamp

        given = self._kinds()
        if not (given or old):
            raise usage("give at least one of --cron, --rrule, --every and --at")
        built = Schedule()
        if old is not None:
            built.CopyFrom(old)
        if len(given) > 1:
            built.union.CopyFrom(UnionSchedule(schedules=given))
        elif given:
            built.ClearField(built.WhichOneof("kind") or "at")
            built.MergeFrom(given[0])
        parts = list(built.union.schedules) if built.HasField("union") else [built]
        if old is not None and given:
            _keep_clock(parts, old)
        self._set_clock(parts)
        if self.anchor is not None:
            _set_anchor(parts, self.anchor)
        if self.exclude is not None:
            del built.exclusions[:]
            built.exclusions.extend(read_exclusions(self.exclude))
        if self.calendar is not None:
            del built.calendars[:]
            built.calendars.extend(filter(None, self.calendar))
        if self.start is not None:
            built.start_time.CopyFrom(to_timestamp(self.start, "start"))
        if self.end is not None:
            built.end_time.CopyFrom(to_timestamp(self.end, "end"))
        return built

    def _kinds(self) -> list[Schedule]:
        from raftsched_client import schedule

        return [
            *(schedule(cron=each) for each in self.cron or []),
            *(schedule(rrule=text_of("--rrule", each)) for each in self.rrule or []),
            *(schedule(every=each) for each in self.every or []),
            *(schedule(at=each) for each in self.at or []),
        ]

    def _set_clock(self, parts: list[Schedule]) -> None:
        from raftsched_client import FoldPolicy, GapPolicy

        clocks = _clocks(parts)
        for flag, value in (("--zone", self.zone), ("--gap", self.gap), ("--fold", self.fold)):
            if value and not clocks:
                raise usage(f"{flag} goes with --cron and --rrule only")
        for clock in clocks:
            if self.zone is not None:
                clock.time_zone = self.zone
            if self.gap is not None:
                clock.gap = GapPolicy.Value(f"GAP_POLICY_{self.gap.name}")
            if self.fold is not None:
                clock.fold = FoldPolicy.Value(f"FOLD_POLICY_{self.fold.name}")


def _clocks(parts: list[Schedule]) -> list[CronSchedule | RruleSchedule]:
    """Those that follow a wall clock."""
    found: list[CronSchedule | RruleSchedule] = []
    for part in parts:
        if part.HasField("cron"):
            found.append(part.cron)
        elif part.HasField("rrule"):
            found.append(part.rrule)
    return found


def _keep_clock(parts: list[Schedule], old: Schedule) -> None:
    """A new expression in place of an old one stays in its time zone, with its policies for clock changes."""
    for before in _clocks([old])[:1]:
        for clock in _clocks(parts):
            clock.time_zone, clock.gap, clock.fold = before.time_zone, before.gap, before.fold


def _set_anchor(parts: list[Schedule], anchor: datetime) -> None:
    from raftsched_client import to_timestamp

    intervals = [part.interval for part in parts if part.HasField("interval")]
    if not intervals:
        raise usage("--anchor goes with --every only")
    for interval in intervals:
        interval.anchor.CopyFrom(to_timestamp(anchor, "anchor"))
