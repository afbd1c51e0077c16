"""Recurrence rules against python-dateutil, which walks each of them from DTSTART."""

import warnings
from datetime import datetime, timedelta
from itertools import islice

from dateutil.rrule import rrulestr
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from raftsched.core.times import recurrence, rrule

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local times
DAY_S = 86_400
HORIZON_S = {
    "YEARLY": 40_000 * DAY_S,
    "MONTHLY": 9_000 * DAY_S,
    "WEEKLY": 9_000 * DAY_S,
    "DAILY": 4_000 * DAY_S,
    "HOURLY": 300 * DAY_S,
    "MINUTELY": 20 * DAY_S,
    "SECONDLY": DAY_S // 2,
}
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def some(low: int, high: int, most: int = 3) -> st.SearchStrategy[str]:
    values = st.integers(low, high).filter(lambda number: number != 0 or low == 0)
    return st.lists(values, min_size=1, max_size=most, unique=True).map(lambda found: ",".join(map(str, found)))


def weekdays(nth: int) -> st.SearchStrategy[str]:
    """All with a number or none: of a mixture, dateutil takes the days that are both, the RFC those that are either."""
    plain = st.sampled_from(WEEKDAYS)
    numbers = st.sampled_from([*range(-nth, 0), *range(1, nth + 1)]).map(str) if nth else st.just("")
    numbered = st.tuples(numbers, plain).map("".join)
    lists = (st.lists(each, min_size=1, max_size=3, unique=True) for each in (plain, numbered))
    return st.one_of(*lists).map(",".join)


OPTIONAL = {
    "YEARLY": {"BYMONTH": some(1, 12), "BYMONTHDAY": some(-31, 31), "BYDAY": weekdays(5), "BYYEARDAY": some(-366, 366)},
    "MONTHLY": {"BYMONTH": some(1, 12), "BYMONTHDAY": some(-31, 31), "BYDAY": weekdays(4)},
    "WEEKLY": {"BYMONTH": some(1, 12), "BYDAY": weekdays(0)},
    "DAILY": {"BYMONTH": some(1, 12), "BYMONTHDAY": some(-31, 31), "BYDAY": weekdays(0)},
    "HOURLY": {"BYMONTH": some(1, 12), "BYDAY": weekdays(0)},
    "MINUTELY": {"BYDAY": weekdays(0)},
    "SECONDLY": {"BYDAY": weekdays(0)},
}
TIMES = {"BYHOUR": some(0, 23), "BYMINUTE": some(0, 59), "BYSECOND": some(0, 59, 2)}


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(list(OPTIONAL)))
    parts = {"FREQ": frequency}
    if draw(st.booleans()):
        parts["INTERVAL"] = str(draw(st.integers(1, 40)))
    if frequency == "WEEKLY" and draw(st.booleans()):
        parts["WKST"] = draw(st.sampled_from(WEEKDAYS))
    if frequency == "YEARLY" and draw(st.integers(0, 3)) == 0:
        parts["BYWEEKNO"] = draw(some(-52, 53))
        if draw(st.booleans()):
            parts["BYDAY"] = draw(weekdays(0))
    else:
        for name, values in OPTIONAL[frequency].items():
            if draw(st.integers(0, 2)) == 0:
                parts[name] = draw(values)
    for name, values in TIMES.items():
        if draw(st.integers(0, 3)) == 0:
            parts[name] = draw(values)
    by = [name for name in parts if name.startswith("BY")]
    if frequency in ("YEARLY", "MONTHLY", "DAILY") and by and draw(st.integers(0, 3)) == 0:
        parts["BYSETPOS"] = draw(some(-4, 4, 2))
    return ";".join(f"{name}={value}" for name, value in parts.items())


starts_s = st.integers(DAY_S, 2_000_000_000)
old_starts_s = st.integers(-11_000_000_000, 2_000_000_000)


def stamp(local_s: int) -> str:
    return f"{EPOCH + timedelta(seconds=local_s):%Y%m%dT%H%M%S}"


def ours(lines: str, from_s: int, count: int) -> list[int]:
    found = recurrence.parse(lines, "UTC")
    times: list[int] = []
    while len(times) < count and (from_s := found.next_local(from_s)) < rrule.NEVER_S:
        times.append(from_s)
        from_s += 1
    return times


def theirs(lines: str, from_s: int, count: int) -> list[int]:
    if "BYWEEKNO" in lines and "BYDAY" not in lines:
        # dateutil takes all days of the week; RFC 5545, section 3.3.10, the one of DTSTART.
        start = datetime.strptime(lines[8:23], "%Y%m%dT%H%M%S")  # noqa: DTZ007 - local times
        lines += f";BYDAY={WEEKDAYS[start.weekday()]}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rule = rrulestr(lines)
    return [
        round((at - EPOCH).total_seconds())
        for at in islice(rule.xafter(EPOCH + timedelta(seconds=from_s), inc=True), count)
    ]


@settings(max_examples=4 * settings().max_examples)
@given(rules(), old_starts_s, st.integers(0, 900))
@example("FREQ=YEARLY;BYWEEKNO=1,53,-1;BYDAY=MO,SU", 1_000_000_000, 0)
@example("FREQ=YEARLY;BYWEEKNO=20", 1_000_000_000, 0)
@example("FREQ=YEARLY;BYDAY=-1SU;BYMONTH=2", 1_000_000_000, 0)
def test_rules_have_the_times_that_dateutil_finds(rule: str, start_s: int, later: int) -> None:
    lines = f"DTSTART:{stamp(start_s)}\nRRULE:{rule}"
    horizon_s = HORIZON_S[rule.partition(";")[0].removeprefix("FREQ=")]
    from_s = start_s + horizon_s * later // 1000
    found = ours(lines, from_s, 6)
    # dateutil looks at each hour, minute or second, and would walk to the year 9999 for what comes rarely or never.
    assume(len(found) == 6 and found[-1] < start_s + horizon_s)
    assert found == theirs(lines, from_s, 6)


@given(rules(), starts_s, st.integers(1, 12))
def test_count_and_until_end_a_rule_at_the_time_that_they_name(rule: str, start_s: int, count: int) -> None:
    lines = f"DTSTART:{stamp(start_s)}\nRRULE:{rule}"
    unlimited = ours(lines, 0, count + 1)
    assume(len(unlimited) == count + 1 and unlimited[-1] < start_s + 4000 * DAY_S)
    assert ours(f"{lines};COUNT={count}", 0, count + 9) == unlimited[:count]
    assert ours(f"{lines};UNTIL={stamp(unlimited[count - 1])}", 0, count + 9) == unlimited[:count]


@given(rules(), starts_s, st.lists(st.integers(0, 3_000_000_000), min_size=2, max_size=2).map(sorted))
def test_a_question_between_two_times_has_the_later_one_for_an_answer(
    rule: str, start_s: int, asked: list[int]
) -> None:
    found = recurrence.parse(f"DTSTART:{stamp(start_s)}\nRRULE:{rule}", "UTC")
    early, late = (found.next_local(at_s) for at_s in asked)
    assert asked[0] <= early <= late
    if asked[1] <= early:
        assert late == early


@given(st.one_of(st.text(max_size=80), st.text("FREQ=DAILYBYHOUR;0123456789,:\nTZ-", max_size=80)))
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        found = recurrence.parse(text, "UTC")
    except rrule.RruleError as refused:
        assert str(refused)  # noqa: PT017 - any text may be read too
    else:
        assert found.next_local(0) >= 0
