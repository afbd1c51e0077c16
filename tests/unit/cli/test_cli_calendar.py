"""``raftsched calendar``, and the examples of docs/schedules.md."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from raftsched_client import Calendar, Exclusion

PAGE = Path(__file__).parents[3] / "docs" / "schedules.md"
EVENTS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//tests//EN
BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20261224
DTEND;VALUE=DATE:20261227
SUMMARY:Christmas
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTART;VALUE=DATE:20200101
RRULE:FREQ=YEARLY
EXDATE;VALUE=DATE:20270101
SUMMARY:New Year
END:VEVENT
BEGIN:VEVENT
UID:3
DTSTART;TZID=Europe/Berlin:20261029T220000
DURATION:PT4H
RRULE:FREQ=WEEKLY;COUNT=3
SUMMARY:Patches
END:VEVENT
BEGIN:VEVENT
UID:3
RECURRENCE-ID;TZID=Europe/Berlin:20261105T220000
DTSTART;TZID=Europe/Berlin:20261106T220000
DTEND;TZID=Europe/Berlin:20261107T020000
SUMMARY:Patches, a day later
END:VEVENT
BEGIN:VEVENT
UID:4
DTSTART:20261111T110000Z
SUMMARY:Takes no time
END:VEVENT
BEGIN:VEVENT
UID:5
DTSTART;VALUE=DATE:20261112
STATUS:CANCELLED
SUMMARY:Does not happen
END:VEVENT
BEGIN:VEVENT
UID:6
DTSTART;VALUE=DATE:19990101
SUMMARY:Long ago
END:VEVENT
END:VCALENDAR
"""
FLOATING = "BEGIN:VEVENT\nUID:7\nDTSTART:20261201T080000\nDTEND:20261201T090000\nEND:VEVENT\nEND:VCALENDAR\n"


def dates(calendar: Calendar) -> list[str]:
    return [f"{each.date}/{each.last_date}" if each.last_date else each.date for each in calendar.exclusions]


def times(calendar: Calendar) -> list[tuple[str, str]]:
    return [
        (each.start_time.ToJsonString(), each.end_time.ToJsonString())
        for each in calendar.exclusions
        if each.HasField("start_time")
    ]


def test_calendars_are_created_changed_listed_and_deleted(cli, cluster):
    ended = cli("calendar", "create", "freeze", "--exclude", "2026-12-20/2027-01-03 year end")
    assert "freeze: 1 exclusion," in ended.out
    assert re.search(r"2026-12-20 to 2027-01-03 +year end", ended.out)
    cli("calendar", "update", "freeze", "--add", "--exclude", "2027-03-26", "--exclude", "2027-03-26")
    assert dates(cluster.calendars["freeze"]) == ["2026-12-20/2027-01-03", "2027-03-26"]
    cli("calendar", "update", "freeze", "--exclude", "2028-01-01")
    assert dates(cluster.calendars["freeze"]) == ["2028-01-01"]
    assert re.search(r"^freeze +1 +0", cli("calendar", "list").out, re.MULTILINE)
    assert "nothing to change" in cli("calendar", "update", "freeze").err
    assert cli("calendar", "delete", "freeze").code == 0
    assert cli("calendar", "show", "freeze").code == 3


def test_holidays_of_a_country_and_of_a_part_of_it(cli, cluster):
    assert cli("calendar", "create", "de", "--holidays", "DE", "--years", "2026").code == 0
    assert cli("calendar", "create", "by", "--holidays", "de-by", "--years", "2026-2027").code == 0
    country, part = (set(dates(cluster.calendars[name])) for name in ("de", "by"))
    assert "2026-10-03" in country
    assert "2026-01-06" not in country
    assert {"2026-01-06", "2027-01-06"} <= part
    for place in ("XX", "DE-XX"):
        assert f"'{place}' is not known" in cli("calendar", "create", "x", "--holidays", place).err
    for years in ("2027-2026", "soon", "1900", "2000-2100"):
        assert cli("calendar", "create", "x", "--holidays", "DE", "--years", years).code == 2
    assert "goes with --holidays" in cli("calendar", "create", "x", "--years", "2026").err


