"""What becomes of a nominal time that comes while executions of its task are open."""

import pytest

from raftsched.core.policy.overlap import LARGEST_LIMIT, Verdict, admit, cancel_reason, limit
from raftsched.core.state.model import OverlapPolicy

ALLOW, SKIP, QUEUE, CANCEL = OverlapPolicy
START, WAIT, LEAVE = Verdict.START, Verdict.QUEUE, Verdict.SKIP


@pytest.mark.parametrize(
    ("policy", "running", "queued", "verdict"),
    [
        (ALLOW, 0, 0, START),
        (ALLOW, 99, 0, START),
        (SKIP, 0, 0, START),
        (SKIP, 1, 0, START),
        (SKIP, 2, 0, LEAVE),
        (QUEUE, 1, 0, START),
        (QUEUE, 2, 0, WAIT),
        (QUEUE, 2, 2, WAIT),
        (QUEUE, 2, 3, LEAVE),
        (CANCEL, 1, 0, START),
        (CANCEL, 2, 0, WAIT),
    ],
)
def test_with_two_open_at_most_and_three_queued(
    policy: OverlapPolicy, running: int, queued: int, verdict: Verdict
) -> None:
    admission = admit(policy, 2, 3, running, queued)
    assert admission.verdict is verdict
    assert (admission.reason == "") == (verdict is START)


def test_nobody_overtakes_the_queue() -> None:
    assert admit(QUEUE, 2, 3, 1, 1).verdict is WAIT


def test_the_reason_says_what_was_open_and_which_policy_held_it_back() -> None:
    assert admit(SKIP, 1, 0, 1, 0).reason == "1 of at most 1 executions were open; overlap policy SKIP"
    full = "2 of at most 2 executions were open and 3 of at most 3 queued; overlap policy QUEUE"
    assert admit(QUEUE, 2, 3, 2, 3).reason == full
    assert "2027-01-15T08:00:00Z" in cancel_reason(1_800_000_000_000_000)


@pytest.mark.parametrize(("given", "used"), [(0, 1), (-5, 1), (7, 7), (10**6, LARGEST_LIMIT)])
def test_a_limit_is_brought_into_its_range(given: int, used: int) -> None:
    assert limit(given) == used
