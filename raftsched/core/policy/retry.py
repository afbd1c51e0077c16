"""Whether another attempt follows one that did not succeed, and when: decisions as pure functions.

Whole numbers only, so that every node works out the same microsecond.
"""

from dataclasses import dataclass

from raftsched.core.state.model import SECOND_US, ExecutionState

LARGEST_MAX_ATTEMPTS = 100
LARGEST_MULTIPLIER = 10
LARGEST_BACKOFF_US = 366 * 86_400 * SECOND_US
SMALLEST_BACKOFF_US = 10_000
DEFAULT_INITIAL_US = SECOND_US
DEFAULT_MULTIPLIER = 2
DEFAULT_MAX_US = 600 * SECOND_US
RETRIED_STATES: frozenset[int] = frozenset({ExecutionState.FAILED, ExecutionState.TIMED_OUT})
"""The ends that another attempt may follow."""
WHOLE_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When another attempt follows; see ``raftsched.v1.RetryPolicy``."""

    max_attempts: int
    initial_us: int = DEFAULT_INITIAL_US
    multiplier: int = DEFAULT_MULTIPLIER
    max_us: int = DEFAULT_MAX_US
    states: frozenset[int] = RETRIED_STATES
    exit_codes: frozenset[int] = frozenset()
    """Empty: any."""
    http_statuses: frozenset[int] = frozenset()
    """Empty: any."""


def follows(policy: RetryPolicy, attempt: int, state: int, exit_code: int | None, http_status: int | None) -> bool:
    """Whether another attempt follows attempt number ``attempt``, which ended in ``state``.

    Exit codes and statuses are asked only of an attempt that FAILED and has one.
    """
    if attempt >= policy.max_attempts or state not in policy.states:
        return False
    if state != ExecutionState.FAILED:
        return True
    wrong_code = exit_code is not None and policy.exit_codes and exit_code not in policy.exit_codes
    wrong_status = http_status is not None and policy.http_statuses and http_status not in policy.http_statuses
    return not (wrong_code or wrong_status)


def backoff_us(policy: RetryPolicy, attempt: int, jitter_ppm: int) -> int:
    """How long to wait after attempt number ``attempt``: from half of the backoff (0 ppm) to all of it (1,000,000)."""
    whole_us = policy.initial_us
    for _ in range(attempt - 1):
        if whole_us >= policy.max_us:
            break
        whole_us *= policy.multiplier
        if policy.multiplier == 1:
            break
    whole_us = min(whole_us, policy.max_us)
    jitter_ppm = min(max(0, jitter_ppm), WHOLE_PPM)
    return max(1, whole_us - whole_us * (WHOLE_PPM - jitter_ppm) // (2 * WHOLE_PPM))