def test_parts_of_a_country_have_names_too(cli, cluster):
    for name, place in (("code", "GB-ENG"), ("name", "gb-england")):
        assert cli("calendar", "create", name, "--holidays", place, "--years", "2026").code == 0
    assert dates(cluster.calendars["code"]) == dates(cluster.calendars["name"])
    assert "'DE-' is not known" in cli("calendar", "create", "x", "--holidays", "DE-").err


def test_years_whose_holidays_are_not_known_are_refused(cli, cluster):
    for years in ("1980", "2099-2101"):
        ended = cli("calendar", "create", "x", "--holidays", "DE", "--years", years)
        assert (ended.code, cluster.calendars) == (2, {})
        assert re.search(
            r"are not known; the package holidays has them from 19\d\d to 2100. Give other --years", ended.err
        )


def test_what_the_package_says_of_holidays_is_a_remark(cli):
    ended = cli("calendar", "create", "x", "--holidays", "IN", "--years", "2040")
    assert "--holidays IN: Requested Holidays are available only from" in ended.err
    assert "UserWarning" not in ended.err


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf2026-12-24 F\xc3\xaate\r\n# \xff\r\n2026-12-25\r\n",
        "2026-12-24 Fête\n# Müller\n2026-12-25\n".encode("latin-1"),
        "# de\n\n  2026-12-24\t Fête  \n2026-12-25".encode(),
    ],
)
def test_files_of_exclusions_are_read_as_editors_write_them(cli, cluster, tmp_path, data):
    (tmp_path / "days.txt").write_bytes(data)
    assert cli("calendar", "create", "c", "--exclude", f"@{tmp_path / 'days.txt'}").code == 0
    first, last = cluster.calendars["c"].exclusions
    assert (first.date, first.reason[:1], first.reason[-2:], last.date) == ("2026-12-24", "F", "te", "2026-12-25")


def test_reasons_do_nothing_to_a_terminal(cli, cluster):
    cluster.calendars["c"] = Calendar(
        name="c", exclusions=[Exclusion(date="2026-05-01", reason="a\x1b[2J\u202eb\x9bc")]
    )
    shown = cli("calendar", "show", "c").out
    assert "a [2J b c" in shown
    assert not {"\x1b", "\u202e", "\x9b"} & set(shown)


def test_holidays_say_what_to_install(cli, cluster, monkeypatch):
    monkeypatch.setitem(sys.modules, "holidays", None)
    ended = cli("calendar", "create", "de", "--holidays", "DE")
    assert (ended.code, cluster.calendars) == (2, {})
    assert "pip install 'raftsched[holidays]'" in ended.err


def test_events_of_an_icalendar_file_are_imported(cli, cluster, tmp_path):
    (tmp_path / "events.ics").write_text(EVENTS)
    ended = cli("calendar", "import", "events", str(tmp_path / "events.ics"), "--years", "2026-2028")
    assert ended.code == 0
    assert "left out, as it takes no time: Takes no time" in ended.err
    found = cluster.calendars["events"]
    assert sorted(filter(None, dates(found))) == ["2026-01-01", "2026-12-24/2026-12-26", "2028-01-01"]
    assert times(found) == [
        ("2026-10-29T21:00:00Z", "2026-10-30T01:00:00Z"),
        ("2026-11-12T21:00:00Z", "2026-11-13T01:00:00Z"),
        ("2026-11-06T21:00:00Z", "2026-11-07T01:00:00Z"),
    ]
    assert {each.reason for each in found.exclusions} == {"Christmas", "New Year", "Patches", "Patches, a day later"}


