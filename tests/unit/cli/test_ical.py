"""Events of iCalendar files: the right times by RFC 5545 of what programs and people write."""
# ruff: noqa: E501 - tables of lines and their times

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raftsched_client import Exclusion

from raftsched.cli.failures import Failure
from raftsched.cli.files.ical import components, read_events, reader, zones

YEARS = range(2026, 2029)
BERLIN = "DTSTART;TZID=Europe/Berlin:"
# Outlook and Exchange write such definitions, with names of their own or of Windows.
CUSTOM = """BEGIN:VTIMEZONE
TZID:Customized Time Zone
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE"""


def event(*lines: str, uid: str = "u") -> str:
    return "\n".join(("BEGIN:VEVENT", f"UID:{uid}", "SUMMARY:E", *lines, "END:VEVENT"))


def calendar(*parts: str) -> str:
    return "\n".join(("BEGIN:VCALENDAR", "VERSION:2.0", *parts, "END:VCALENDAR", ""))


def read(text: str | bytes, years: range = YEARS, zone: str | None = None) -> reader.Read:
    data = text if isinstance(text, bytes) else text.encode()
    return read_events(data, years, ZoneInfo(zone) if zone else None)


def shown(each: Exclusion) -> str:
    if each.date:
        return f"{each.date}/{each.last_date}" if each.last_date else each.date
    return "/".join(at.ToJsonString().replace(":00Z", "Z") for at in (each.start_time, each.end_time))


