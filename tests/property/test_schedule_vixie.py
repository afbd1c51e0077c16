"""Fields of cron expressions against get_range() of Vixie cron's entry.c, as Debian has it; remarks against fires."""

import re
from datetime import UTC, datetime

from hypothesis import assume, example, given
from hypothesis import strategies as st

from raftsched.core.state.model import SECOND_US, Cron, Schedule
from raftsched.core.times.cron import CronError, parse
from raftsched.core.times.cron_notes import notes
from raftsched.core.times.schedule import fires

FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
NAMES = ({}, {}, {}, {name: n for n, name in enumerate(MONTHS, 1)}, {name: n for n, name in enumerate(WEEKDAYS)})
DAY_S = 86_400


def vixie(text: str, at: int) -> set[int] | None:
    """What the field matches; None where cron refuses it."""
    found: set[int] = set()
    for item in text.split(","):
        read = re.fullmatch(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?", item)
        if read is None:
            return None
        star, first, last, step = read.groups()
        low, high = FIELDS[at]
        if not star:
            low = number(first, at)
            high = number(last, at) if last else high if step else low
        if not FIELDS[at][0] <= low <= high <= FIELDS[at][1] or step == "0" * len(step or "x"):
            return None
        found.update(range(low, high + 1, int(step or 1)))
    return {value % 7 for value in found} if at == 4 else found


def number(word: str, at: int) -> int:
    return int(word) if word.isdecimal() else NAMES[at].get(word.lower(), -1)


def items(at: int) -> st.SearchStrategy[str]:
    low, high = FIELDS[at]
    values = st.one_of(st.integers(low, high).map(str), *([st.sampled_from(list(NAMES[at]))] if NAMES[at] else []))
    steps = st.integers(1, high + 10).map(lambda step: f"/{step}")
    ranges = st.tuples(values, values).map("-".join)
    return st.one_of(
        values, ranges, st.just("*"), st.builds(str.__add__, st.one_of(st.just("*"), values, ranges), steps)
    )


@given(st.integers(0, 4).flatmap(lambda at: st.tuples(st.just(at), st.lists(items(at), min_size=1, max_size=3))))
@example((4, ["3/2"]))
@example((4, ["1/2"]))
@example((4, ["*/7"]))
@example((4, ["0-7"]))
@example((4, ["5-7"]))
@example((4, ["sat/1"]))
@example((0, ["*/90"]))
@example((3, ["*/18"]))
def test_a_field_matches_what_it_matches_under_cron(field: tuple[int, list[str]]) -> None:
    at, written = field
    text = ",".join(written)
    theirs = vixie(text, at)
    # Ranges that wrap around are ours alone.
    assume(theirs is not None)
    assert theirs is not None
    parsed = parse(" ".join(text if at == other else "*" for other in range(5)))
    minutes = [divmod(minute, 60) for minute in parsed.minutes]
    ours = (
        {minute for _, minute in minutes},
        {hour for hour, _ in minutes},
        {day for day in range(1, 32) if parsed.days >> day & 1},
        set(parsed.months),
        {(day - 1) % 7 for day in range(1, 8) if parsed.weekdays[0] >> day & 1},
    )
    assert ours[at] == theirs


@given(st.integers(0, 4).flatmap(lambda at: st.tuples(st.just(at), items(at))))
def test_a_step_that_leaves_one_value_is_told_and_no_other(field: tuple[int, str]) -> None:
    at, item = field
    theirs = vixie(item, at)
    told = [note for note in notes(" ".join(item if at == other else "0" for other in range(5))) if "is left" in note]
    assert bool(told) == (theirs is not None and len(theirs) == 1 and "/" in item and not item.endswith("/1"))
    if told:
        assert theirs is not None
        assert int(re.findall(r"only (\d+) is left", told[0])[0]) % (7 if at == 4 else 100) in theirs


@given(st.lists(st.integers(1, 31).map(str), min_size=1, max_size=3), items(3))
def test_months_that_are_said_not_to_fire_do_not(days: list[str], month: str) -> None:
    expression = f"0 0 {','.join(days)} {month} *"
    try:
        parse(expression)
    except CronError:
        assume(False)
    months = vixie(month, 3)
    assume(months is not None)
    assert months is not None
    begin = int(datetime(2028, 1, 1, tzinfo=UTC).timestamp())
    times = fires(Schedule(Cron(expression)), begin * SECOND_US, (begin + 366 * DAY_S - 1) * SECOND_US, 400)
    silent = months - {datetime.fromtimestamp(at_us / SECOND_US, UTC).month for at_us in times}
    names = [f"{datetime(2028, each, 1, tzinfo=UTC):%B}" for each in sorted(silent)]
    # One that never fires is refused before anybody looks for remarks.
    assume(times)
    told = [note for note in notes(expression) if note.startswith("does not fire in")]
    said = re.split(", | and ", told[0].partition(" in ")[2].partition(", for lack")[0]) if told else []
    assert said == names


@given(st.text(max_size=40), st.text("0123456789*/-,~hHlLwW()#? ", max_size=40))
def test_any_text_has_remarks_or_none(text: str, alike: str) -> None:
    notes(text)
    notes(alike)
