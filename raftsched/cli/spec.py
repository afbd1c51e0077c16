"""From the options of ``task create`` and ``task update`` to the fields of a task."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import usage
from raftsched.cli.options import (
    FoldChoice,
    GapChoice,
    instant,
)
from raftsched.cli.session import duration

if TYPE_CHECKING:
    from raftsched_client import CronSchedule, Schedule

_SCHEDULE = "Schedule (one of --cron, --every, --at)"


@dataclass(frozen=True)
class ScheduleFlags:
    """When the task fires."""

    cron: Annotated[
        str | None,
        typer.Option(
            "--cron",
            metavar="EXPR",
            help="Five fields (minute hour day month weekday), six with seconds first, or @hourly, @daily, ... "
            "H and 1~5 are numbers that follow from the name of the task.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None
    zone: Annotated[
        str | None,
        typer.Option(
            "--zone",
            metavar="ZONE",
            help="IANA time zone of --cron, such as Europe/Berlin. Default UTC.",
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
        timedelta | None,
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
        datetime | None,
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

    @property
    def given(self) -> bool:
        """Whether any of them is."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    def schedule(self, old: Schedule | None = None) -> Schedule:
        """The schedule; what is not given stays as it is in ``old``. Raises Failure: they do not go together."""
        from raftsched_client import schedule, to_datetime

        kinds = [flag for flag, value in (("--cron", self.cron), ("--every", self.every), ("--at", self.at)) if value]
        if len(kinds) > 1 or not (kinds or old):
            raise usage(f"give exactly one of --cron, --every and --at, not {' and '.join(kinds) or 'none'}")
        cron, every, at, zone = self.cron, self.every, self.at, self.zone
        start, end = self.start, self.end
        anchor = self.anchor
        if old is not None:
            start = start or (to_datetime(old.start_time) if old.HasField("start_time") else None)
            end = end or (to_datetime(old.end_time) if old.HasField("end_time") else None)
        if old is not None and not kinds:
            cron = old.cron.expression if old.HasField("cron") else None
            every = old.interval.every.ToTimedelta() if old.HasField("interval") else None
            at = to_datetime(old.at) if old.HasField("at") else None
            anchor = anchor or (to_datetime(old.interval.anchor) if old.interval.HasField("anchor") else None)
        if old is not None and cron is not None:
            zone = zone or old.cron.time_zone or None
        for flag, value in (("--zone", zone), ("--gap", self.gap), ("--fold", self.fold)):
            if value and cron is None:
                raise usage(f"{flag} goes with --cron only")
        if anchor and every is None:
            raise usage("--anchor goes with --every only")
        built = schedule(cron=cron, zone=zone, every=every, anchor=anchor, at=at, start=start, end=end)
        if cron is not None:
            self._choose_clock_changes(built.cron, old)
        return built

    def _choose_clock_changes(self, cron: CronSchedule, old: Schedule | None) -> None:
        from raftsched_client import FoldPolicy, GapPolicy

        if old is not None:
            cron.gap, cron.fold = old.cron.gap, old.cron.fold
        if self.gap is not None:
            cron.gap = GapPolicy.Value(f"GAP_POLICY_{self.gap.name}")
        if self.fold is not None:
            cron.fold = FoldPolicy.Value(f"FOLD_POLICY_{self.fold.name}")