def times(*parts: str, years: range = YEARS, zone: str | None = None) -> list[str]:
    """What the events leave out, all of which can be read."""
    found = read(calendar(*parts), years, zone)
    assert not found.left_out
    return sorted(map(shown, found.exclusions))


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([BERLIN + "20261024T220000", "DTEND;TZID=Europe/Berlin:20261025T060000"], "2026-10-24T20:00Z/2026-10-25T05:00Z"),
        ([BERLIN + "20260328T220000", "DTEND;TZID=Europe/Berlin:20260329T060000"], "2026-03-28T21:00Z/2026-03-29T04:00Z"),
        ([BERLIN + "20261023T180000", "DTEND;TZID=Europe/Berlin:20261026T080000"], "2026-10-23T16:00Z/2026-10-26T07:00Z"),
        (["DTSTART;TZID=America/New_York:20261031T220000", "DTEND;TZID=America/New_York:20261101T060000"],
         "2026-11-01T02:00Z/2026-11-01T11:00Z"),
        (["DTSTART;TZID=Australia/Lord_Howe:20260404T220000", "DTEND;TZID=Australia/Lord_Howe:20260405T060000"],
         "2026-04-04T11:00Z/2026-04-04T19:30Z"),
        (["DTSTART;TZID=Europe/Berlin:20260601T100000", "DTEND;TZID=America/New_York:20260601T120000"],
         "2026-06-01T08:00Z/2026-06-01T16:00Z"),
        ([BERLIN + "20261024T220000", "DURATION:PT8H"], "2026-10-24T20:00Z/2026-10-25T04:00Z"),
        ([BERLIN + "20261024T220000", "DURATION:P1D"], "2026-10-24T20:00Z/2026-10-25T21:00Z"),
        ([BERLIN + "20261024T220000", "DURATION:PT24H"], "2026-10-24T20:00Z/2026-10-25T20:00Z"),
        ([BERLIN + "20261024T220000", "DURATION:P1W"], "2026-10-24T20:00Z/2026-10-31T21:00Z"),
        ([BERLIN + "20261024T220000", "DURATION:P1DT2H"], "2026-10-24T20:00Z/2026-10-25T23:00Z"),
        ([BERLIN + "20260327T023000", "DURATION:P2D"], "2026-03-27T01:30Z/2026-03-29T01:30Z"),
        ([BERLIN + "20260329T023000", "DURATION:PT1H"], "2026-03-29T01:30Z/2026-03-29T02:30Z"),
        ([BERLIN + "20261025T023000", "DURATION:PT1H"], "2026-10-25T00:30Z/2026-10-25T01:30Z"),
        ([BERLIN + "20261024T220000Z", "DURATION:+PT1H"], "2026-10-24T22:00Z/2026-10-24T23:00Z"),
        (["DTSTART;TZID=Europe/Berlin;VALUE=DATE-TIME:20261201T080000", "DTEND:20261201T090000"],
         "2026-12-01T07:00Z/2026-12-01T08:00Z"),
        (["dtstart;tzid=Europe/Berlin:20261201t080000", "duration:pt1h"], "2026-12-01T07:00Z/2026-12-01T08:00Z"),
        (["DTSTART:20261231T235960Z", "DTEND:20270101T003000Z"], "2026-12-31T23:59:59Z/2027-01-01T00:30Z"),
        (["DTSTART;VALUE=DATE:20261224"], "2026-12-24"),
        (["DTSTART:20261224"], "2026-12-24"),
        (["DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261224"], "2026-12-24"),
        (["DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261227"], "2026-12-24/2026-12-26"),
        (["DTSTART;VALUE=DATE:20261224", "DURATION:P3D"], "2026-12-24/2026-12-26"),
        (["DTSTART;VALUE=DATE:20261224", "DURATION:P1W"], "2026-12-24/2026-12-30"),
        (["DTSTART;VALUE=DATE:20261224", "DURATION:PT25H"], "2026-12-24/2026-12-25"),
        (["DTSTART;VALUE=DATE:20261224T000000"], "2026-12-24"),
        (["DTSTART;VALUE=DATE:19600101", "DTEND;VALUE=DATE:20270101"], "1970-01-01/2026-12-31"),
        (["DTSTART:19600101T000000Z", "DTEND:20270101T000000Z"], "1970-01-01T00:00Z/2027-01-01T00:00Z"),
        (["DTSTART;VALUE=DATE:20261224", "TRANSP:TRANSPARENT"], "2026-12-24"),
        (["DTSTART;VALUE=DATE:20261224", "STATUS:TENTATIVE", "CLASS:PRIVATE"], "2026-12-24"),
        (["DTSTART:20261201T080000Z", "DURATION:PT1H", "BEGIN:VALARM", "TRIGGER:-PT5M", "DURATION:PT9H", "DTSTART:x",
          "SUMMARY:Bell", "END:VALARM"], "2026-12-01T08:00Z/2026-12-01T09:00Z"),
    ],
)  # fmt: skip
def test_an_event_takes_the_time_that_it_says(lines: list[str], wanted: str) -> None:
    assert times(event(*lines)) == [wanted]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        # As holiday calendars begin, before any time that counts.
        (["DTSTART;VALUE=DATE:19190101", "RRULE:FREQ=YEARLY"], ["2026-01-01", "2027-01-01", "2028-01-01"]),
        (["DTSTART;VALUE=DATE:16040229", "RRULE:FREQ=YEARLY"], ["2028-02-29"]),
        (["DTSTART;VALUE=DATE:20160229", "RRULE:RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=FORWARD"],
         ["2026-03-01", "2027-03-01", "2028-02-29"]),
        (["DTSTART;VALUE=DATE:19261126", "RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;UNTIL=20271231"],
         ["2026-11-26", "2027-11-25"]),
        # DTSTART is part of the set.
        (["DTSTART;VALUE=DATE:20260105", "RDATE;VALUE=DATE:20260203,20270304"], ["2026-01-05", "2026-02-03", "2027-03-04"]),
        (["DTSTART:20260105T080000Z", "DTEND:20260105T090000Z", "RDATE:20260203T100000Z"],
         ["2026-01-05T08:00Z/2026-01-05T09:00Z", "2026-02-03T10:00Z/2026-02-03T11:00Z"]),
        ([BERLIN + "20260105T080000", "DURATION:PT1H", "RDATE;VALUE=DATE:20260703"],
         ["2026-01-05T07:00Z/2026-01-05T08:00Z", "2026-07-03T06:00Z/2026-07-03T07:00Z"]),
        (["DTSTART:20260105T080000Z", "DTEND:20260105T090000Z",
          "RDATE;VALUE=PERIOD:20260203T100000Z/PT3H,20260204T100000Z/20260204T123000Z"],
         ["2026-01-05T08:00Z/2026-01-05T09:00Z", "2026-02-03T10:00Z/2026-02-03T13:00Z",
          "2026-02-04T10:00Z/2026-02-04T12:30Z"]),
        (["DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=3"], ["2026-01-01", "2026-01-05", "2026-01-12"]),
        (["DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=1"], ["2026-01-01"]),
        (["DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=2"], ["2026-01-01", "2026-01-05"]),
        (["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=2"], ["2026-01-05", "2026-01-12"]),
        (["DTSTART;VALUE=DATE:20260511", "RRULE:FREQ=YEARLY;BYWEEKNO=20"], ["2026-05-11", "2027-05-17", "2028-05-15"]),
        (["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=DAILY;BYHOUR=9,10;COUNT=2"], ["2026-01-05", "2026-01-06"]),
        (["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=2", "RRULE:FREQ=MONTHLY;COUNT=2"],
         ["2026-01-05", "2026-01-12", "2026-02-05"]),
        # What is left out of it.
        (["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=4", "EXDATE;VALUE=DATE:20260105,20260119"],
         ["2026-01-12", "2026-01-26"]),
        (["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=3", "EXDATE:20260112T000000"], ["2026-01-05", "2026-01-19"]),
        (["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=3", "EXRULE:FREQ=WEEKLY;INTERVAL=2"], ["2026-01-12"]),
        ([BERLIN + "20260323T080000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3", "EXDATE:20260330T060000Z",
          "EXDATE;TZID=America/New_York:20260406T020000"], ["2026-03-23T07:00Z/2026-03-23T08:00Z"]),
        ([BERLIN + "20260323T080000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=2", "EXDATE;VALUE=DATE:20260323"],
         ["2026-03-30T06:00Z/2026-03-30T07:00Z"]),
        ([BERLIN + "20260323T080000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=2", "EXDATE:20260323T080000"],
         ["2026-03-30T06:00Z/2026-03-30T07:00Z"]),
        # Until when.
        ([BERLIN + "20261019T080000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;UNTIL=20261026T070000Z"],
         ["2026-10-19T06:00Z/2026-10-19T07:00Z", "2026-10-26T07:00Z/2026-10-26T08:00Z"]),
        ([BERLIN + "20261019T080000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;UNTIL=20261026T065959Z"],
         ["2026-10-19T06:00Z/2026-10-19T07:00Z"]),
        ([BERLIN + "20261019T080000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;UNTIL=20261026"],
         ["2026-10-19T06:00Z/2026-10-19T07:00Z", "2026-10-26T07:00Z/2026-10-26T08:00Z"]),
        (["DTSTART;VALUE=DATE:20261019", "RRULE:FREQ=WEEKLY;UNTIL=20261026T120000Z"], ["2026-10-19", "2026-10-26"]),
        # A DURATION of days is nominal each time, the length from DTSTART to DTEND exact (section 3.8.5.3).
        ([BERLIN + "20261018T000000", "DURATION:P1D", "RRULE:FREQ=WEEKLY;COUNT=2"],
         ["2026-10-17T22:00Z/2026-10-18T22:00Z", "2026-10-24T22:00Z/2026-10-25T23:00Z"]),
        ([BERLIN + "20261018T000000", "DTEND;TZID=Europe/Berlin:20261019T000000", "RRULE:FREQ=WEEKLY;COUNT=2"],
         ["2026-10-17T22:00Z/2026-10-18T22:00Z", "2026-10-24T22:00Z/2026-10-25T22:00Z"]),
        # A local time that is left out is read with the offset from before (section 3.3.5).
        ([BERLIN + "20260328T023000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=2"],
         ["2026-03-28T01:30Z/2026-03-28T02:30Z", "2026-03-29T01:30Z/2026-03-29T02:30Z"]),
        # What began before these years and goes on into them.
        (["DTSTART;VALUE=DATE:20001220", "DTEND;VALUE=DATE:20010103", "RRULE:FREQ=YEARLY;UNTIL=20261231"],
         ["2025-12-20/2026-01-02", "2026-12-20/2027-01-02"]),
        (["DTSTART:20251220T000000Z", "DTEND:20260101T000000Z", "RRULE:FREQ=YEARLY;COUNT=1"], []),
        (["DTSTART:20261220T000000Z", "DTEND:20261220T010000Z", "RRULE:freq=daily; count=2"],
         ["2026-12-20T00:00Z/2026-12-20T01:00Z", "2026-12-21T00:00Z/2026-12-21T01:00Z"]),
        (["DTSTART:20261220T000000Z", "DTEND:20261220T000001Z", "RRULE:FREQ=SECONDLY;COUNT=2"],
         ["2026-12-20T00:00:01Z/2026-12-20T00:00:02Z", "2026-12-20T00:00Z/2026-12-20T00:00:01Z"]),
    ],
)  # fmt: skip
def test_a_series_takes_place_when_the_rfc_says(lines: list[str], wanted: list[str]) -> None:
    assert times(event(*lines)) == wanted


