"""The examples of docs/schedules.md are true."""

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from raftsched_client import schedule
from raftsched_proto.v1 import task_pb2

from raftsched.cli.files.crontab import parse
from raftsched.cli.flags.exclusions import read_exclusions
from raftsched.core.policy.due import Decided, decide
from raftsched.core.state.model import (
    SECOND_US,
    Cron,
    Cursor,
    Decision,
    FoldPolicy,
    GapPolicy,
    Interval,
    MisfirePolicy,
    Rrule,
    Schedule,
    Task,
)
from raftsched.core.state.rows import schedule_from_proto
from raftsched.core.times.cron_hash import resolve
from raftsched.core.times.cron_notes import notes
from raftsched.core.times.recurrence import with_start
from raftsched.core.times.schedule import ScheduleError, next_fire, validate
from raftsched.definitions.task import check_schedule
from raftsched.definitions.violations import Violations

PAGE = Path(__file__).parents[3] / "docs" / "schedules.md"
EXAMPLES = ("Expression", "Zone", "After", "Nominal times")
CLOCK_CHANGES = ("Expression", "Zone", "Gap", "Fold", "After", "Nominal times")
RECURRENCES = ("Lines", "Zone", "After", "Nominal times")
EXCLUDED = ("Expression", "Zone", "Excluded", "After", "Nominal times")
HASHED = ("Hashed expression", "Task", "Is read as")
REFUSED = ("Refused", "Why")
MISFIRES = ("Misfire policy", "Decisions")
CRONTAB = ("Line", "Result")
WARNED = ("Valid", "Warning")
PROSE = {
    ("Kind", "Nominal times", "Since"),
    ("Field", "Values", "Also"),
    ("Written", "Is a number", "As in"),
    ("", "fixed-time job", "wildcard job"),
    ("Policy", "Misfired nominal times"),
    # Of iCalendar files: tests/unit/cli/test_ical.py.
    ("What", "How it is read"),
}

Row = tuple[str, ...]


