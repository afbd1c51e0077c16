"""The values that the scheduler reasons about.

Times are whole microseconds since the Unix epoch, UTC, in fields that end in ``_us``; 0 means "none". An action stays
the bytes of a ``raftsched.v1.Action``: only the API, which validates it, and the executor, which runs it, look inside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from raftsched.core.times.exclusion import Exclusions

SECOND_US = 1_000_000
LATE_US = 10 * SECOND_US
"""A task starts within so long of its nominal time: that is the promise. Beyond it a start is late."""
DEFAULT_MISFIRE_THRESHOLD_US = LATE_US
HIGHEST_PRIORITY = 9
_NONE: Mapping[str, str] = MappingProxyType({})


class ExecutionState(IntEnum):
    """States of an execution; the numbers are those of ``raftsched.v1.ExecutionState``."""

    PENDING = 1
    ASSIGNED = 2
    RUNNING = 3
    SUCCEEDED = 4
    FAILED = 5
    TIMED_OUT = 6
    CANCELLED = 7
    LOST = 8
    EXPIRED = 9
    ARMED = 10

    @property
    def ended(self) -> bool:
        """Whether no further change can come."""
        return _FIRST_END <= self <= _LAST_END


# Plain numbers, and members by number: to look a member up by its name or to call the enum takes several times as long,
# and every node does so for every report.
_FIRST_END, _LAST_END = int(ExecutionState.SUCCEEDED), int(ExecutionState.EXPIRED)
EXECUTION_STATES = {int(each): each for each in ExecutionState}
"""The states by their numbers."""
ACTIVE_STATES = frozenset((ExecutionState.ARMED, ExecutionState.ASSIGNED, ExecutionState.RUNNING))
"""Those in which an executor has the execution."""


class Withdrawal(IntEnum):
    """What becomes of an armed execution that has not started, once its executor has said so."""

    NONE = 0
    AGAIN = 1
    """It runs on the terms of its task as they stand."""
    SKIP = 2
    """Its nominal time is skipped."""


class MisfirePolicy(IntEnum):
    """What happens to misfired nominal times; the numbers are those of ``raftsched.v1.MisfirePolicy``."""

    SKIP = 1
    ONE = 2
    ALL = 3


class Delivery(IntEnum):
    """What happens when an executor vanishes; the numbers are those of ``raftsched.v1.Delivery``."""

    AT_LEAST_ONCE = 1
    AT_MOST_ONCE = 2


class Placement(IntEnum):
    """Where a nominal time runs; the numbers are those of ``raftsched.v1.Placement``."""

    ANY = 1
    EVERY = 2


class OverlapPolicy(IntEnum):
    """What happens while as many executions are open as may be; the numbers are those of ``raftsched.v1``."""

    ALLOW = 1
    SKIP = 2
    QUEUE = 3
    CANCEL_RUNNING = 4


class GapPolicy(IntEnum):
    """What happens to local times that a clock change leaves out; the numbers are those of ``raftsched.v1``."""

    SHIFT = 1
    SKIP = 2


class FoldPolicy(IntEnum):
    """What happens to local times that a clock change repeats; the numbers are those of ``raftsched.v1``."""

    FIRST = 1
    LAST = 2
    BOTH = 3


class Decision(IntEnum):
    """What was decided for a nominal time; the numbers are those of ``raftsched.v1.Decision``."""

    RAN = 1
    SKIPPED = 2
    COALESCED = 3
    LOST = 4


class Trigger(IntEnum):
    """What made a task fire; the numbers are those of ``raftsched.v1.Trigger``."""

    SCHEDULE = 1
    MANUAL = 2
    CHAIN = 3
    BACKFILL = 4


@dataclass(frozen=True, slots=True)
class At:
    """Once, at ``at_us``."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five or six fields, or an alias, read in an IANA time zone."""

    expression: str
    """Without hashed values: ``core.cron_hash`` has put numbers in their place."""
    time_zone: str = "UTC"
    gap: GapPolicy | None = None
    """None: as cron(8) has it, which differs between fixed-time and wildcard jobs."""
    fold: FoldPolicy | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """``anchor_us + n * every_us`` for n = 0, 1, 2, ..."""

    every_us: int
    anchor_us: int


@dataclass(frozen=True, slots=True)
class Rrule:
    """The lines DTSTART, RRULE, RDATE and EXDATE of RFC 5545, read in an IANA time zone."""

    lines: str
    time_zone: str = "UTC"
    gap: GapPolicy | None = None
    fold: FoldPolicy | None = None


@dataclass(frozen=True, slots=True)
class Union:
    """Every nominal time of any of the schedules, none of which is a union."""

    schedules: "tuple[Schedule, ...]"


Kind = At | Cron | Interval | Rrule | Union


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a task fires: its kind, from ``start_us`` (inclusive) until ``end_us`` (exclusive); 0 leaves an end open."""

    kind: Kind
    start_us: int = 0
    end_us: int = 0
    exclusions: tuple[Exclusions, ...] = ()
    """Its own, and those of calendars."""


class Task(NamedTuple):
    """The definition of a task, as it stands in the task table."""

    # No frozen dataclass: one of so many fields takes four times as long to make, and each task of a herd is decoded.

    name: str
    schedule: Schedule
    action: bytes
    labels: Mapping[str, str] = _NONE
    time_limit_us: int = 0
    paused: bool = False
    resume_us: int = 0
    executor_labels: Mapping[str, str] = _NONE
    misfire_policy: MisfirePolicy = MisfirePolicy.ONE
    misfire_threshold_us: int = DEFAULT_MISFIRE_THRESHOLD_US
    misfire_window_us: int = 0
    misfire_max_runs: int = 0
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    overlap_policy: OverlapPolicy = OverlapPolicy.ALLOW
    max_running: int = 1
    max_queued: int = 0
    start_deadline_us: int = 0
    priority: int = 0
    group: str = ""
    placement: Placement = Placement.ANY
    jitter_us: int = 0
    notifies: bool = False
    has_calendars: bool = False
    """Whether calendars, which may change, have a say in its nominal times."""
    uid: int = 0
    """Unique over all tasks that ever were; assigned when the registration is applied."""
    revision: int = 0
    """The log index of the last change."""
    generation: int = 0
    """Counts the changes of the schedule, from 1."""
    create_us: int = 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the schedule of a task has been decided."""

    next_us: int
    """The next nominal time to decide; 0: there is none."""
    last_us: int = 0
    """The last nominal time that was decided; 0: none yet."""