def test_a_series_whose_end_a_change_of_the_clock_moves_is_told() -> None:
    lines = [BERLIN + "20261017T220000", "RRULE:FREQ=WEEKLY;COUNT=3"]
    found = read(calendar(event(*lines, "DTEND;TZID=Europe/Berlin:20261018T060000")))
    assert list(map(shown, found.exclusions))[1] == "2026-10-24T20:00Z/2026-10-25T04:00Z"
    (told,) = found.remarks
    assert told.startswith("E (UID u): ends at 05:00 on 2026-10-25, not at 06:00: the clock changes")
    assert not read(calendar(event(*lines, "DTEND;TZID=Europe/Berlin:20261017T230000"))).remarks


WEEKLY = event(BERLIN + "20261012T220000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3")
FIRST, SECOND, THIRD = (
    "2026-10-12T20:00Z/2026-10-12T21:00Z",
    "2026-10-19T20:00Z/2026-10-19T21:00Z",
    "2026-10-26T21:00Z/2026-10-26T22:00Z",
)
DAYS = event("DTSTART;VALUE=DATE:20261012", "RRULE:FREQ=WEEKLY;COUNT=3")


@pytest.mark.parametrize(
    ("series", "lines", "wanted"),
    [
        (WEEKLY, ["RECURRENCE-ID;TZID=Europe/Berlin:20261019T220000", "STATUS:CANCELLED"], [FIRST, THIRD]),
        (WEEKLY, ["RECURRENCE-ID:20261019T200000Z", "STATUS:CANCELLED", BERLIN + "20261019T220000"], [FIRST, THIRD]),
        (WEEKLY, ["recurrence-id:20261019t200000z", "status:cancelled"], [FIRST, THIRD]),
        (WEEKLY, ["RECURRENCE-ID:20261019T220000", "STATUS:CANCELLED"], [FIRST, THIRD]),
        (WEEKLY, ["RECURRENCE-ID;VALUE=DATE:20261019", "STATUS:CANCELLED"], [FIRST, THIRD]),
        (WEEKLY, ["RECURRENCE-ID;TZID=Europe/Berlin:20261012T220000", "STATUS:CANCELLED"], [SECOND, THIRD]),
        (WEEKLY, ["RECURRENCE-ID;TZID=Europe/Berlin:20261020T220000", "STATUS:CANCELLED"], [FIRST, SECOND, THIRD]),
        (WEEKLY, ["RECURRENCE-ID;TZID=Europe/Berlin:20261019T220000", "DTSTART:20261020T100000Z", "DTEND:20261020T103000Z"],
         [FIRST, "2026-10-20T10:00Z/2026-10-20T10:30Z", THIRD]),
        (WEEKLY, ["RECURRENCE-ID;TZID=Europe/Berlin:20261019T220000", "DTSTART;VALUE=DATE:20261020"],
         [FIRST, "2026-10-20", THIRD]),
        (WEEKLY, ["RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20261019T220000", "STATUS:CANCELLED"], [FIRST]),
        (WEEKLY, ["RECURRENCE-ID;RANGE=ThisAndFuture;TZID=Europe/Berlin:20261019T220000", BERLIN + "20261020T080000",
                  "DURATION:PT2H"],
         [FIRST, "2026-10-20T06:00Z/2026-10-20T08:00Z", "2026-10-27T07:00Z/2026-10-27T09:00Z"]),
        (WEEKLY, ["RECURRENCE-ID;RANGE=THISANDFUTURE:20261019T200000Z", "DTSTART;TZID=America/New_York:20261019T100000",
                  "DURATION:PT2H"],
         [FIRST, "2026-10-19T14:00Z/2026-10-19T16:00Z", "2026-10-26T15:00Z/2026-10-26T17:00Z"]),
        (DAYS, ["RECURRENCE-ID;VALUE=DATE:20261019", "STATUS:CANCELLED"], ["2026-10-12", "2026-10-26"]),
        (DAYS, ["RECURRENCE-ID:20261019T000000", "STATUS:CANCELLED"], ["2026-10-12", "2026-10-26"]),
        (DAYS, ["RECURRENCE-ID;VALUE=DATE:20261019", "DTSTART;VALUE=DATE:20261021"],
         ["2026-10-12", "2026-10-21", "2026-10-26"]),
        (DAYS, ["RECURRENCE-ID;RANGE=THISANDFUTURE;VALUE=DATE:20261019", "DTSTART;VALUE=DATE:20261020", "DURATION:P2D"],
         ["2026-10-12", "2026-10-20/2026-10-21", "2026-10-27/2026-10-28"]),
        (event("DTSTART;VALUE=DATE:20261012", "RDATE;VALUE=DATE:20261019"),
         ["RECURRENCE-ID;VALUE=DATE:20261019", "DTSTART;VALUE=DATE:20261021"], ["2026-10-12", "2026-10-21"]),
        (event("DTSTART;VALUE=DATE:20261012", "RDATE;VALUE=DATE:20261019"),
         ["RECURRENCE-ID;VALUE=DATE:20261012", "DTSTART;VALUE=DATE:20261021"], ["2026-10-19", "2026-10-21"]),
        (WEEKLY, ["RECURRENCE-ID;TZID=Europe/Berlin:20261019T220000", BERLIN + "20261019T220000", "DURATION:PT1H",
                  "RRULE:FREQ=WEEKLY;COUNT=3"], [FIRST, SECOND, THIRD]),
    ],
)  # fmt: skip
def test_single_times_of_a_series_are_changed_and_cancelled(series: str, lines: list[str], wanted: list[str]) -> None:
    assert times(series, event(*lines)) == sorted(wanted)
    assert times(event(*lines), series) == sorted(wanted)