def test_an_import_replaces_or_adds(cli, cluster, tmp_path):
    (tmp_path / "events.ics").write_text(EVENTS)
    cluster.calendars["events"] = Calendar(name="events", exclusions=[Exclusion(date="2026-05-01")])
    cli("calendar", "import", "events", str(tmp_path / "events.ics"), "--years", "2028", "--add")
    assert dates(cluster.calendars["events"]) == ["2026-05-01", "2028-01-01"]
    cli("calendar", "import", "events", str(tmp_path / "events.ics"), "--years", "2028")
    assert dates(cluster.calendars["events"]) == ["2028-01-01"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "no iCalendar file"),
        ("BEGIN:VCALENDAR\nVERSION:2.0\nEND:VCALENDAR\n", "no event of the file touches these years"),
        ("BEGIN:VCALENDAR\nVERSION:2.0\n" + FLOATING, "give --zone"),
        ("<!DOCTYPE html>\n<html><body>Log in</body></html>\n", "it has no line BEGIN:VCALENDAR"),
    ],
)
def test_what_cannot_be_imported_is_refused(cli, cluster, tmp_path, text, said):
    (tmp_path / "events.ics").write_text(text)
    ended = cli("calendar", "import", "events", str(tmp_path / "events.ics"), "--years", "2026-2028")
    assert (ended.code, cluster.calendars) == (2, {})
    assert said in ended.err


BAD = """BEGIN:VEVENT
UID:8
DTSTART;TZID=Atlantis:20261201T080000
DURATION:PT1H
SUMMARY:Lost \x1b[31mcity
END:VEVENT
"""


def test_an_event_that_cannot_be_read_is_named_and_does_not_keep_the_others(cli, cluster, tmp_path):
    (tmp_path / "events.ics").write_text(EVENTS.replace("BEGIN:VEVENT\n", BAD + "BEGIN:VEVENT\n", 1))
    ended = cli("calendar", "import", "events", str(tmp_path / "events.ics"), "--years", "2026-2028")
    assert ended.code == 1
    assert len(cluster.calendars["events"].exclusions) == 6
    assert "error: 1 of 8 events cannot be read; the calendar is without them" in ended.err
    assert "  Lost [31mcity (UID 8): its time zone 'Atlantis' is neither defined in the file nor known" in ended.err
    assert "\x1b" not in ended.out + ended.err


def test_nothing_changes_when_strict_and_an_event_cannot_be_read(cli, cluster, tmp_path):
    (tmp_path / "events.ics").write_text(EVENTS.replace("BEGIN:VEVENT\n", BAD + "BEGIN:VEVENT\n", 1))
    ended = cli("calendar", "import", "events", str(tmp_path / "events.ics"), "--years", "2026-2028", "--strict")
    assert (ended.code, cluster.calendars) == (2, {})
    assert "1 of 8 events cannot be read; nothing was changed" in ended.err
    assert "UID 8" in ended.err
    (tmp_path / "events.ics").write_text(EVENTS)
    assert (
        cli("calendar", "import", "events", str(tmp_path / "events.ics"), "--years", "2026-2028", "--strict").code == 0
    )


def test_of_many_events_that_cannot_be_read_the_first_are_named(cli, cluster, tmp_path):
    (tmp_path / "events.ics").write_text(EVENTS.replace("BEGIN:VEVENT\n", BAD * 50 + "BEGIN:VEVENT\n", 1))
    ended = cli("calendar", "import", "events", str(tmp_path / "events.ics"), "--years", "2026-2028")
    assert ended.err.count("Atlantis") == 20
    assert "  and 30 more" in ended.err


def test_more_exclusions_than_a_calendar_holds_are_refused_before_anything_changes(cli, cluster, tmp_path):
    daily = (
        "BEGIN:VEVENT\nUID:9\nDTSTART:20260101T080000Z\nDURATION:PT1H\nRRULE:FREQ=HOURLY;BYHOUR=8,9,10\nEND:VEVENT\n"
    )
    (tmp_path / "e.ics").write_text(f"BEGIN:VCALENDAR\n{daily}{daily.replace('T0800', 'T0830')}END:VCALENDAR\n")
    ended = cli("calendar", "import", "e", str(tmp_path / "e.ics"), "--years", "2026")
    assert (ended.code, cluster.calendars) == (2, {})
    assert "2,190 exclusions, and a calendar has at most 2,000; give fewer --years" in ended.err


NIGHT = """BEGIN:VCALENDAR
BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Berlin:20261024T220000
DTEND;TZID=Europe/Berlin:20261025T060000
END:VEVENT
END:VCALENDAR
"""


