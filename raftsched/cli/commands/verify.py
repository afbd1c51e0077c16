"""``raftsched verify``: does the fire record say each nominal time exactly once, and in time?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.calendars import Calendars
from raftsched.cli.failures import VERIFY_CODES, VERIFY_FOUND, Failure
from raftsched.cli.flags.options import instant
from raftsched.cli.record_check import Fault, Findings, RecordedTime, Tolerance, check
from raftsched.cli.session import Session, duration
from raftsched.cli.show import tables
from raftsched.cli.show.output import Format, Json, print_document
from raftsched.cli.show.waiting import progress_line
from raftsched.cli.times import now, show_seconds

if TYPE_CHECKING:
    from raftsched_client import LedgerEntry, Task

    from raftsched.core.state.model import Schedule

_DEFAULT_SINCE = timedelta(hours=24)
_DEFAULT_LATE = timedelta(seconds=10)
_DEFAULT_EARLY = timedelta(milliseconds=500)
_EXAMPLES = 3
_PAGE_TASKS = 1000
_PAGE_ENTRIES = 10_000


@dataclass(slots=True)
class _Totals:
    """What was found in all tasks."""

    tasks: int = 0
    checked: int = 0
    found: list[tuple[str, str, list[Fault]]] = field(default_factory=list)
    """Task, what is wrong, and where."""

    def add(self, task: str, findings: Findings) -> None:
        self.tasks += 1
        self.checked += findings.checked
        self.found += [(task, what, faults) for what, faults in findings.kinds().items() if faults]

    def counts(self) -> dict[str, int]:
        return {kind: sum(len(faults) for _, what, faults in self.found if what == kind) for kind in VERIFY_CODES}


def verify(
    session: Session,
    since: Annotated[
        datetime | None,
        typer.Option("--since", parser=instant, metavar="TIME", help="Nominal times from then on. Default -24h."),
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Tasks whose names begin with this.")] = "",
    late: Annotated[
        timedelta | None,
        typer.Option(
            "--late", parser=duration, metavar="SPAN", help="How late a run may be decided and started. Default 10s."
        ),
    ] = None,
    early: Annotated[
        timedelta | None,
        typer.Option(
            "--early", parser=duration, metavar="SPAN", help="How early, by clocks that differ. Default 500ms."
        ),
    ] = None,
) -> None:
    """Check the fire record of all tasks: is every nominal time there, once, and in time?

    The nominal times are worked out here from the schedules. Those before the last change of a task whose schedule was
    ever changed are left out, as are those that retention may have removed: choose --since within what is kept.

    Early: started more than --early before its time, decided more than --early and the 4s that may be decided ahead
    before it, or marked as decided by a clock that was ahead. Late: decided or first started more than --late after it
    (and the jitter of the task), or still waiting then, whatever holds it up. Missing: nothing was decided. Twice:
    decided more than once.

    Exit code: 0 all is well, else 16, plus 1 if any is late, 2 early, 4 missing, 8 twice; so 17 is late alone.

    \b
    Examples:
      raftsched verify
      raftsched verify --since -1h --prefix billing- --late 30s
    """
    bounds = Tolerance(_span_us(late or _DEFAULT_LATE), _span_us(early or _DEFAULT_EARLY), _us(now()))
    begin = since or now() - _DEFAULT_SINCE
    totals = _Totals()
    with progress_line() as progress:
        for task, findings in _check_all(session, prefix, begin, bounds):
            totals.add(task.name, findings)
            if totals.tasks % 100 == 0:
                progress(f"checked {tables.counted(totals.tasks, 'task')}, up to {task.name}")
    _print(session, totals)
    counts = totals.counts()
    if any(counts.values()):
        code = VERIFY_FOUND + sum(VERIFY_CODES[what] for what, count in counts.items() if count)
        raise Failure(f"the record is not as it should be: {_words(counts)}", code)


def _check_all(session: Session, prefix: str, begin: datetime, bounds: Tolerance) -> Iterator[tuple[Task, Findings]]:
    """Page by page: the tasks first, so that what is compared with them is at least as recent."""
    calendars = Calendars(session)
    tasks = session.client.list_tasks(name_prefix=prefix, page_size=_PAGE_TASKS)
    while page := list(islice(tasks, _PAGE_TASKS)):
        entries = session.client.list_ledgers(
            first_task=page[0].name, last_task=page[-1].name, start=begin, page_size=_PAGE_ENTRIES
        )
        recorded = {name: [*group] for name, group in groupby(entries, key=lambda entry: entry.task)}
        for task in page:
            yield task, _check_task(task, recorded.get(task.name, []), _us(begin), bounds, calendars)


def _check_task(
    task: Task, recorded: list[LedgerEntry], begin_us: int, bounds: Tolerance, calendars: Calendars
) -> Findings:
    from raftsched.core.policy.due import MAX_AHEAD_US
    from raftsched.core.state.rows import task_from_proto

    # What is due and not decided is missing, but for what is being decided just now.
    last_us = task.last_fire_time.ToMicroseconds()
    if task.HasField("next_fire_time"):
        last_us = max(last_us, bounds.now_us - bounds.late_us)
    begun = task.create_time if task.generation <= 1 else task.update_time
    first_us = begin_us if task.schedule.HasField("at") else max(begin_us, begun.ToMicroseconds() + 1)
    if first_us > last_us and not any(each.early for each in recorded):
        return Findings()
    definition = task_from_proto(task, calendars=calendars)
    expected = _nominal_times(definition.schedule, first_us, last_us)
    allowed = Tolerance(bounds.late_us, bounds.early_us, bounds.now_us, definition.jitter_us, MAX_AHEAD_US)
    return check(expected, [_entry(each) for each in recorded if _of(task, each)], allowed)


def _nominal_times(schedule: Schedule, first_us: int, last_us: int) -> Iterator[int]:
    from raftsched.core.times.schedule import next_fire

    at_us = next_fire(schedule, first_us - 1)
    while 0 < at_us <= last_us:
        yield at_us
        at_us = next_fire(schedule, at_us)


def _of(task: Task, entry: LedgerEntry) -> bool:
    from raftsched_proto.v1 import execution_pb2

    return entry.trigger == execution_pb2.TRIGGER_SCHEDULE and entry.task_uid == task.uid


def _entry(entry: LedgerEntry) -> RecordedTime:
    from raftsched_proto.v1 import execution_pb2 as pb

    start_us = entry.start_time.ToMicroseconds()
    unstarted = (pb.EXECUTION_STATE_PENDING, pb.EXECUTION_STATE_ARMED, pb.EXECUTION_STATE_ASSIGNED)
    return RecordedTime(
        entry.nominal_time.ToMicroseconds(),
        entry.last_nominal_time.ToMicroseconds(),
        entry.decide_time.ToMicroseconds(),
        entry.decision == pb.DECISION_RAN,
        start_us,
        not start_us and entry.execution_state in unstarted,
        entry.early,
    )


def _print(session: Session, totals: _Totals) -> None:
    if session.form is not Format.TABLE:
        print_document(_document(totals), session.form)
        return
    rows = [(task, what, f"{len(faults):,}", _examples(faults)) for task, what, faults in totals.found]
    if rows:
        tables.show(tables.TextTable(("TASK", "WHAT", "COUNT#", "NOMINAL TIMES~25"), rows))
    of_what = f"{tables.counted(totals.checked, 'nominal time')} of {tables.counted(totals.tasks, 'task')}"
    print(f"{of_what} checked: {_words(totals.counts())}")


def _document(totals: _Totals) -> Json:
    found = [
        {"task": task, "what": what, "nominalTimes": [_utc(each.nominal_us).replace("+00:00", "Z") for each in faults]}
        for task, what, faults in totals.found
    ]
    return {"tasks": totals.tasks, "checked": totals.checked, **totals.counts(), "found": found}


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def _examples(faults: list[Fault]) -> str:
    return ", ".join(map(_example, faults[:_EXAMPLES])) + (", ..." if len(faults) > _EXAMPLES else "")


def _example(fault: Fault) -> str:
    shown = _utc(fault.nominal_us).replace("T", " ")
    if not fault.what:
        return shown
    span = show_seconds(abs(fault.off_us) / 1e6)
    how = f"has not started after {span}" if fault.what == "waits" else f"{fault.what} {span} "
    return f"{shown} ({how}{'' if fault.what == 'waits' else 'before' if fault.off_us < 0 else 'after'})"


def _utc(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat()


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _span_us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