def test_a_single_time_without_its_series_takes_place() -> None:
    assert times(event("RECURRENCE-ID:20261019T200000Z", "DTSTART;VALUE=DATE:20261020")) == ["2026-10-20"]
    assert times(WEEKLY, event("RECURRENCE-ID:20261019T200000Z", "STATUS:CANCELLED", uid="other")) == [
        FIRST,
        SECOND,
        THIRD,
    ]


@pytest.mark.parametrize(
    "parts",
    [
        [event("DTSTART;VALUE=DATE:20261012", "STATUS:CANCELLED")],
        [event("STATUS:cancelled")],
        ["METHOD:CANCEL", event("DTSTART;VALUE=DATE:20261012")],
        [event("DTSTART;VALUE=DATE:20261012"), event("DTSTART;VALUE=DATE:20261012", "SEQUENCE:1", "STATUS:CANCELLED")],
        [event("DTSTART;VALUE=DATE:20261012", "RRULE:FREQ=WEEKLY", "STATUS:CANCELLED"),
         event("RECURRENCE-ID;VALUE=DATE:20261019", "DTSTART;VALUE=DATE:20261020")],
        [WEEKLY, "END:VCALENDAR", "BEGIN:VCALENDAR", "METHOD:CANCEL", event("SEQUENCE:2")],
    ],
)  # fmt: skip
def test_a_cancelled_event_is_no_exclusion(parts: list[str]) -> None:
    found = read(calendar(*parts))
    assert (found.exclusions, found.left_out) == ([], [])


def test_of_several_revisions_the_latest_counts() -> None:
    old = event("DTSTART;VALUE=DATE:20261012", "SEQUENCE:1", "DTSTAMP:20260102T000000Z")
    new = event("DTSTART;VALUE=DATE:20261013", "SEQUENCE:2", "DTSTAMP:20260101T000000Z")
    stamped = event("DTSTART;VALUE=DATE:20261014", "SEQUENCE:2", "DTSTAMP:20260103T000000Z")
    found = read(calendar(old, new))
    assert list(map(shown, found.exclusions)) == ["2026-10-13"]
    assert found.remarks == ["left out, as a later revision is there: E (UID u)"]
    assert times(stamped, new) == ["2026-10-14"]
    # Some programs give all events of a file one UID, or none.
    assert times(old, old.replace("1012", "1015")) == ["2026-10-12", "2026-10-15"]
    without = [each.replace("UID:u\n", "") for each in (old, new)]
    assert times(*without) == ["2026-10-12", "2026-10-13"]