def tables() -> list[tuple[Row, Row]]:
    """Every row of every table of the page, with the heads of its columns."""
    rows: list[tuple[Row, Row]] = []
    head: Row = ()
    for line in PAGE.read_text().splitlines():
        if not line.startswith("|"):
            head = ()
            continue
        cells = tuple(cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        if not head:
            head = cells
        elif set(line) - set("|-"):
            rows.append((head, cells))
    return rows


def rows_of(head: Row) -> list[Row]:
    found = [cells for of, cells in tables() if of == head]
    assert found, f"no table {head}"
    return found


def code(cell: str) -> str:
    assert cell[0] == cell[-1] == "`"
    return cell[1:-1]


def test_every_table_is_either_tested_or_prose() -> None:
    assert {head for head, _ in tables()} == PROSE | {
        EXAMPLES,
        CLOCK_CHANGES,
        RECURRENCES,
        EXCLUDED,
        HASHED,
        REFUSED,
        MISFIRES,
        CRONTAB,
        WARNED,
    }


@pytest.mark.parametrize(("expression", "zone", "after", "wanted"), rows_of(EXAMPLES))
def test_nominal_times(expression: str, zone: str, after: str, wanted: str) -> None:
    check_walk(Schedule(Cron(code(expression), zone)), zone, after, wanted)


@pytest.mark.parametrize(("expression", "zone", "gap", "fold", "after", "wanted"), rows_of(CLOCK_CHANGES))
def test_policies_for_clock_changes(expression: str, zone: str, gap: str, fold: str, after: str, wanted: str) -> None:
    policies = (GapPolicy[code(gap)] if gap else None, FoldPolicy[code(fold)] if fold else None)
    check_walk(Schedule(Cron(code(expression), zone, *policies)), zone, after, wanted)


@pytest.mark.parametrize(("lines", "zone", "after", "wanted"), rows_of(RECURRENCES))
def test_recurrence_rules(lines: str, zone: str, after: str, wanted: str) -> None:
    text = code(lines).replace("` `", "\n")
    after_us = round(datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_US
    check_walk(Schedule(Rrule(with_start(text, zone, after_us), zone)), zone, after, wanted)


@pytest.mark.parametrize(("expression", "zone", "excluded", "after", "wanted"), rows_of(EXCLUDED))
def test_exclusions(expression: str, zone: str, excluded: str, after: str, wanted: str) -> None:
    message = schedule(cron=code(expression), zone=zone, exclude=read_exclusions([code(excluded)]))
    check_walk(schedule_from_proto(message, "t"), zone, after, wanted)


def test_the_union_of_the_page() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (item,) = yaml.safe_load(text)
    task = ParseDict(item, task_pb2.Task())
    violations = Violations()
    check_schedule(violations, task.schedule, task.name, 1_777_852_800 * SECOND_US)
    violations.raise_any()
    wanted = "05-29 09:00, 05-30 12:00, 06-01 09:00, 06-02 09:00"
    check_walk(schedule_from_proto(task.schedule, task.name), "Europe/Berlin", "2026-05-28 12:00", wanted)


@pytest.mark.parametrize(("expression", "task", "wanted"), rows_of(HASHED))
def test_hashed_values(expression: str, task: str, wanted: str) -> None:
    assert resolve(code(expression), task) == code(wanted)
    validate(Schedule(Cron(code(wanted))))


def check_walk(schedule: Schedule, zone: str, after: str, wanted: str) -> None:
    tz = ZoneInfo(zone)
    validate(schedule)
    at_us = round(datetime.fromisoformat(after).replace(tzinfo=tz).timestamp()) * SECOND_US
    for text in wanted.split(", "):
        at_us = next_fire(schedule, at_us)
        at = datetime.fromtimestamp(at_us // SECOND_US, tz)
        time = f"{at:%H:%M}" + (f":{at:%S}" if at.second else "")
        offset = f" {at:%z}" if re.search(r" [+-]\d{4}$", text) else ""
        year = f"{at:%Y}-" if text.count("-") - (" -" in text) == 2 else ""
        assert f"{year}{at:%m-%d} {time}{offset}" == text
        assert year or at.year == int(after[:4])


@pytest.mark.parametrize(("expression", "reason"), rows_of(REFUSED))
def test_refused_expressions(expression: str, reason: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        validate(Schedule(Cron(resolve(code(expression), "t"))))
    assert reason in str(refused.value)


@pytest.mark.parametrize(("policy", "decisions"), rows_of(MISFIRES))
def test_misfire_policies(policy: str, decisions: str) -> None:
    day = datetime(2026, 5, 4, tzinfo=UTC)
    up_us, first_us = (
        round(day.replace(hour=10, minute=minute, second=second).timestamp()) * SECOND_US
        for minute, second in ((30, 5), (5, 0))
    )
    task = Task("t", Schedule(Interval(300 * SECOND_US, first_us)), b"", misfire_policy=MisfirePolicy[code(policy)])
    assert ", ".join(_say(entry) for entry in decide(task, Cursor(first_us), up_us).decided) == decisions


def _say(entry: Decided) -> str:
    first, last = (
        f"{datetime.fromtimestamp(at_us // SECOND_US, UTC):%H:%M}"
        for at_us in (entry.nominal_us, entry.last_nominal_us)
    )
    if entry.decision is Decision.RAN:
        return f"ran {first}"
    return f"{entry.decision.name.lower()} {first} to {last} ({entry.count})"


@pytest.mark.parametrize(("line", "result"), rows_of(CRONTAB))
def test_crontab_lines(line: str, result: str) -> None:
    (found,) = parse(code(line) + "\n", system=False, default_zone="UTC")
    said = found.kind.value + (f" {found.task.name}" if found.task else "")
    if found.message:
        said += f": {found.message}"
    assert said.startswith(result)
    assert bool(found.message) == (":" in result)


@pytest.mark.parametrize(("expression", "warning"), rows_of(WARNED))
def test_what_may_not_be_meant_is_said(expression: str, warning: str) -> None:
    validate(Schedule(Cron(resolve(code(expression), "t"))))
    assert warning in notes(code(expression))
