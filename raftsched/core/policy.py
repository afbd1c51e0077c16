"""What becomes of the nominal times that are due: decisions as pure functions.

A nominal time is misfired when it lies more than the task's misfire threshold back. One that is not, runs: lateness up
to the threshold is what a fail-over costs. A misfired one goes by the task's misfire policy.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from raftsched.core.model import SECOND_US, Cursor, Decision, MisfirePolicy, Schedule, Task
from raftsched.core.schedule import count_fires, last_fire, next_fire

DEFAULT_LIMIT = 1000
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
        reason = f"{late}, and more than the misfire window of {task.misfire_window_us / SECOND_US:g} s"
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
    """Of the nominal times from ``first_us``, a cursor, to ``until_us``, the ``nth`` from the end, or the first."""
    found_us = until_us + 1
    for _ in range(nth):
        found_us = last_fire(schedule, found_us - 1)
        if found_us <= first_us:
            return first_us
    return found_us


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
    return [_range(earlier, Decision.COALESCED, f"coalesced into {_format(latest)}", latest), *ran]


def _late(task: Task) -> str:
    return f"misfired: more than {task.misfire_threshold_us / SECOND_US:g} s late"


def _ran(nominal_us: int, reason: str = "") -> Decided:
    return Decided(nominal_us, nominal_us, 1, Decision.RAN, reason)


def _range(nominal: list[int], decision: Decision, reason: str, into_us: int = 0) -> Decided:
    return Decided(nominal[0], nominal[-1], len(nominal), decision, reason, into_us)


def _format(time_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")