@pytest.mark.parametrize(
    ("zone", "wanted"),
    [
        ("Customized Time Zone", "2026-07-01T06:00Z/2026-07-01T07:00Z"),
        ('"Customized Time Zone"', "2026-07-01T06:00Z/2026-07-01T07:00Z"),
        ("W. Europe Standard Time", "2026-07-01T06:00Z/2026-07-01T07:00Z"),
        ("Eastern Standard Time", "2026-07-01T12:00Z/2026-07-01T13:00Z"),
        ("/mozilla.org/20050126_1/Europe/Berlin", "2026-07-01T06:00Z/2026-07-01T07:00Z"),
        (
            "/freeassociation.sourceforge.net/Tzfile/America/Argentina/Buenos_Aires",
            "2026-07-01T11:00Z/2026-07-01T12:00Z",
        ),
        ("tzone://Microsoft/Utc", "2026-07-01T08:00Z/2026-07-01T09:00Z"),
        ("europe/berlin", "2026-07-01T06:00Z/2026-07-01T07:00Z"),
        ("UTC", "2026-07-01T08:00Z/2026-07-01T09:00Z"),
    ],
)
def test_time_zones_have_many_names(zone: str, wanted: str) -> None:
    assert times(CUSTOM, event(f"DTSTART;TZID={zone}:20260701T080000", "DURATION:PT1H")) == [wanted]


@pytest.mark.parametrize(
    "name", ["tzone://Microsoft/Custom", "(UTC+01:00) Amsterdam, Berlin, Bern", "Mitteleuropäische Zeit"]
)
def test_a_file_defines_zones_of_any_name(name: str) -> None:
    zone = CUSTOM.replace("Customized Time Zone", name)
    for quoted in (name, f'"{name}"'):
        one = event(f"DTSTART;TZID={quoted}:20260701T080000", f"DTEND;TZID={quoted}:20260701T090000")
        assert times(zone, one) == ["2026-07-01T06:00Z/2026-07-01T07:00Z"]


def test_a_series_in_a_zone_of_its_own_follows_its_clock() -> None:
    series = event("DTSTART;TZID=Customized Time Zone:20261019T220000", "DTEND;TZID=Customized Time Zone:20261019T230000",
                   "RRULE:FREQ=WEEKLY;COUNT=2;BYDAY=MO", "EXDATE;TZID=Customized Time Zone:20261102T220000")  # fmt: skip
    assert times(CUSTOM, series) == [SECOND, THIRD]


def test_two_calendars_of_a_file_may_define_a_name_differently() -> None:
    one = event("DTSTART;TZID=Customized Time Zone:20260701T080000", "DURATION:PT1H", uid="a")
    two = event("DTSTART;TZID=Customized Time Zone:20260702T080000", "DURATION:PT1H", uid="b")
    other = CUSTOM.replace("+0200", "-0400").replace("+0100", "-0500")
    found = read(calendar(CUSTOM, one) + calendar(other, two) + calendar(event("DTSTART:20260703", uid="c")))
    assert list(map(shown, found.exclusions)) == [
        "2026-07-01T06:00Z/2026-07-01T07:00Z", "2026-07-02T12:00Z/2026-07-02T13:00Z", "2026-07-03",
    ]  # fmt: skip


def test_a_zone_may_be_defined_in_another_calendar_of_the_file() -> None:
    one = event("DTSTART;TZID=Customized Time Zone:20260701T080000", "DURATION:PT1H")
    found = read(calendar(one) + calendar(CUSTOM))
    assert list(map(shown, found.exclusions)) == ["2026-07-01T06:00Z/2026-07-01T07:00Z"]


@pytest.mark.parametrize(
    "rules",
    [
        "BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0530\nTZOFFSETTO:+0530\nEND:STANDARD",
        "BEGIN:STANDARD\nDTSTART:00010101T000000\nTZOFFSETFROM:+05:30\nTZOFFSETTO:+053000\nEND:STANDARD",
        "BEGIN:STANDARD\nDTSTART:20270101T000000\nTZOFFSETFROM:+0530\nTZOFFSETTO:+0800\nEND:STANDARD",
        "BEGIN:STANDARD\nDTSTART:19700101T000000\nRDATE:20260101T000000,20260801T000000\nTZOFFSETFROM:+0630\nTZOFFSETTO:+0530\n"
        "END:STANDARD\nBEGIN:DAYLIGHT\nDTSTART:20260715T000000\nTZOFFSETFROM:+0530\nTZOFFSETTO:+0630\nEND:DAYLIGHT",
        "BEGIN:STANDARD\nDTSTART:19701025T020000\nRRULE:FREQ=YEARLY;BYMONTH=10;UNTIL=19951025T000000Z\nTZOFFSETFROM:+0630\n"
        "TZOFFSETTO:+0530\nEND:STANDARD",
    ],
)
def test_definitions_of_zones_are_read_in_all_their_forms(rules: str) -> None:
    zone = f"BEGIN:VTIMEZONE\nTZID:Here\n{rules}\nEND:VTIMEZONE"
    one = event("DTSTART;TZID=Here:20260701T080000", "DURATION:PT1H")
    assert times(zone, one) == ["2026-07-01T02:30Z/2026-07-01T03:30Z"]


