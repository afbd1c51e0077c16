"""next_fire against two other readings of cron: a clock read each minute around clock changes, croniter elsewhere."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from raftsched.core.state.model import (
    SECOND_US,
    At,
    Cron,
    FoldPolicy,
    GapPolicy,
    Interval,
    Kind,
    Rrule,
    Schedule,
    Union,
)
from raftsched.core.times.cron import CronError, parse
from raftsched.core.times.cron_hash import resolve
from raftsched.core.times.exclusion import Exclusion, Exclusions
from raftsched.core.times.schedule import MAX_TIME_US, ScheduleError, fires, last_fire, next_fire, validate
from raftsched.core.times.zone import is_known, stretch_at

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
MAX_CLOCK_CHANGE_S = 3 * HOUR_S
SINCE_S = 631_152_000  # 1990
UNTIL_S = 2_524_608_000  # 2050

ZONES = sorted(name for name in available_timezones() if is_known(name))
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def field(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    span = st.lists(value, min_size=2, max_size=2, unique=True).map(sorted)
    item = st.one_of(
        value.map(str),
        span.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.tuples(span, st.integers(1, 20)).map(lambda of: f"{of[0][0]}-{of[0][1]}/{of[1]}"),
    )
    return st.one_of(
        st.just("*"),
        st.just("*"),
        st.integers(2, 20).map(lambda step: f"*/{step}"),
        st.lists(item, min_size=1, max_size=3).map(",".join),
    )


expressions = st.tuples(*(field(low, high) for low, high in RANGES)).map(" ".join)
six_fields = st.tuples(field(0, 59), expressions).map(" ".join)
days_special = st.sampled_from(
    ["* * 5#2", "* * L5", "* * 1#1,3#3", "L * *", "15,L * *", "1,15 * 2,4", "*/3 * 1-5", "? 2 *"]
)
specials = st.tuples(st.sampled_from(["30 1", "*/7 *", "0 2,3"]), days_special).map(" ".join)
hashed = st.tuples(
    st.sampled_from(["H * * * *", "H/15 H * * *", "H H(1-5) H * *", "0~30 ~ 15W,LW H *", "H H H * * H"]),
    st.text(max_size=5),
).map(lambda of: resolve(*of))
zones = st.sampled_from(ZONES)
days = st.one_of(st.just(("*", "*")), st.tuples(field(1, 31), field(0, 6)))
instants_s = st.integers(SINCE_S, UNTIL_S)


def offset_s(zone: ZoneInfo, instant_s: int) -> int:
    offset = datetime.fromtimestamp(instant_s, zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())


@given(zones, st.integers(0, 4_102_444_800))
def test_stretches_say_what_the_time_zone_database_says(name: str, instant_s: int) -> None:
    stretch = stretch_at(name, instant_s)
    zone = ZoneInfo(name)
    assert stretch.start_s <= instant_s < stretch.end_s
    for at_s in (instant_s, stretch.start_s, stretch.end_s - 1):
        assert offset_s(zone, at_s) == stretch.offset_s
    follower = stretch_at(name, stretch.end_s)
    before_s = stretch.end_s + stretch.offset_s
    if follower.start_s == stretch.end_s and abs(follower.offset_s - stretch.offset_s) <= MAX_CLOCK_CHANGE_S:
        assert follower.reached_s == before_s


# A clock change and an hour either side, for each zone that has one in the years that are looked at.
@st.composite
def changes(draw: st.DrawFn) -> tuple[str, int]:
    name = draw(zones)
    at_s = draw(instants_s)
    stretch = stretch_at(name, at_s)
    while stretch.end_s < UNTIL_S and stretch_at(name, stretch.end_s).offset_s == stretch.offset_s:
        stretch = stretch_at(name, stretch.end_s)
    assume(stretch.end_s < UNTIL_S)
    return name, stretch.end_s


def values(text: str, low: int, high: int) -> set[int]:
    """The values of one field that ``field`` generated."""
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


class Crond:
    """A cron that looks at the wall clock each minute, with the rules of cron(8) for clock changes, or given ones."""

    def __init__(
        self, expression: str, name: str, gap: GapPolicy | None = None, fold: FoldPolicy | None = None
    ) -> None:
        self.texts = expression.split()
        wildcard = self.texts[0][0] == "*" or self.texts[1][0] == "*"
        self.gap = gap or (GapPolicy.SKIP if wildcard else GapPolicy.SHIFT)
        self.fold = fold or (FoldPolicy.BOTH if wildcard else FoldPolicy.FIRST)
        self.sets = [values(text, *span) for text, span in zip(self.texts, RANGES, strict=True)]
        self.zone = ZoneInfo(name)

    def fires(self, first_s: int, until_s: int) -> Iterator[int]:
        reached_s = first_s - MINUTE_S + offset_s(self.zone, first_s - MINUTE_S)
        for now_s in range(first_s, until_s + 1, MINUTE_S):
            local_s = now_s + offset_s(self.zone, now_s)
            # A clock change of more than three hours leaves nothing out and repeats nothing.
            if abs(local_s - reached_s - MINUTE_S) > MAX_CLOCK_CHANGE_S:
                reached_s = local_s - MINUTE_S
            left_out = range(reached_s + MINUTE_S, local_s, MINUTE_S)
            fired = self.matches(local_s) and self.counts(now_s, local_s, repeated=local_s <= reached_s)
            if fired or (self.gap is GapPolicy.SHIFT and any(map(self.matches, left_out))):
                yield now_s
            reached_s = max(reached_s, local_s)

    def counts(self, now_s: int, local_s: int, *, repeated: bool) -> bool:
        if self.fold is FoldPolicy.BOTH:
            return True
        if self.fold is FoldPolicy.FIRST:
            return not repeated
        later_s = range(now_s + MINUTE_S, now_s + MAX_CLOCK_CHANGE_S + MINUTE_S, MINUTE_S)
        return all(at_s + offset_s(self.zone, at_s) != local_s for at_s in later_s)

    def matches(self, local_s: int) -> bool:
        at = datetime(1970, 1, 1) + timedelta(seconds=local_s)  # noqa: DTZ001 - local time
        minute, hour, day, month, weekday = (
            value in of
            for value, of in zip((at.minute, at.hour, at.day, at.month, at.isoweekday() % 7), self.sets, strict=True)
        )
        starred = self.texts[2][0] == "*" or self.texts[4][0] == "*"
        return minute and hour and month and ((day and weekday) if starred else (day or weekday))


@settings(max_examples=3 * settings().max_examples)
@given(changes(), field(0, 59), st.lists(st.integers(-3, 2), max_size=3), field(0, 23), days)
@example(("Australia/Lord_Howe", 1_791_039_600), "15", [], "2", ("*", "*"))
@example(("Pacific/Apia", 1_325_239_200), "0", [], "10", ("*", "*"))
@example(("Antarctica/Casey", 1_601_740_860), "30", [], "1-5", ("*", "*"))
def test_fires_around_a_clock_change_are_those_of_debians_cron(
    change: tuple[str, int], minute: str, near: list[int], hour: str, days: tuple[str, str]
) -> None:
    check_around_a_clock_change(change, minute, near, hour, days)


@settings(max_examples=3 * settings().max_examples)
@given(
    changes(),
    field(0, 59),
    st.lists(st.integers(-3, 2), max_size=3),
    field(0, 23),
    st.sampled_from([None, *GapPolicy]),
    st.sampled_from([None, *FoldPolicy]),
)
@example(("Australia/Lord_Howe", 1_775_314_800), "45", [], "1", None, FoldPolicy.LAST)
@example(("Pacific/Apia", 1_325_239_200), "0", [], "10", GapPolicy.SHIFT, FoldPolicy.LAST)
def test_fires_around_a_clock_change_follow_the_chosen_policies(
    change: tuple[str, int], minute: str, near: list[int], hour: str, gap: GapPolicy | None, fold: FoldPolicy | None
) -> None:
    check_around_a_clock_change(change, minute, near, hour, ("*", "*"), gap, fold)


def check_around_a_clock_change(
    change: tuple[str, int],
    minute: str,
    near: list[int],
    hour: str,
    days: tuple[str, str],
    gap: GapPolicy | None = None,
    fold: FoldPolicy | None = None,
) -> None:
    name, change_s = change
    assume(change_s % MINUTE_S == 0)
    change_hour = datetime.fromtimestamp(change_s, ZoneInfo(name)).hour
    hour = ",".join(str((change_hour + away) % 24) for away in near) or hour
    expression = f"{minute} {hour} {days[0]} * {days[1]}"
    first_s, until_s = change_s - 5 * HOUR_S, change_s + 5 * HOUR_S
    wanted = [at_s * SECOND_US for at_s in Crond(expression, name, gap, fold).fires(first_s, until_s)]
    assert fires(Schedule(Cron(expression, name, gap, fold)), first_s * SECOND_US, until_s * SECOND_US, 5000) == wanted


def steady(name: str, first_s: int, until_s: int) -> bool:
    """Whether the zone keeps its offset, and has kept it long enough for a repeated hour to be over."""
    at_s = first_s - 2 * DAY_S
    while at_s <= until_s:
        stretch = stretch_at(name, at_s)
        if stretch.offset_s != stretch_at(name, first_s).offset_s:
            return False
        at_s = stretch.end_s
    return True


@given(st.one_of(expressions, six_fields, specials), zones, instants_s)
def test_away_from_clock_changes_it_agrees_with_croniter(expression: str, name: str, after_s: int) -> None:
    schedule = Schedule(Cron(expression, name))
    at_us = after_s * SECOND_US
    theirs = croniter(
        expression,
        datetime.fromtimestamp(after_s, ZoneInfo(name)),
        ret_type=datetime,
        second_at_beginning=True,
        implement_cron_bug=True,  # a day field that begins with a star restricts; crontab(5)
    )
    for _ in range(3):
        at_us = next_fire(schedule, at_us)
        assume(at_us > 0 and steady(name, after_s, at_us // SECOND_US))
        assert datetime.fromtimestamp(at_us // SECOND_US, UTC) == theirs.get_next()


kinds = st.one_of(
    st.builds(
        Cron,
        st.one_of(expressions, six_fields, specials, hashed),
        zones,
        st.sampled_from([None, *GapPolicy]),
        st.sampled_from([None, *FoldPolicy]),
    ),
    st.builds(Interval, st.integers(SECOND_US, 400 * DAY_S * SECOND_US), st.integers(0, UNTIL_S * SECOND_US)),
    st.builds(At, st.integers(1, UNTIL_S * SECOND_US)),
)
rules = st.builds(
    lambda rule, start_s, *rest: Rrule(f"DTSTART:{datetime.fromtimestamp(start_s, UTC):%Y%m%dT%H%M%S}\n{rule}", *rest),
    st.sampled_from(
        [
            "FREQ=DAILY",
            "FREQ=HOURLY;INTERVAL=7",
            "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=1,2;BYMINUTE=30",
            "FREQ=MINUTELY;INTERVAL=13",
        ]
    ),
    st.integers(0, UNTIL_S),
    zones,
    st.sampled_from([None, *GapPolicy]),
    st.sampled_from([None, *FoldPolicy]),
)
times_us = st.integers(0, UNTIL_S * SECOND_US)
parts = st.builds(Schedule, st.one_of(kinds, rules), st.one_of(st.just(0), times_us), st.one_of(st.just(0), times_us))
unions = st.lists(parts, min_size=1, max_size=4).map(lambda found: Union(tuple(found)))
kinds = st.one_of(kinds, rules, unions)
schedules = st.builds(Schedule, kinds, st.one_of(st.just(0), times_us), st.one_of(st.just(0), times_us))


@given(schedules, times_us)
def test_times_strictly_increase_and_stay_within_the_validity(schedule: Schedule, after_us: int) -> None:
    for _ in range(5):
        at_us = next_fire(schedule, after_us)
        if at_us == 0:
            break
        assert at_us > after_us
        assert schedule.start_us <= at_us < (schedule.end_us or MAX_TIME_US + 1)
        after_us = at_us


@given(schedules, times_us, times_us)
def test_a_later_question_never_gets_an_earlier_answer(schedule: Schedule, one_us: int, other_us: int) -> None:
    early_us, late_us = sorted((one_us, other_us))
    early, late = (next_fire(schedule, at_us) or MAX_TIME_US + 1 for at_us in (early_us, late_us))
    assert early <= late
    # Between the question and its answer, every question has that answer.
    if late_us < early:
        assert late == early


@given(st.lists(parts, min_size=1, max_size=4), times_us)
def test_a_union_has_what_any_of_its_schedules_has_once(members: list[Schedule], after_us: int) -> None:
    union = Schedule(Union(tuple(members)))
    until_us = after_us + 3 * DAY_S * SECOND_US
    each = [fires(member, after_us + 1, until_us, 300) for member in members]
    end_us = min([found[-1] for found in each if len(found) == 300], default=until_us)
    wanted = sorted({at_us for found in each for at_us in found if at_us <= end_us})
    assert fires(union, after_us + 1, end_us, 1300) == wanted


@given(schedules, times_us)
def test_walking_with_restarts_gives_each_time_once(schedule: Schedule, after_us: int) -> None:
    until_us = after_us + 2 * DAY_S * SECOND_US
    listed = fires(schedule, after_us + 1, until_us, 50)
    walked: list[int] = []
    for count in (1, 7, 20, 22):
        # A new leader knows the last decided time and nothing else.
        walked += fires(schedule, (walked[-1] if walked else after_us) + 1, until_us, count)
    assert walked == listed


@given(
    parts,
    st.lists(st.tuples(st.integers(0, 4 * DAY_S), st.integers(1, DAY_S)), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=2),
    zones,
    st.integers(SINCE_S, UNTIL_S),
)
def test_exclusions_take_away_what_lies_in_them_and_nothing_else(
    schedule: Schedule, windows: list[tuple[int, int]], days: list[tuple[int, int]], zone: str, after_s: int
) -> None:
    after_us, until_us = after_s * SECOND_US, (after_s + 5 * DAY_S) * SECOND_US
    spans = [((after_s + at_s) * SECOND_US, (after_s + at_s + length_s) * SECOND_US) for at_s, length_s in windows]
    first_day = (after_s + offset_s(ZoneInfo(zone), after_s)) // DAY_S
    dates = [(first_day + day, first_day + day + length) for day, length in days]
    items = [Exclusion(start_us=start_us, end_us=end_us) for start_us, end_us in spans]
    items += [Exclusion(first, last) for first, last in dates]
    found = fires(replace(schedule, exclusions=(Exclusions(tuple(items), zone),)), after_us, until_us, 500)
    everything = fires(schedule, after_us, until_us, 5000)
    assume(len(everything) < 5000)

    def excluded(at_us: int) -> bool:
        day = (at_us // SECOND_US + offset_s(ZoneInfo(zone), at_us // SECOND_US)) // DAY_S
        return any(start <= at_us < end for start, end in spans) or any(first <= day <= last for first, last in dates)

    assert found == [at_us for at_us in everything if not excluded(at_us)][:500]


@given(schedules, times_us)
def test_last_fire_is_the_end_of_the_walk(schedule: Schedule, until_us: int) -> None:
    last_us = last_fire(schedule, until_us)
    if last_us:
        assert fires(schedule, last_us, until_us, 2) == [last_us]
    else:
        assert not 0 < next_fire(schedule, 0) <= until_us


@given(st.one_of(kinds, st.builds(Cron, expressions.map(lambda text: text.replace("*", "L")), zones)))
def test_what_passes_validation_fires(kind: Kind) -> None:
    try:
        validate(Schedule(kind))
    except ScheduleError:
        return
    assert next_fire(Schedule(kind), 0) > 0


@given(st.one_of(st.text(max_size=40), st.text("0123456789*/-,#?LWHRhlw@monfri ", max_size=40)))
@example("* * * * 6-1/10")
@example("0 0 31-l/9 * l0")
def test_any_text_parses_or_is_refused_with_a_reason(text: str) -> None:
    try:
        cron = parse(text)
    except CronError as refused:
        assert str(refused)  # noqa: PT017 - any text may be read too
    else:
        assert 1 <= len(cron.minutes) <= 1440
        assert cron.next_local(0) >= 0


@given(st.one_of(st.text(max_size=30), zones))
def test_any_text_is_a_zone_or_not(name: str) -> None:
    if is_known(name):
        assert stretch_at(name, SINCE_S).start_s <= SINCE_S
