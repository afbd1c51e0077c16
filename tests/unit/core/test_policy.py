"""What is decided for due nominal times, policy by policy."""

import pytest

from raftsched.core.policy.due import Decided, FirePlan, decide, give_up, latest_start, resume
from raftsched.core.state.model import (
    SECOND_US,
    At,
    Cron,
    Cursor,
    Decision,
    Interval,
    Kind,
    MisfirePolicy,
    Schedule,
    Task,
    Union,
)
from raftsched.core.times import schedule as schedule_module
from raftsched.core.times.schedule import MAX_COUNT, ScheduleError, count_fires, fires, next_fire

RAN, SKIPPED, COALESCED = Decision.RAN, Decision.SKIPPED, Decision.COALESCED
SKIP, ONE, ALL = MisfirePolicy.SKIP, MisfirePolicy.ONE, MisfirePolicy.ALL
START_US = 1_777_896_000 * SECOND_US  # 2026-05-04T12:00:00Z
EVERY_US = 5 * SECOND_US


def at(step: int) -> int:
    """The nominal time of a step of the five-second schedule that the tests use."""
    return START_US + step * EVERY_US


def task(policy: MisfirePolicy, schedule: Schedule | None = None, window_s: int = 0, max_runs: int = 0) -> Task:
    return Task(
        name="t",
        schedule=schedule or Schedule(Interval(EVERY_US, START_US)),
        action=b"",
        misfire_policy=policy,
        misfire_threshold_us=10 * SECOND_US,
        misfire_window_us=window_s * SECOND_US,
        misfire_max_runs=max_runs,
    )


def cursor(next_us: int) -> Cursor:
    return Cursor(next_us)


def brief(plan: FirePlan) -> list[tuple[int, int, int, Decision]]:
    """Decisions as (first step, last step, count, decision)."""
    return [
        ((d.nominal_us - START_US) // EVERY_US, (d.last_nominal_us - START_US) // EVERY_US, d.count, d.decision)
        for d in plan.decided
    ]


@pytest.mark.parametrize("policy", MisfirePolicy)
def test_a_nominal_time_that_is_due_runs(policy: MisfirePolicy) -> None:
    plan = decide(task(policy), cursor(at(0)), at(0))
    assert plan == FirePlan(at(1), (Decided(at(0), at(0), 1, RAN, ""),))


@pytest.mark.parametrize("policy", MisfirePolicy)
def test_all_that_are_late_by_at_most_the_threshold_run(policy: MisfirePolicy) -> None:
    plan = decide(task(policy), cursor(at(0)), at(0) + 10 * SECOND_US)
    assert brief(plan) == [(0, 0, 1, RAN), (1, 1, 1, RAN), (2, 2, 1, RAN)]
    assert {entry.reason for entry in plan.decided} == {""}
    assert plan.next_us == at(3)


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (SKIP, [(0, 3, 4, SKIPPED), (4, 4, 1, RAN), (5, 5, 1, RAN)]),
        (ONE, [(0, 2, 3, COALESCED), (3, 3, 1, RAN), (4, 4, 1, RAN), (5, 5, 1, RAN)]),
        (ALL, [(step, step, 1, RAN) for step in range(6)]),
    ],
)
def test_misfired_ones_go_by_policy_and_the_rest_runs(policy: MisfirePolicy, wanted: list[object]) -> None:
    # Due are steps 0 to 5; steps 4 and 5 are late by less than 10 s.
    plan = decide(task(policy), cursor(at(0)), at(3) + 10 * SECOND_US + 1)
    assert brief(plan) == wanted
    assert plan.next_us == at(6)


def test_reasons_say_why() -> None:
    now_us = at(3) + 10 * SECOND_US + 1
    skipped, *_ = decide(task(SKIP), cursor(at(0)), now_us).decided
    assert skipped.reason == "misfired: more than 10 s late; misfire policy SKIP"
    coalesced, latest, on_time, _ = decide(task(ONE), cursor(at(0)), now_us).decided
    assert coalesced.reason == "coalesced into 2026-05-04T12:00:15Z"
    assert latest.reason == "misfired: more than 10 s late; misfire policy ONE runs the latest"
    assert on_time.reason == ""
    first, *_ = decide(task(ALL), cursor(at(0)), now_us).decided
    assert first.reason == "misfired: more than 10 s late; misfire policy ALL"