def test_times_without_a_zone_are_those_of_the_calendar_unless_told() -> None:
    one = event("DTSTART:20260701T080000", "DTEND:20260701T090000")
    assert times("X-WR-TIMEZONE:Europe/Berlin", one) == ["2026-07-01T06:00Z/2026-07-01T07:00Z"]
    assert times("X-WR-TIMEZONE:W. Europe Standard Time", one) == ["2026-07-01T06:00Z/2026-07-01T07:00Z"]
    assert times(CUSTOM, "X-WR-TIMEZONE:Customized Time Zone", one) == ["2026-07-01T06:00Z/2026-07-01T07:00Z"]
    assert times("X-WR-TIMEZONE:Europe/Berlin", one, zone="Asia/Tokyo") == ["2026-06-30T23:00Z/2026-07-01T00:00Z"]
    (told,) = read(calendar("X-WR-TIMEZONE:Mars", one)).left_out
    assert told == "E (UID u): it has times without a time zone: give --zone"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["SUMMARY:E"], "it has no DTSTART"),
        (["DTSTART:tomorrow"], "DTSTART: 'tomorrow' is no day such as 20261224, and no time such as 20261224T090000"),
        (["DTSTART"], "DTSTART: '' is no day"),
        (["DTSTART:20260230"], "DTSTART: '20260230' is no day"),
        (["DTSTART:2026-12-24"], "DTSTART: '2026-12-24' is no day"),
        (["DTSTART:10660101"], "'10660101' does not lie between 1601 and 9998"),
        (["DTSTART:20261224", "DTSTART:20261225"], "it has more than one DTSTART"),
        (["DTSTART:20261224", "DTEND:20261224T100000Z"], "DTSTART and DTEND are a day and a time"),
        (["DTSTART:20261224", "DTEND:20261223"], "ends before it begins"),
        (["DTSTART:20261224T100000Z", "DTEND:20261224T090000Z"], "ends before it begins"),
        (["DTSTART:20261224T100000Z", "DURATION:-PT1H"], "ends before it begins"),
        (["DTSTART:20261224T100000Z", "DURATION:1 hour"], "DURATION: '1 hour' is no length such as P1D or PT1H30M"),
        (["DTSTART:20261224T100000Z", "DURATION:PT"], "DURATION: 'PT' is no length"),
        (["DTSTART:20261224T100000Z", "DURATION:P999999W"], "its times lie beyond the year 9998"),
        (["DTSTART;TZID=Nowhere:20261224T100000"], "its time zone 'Nowhere' is neither defined in the file nor known"),
        (["DTSTART:20261224T100000Z", "RRULE:FREQ=FORTNIGHTLY"], "its rule cannot be read: FREQ is required"),
        (["DTSTART:20261224T100000Z", "RRULE:FREQ=DAILY;COUNT=0"], "its rule cannot be read: COUNT=0: allowed are 1 to 10000"),
        (["DTSTART:20261224T100000Z", "RRULE:FREQ=DAILY;COUNT=x"], "its rule cannot be read: COUNT=X: allowed are"),
        (["DTSTART:20261224T100000Z", "RRULE:FREQ=DAILY;COUNT=2;UNTIL=20261231"], "give COUNT or UNTIL, not both"),
        (["DTSTART:20261224T100000Z", "RRULE:W1 MO #10"], "its rule cannot be read: 'W1MO#10' is no part of a rule"),
        (["DTSTART:20261224", "RRULE:RSCALE=CHINESE;FREQ=YEARLY"], "RSCALE=CHINESE: the only calendar that is known"),
        (["DTSTART:20261224", "RRULE:FREQ=DAILY;UNTIL=soon"], "'SOON' is no day"),
        (["DTSTART:20261224", f"RRULE:FREQ=DAILY;BYMONTH={'1,' * 3000}1"], "its rule has 6,020 characters"),
        (["DTSTART:20261224", "RDATE:later"], "'later' is no day"),
        (["DTSTART:20261224T100000Z", "RECURRENCE-ID;RANGE=THISANDPRIOR:20261224T100000Z"], "RANGE=THISANDPRIOR is not read"),
        (["DTSTART:20260101T000000Z", "DURATION:PT1S", "RRULE:FREQ=SECONDLY"], "it comes more than 2,000 times in these years"),
        (["DTSTART:20260101T000000Z", "DURATION:PT1S", "RDATE:" + ",".join(f"20260102T{n // 3600:02}{n // 60 % 60:02}{n % 60:02}Z"
          for n in range(2001))], "it comes more than 2,000 times in these years"),
    ],
)  # fmt: skip
def test_an_event_that_cannot_be_read_is_left_out_by_name(lines: list[str], told: str) -> None:
    found = read(calendar(event(*lines, uid="bad"), event("DTSTART;VALUE=DATE:20261231", uid="good")))
    assert list(map(shown, found.exclusions)) == ["2026-12-31"]
    (said,) = found.left_out
    assert said.startswith("E (UID bad): ")
    assert told in said
    assert "vText" not in said
    assert "Error" not in said


def test_an_event_without_a_name_is_told_by_its_place() -> None:
    text = calendar(event("DTSTART:20261224"), "BEGIN:VEVENT\nDTSTART:never\nEND:VEVENT")
    assert read(text).left_out[0].startswith("(event 2 of the file): DTSTART: 'never'")


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("", "its time zone 'Here' is defined without a rule"),
        ("BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:x\nTZOFFSETTO:+0100\nEND:STANDARD", "'x' is no offset from UTC"),
        ("BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+9900\nEND:STANDARD", "'+9900' is no offset"),
        ("BEGIN:STANDARD\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0100\nEND:STANDARD", "'' is no day"),
        ("BEGIN:STANDARD\nDTSTART:19700101T000000\nRRULE:FREQ=SECONDLY\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0100\nEND:STANDARD",
         "its time zone 'Here' has more than 10,000 changes"),
    ],
)  # fmt: skip
def test_a_zone_that_cannot_be_read_costs_its_own_events_only(rules: str, told: str) -> None:
    zone = f"BEGIN:VTIMEZONE\nTZID:Here\n{rules}\nEND:VTIMEZONE"
    found = read(calendar(zone, event("DTSTART;TZID=Here:20260701T080000"), event("DTSTART:20261224", uid="good")))
    assert list(map(shown, found.exclusions)) == ["2026-12-24"]
    assert told in found.left_out[0]


