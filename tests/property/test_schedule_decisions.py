"""However the calls fall, each nominal time of a task is decided exactly once, in order, and by its policy."""

from hypothesis import given
from hypothesis import strategies as st

from raftsched.core.policy.due import Decided, decide, give_up
from raftsched.core.state.model import SECOND_US, At, Cron, Cursor, Decision, Interval, MisfirePolicy, Schedule, Task
from raftsched.core.times.schedule import MAX_COUNT, fires, next_fire

START_US = 1_772_900_000 * SECOND_US  # 2026-03-07, a day before the clocks change in New York
HOUR_US = 3600 * SECOND_US

kinds = st.one_of(
    st.builds(
        Cron,
        st.sampled_from(["* * * * *", "*/7 * * * *", "0,30 1-3 * * *", "*/20 * * * * *", "@hourly", "30 2 * * *"]),
        st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    ),
    st.builds(
        Interval,
        st.sampled_from([1_000_001, 7 * SECOND_US, 300 * SECOND_US, HOUR_US]),
        st.integers(START_US - 10**9, START_US + 10**9),
    ),
    st.builds(At, st.integers(START_US - 10**9, START_US + 10**9)),
)
ends = st.one_of(st.just(0), st.just(0), st.integers(START_US + 1, START_US + 48 * HOUR_US))
tasks = st.builds(
    Task,
    name=st.just("t"),
    schedule=st.builds(Schedule, kinds, st.one_of(st.just(0), st.just(START_US)), ends),
    action=st.just(b""),
    misfire_policy=st.sampled_from(MisfirePolicy),
    misfire_threshold_us=st.sampled_from([0, SECOND_US, 10 * SECOND_US, 600 * SECOND_US]),
    misfire_window_us=st.sampled_from([0, 600 * SECOND_US, HOUR_US]),
    misfire_max_runs=st.sampled_from([0, 1, 3, 40]),
)
outages_us = st.tuples(st.integers(0, 30), st.sampled_from([SECOND_US, 61 * SECOND_US, HOUR_US])).map(
    lambda of: of[0] * of[1]
)
limits = st.sampled_from([1, 2, 7, 50, 1000])
# Outages are long and rare, steps otherwise short; the wall clock may step back.
steps_us = st.one_of(st.integers(0, 30 * SECOND_US), outages_us, st.integers(-HOUR_US, 0))


class Walk:
    """A leader that decides what is due, again and again, each time at most ``limit`` nominal times."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.next_us = next_fire(task.schedule, 0 if isinstance(task.schedule.kind, At) else START_US)
        self.entries: list[Decided] = []

    def catch_up(self, now_us: int, limit: int) -> list[Decided]:
        """Decide until nothing is due, but at most 200 times."""
        before = len(self.entries)
        for _ in range(200):
            if not 0 < self.next_us <= now_us:
                break
            plan = decide(self.task, Cursor(self.next_us), now_us, limit)
            assert plan.decided
            assert sum(entry.count for entry in plan.decided if entry.decision is not Decision.SKIPPED) <= limit
            self.entries += plan.decided
            self.next_us = plan.next_us
        return self.entries[before:]


@given(tasks, st.lists(st.tuples(steps_us, limits), min_size=1, max_size=8))
def test_each_nominal_time_is_decided_exactly_once_in_order(task: Task, calls: list[tuple[int, int]]) -> None:
    walk = Walk(task)
    first_us, now_us = walk.next_us, START_US
    for step_us, limit in calls:
        now_us += step_us
        walk.catch_up(now_us, limit)
    decided: list[int] = []
    for entry in walk.entries:
        covered = fires(task.schedule, entry.nominal_us, entry.last_nominal_us, 1_000_000)
        assert len(covered) == entry.count or (entry.count == 0 and len(covered) > MAX_COUNT)
        assert (covered[0], covered[-1]) == (entry.nominal_us, entry.last_nominal_us)
        decided += covered
    assert decided == fires(task.schedule, first_us, decided[-1] if decided else 0, len(decided) + 1)
    assert walk.next_us == (next_fire(task.schedule, decided[-1]) if decided else first_us)


@given(tasks, outages_us, limits)
def test_policies_hold_for_one_outage_whatever_the_limit(task: Task, outage_us: int, limit: int) -> None:
    now_us = START_US + outage_us
    walk = Walk(task)
    entries = walk.catch_up(now_us, limit)
    if 0 < walk.next_us <= now_us:
        return  # more than 200 calls
    misfired = [entry for entry in entries if entry.nominal_us < now_us - task.misfire_threshold_us]
    on_time = entries[len(misfired) :]
    assert all(entry.decision is Decision.RAN and entry.reason == "" for entry in on_time)
    assert all(entry.reason for entry in misfired)
    # What is beyond the window or the cap comes first, and is skipped.
    skipped = 0
    if task.misfire_policy is not MisfirePolicy.SKIP:
        while skipped < len(misfired) and misfired[skipped].decision is Decision.SKIPPED:
            skipped += 1
    if task.misfire_window_us:
        made_up = [entry for entry in misfired[skipped:] if entry.decision is not Decision.SKIPPED]
        assert all(entry.nominal_us >= now_us - task.misfire_window_us for entry in made_up)
    decisions = [entry.decision for entry in misfired[skipped:]]
    match task.misfire_policy:
        case MisfirePolicy.SKIP:
            assert set(decisions) <= {Decision.SKIPPED}
        case MisfirePolicy.ALL:
            assert set(decisions) <= {Decision.RAN}
            assert len(decisions) <= (task.misfire_max_runs or len(decisions))
        case MisfirePolicy.ONE:
            assert set(decisions[:-1]) <= {Decision.COALESCED}
            assert decisions[-1:] in ([], [Decision.RAN])
    assert all(entry.count == 1 for entry in entries if entry.decision is Decision.RAN)


@given(tasks, outages_us)
def test_giving_up_covers_what_deciding_would(task: Task, outage_us: int) -> None:
    task = task._replace(misfire_window_us=0, misfire_max_runs=0)
    now_us = START_US + outage_us
    walk = Walk(task)
    given_up = give_up(task.schedule, walk.next_us, now_us, "paused")
    entries = walk.catch_up(now_us, 20_000)
    assert given_up.next_us == walk.next_us
    if entries:
        (entry,) = given_up.decided
        assert (entry.nominal_us, entry.last_nominal_us) == (entries[0].nominal_us, entries[-1].last_nominal_us)
        count = sum(other.count for other in entries)
        assert entry.count == (count if count <= MAX_COUNT + 1 else 0)
    else:
        assert given_up.decided == ()