@pytest.mark.parametrize("policy", [ONE, ALL])
def test_a_one_time_task_runs_however_late(policy: MisfirePolicy) -> None:
    plan = decide(task(policy, Schedule(At(5))), cursor(5), START_US)
    assert plan.next_us == 0
    assert [(d.nominal_us, d.count, d.decision) for d in plan.decided] == [(5, 1, RAN)]


def test_a_late_one_time_task_is_skipped_under_skip() -> None:
    plan = decide(task(SKIP, Schedule(At(5))), cursor(5), START_US)
    assert plan.next_us == 0
    assert [(d.nominal_us, d.count, d.decision) for d in plan.decided] == [(5, 1, SKIPPED)]


def test_the_cursor_stops_at_the_end_of_the_validity() -> None:
    plan = decide(task(ALL, Schedule(Interval(EVERY_US, START_US), end_us=at(2))), cursor(at(0)), at(50))
    assert brief(plan) == [(0, 0, 1, RAN), (1, 1, 1, RAN)]
    assert plan.next_us == 0


def test_one_waits_with_the_run_until_the_limit_cuts_no_misfired_ones() -> None:
    now_us = at(9) + 10 * SECOND_US + 1  # misfired are steps 0 to 9
    first = decide(task(ONE), cursor(at(0)), now_us, limit=4)
    assert brief(first) == [(0, 3, 4, COALESCED)]
    assert first.decided[0].reason == "coalesced into the next RAN entry of the task"
    second = decide(task(ONE), cursor(first.next_us), now_us, limit=6)
    assert brief(second) == [(4, 8, 5, COALESCED), (9, 9, 1, RAN)]
    third = decide(task(ONE), cursor(second.next_us), now_us, limit=6)
    assert brief(third) == [(10, 10, 1, RAN), (11, 11, 1, RAN)]


def test_one_runs_the_latest_misfired_when_the_limit_cuts_right_after_it() -> None:
    plan = decide(task(ONE), cursor(at(0)), at(3) + 10 * SECOND_US + 1, limit=4)
    assert brief(plan) == [(0, 2, 3, COALESCED), (3, 3, 1, RAN)]
    assert plan.next_us == at(4)


def test_one_runs_the_latest_misfired_when_the_next_one_is_just_on_time_or_never_comes() -> None:
    wanted = [(0, 2, 3, COALESCED), (3, 3, 1, RAN)]
    assert brief(decide(task(ONE), cursor(at(0)), at(4) + 10 * SECOND_US, limit=4)) == wanted
    ends = Schedule(Interval(EVERY_US, START_US), end_us=at(4))
    plan = decide(task(ONE, ends), cursor(at(0)), at(50))
    assert brief(plan) == wanted
    assert plan.next_us == 0


def test_what_is_skipped_runs_in_no_other() -> None:
    assert {entry.into_us for entry in decide(task(SKIP), cursor(at(0)), at(9)).decided} == {0}


def test_what_is_due_at_this_very_moment_is_given_up_too() -> None:
    assert give_up(task(ONE).schedule, at(3), at(3), "paused") == FirePlan(
        at(4), (Decided(at(3), at(3), 1, SKIPPED, "paused"),)
    )


@pytest.mark.parametrize(
    ("policy", "wanted"), [(SKIP, [(0, 2, 3, SKIPPED)]), (ALL, [(n, n, 1, RAN) for n in range(3)])]
)
def test_the_limit_cuts_skip_and_all_too(policy: MisfirePolicy, wanted: list[object]) -> None:
    plan = decide(task(policy), cursor(at(0)), at(1000), limit=3)
    assert brief(plan) == wanted
    assert plan.next_us == at(3)