def test_more_zones_than_a_file_may_define_cost_the_events_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "MAX_ZONES", 2)
    offsets = ("+0100", "+0100", "+0200", "+0300")
    rules = "BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:{0}\nTZOFFSETTO:{0}\nEND:STANDARD"
    parts = [f"BEGIN:VTIMEZONE\nTZID:Z{n}\n{rules.format(each)}\nEND:VTIMEZONE" for n, each in enumerate(offsets)]
    found = read(
        calendar(*parts, *(event(f"DTSTART;TZID=Z{n}:20260701T080000", "DURATION:PT1H", uid=f"{n}") for n in range(4)))
    )
    assert [shown(each)[:17] for each in found.exclusions] == [
        "2026-07-01T07:00Z",
        "2026-07-01T07:00Z",
        "2026-07-01T06:00Z",
    ]
    assert found.left_out == ["E (UID 3): the file defines more than 2 time zones"]


def test_names_of_lines_may_be_in_lower_case() -> None:
    text = calendar(CUSTOM, WEEKLY, event("RECURRENCE-ID;TZID=Europe/Berlin:20261019T220000", "STATUS:CANCELLED"))
    lines = [name.lower() + colon + value for name, colon, value in (line.partition(":") for line in text.split("\n"))]
    found = read("\n".join(lines).replace("europe/berlin", "Europe/Berlin"))
    assert (sorted(map(shown, found.exclusions)), found.left_out) == ([FIRST, THIRD], [])
    assert read(calendar(event("DTSTART:20261224")).lower()).exclusions[0].date == "2026-12-24"


def test_what_is_no_event_is_passed_over_and_counted() -> None:
    others = [f"BEGIN:{name}\nUID:x\nDTSTART:20260101\nBEGIN:VALARM\nEND:VALARM\nEND:{name}" for name in
              ("VTODO", "VJOURNAL", "VFREEBUSY", "VTODO")]  # fmt: skip
    x_component = "BEGIN:X-NOTE\nDTSTART:20260102\nEND:X-NOTE"
    found = read(calendar(*others, x_component, event("DTSTART:20261224")))
    assert list(map(shown, found.exclusions)) == ["2026-12-24"]
    assert found.remarks == [
        f"left out, as they are no events: {each}" for each in ("1 VFREEBUSY", "1 VJOURNAL", "2 VTODO")
    ]


def test_an_event_that_takes_no_time_is_told() -> None:
    for lines in (["DTSTART:20261224T100000Z"], ["DTSTART:20261224T100000Z", "DTEND:20261224T100000Z"],
                  ["DTSTART:20261224T100000Z", "DURATION:PT0S"]):  # fmt: skip
        found = read(calendar(event(*lines)))
        assert (found.exclusions, found.left_out) == ([], [])
        assert found.remarks == ["left out, as it takes no time: E (UID u)"]


HOLIDAY = calendar(
    event("DTSTART;VALUE=DATE:20261224").replace("SUMMARY:E", "SUMMARY:Fête \\, du été\\; fin\\n🎄 " + "ü" * 9)
)


def folded(data: bytes, width: int, newline: bytes) -> bytes:
    """Cut after so many bytes, within characters too."""
    cut = [
        b"\n ".join(line[at : at + width] for at in range(0, max(len(line), 1), width)) for line in data.split(b"\n")
    ]
    return b"\n".join(cut).replace(b"\n", newline)


@pytest.mark.parametrize("width", [1, 2, 3, 7, 74])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r", b"\r\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_end_and_fold_in_any_way(width: int, newline: bytes, mark: bytes) -> None:
    (one,) = read(mark + folded(HOLIDAY.encode(), width, newline)).exclusions
    assert (one.date, one.reason) == ("2026-12-24", "Fête , du été; fin 🎄 " + "ü" * 9)


def test_files_in_other_encodings_are_read() -> None:
    (one,) = read(HOLIDAY.encode("utf-16")).exclusions
    assert one.reason.endswith("üüü")
    (one,) = read(calendar(event("DTSTART:20261224")).replace("SUMMARY:E", "SUMMARY:Fête").encode("latin-1")).exclusions
    assert one.reason == "Fête"


def test_names_do_nothing_to_a_terminal() -> None:
    text = calendar(
        event("DTSTART:20261224").replace("SUMMARY:E", "SUMMARY:a\x1b[2J\x07\u202eb"),
        "BEGIN:VEVENT\nUID:\x1b]0;x\nEND:VEVENT",
    )
    found = read(text)
    assert found.exclusions[0].reason == "a [2J b"
    assert found.left_out == ["(UID ]0;x): it has no DTSTART"]


