"""From an iCalendar file (RFC 5545) to exclusions: each event is a time that is left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from raftsched.cli.failures import usage
from raftsched.cli.output import note, one_line

if TYPE_CHECKING:
    from raftsched_client import Exclusion

_DAY = timedelta(days=1)
_MAX_TIMES = 2_000
_MAX_REASON = 200


def read_events(data: bytes, years: range, zone: ZoneInfo | None) -> list[Exclusion]:
    """The events that touch these years, repeated ones each time. Raises Failure for what is no iCalendar file.

    ``zone`` is that of times that name none. Cancelled events and those that take no time are left out.
    """
    import icalendar

    try:
        # Which types a property can have is known to icalendar at run time only.
        found: list[Any] = icalendar.Calendar.from_ical(data).walk("VEVENT")
        events = [each for each in found if str(each.get("STATUS", "")).upper() != "CANCELLED"]
        moved = {(_uid(each), each["RECURRENCE-ID"].dt) for each in events if "RECURRENCE-ID" in each}
        return [each for event in events for each in _times(event, moved, years, zone)]
    except (ValueError, KeyError, AttributeError, icalendar.error.InvalidCalendar) as error:
        raise usage(f"this is no iCalendar file that can be read: {one_line(str(error))}") from error


def _times(event: Any, moved: set[tuple[str, Any]], years: range, zone: ZoneInfo | None) -> Iterator[Exclusion]:
    summary = one_line(str(event.get("SUMMARY", "")))
    begin, span = event["DTSTART"].dt, _span(event)
    if span <= timedelta(0):
        note(f"left out, as it takes no time: {summary or begin}")
        return
    for at in _starts(event, begin, years, zone):
        is_master = "RRULE" in event and "RECURRENCE-ID" not in event
        if is_master and (_uid(event), at) in moved:
            continue
        if at.year <= years[-1] and (at + span).year >= years[0]:
            yield _exclusion(_aware(at, summary, zone), span, summary)


def _span(event: Any) -> timedelta:
    begin = event["DTSTART"].dt
    if "DTEND" in event:
        return cast("timedelta", event["DTEND"].dt - begin)
    if "DURATION" in event:
        return cast("timedelta", event["DURATION"].dt)
    return timedelta(0) if isinstance(begin, datetime) else _DAY


def _starts(event: Any, begin: date, years: range, zone: ZoneInfo | None) -> Iterator[date]:
    """When the event begins: at its start, or as often as its rule says."""
    if "RRULE" not in event and "RDATE" not in event:
        yield begin
        return
    from raftsched_client import schedule

    from raftsched.core.rows import schedule_from_proto
    from raftsched.core.rrule import RruleError
    from raftsched.core.schedule import ScheduleError, fires

    timed = _aware(begin, str(event.get("SUMMARY", "")), zone)
    name = _zone_name(timed) if isinstance(timed, datetime) else "UTC"
    rule = schedule_from_proto(schedule(rrule=_lines(event, begin), zone=name), "import")
    first, last = datetime(years[0], 1, 1, tzinfo=UTC) - _DAY, datetime(years[-1] + 1, 1, 1, tzinfo=UTC) + _DAY
    try:
        found = fires(rule, _us(first), _us(last), _MAX_TIMES + 1)
    except (RruleError, ScheduleError) as error:
        raise usage(f"the event {event.get('SUMMARY', '')!r} cannot be repeated: {error}") from error
    if len(found) > _MAX_TIMES:
        raise usage(f"the event {event.get('SUMMARY', '')!r} comes more than {_MAX_TIMES:,} times; give fewer --years")
    for at_us in found:
        at = datetime.fromtimestamp(at_us / 1e6, ZoneInfo(name))
        yield at if isinstance(timed, datetime) else at.date()


def _lines(event: Any, begin: date) -> str:
    """What the event repeats by, as the lines of a recurrence rule in its own zone."""
    lines = [f"DTSTART:{_local(begin)}"]
    if "RRULE" in event:
        lines.append(f"RRULE:{event['RRULE'].to_ical().decode()}")
    for name in ("RDATE", "EXDATE"):
        values = event.get(name, [])
        for each in values if isinstance(values, list) else [values]:
            lines += [f"{name}:{_local(_in_zone(value.dt, begin))}" for value in each.dts]
    return "\n".join(lines)


def _in_zone(at: date, begin: date) -> date:
    if isinstance(at, datetime) and at.tzinfo and isinstance(begin, datetime) and begin.tzinfo:
        return at.astimezone(begin.tzinfo)
    return at


def _local(at: date) -> str:
    return (at if isinstance(at, datetime) else datetime.combine(at, time())).strftime("%Y%m%dT%H%M%S")


def _aware(at: date, summary: str, zone: ZoneInfo | None) -> date:
    if not isinstance(at, datetime) or at.tzinfo is not None:
        return at
    if zone is None:
        raise usage(f"the event {summary!r} has times without a time zone: give --zone")
    return at.replace(tzinfo=zone)


def _zone_name(at: datetime) -> str:
    name = getattr(at.tzinfo, "key", None) or ("UTC" if at.utcoffset() == timedelta(0) else "")
    if not name:
        raise usage(f"an event repeats in the time zone {at.tzname()!r}, which is none of the IANA database")
    return str(name)


def _exclusion(begin: date, span: timedelta, reason: str) -> Exclusion:
    from raftsched_client import Exclusion, to_timestamp

    if isinstance(begin, datetime):
        return Exclusion(
            start_time=to_timestamp(begin, "start_time"),
            end_time=to_timestamp(begin.astimezone(UTC) + span, "end_time"),
            reason=reason[:_MAX_REASON],
        )
    last = begin + span - _DAY
    return Exclusion(
        date=begin.isoformat(), last_date=last.isoformat() if last > begin else "", reason=reason[:_MAX_REASON]
    )


def _uid(event: Any) -> str:
    return str(event.get("UID", ""))


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