@pytest.mark.parametrize("next_us", [0, at(1)])
def test_nothing_is_decided_when_nothing_is_due(next_us: int) -> None:
    assert decide(task(ONE), cursor(next_us), at(1) - 1) == FirePlan(next_us, ())
    assert give_up(task(ONE).schedule, next_us, at(1) - 1, "paused") == FirePlan(next_us, ())


def test_an_announced_time_is_decided_even_if_the_schedule_no_longer_has_it() -> None:
    odd_us = at(0) + 1
    assert decide(task(ONE), cursor(odd_us), at(1)) == FirePlan(
        at(2), (Decided(odd_us, odd_us, 1, RAN, ""), Decided(at(1), at(1), 1, RAN, ""))
    )
    assert give_up(task(ONE).schedule, odd_us, at(1) - 1, "paused") == FirePlan(
        at(1), (Decided(odd_us, odd_us, 1, SKIPPED, "paused"),)
    )


def test_a_zone_that_this_node_does_not_know_is_an_error_not_a_decision() -> None:
    with pytest.raises(ScheduleError):
        decide(task(ONE, Schedule(Cron("* * * * *", "Mars/Olympus_Mons"))), cursor(at(0)), at(0))


@pytest.mark.parametrize(
    ("steps", "count"),
    [(0, 1), (1, 2), (MAX_COUNT, MAX_COUNT + 1), (MAX_COUNT + 1, 0)],
)
def test_give_up_skips_all_in_one_entry(steps: int, count: int) -> None:
    plan = give_up(task(ALL).schedule, at(0), at(steps) + 1, "paused")
    assert plan == FirePlan(at(steps + 1), (Decided(at(0), at(steps), count, SKIPPED, "paused"),))


def test_give_up_of_a_finished_schedule_leaves_no_cursor() -> None:
    assert give_up(Schedule(At(at(0))), at(0), at(9), "paused") == FirePlan(
        0, (Decided(at(0), at(0), 1, SKIPPED, "paused"),)
    )


@pytest.mark.parametrize(
    ("jitter_us", "next_us", "latest_us"),
    [
        (0, at(1), at(0)),
        (SECOND_US, at(1), at(0) + SECOND_US),
        (at(9), at(1), at(1)),
        (SECOND_US, 0, at(0) + SECOND_US),
    ],
)
def test_jitter_ends_at_the_next_nominal_time(jitter_us: int, next_us: int, latest_us: int) -> None:
    jittered = Task(name="t", schedule=Schedule(At(at(0))), action=b"", jitter_us=jitter_us)
    assert latest_start(jittered, at(0), next_us) == latest_us


@pytest.mark.parametrize(
    ("policy", "window_s", "max_runs", "wanted"),
    [
        # Decided at step 10: the threshold is step 8, a window of 25 s begins at step 5.
        (ONE, 25, 0, [(0, 4, 5, SKIPPED), (5, 6, 2, COALESCED), (7, 7, 1, RAN)]),
        (ALL, 25, 0, [(0, 4, 5, SKIPPED), (5, 5, 1, RAN), (6, 6, 1, RAN), (7, 7, 1, RAN)]),
        (ALL, 0, 2, [(0, 5, 6, SKIPPED), (6, 6, 1, RAN), (7, 7, 1, RAN)]),
        (ALL, 25, 1, [(0, 4, 5, SKIPPED), (5, 6, 2, SKIPPED), (7, 7, 1, RAN)]),
        (ALL, 0, 99, [(step, step, 1, RAN) for step in range(8)]),
        (SKIP, 25, 3, [(0, 7, 8, SKIPPED)]),
        (ONE, 10, 0, [(0, 7, 8, SKIPPED)]),
    ],
)
def test_what_lies_beyond_window_or_cap_is_skipped(
    policy: MisfirePolicy, window_s: int, max_runs: int, wanted: list[tuple[int, int, int, Decision]]
) -> None:
    plan = decide(task(policy, window_s=window_s, max_runs=max_runs), cursor(at(0)), at(10))
    assert brief(plan) == [*wanted, (8, 8, 1, RAN), (9, 9, 1, RAN), (10, 10, 1, RAN)]
    assert plan.next_us == at(11)


