"""What becomes of a nominal time that comes while executions of its task are open: decisions as pure functions."""

from dataclasses import dataclass
from enum import Enum

from raftsched.core.state.model import OverlapPolicy
from raftsched.core.times.spans import in_utc

LARGEST_LIMIT = 100
"""Of executions of one task that may be open under a policy other than ALLOW, and of those that may be queued."""
DEFAULT_MAX_QUEUED = 10
MAX_BACKFILLS = 1_000
"""Executions of backfills of one task that have not ended, and so those that one backfill may make."""


class Verdict(Enum):
    """What a nominal time that is to run does."""

    START = "start"
    QUEUE = "queue"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Admission:
    """A verdict, and for the ledger why it is not START."""

    verdict: Verdict
    reason: str = ""


def limit(max_running: int) -> int:
    """How many executions may be open, from the field of a task: 1 unless set."""
    return min(max(1, max_running), LARGEST_LIMIT)


def admit(policy: OverlapPolicy, max_running: int, max_queued: int, running: int, queued: int) -> Admission:
    """Decide about one nominal time while ``running`` executions are open and ``queued`` more wait for an end.

    Under CANCEL_RUNNING the caller has asked for the end of as many as are in the way: what is still open is ending.
    Nobody overtakes a queue.
    """
    if policy is OverlapPolicy.ALLOW or (running < max_running and not queued):
        return Admission(Verdict.START)
    open_ = f"{running} of at most {max_running} executions were open"
    match policy:
        case OverlapPolicy.SKIP:
            return Admission(Verdict.SKIP, f"{open_}; overlap policy SKIP")
        case OverlapPolicy.QUEUE if queued >= max_queued:
            return Admission(Verdict.SKIP, f"{open_} and {queued} of at most {max_queued} queued; overlap policy QUEUE")
        case _:
            return Admission(Verdict.QUEUE, f"{open_}; queued; overlap policy {policy.name}")


def cancel_reason(nominal_us: int) -> str:
    """Why an execution was cancelled in favour of the one of a later nominal time."""
    return f"cancelled in favour of the nominal time {in_utc(nominal_us)}; overlap policy CANCEL_RUNNING"
