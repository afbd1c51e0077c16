"""Which state of an execution may follow which, in one table."""

from raftsched.core.state.model import ExecutionState as S

TRANSITIONS: dict[S, frozenset[S]] = {
    S.ARMED: frozenset({S.PENDING, S.RUNNING, S.SUCCEEDED, S.FAILED, S.TIMED_OUT, S.CANCELLED, S.LOST}),
    S.PENDING: frozenset({S.ASSIGNED, S.CANCELLED, S.LOST, S.EXPIRED}),
    S.ASSIGNED: frozenset({S.PENDING, S.RUNNING, S.SUCCEEDED, S.FAILED, S.TIMED_OUT, S.CANCELLED, S.LOST}),
    S.RUNNING: frozenset({S.PENDING, S.SUCCEEDED, S.FAILED, S.TIMED_OUT, S.CANCELLED, S.LOST}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.TIMED_OUT: frozenset(),
    S.CANCELLED: frozenset(),
    S.LOST: frozenset(),
    S.EXPIRED: frozenset(),
}
"""From each state to those that may follow it. Back to PENDING: another attempt follows."""

MAX_ATTEMPTS = 5
"""An execution whose executor vanished this many times ends as LOST: it may be what kills them."""


def may_follow(state: S, successor: S) -> bool:
    """Whether an execution may go from ``state`` to ``successor``."""
    return successor in TRANSITIONS[state]