def test_what_is_late_by_a_microsecond_too_much_counts_for_the_cap() -> None:
    plan = decide(task(ALL, max_runs=1), cursor(at(0)), at(8) + 10 * SECOND_US + 1)
    assert brief(plan)[:2] == [(0, 7, 8, SKIPPED), (8, 8, 1, RAN)]


def test_the_reasons_name_window_and_cap() -> None:
    first, second, *_ = decide(task(ALL, window_s=25, max_runs=1), cursor(at(0)), at(10)).decided
    assert first.reason == "misfired: more than 10 s late, and more than the misfire window of 25 s"
    assert second.reason == "misfired: more than 10 s late; misfire policy ALL makes up the latest 1 at most"


def test_an_outage_of_years_costs_one_range() -> None:
    plan = decide(task(ALL, max_runs=2), cursor(at(0)), at(10_000_000), limit=5)
    assert brief(plan)[0] == (0, 9_999_995, 0, SKIPPED)
    assert [entry.decision for entry in plan.decided] == [SKIPPED] + [RAN] * 5


def test_a_coalesced_decision_names_the_nominal_time_that_runs() -> None:
    plan = decide(task(ONE), cursor(at(0)), at(6))
    assert [entry.into_us for entry in plan.decided] == [at(3), 0, 0, 0, 0]


def test_times_before_the_end_of_a_pause_are_skipped_and_that_time_is_not() -> None:
    paused = task(ONE)._replace(paused=True, resume_us=at(3))
    plan = resume(paused, cursor(at(0)))
    assert (brief(plan), plan.next_us) == ([(0, 2, 3, SKIPPED)], at(3))
    assert resume(paused, cursor(at(4))) == FirePlan(at(4), ())


@pytest.mark.parametrize("max_runs", [1, 2, 3, 7, 100, 10_000])
@pytest.mark.parametrize(
    "expression",
    ["* * * * * *", "*/7 * * * *", "0 9 * * 1", "0 0 29 2 *", "0-3,50-59 0 9 * * *", "*/2 * 3 1 1 *", "* * 12 * * *"],
)
def test_a_cap_keeps_the_latest_however_dense_or_sparse_they_are(expression: str, max_runs: int) -> None:
    schedule = Schedule(Cron(expression))
    first_us = next_fire(schedule, START_US - 2 * 3600 * SECOND_US)
    now_us = first_us + 2 * 3600 * SECOND_US
    due = fires(schedule, first_us, now_us - 10 * SECOND_US - 1, 20_000)
    plan = decide(task(ALL, schedule, max_runs=max_runs), cursor(first_us), now_us, limit=20_000)
    made_up = [each.nominal_us for each in plan.decided if each.decision is RAN and each.reason]
    assert made_up == due[-max_runs:]
    assert sum(each.count for each in plan.decided if each.decision is SKIPPED) == max(0, len(due) - max_runs)


def test_the_latest_of_a_cap_are_found_in_about_as_many_steps_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0

    def counted(kind: Kind, after_us: int) -> int:
        nonlocal steps
        steps += 1
        return real(kind, after_us)

    real = schedule_module._next
    monkeypatch.setattr(schedule_module, "_next", counted)
    schedule = Schedule(Cron("* * * * * *"))
    decide(task(ALL, schedule, max_runs=10_000), cursor(START_US), START_US + 30 * 86_400 * SECOND_US, limit=100)
    # Those that are skipped are counted, too, up to their bound.
    assert steps <= 6 * 10_000


def test_the_times_of_a_union_are_counted_up_to_a_bound_that_its_schedules_share() -> None:
    several = Schedule(Union(tuple(Schedule(Interval(SECOND_US, START_US + step)) for step in range(10))))
    assert count_fires(several, START_US, START_US + 99 * SECOND_US) == 991
    assert count_fires(several, START_US, START_US + 101 * SECOND_US) == 0, "more than were counted"
