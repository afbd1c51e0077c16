"""``raftsched verify``: does the fire record say each nominal time exactly once, and in time?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli import tables
from raftsched.cli.calendars import Calendars
from raftsched.cli.failures import ExitCode, Failure, usage
from raftsched.cli.options import instant
from raftsched.cli.output import Format
from raftsched.cli.session import Session, duration
from raftsched.cli.times import now

if TYPE_CHECKING:
    from raftsched_client import LedgerEntry, Task

    from raftsched.core.model import Schedule

_DEFAULT_SINCE = timedelta(hours=24)
_DEFAULT_LATE = timedelta(seconds=10)
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """What was decided for the nominal times from ``first_us`` to ``last_us``."""

    first_us: int
    last_us: int
    decide_us: int
    ran: bool


@dataclass(slots=True)
class Findings:
    """Nominal times of one task, in microseconds, by what is wrong with them."""

    checked: int = 0
    missing: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many nominal times are not as they should be."""
        return len(self.missing) + len(self.twice) + len(self.late)


def check(expected: Iterable[int], entries: list[Entry], late_us: int) -> Findings:
    """Compare ascending nominal times with the record. Late: it ran, and was decided more than ``late_us`` after it."""
    findings = Findings()
    waiting = sorted(entries, key=lambda entry: entry.first_us)
    covering: list[Entry] = []
    at = 0
    for nominal_us in expected:
        findings.checked += 1
        while at < len(waiting) and waiting[at].first_us <= nominal_us:
            covering.append(waiting[at])
            at += 1
        covering = [entry for entry in covering if entry.last_us >= nominal_us]
        if not covering:
            findings.missing.append(nominal_us)
        elif len(covering) > 1:
            findings.twice.append(nominal_us)
        elif covering[0].ran and covering[0].decide_us - nominal_us > late_us:
            findings.late.append(nominal_us)
    return findings


def verify(
    session: Session,
    since: Annotated[
        datetime | None,
        typer.Option("--since", parser=instant, metavar="TIME", help="Nominal times from then on. Default -24h."),
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Tasks whose names begin so.")] = "",
    late: Annotated[
        timedelta | None,
        typer.Option("--late", parser=duration, metavar="SPAN", help="How late a run may be decided. Default 10s."),
    ] = None,
) -> None:
    """Check the fire record of all tasks: is every nominal time there, once, and in time? Exit code 1 if not.

    The nominal times are worked out here from the schedules. Those before the last change of a task whose schedule was
    ever changed are left out, as are those that retention may have removed: choose --since within what is kept.

    \b
    Examples:
      raftsched verify
      raftsched verify --since -1h --prefix billing- --late 30s
    """
    if session.form is not Format.TABLE:
        raise usage("verify prints a table: leave out -o")
    begin_us = _us(since or now() - _DEFAULT_SINCE)
    late_us = int((late or _DEFAULT_LATE) / timedelta(microseconds=1))
    faults = checked = tasks = 0
    rows: list[tuple[str, ...]] = []
    calendars = Calendars(session)
    for task in session.client.list_tasks(name_prefix=prefix, page_size=1000):
        found = _check_task(session, task, begin_us, late_us, calendars)
        tasks += 1
        checked += found.checked
        faults += found.faults
        rows += list(_rows(task.name, found))
    if rows:
        tables.show(tables.Table(("TASK", "WHAT", "COUNT#", "NOMINAL TIMES"), rows))
    of_what = f"{tables.counted(checked, 'nominal time')} of {tables.counted(tasks, 'task')}"
    print(f"{of_what} checked, {faults:,} not as they should be")
    if faults:
        raise Failure("the record is not complete, or not in time", ExitCode.FAILURE)


def _check_task(session: Session, task: Task, begin_us: int, late_us: int, calendars: Calendars) -> Findings:
    from raftsched.core.rows import task_from_proto

    # What is due and not decided is missing, but for what is being decided just now.
    last_us = task.last_fire_time.ToMicroseconds()
    if task.HasField("next_fire_time"):
        last_us = max(last_us, _us(now()) - late_us)
    begun = task.create_time if task.generation <= 1 else task.update_time
    first_us = begin_us if task.schedule.HasField("at") else max(begin_us, begun.ToMicroseconds() + 1)
    if first_us > last_us:
        return Findings()
    expected = _nominal_times(task_from_proto(task, calendars=calendars).schedule, first_us, last_us)
    # An entry may begin long before the first nominal time that is looked at, as after a pause.
    entries = [_entry(each) for each in session.client.list_ledger(task.name, page_size=10_000) if _of(task, each)]
    return check(expected, entries, late_us)


def _nominal_times(schedule: Schedule, first_us: int, last_us: int) -> Iterator[int]:
    from raftsched.core.schedule import next_fire

    at_us = next_fire(schedule, first_us - 1)
    while 0 < at_us <= last_us:
        yield at_us
        at_us = next_fire(schedule, at_us)


def _of(task: Task, entry: LedgerEntry) -> bool:
    from raftsched_client.v1 import execution_pb2

    return entry.trigger == execution_pb2.TRIGGER_SCHEDULE and entry.task_uid == task.uid


def _entry(entry: LedgerEntry) -> Entry:
    from raftsched_client.v1 import execution_pb2

    return Entry(
        entry.nominal_time.ToMicroseconds(),
        entry.last_nominal_time.ToMicroseconds(),
        entry.decide_time.ToMicroseconds(),
        entry.decision == execution_pb2.DECISION_RAN,
    )


def _rows(name: str, found: Findings) -> Iterator[tuple[str, ...]]:
    for what, times in (("missing", found.missing), ("decided twice", found.twice), ("late", found.late)):
        if times:
            shown = ", ".join(_show(time_us) for time_us in times[:_EXAMPLES])
            yield name, what, f"{len(times):,}", shown + (", ..." if len(times) > _EXAMPLES else "")


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _show(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(sep=" ")
