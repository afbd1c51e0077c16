"""What becomes of the nominal times that are due: decisions as pure functions.

A nominal time is misfired when it lies more than the task's misfire threshold back. One that is not, runs: lateness up
to the threshold is what a fail-over costs. A misfired one goes by the task's misfire policy.
"""

from dataclasses import dataclass

from raftsched.core.state.model import (
    SECOND_US,
    Cursor,
    Decision,
    Delivery,
    MisfirePolicy,
    OverlapPolicy,
    Placement,
    Schedule,
    Task,
)
from raftsched.core.times.schedule import count_fires, fires, last_fire, next_fire
from raftsched.core.times.spans import in_utc, in_words

DEFAULT_LIMIT = 1000
MAX_AHEAD_US = 30 * SECOND_US
"""Nothing is decided longer before its time. What lies further ahead was decided by a clock that was wrong."""
LARGEST_MAX_RUNS = 10_000
"""How many misfired nominal times a task may make up at most, if it has a cap."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided for the ``count`` consecutive nominal times from ``nominal_us`` to ``last_nominal_us``."""

    nominal_us: int
    last_nominal_us: int
    count: int
    """0: too many to count."""
    decision: Decision
    reason: str
    """Why it did not run, or why it ran late; empty for a nominal time that simply ran."""
    into_us: int = 0
    """Of COALESCED: the nominal time that runs instead; 0: that of the task's next RAN decision."""


@dataclass(frozen=True, slots=True)
class FirePlan:
    """Decisions for one task, in the order of the nominal times, and where its cursor goes."""

    next_us: int
    """The first nominal time that is not decided; 0: there is none."""
    decided: tuple[Decided, ...]


def decide(task: Task, cursor: Cursor, now_us: int, limit: int = DEFAULT_LIMIT) -> FirePlan:
    """Decide the due nominal times of a task, from ``cursor.next_us`` to ``now_us``, but at most ``limit`` of them.

    When the limit cuts, ``next_us`` of the plan is due too, and the next call goes on there. The first nominal time is
    the cursor's even if the schedule, read with another version of the time zone database, no longer has it: it was
    announced. What is not worth making up is one range however long the outage was. Nothing is decided when nothing is
    due. Raises ScheduleError as ``next_fire`` does.
    """
    assert limit >= 1
    oldest_on_time_us = now_us - task.misfire_threshold_us
    next_us, decided = cursor.next_us, list[Decided]()
    if 0 < next_us < oldest_on_time_us:
        next_us, decided = _not_made_up(task, next_us, now_us)
    due, next_us = _due(task.schedule, next_us, now_us, limit)
    misfired = [nominal_us for nominal_us in due if nominal_us < oldest_on_time_us]
    on_time = due[len(misfired) :]
    if misfired:
        more = 0 < next_us < oldest_on_time_us
        decided += _decide_misfired(task, misfired, more)
    return FirePlan(next_us, (*decided, *map(_ran, on_time)))


def decide_ahead(task: Task, cursor: Cursor, until_us: int, limit: int) -> FirePlan:
    """Decide to run nominal times that are yet to come, up to ``until_us``, but at most ``limit`` of them.

    Raises ScheduleError as ``next_fire`` does.
    """
    due, next_us = _due(task.schedule, cursor.next_us, until_us, limit)
    return FirePlan(next_us, tuple(map(_ran, due)))


def is_decided_ahead(task: Task) -> bool:
    """Whether nothing but its time decides when a nominal time of the task starts, and on which executor.

    Where something else has a say (an overlap limit, a group, a calendar, jitter, placement EVERY), it is asked when
    the time has come. What may run at most once is lost with an executor that vanishes, for nobody can tell whether it
    had started: it is given to one when its time has come.
    """
    return (
        not task.paused
        and task.delivery is Delivery.AT_LEAST_ONCE
        and task.placement is Placement.ANY
        and task.overlap_policy is OverlapPolicy.ALLOW
        and not task.group
        and not task.jitter_us
        and not task.has_calendars
    )


def give_up(schedule: Schedule, next_us: int, now_us: int, reason: str) -> FirePlan:
    """Skip all nominal times from ``next_us``, a cursor, to ``now_us``, as those of a task that was paused."""
    if not 0 < next_us <= now_us:
        return FirePlan(next_us, ())
    last_us = max(next_us, last_fire(schedule, now_us))
    further = count_fires(schedule, next_us + 1, last_us)
    count = 0 if last_us > next_us and not further else 1 + further
    return FirePlan(next_fire(schedule, now_us), (Decided(next_us, last_us, count, Decision.SKIPPED, reason),))


