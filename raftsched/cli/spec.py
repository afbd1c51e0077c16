"""From the options of ``task create`` and ``task update`` to the fields of a task."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import usage
from raftsched.cli.options import (
    FoldChoice,
    GapChoice,
    instant,
    parse_pairs,
)
from raftsched.cli.session import duration

if TYPE_CHECKING:
    from raftsched_client import Action, CronSchedule, HttpAction, Schedule

_SCHEDULE = "Schedule (one of --cron, --every, --at)"
_ACTION = "Action (one of -- PROGRAM, --shell, --http, --python, --noop)"


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


@dataclass(frozen=True)
class ActionFlags:
    """What the task does."""

    shell: Annotated[
        str | None,
        typer.Option("--shell", metavar="SCRIPT", help="A script for /bin/sh.", rich_help_panel=_ACTION),
    ] = None
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="KEY=VALUE",
            help="Add to the environment of a program. Repeatable.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    workdir: Annotated[
        str | None,
        typer.Option("--workdir", metavar="DIR", help="Working directory of a program.", rich_help_panel=_ACTION),
    ] = None
    stdin: Annotated[
        str | None,
        typer.Option("--stdin", metavar="TEXT|@FILE", help="Standard input of a program.", rich_help_panel=_ACTION),
    ] = None
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="URL", help="Make one HTTP request.", rich_help_panel=_ACTION),
    ] = None
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="METHOD", help="HTTP method. Default GET.", rich_help_panel=_ACTION),
    ] = None
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="'NAME: VALUE'", help="HTTP header. Repeatable.", rich_help_panel=_ACTION),
    ] = None
    body: Annotated[
        str | None,
        typer.Option("--body", metavar="TEXT|@FILE", help="HTTP body.", rich_help_panel=_ACTION),
    ] = None
    expect: Annotated[
        list[int] | None,
        typer.Option(
            "--expect",
            metavar="STATUS",
            min=100,
            max=599,
            help="HTTP status that counts as success. Repeatable. Default any of 200 to 299.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            metavar="MODULE:FUNCTION",
            help="Call a function that the operator has allowed.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    kwargs: Annotated[
        str | None,
        typer.Option("--kwargs", metavar="JSON", help="Keyword arguments of --python.", rich_help_panel=_ACTION),
    ] = None
    noop: Annotated[bool, typer.Option("--noop", help="Do nothing, successfully.", rich_help_panel=_ACTION)] = False

    def given(self, argv: list[str] | None) -> bool:
        """Whether any of them, or a program, is."""
        return bool(argv) or any(getattr(self, field.name) not in (None, False) for field in fields(self))

    def action(self, argv: list[str] | None) -> Action:
        """The action. Raises Failure: there is none or more than one, or an option belongs to another."""
        from raftsched_client import action

        kinds = {
            "-- PROGRAM": argv or None,
            "--shell": self.shell,
            "--http": self.http,
            "--python": self.python,
            "--noop": self.noop or None,
        }
        given = [flag for flag, value in kinds.items() if value is not None]
        if len(given) != 1:
            raise usage(f"give exactly one of {', '.join(kinds)}, not {' and '.join(given) or 'none'}")
        self._check_extras(given[0])
        return action(
            command=argv or None,
            shell=self.shell,
            env=parse_pairs("--env", self.env) if self.env else None,
            working_directory=self.workdir,
            stdin=None if self.stdin is None else _text_or_file("--stdin", self.stdin),
            http=self._http(),
            python=self.python,
            kwargs=self._kwargs(),
            noop=self.noop,
        )

    def _check_extras(self, kind: str) -> None:
        program, http, python = ("-- PROGRAM", "--shell"), ("--http",), ("--python",)
        extras = (
            *(("--" + name, program) for name in ("env", "workdir", "stdin")),
            *(("--" + name, http) for name in ("method", "header", "body", "expect")),
            ("--kwargs", python),
        )
        for flag, owners in extras:
            if getattr(self, flag[2:]) is not None and kind not in owners:
                raise usage(f"{flag} goes with {' or '.join(owners)} only")

    def _http(self) -> HttpAction | None:
        from raftsched_client import HttpAction

        if self.http is None:
            return None
        headers: dict[str, str] = {}
        for header in self.header or []:
            name, colon, value = header.partition(":")
            if not colon or not name.strip():
                raise usage(f"--header: {header!r} is not 'Name: value'")
            headers[name.strip()] = value.strip()
        return HttpAction(
            method=self.method or "",
            url=self.http,
            headers=headers,
            body=b"" if self.body is None else _text_or_file("--body", self.body),
            expected_statuses=self.expect,
        )

    def _kwargs(self) -> dict[str, object] | None:
        if self.kwargs is None:
            return None
        try:
            values = json.loads(self.kwargs)
        except json.JSONDecodeError as error:
            raise usage(f"--kwargs: not JSON: {error}") from error
        if not isinstance(values, dict):
            raise usage("--kwargs: must be a JSON object such as '{\"days\": 7}'")
        return values


def _text_or_file(flag: str, value: str) -> bytes:
    if not value.startswith("@"):
        return value.encode()
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise usage(f"{flag}: cannot read {value[1:]}: {error.strerror}") from error