def test_no_task_fires_in_an_imported_freeze_over_a_change_of_the_clock(cli, cluster, tmp_path):
    (tmp_path / "night.ics").write_text(NIGHT)
    assert cli("calendar", "import", "night", str(tmp_path / "night.ics"), "--years", "2026").code == 0
    cron = '{expression: "30 5,6 * * *", timeZone: Europe/Berlin}'
    (tmp_path / "t.yaml").write_text(
        f"name: t\nschedule: {{cron: {cron}, calendars: [night]}}\naction: {{noop: {{}}}}\n"
    )
    window = ("--from", "2026-10-24T00:00:00Z", "--to", "2026-10-25T12:00:00Z")
    out = cli("simulate", str(tmp_path / "t.yaml"), *window).out
    fires = [line.split("  ")[0] for line in out.splitlines() if line.endswith(" t")]
    assert fires == ["2026-10-24 05:30:00+02:00", "2026-10-24 06:30:00+02:00", "2026-10-25 06:30:00+01:00"]


def test_times_without_a_zone_are_those_of_the_option(cli, cluster, tmp_path):
    (tmp_path / "events.ics").write_text("BEGIN:VCALENDAR\nVERSION:2.0\n" + FLOATING)
    cli("calendar", "import", "e", str(tmp_path / "events.ics"), "--years", "2026", "--zone", "America/New_York")
    assert times(cluster.calendars["e"]) == [("2026-12-01T13:00:00Z", "2026-12-01T14:00:00Z")]


def test_tasks_name_calendars(cli, cluster):
    cli("task", "create", "settle", "--cron", "@daily", "--calendar", "a", "--calendar", "b", "--noop")
    assert list(cluster.tasks["settle"].schedule.calendars) == ["a", "b"]
    assert re.search(r"calendars +a, b", cli("task", "show", "settle").out)
    cli("task", "update", "settle", "--calendar", "")
    assert not cluster.tasks["settle"].schedule.calendars


def test_simulate_asks_the_cluster_for_the_calendars_of_a_file(cli, cluster, tmp_path):
    cluster.calendars["c"] = Calendar(name="c", exclusions=[Exclusion(date="2026-05-05")])
    (tmp_path / "t.yaml").write_text(
        'name: t\nschedule: {cron: {expression: "0 9 * * *"}, calendars: [c]}\naction: {noop: {}}\n'
    )
    window = ("--from", "2026-05-04T00:00:00Z", "--to", "2026-05-07T00:00:00Z")
    out = cli("simulate", str(tmp_path / "t.yaml"), *window).out
    assert [line[:10] for line in out.splitlines() if line.endswith(" t")] == ["2026-05-04", "2026-05-06"]
    del cluster.calendars["c"]
    assert "there is no calendar named 'c'" in cli("simulate", str(tmp_path / "t.yaml"), *window).err


def test_explain_names_what_leaves_a_time_out(cli, cluster):
    window = "2036-05-06T08:00:00Z/2036-05-06T10:00:00Z freeze"
    cluster.calendars["c"] = Calendar(name="c", exclusions=[Exclusion(date="2036-05-05", reason="Holiday")])
    cli("task", "create", "t", "--cron", "0 9 * * *", "--calendar", "c", "--exclude", window, "--noop")
    said = cli("explain", "t", "--at", "2036-05-05T12:00:00Z")
    assert "2036-05-05 09:00:00+00:00 is excluded by calendar c: 2036-05-05 (Holiday)" in said.out
    said = cli("explain", "t", "--at", "2036-05-06T09:00:00Z")
    assert "2036-05-06 09:00:00+00:00 is excluded by 2036-05-06 08:00:00+00:00 to" in said.out
    assert cli("explain", "t", "--at", "2036-05-07T12:00:00Z").code == 3
    assert cli("explain", "t", "--at", "2036-05-06T09:00:00Z", "-o", "json").code == 3


def test_the_examples_of_the_page_work(cli, cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "company.ics").write_text(EVENTS)
    section = PAGE.read_text().partition("\n## Calendars\n")[2].partition("\n## ")[0]
    examples = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    assert len(examples) > 4
    for example in examples:
        assert cli(*shlex.split(example)[1:]).code == 0, example