def resume(task: Task, cursor: Cursor) -> FirePlan:
    """Skip the nominal times before ``task.resume_us`` of a task that was paused until then."""
    return give_up(task.schedule, cursor.next_us, task.resume_us - 1, "the task was paused")


def latest_start(task: Task, nominal_us: int, next_us: int) -> int:
    """Until when jitter may put off the start of a nominal time that is followed by ``next_us`` (0: by none)."""
    return nominal_us + (min(task.jitter_us, next_us - nominal_us) if next_us else task.jitter_us)


def _not_made_up(task: Task, next_us: int, now_us: int) -> tuple[int, list[Decided]]:
    """Skip the misfired nominal times from ``next_us`` that lie beyond the window or the cap of the policy."""
    late = _late(task)
    decided: list[Decided] = []
    if task.misfire_window_us and task.misfire_policy is not MisfirePolicy.SKIP:
        reason = f"{late}, and more than the misfire window of {in_words(task.misfire_window_us)}"
        plan = give_up(task.schedule, next_us, now_us - task.misfire_window_us - 1, reason)
        next_us, decided = plan.next_us, [*plan.decided]
    last_us = now_us - task.misfire_threshold_us - 1
    if task.misfire_max_runs and task.misfire_policy is MisfirePolicy.ALL and 0 < next_us <= last_us:
        reason = f"{late}; misfire policy ALL makes up the latest {task.misfire_max_runs} at most"
        first_us = _nth_last(task.schedule, next_us, last_us, task.misfire_max_runs)
        plan = give_up(task.schedule, next_us, first_us - 1, reason)
        next_us, decided = plan.next_us, [*decided, *plan.decided]
    return next_us, decided


def _nth_last(schedule: Schedule, first_us: int, until_us: int, nth: int) -> int:
    """Of the nominal times from ``first_us``, a cursor, to ``until_us``, the ``nth`` from the end, or the first.

    To step back from one to the one before takes a search of its own. So this steps forward, from a time that is
    sought with so many or a few times as many behind it.
    """
    lowest_us, too_few_us, too_many_us = first_us + 1, until_us + 1, 0
    from_us = max(lowest_us, until_us - nth * SECOND_US)
    while True:
        times = fires(schedule, from_us, until_us, 3 * nth + 1)
        if nth <= len(times) <= 3 * nth:
            return times[-nth]
        if len(times) > nth:
            too_many_us = from_us
        elif from_us == lowest_us:
            return first_us
        else:
            too_few_us = from_us
        if too_many_us:
            from_us = (too_many_us + too_few_us) // 2
        else:
            from_us = max(lowest_us, until_us - 2 * (until_us - from_us))


def _due(schedule: Schedule, next_us: int, now_us: int, limit: int) -> tuple[list[int], int]:
    due: list[int] = []
    while 0 < next_us <= now_us and len(due) < limit:
        due.append(next_us)
        next_us = next_fire(schedule, next_us)
    return due, next_us


def _decide_misfired(task: Task, misfired: list[int], more: bool) -> list[Decided]:
    """``more``: further misfired nominal times follow that are not decided yet."""
    late = _late(task)
    if task.misfire_policy is MisfirePolicy.SKIP:
        return [_range(misfired, Decision.SKIPPED, f"{late}; misfire policy SKIP")]
    if task.misfire_policy is MisfirePolicy.ALL:
        return [_ran(nominal_us, f"{late}; misfire policy ALL") for nominal_us in misfired]
    if more:
        return [_range(misfired, Decision.COALESCED, "coalesced into the next RAN entry of the task")]
    *earlier, latest = misfired
    ran = [_ran(latest, f"{late}; misfire policy ONE runs the latest")]
    if not earlier:
        return ran
    return [_range(earlier, Decision.COALESCED, f"coalesced into {in_utc(latest)}", latest), *ran]


def _late(task: Task) -> str:
    return f"misfired: more than {in_words(task.misfire_threshold_us)} late"


def _ran(nominal_us: int, reason: str = "") -> Decided:
    return Decided(nominal_us, nominal_us, 1, Decision.RAN, reason)


def _range(nominal: list[int], decision: Decision, reason: str, into_us: int = 0) -> Decided:
    return Decided(nominal[0], nominal[-1], len(nominal), decision, reason, into_us)
