"""From the options of ``task create`` and ``task update`` to what a task tells, and whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import usage
from raftsched.cli.flags.options import parse_pairs
from raftsched.cli.session import duration

if TYPE_CHECKING:
    from raftsched_client import Task

_PANEL = "Notifications"


class Tell(StrEnum):
    """Short names of the occasions."""

    FAILURE = "failure"
    LOST = "lost"
    SKIPPED = "skipped"
    LATE = "late"
    MISSING = "missing"


@dataclass(frozen=True)
class NotifyFlags:
    """What the task tells, and whom."""

    notify: Annotated[
        str | None,
        typer.Option("--notify", metavar="URL", help="Post CloudEvents to this webhook.", rich_help_panel=_PANEL),
    ] = None
    notify_on: Annotated[
        list[Tell] | None,
        typer.Option("--notify-on", help="What to tell. Repeatable. Default failure.", rich_help_panel=_PANEL),
    ] = None
    late_after: Annotated[
        timedelta | None,
        typer.Option(
            "--late-after",
            parser=duration,
            metavar="SPAN",
            help="Tell of executions that have not started this long after their nominal time.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    report_within: Annotated[
        timedelta | None,
        typer.Option(
            "--report-within",
            parser=duration,
            metavar="SPAN",
            help="Tell of executions that have not succeeded this long after their nominal time, for whatever reason.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    notify_secret: Annotated[
        str | None,
        typer.Option(
            "--notify-secret", metavar="NAME", help="Secret of the nodes to sign with.", rich_help_panel=_PANEL
        ),
    ] = None
    notify_header: Annotated[
        list[str] | None,
        typer.Option(
            "--notify-header", metavar="NAME=VALUE", help="Header of the webhook. Repeatable.", rich_help_panel=_PANEL
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether any of them is."""
        return any(value is not None for value in vars(self).values())

    def apply(self, task: Task) -> list[str]:
        """Write what is given into the task; return the paths of the fields that were written."""
        from raftsched_client import Occasion

        if not self.given:
            return []
        if self.notify is None and not task.HasField("notifications"):
            raise usage("options of notifications go with --notify URL")
        wanted = task.notifications
        if self.notify is not None:
            wanted.url = self.notify
        if self.notify_on is not None:
            wanted.occasions[:] = [Occasion.Value(f"OCCASION_{each.name}") for each in self.notify_on]
        for occasion, span, field in (
            (Tell.LATE, self.late_after, wanted.late_after),
            (Tell.MISSING, self.report_within, wanted.report_within),
        ):
            if span is not None:
                field.FromTimedelta(span)
                number = Occasion.Value(f"OCCASION_{occasion.name}")
                if number not in wanted.occasions:
                    wanted.occasions.append(number)
        if not wanted.occasions:
            wanted.occasions.append(Occasion.OCCASION_FAILURE)
        if self.notify_secret is not None:
            wanted.signing_secret = self.notify_secret
        if self.notify_header is not None:
            wanted.headers.update(parse_pairs("--notify-header", self.notify_header))
        return ["notifications"]
