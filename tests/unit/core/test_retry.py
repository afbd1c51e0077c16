"""Whether another attempt follows, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftsched.core.policy.retry import WHOLE_PPM, RetryPolicy, backoff_us, follows
from raftsched.core.state.model import SECOND_US, ExecutionState

FAILED, TIMED_OUT = ExecutionState.FAILED, ExecutionState.TIMED_OUT


@pytest.mark.parametrize(
    ("policy", "attempt", "state", "exit_code", "http_status", "wanted"),
    [
        (RetryPolicy(3), 1, FAILED, 1, None, True),
        (RetryPolicy(3), 2, TIMED_OUT, None, None, True),
        (RetryPolicy(3), 3, FAILED, 1, None, False),
        (RetryPolicy(1), 1, FAILED, 1, None, False),
        (RetryPolicy(3, states=frozenset({TIMED_OUT})), 1, FAILED, 1, None, False),
        (RetryPolicy(3, states=frozenset({FAILED})), 1, TIMED_OUT, None, None, False),
        (RetryPolicy(3, exit_codes=frozenset({75})), 1, FAILED, 75, None, True),
        (RetryPolicy(3, exit_codes=frozenset({75})), 1, FAILED, 1, None, False),
        (RetryPolicy(3, exit_codes=frozenset({75})), 1, TIMED_OUT, -9, None, True),
        (RetryPolicy(3, exit_codes=frozenset({75})), 1, FAILED, None, None, True),
        (RetryPolicy(3, http_statuses=frozenset({503})), 1, FAILED, None, 503, True),
        (RetryPolicy(3, http_statuses=frozenset({503})), 1, FAILED, None, 404, False),
        (RetryPolicy(3, http_statuses=frozenset({503})), 1, FAILED, None, None, True),
        (RetryPolicy(3), 1, ExecutionState.CANCELLED, None, None, False),
    ],
)
def test_which_ends_another_attempt_follows(
    policy: RetryPolicy, attempt: int, state: int, exit_code: int | None, http_status: int | None, wanted: bool
) -> None:
    assert follows(policy, attempt, state, exit_code, http_status) is wanted


def test_waits_double_up_to_the_cap() -> None:
    policy = RetryPolicy(9, initial_us=SECOND_US, multiplier=2, max_us=10 * SECOND_US)
    assert [backoff_us(policy, attempt, WHOLE_PPM) // SECOND_US for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@given(st.integers(1, 100), st.integers(10_000, 10**13), st.integers(1, 10), st.integers(0, 10**13), st.integers())
def test_jitter_leaves_at_least_half_and_never_exceeds_the_cap(
    attempt: int, initial_us: int, multiplier: int, more_us: int, jitter_ppm: int
) -> None:
    policy = RetryPolicy(100, initial_us, multiplier, max_us=initial_us + more_us)
    whole_us = backoff_us(policy, attempt, WHOLE_PPM)
    assert whole_us // 2 <= backoff_us(policy, attempt, jitter_ppm) <= whole_us <= policy.max_us
    assert whole_us == min(policy.max_us, initial_us * multiplier ** (attempt - 1))