@pytest.mark.parametrize(
    ("text", "wanted", "left_out"),
    [
        # Cut off by a download: the last event is not whole.
        (calendar(event("DTSTART:20261224"), event("DTSTART:20261225", uid="v")).rpartition("END:VEVENT")[0], ["2026-12-24"], 1),
        (calendar(event("DTSTART:20261224")).rpartition("END:VCALENDAR")[0], ["2026-12-24"], 0),
        # An END that is missing, or one too many.
        (calendar("BEGIN:VEVENT\nUID:a\nDTSTART:20261223", event("DTSTART:20261224")), ["2026-12-24"], 1),
        (calendar(event("DTSTART:20261224", "BEGIN:VALARM", "DURATION:P9D")), ["2026-12-24"], 0),
        (calendar("END:VEVENT", "END:NONE", event("DTSTART:20261224")), ["2026-12-24"], 0),
        (event("DTSTART:20261224"), ["2026-12-24"], 0),
        ("BEGIN:VCALENDAR\n" + calendar(event("DTSTART:20261224")), ["2026-12-24"], 0),
        # Lines that are none.
        (calendar("", "garbage", ":", ";=:", "\x00\x01", event("DTSTART:20261224", "x", "=y:", 'DTEND;X="a:20261225')), ["2026-12-24"], 0),
        (calendar(*["BEGIN:X"] * 5000, event("DTSTART:20261224")), ["2026-12-24"], 0),
    ],
)  # fmt: skip
def test_a_broken_structure_costs_no_more_than_what_is_broken(text: str, wanted: list[str], left_out: int) -> None:
    found = read(text)
    assert list(map(shown, found.exclusions)) == wanted
    assert len(found.left_out) == left_out
    assert all("it has no END:VEVENT" in each for each in found.left_out)


@pytest.mark.parametrize(
    ("bound", "told"), [("MAX_FILE_BYTES", "it has more than 0 MiB"), ("MAX_EVENTS", "it has more than 1 events; divide it")]
)  # fmt: skip
def test_too_large_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, bound: str, told: str) -> None:
    monkeypatch.setattr(components, bound, 1)
    with pytest.raises(Failure) as refused:
        read(calendar(event("DTSTART:20261224"), event("DTSTART:20261225")))
    assert told in str(refused.value)


def test_too_many_times_in_all_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_ALL_TIMES", 5)
    with pytest.raises(Failure, match="take place more than 5 times in these years; give fewer --years"):
        read(calendar(DAYS, DAYS))


def test_events_that_come_too_often_count_towards_all_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_ALL_TIMES", 5_000)
    bomb = event("DTSTART:20260101T000000Z", "DURATION:PT1S", "RRULE:FREQ=SECONDLY")
    with pytest.raises(Failure, match="take place more than 5,000 times"):
        read(calendar(*[bomb] * 3))


def test_thousands_of_changes_of_one_series_are_read() -> None:
    moved = [event(f"RECURRENCE-ID;RANGE=THISANDFUTURE:20261012T{n // 3600:02}{n // 60 % 60:02}{n % 60:02}Z", "DTSTART:20260101")
             for n in range(5_000)]  # fmt: skip
    found = read(calendar(*[WEEKLY] * 500, *moved))
    # All later times are moved as far as the latest change was: from 12 October to 1 January.
    assert {shown(each) for each in found.exclusions} == {"2026-01-01", "2026-01-08", "2026-01-15"}


def test_a_large_file_is_read_line_by_line() -> None:
    attachment = "ATTACH;ENCODING=BASE64;VALUE=BINARY:" + "\n ".join(["A" * 74] * 20_000)
    days = [
        event(f"DTSTART:{date.fromordinal(739_600 + n):%Y%m%d}", attachment if n < 10 else "X-N:1", uid=str(n))
        for n in range(900)
    ]
    assert len(read(calendar(*days), range(2025, 2030)).exclusions) == 900


LINES = st.sampled_from(
    ["BEGIN:VEVENT", "END:VEVENT", "BEGIN:VALARM", "END:VALARM", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "BEGIN:STANDARD",
     "END:STANDARD", "TZID:Z", "TZOFFSETFROM:+0100", "TZOFFSETTO:-0330", "UID:a", "UID:b", "SUMMARY:x", "STATUS:CANCELLED",
     "SEQUENCE:3", "DTSTART:20260101", "DTSTART:20260101T120000Z", "DTSTART;TZID=Z:20260301T020000", "DTSTART:20260101T120000",
     "DTSTART:99981231T235959Z", "DTSTART:16010101", "DTEND:20260105", "DTEND:20260105T000000Z", "DURATION:P3D", "DURATION:-PT1H",
     "DURATION:PT0S", "DURATION:P999999W", "RRULE:FREQ=DAILY", "RRULE:FREQ=YEARLY;UNTIL=99981231", "RRULE:FREQ=WEEKLY;COUNT=3;BYDAY=MO",
     "RRULE:FREQ=MONTHLY;BYMONTHDAY=31;UNTIL=20271231T000000Z", "RDATE:20260203,20260204T000000Z", "RDATE;VALUE=PERIOD:20260203T000000Z/PT1H",
     "EXDATE:20260102", "EXDATE:20260102T120000", "EXRULE:FREQ=WEEKLY", "RECURRENCE-ID:20260102", "RECURRENCE-ID:20260102T120000",
     "RECURRENCE-ID;RANGE=THISANDFUTURE:20260102T120000Z", "METHOD:CANCEL", "X-WR-TIMEZONE:Asia/Tokyo"]
)  # fmt: skip


@given(
    st.lists(LINES | st.text(max_size=12), max_size=40),
    st.sampled_from([None, "Asia/Tokyo"]),
    st.sampled_from([YEARS, range(9998, 9999), range(1970, 1971)]),
)
def test_any_file_is_read_or_says_why_not(lines: list[str], zone: str | None, years: range) -> None:
    found = read("\n".join(("BEGIN:VCALENDAR", *lines)).encode("utf-8", "surrogatepass"), years, zone)
    assert len(found.left_out) <= found.events
    for each in found.exclusions:
        assert each.date <= (each.last_date or each.date)
        assert not each.HasField("start_time") or each.start_time.ToNanoseconds() < each.end_time.ToNanoseconds()
