"""The figures of docs/policies.md are true."""

import re
from pathlib import Path

from raftsched.core.machine.placement import PIN_WAIT_US
from raftsched.core.machine.wellformed import MAX_EVERY
from raftsched.core.policy.overlap import DEFAULT_MAX_QUEUED, LARGEST_LIMIT, admit
from raftsched.core.policy.retry import LARGEST_MAX_ATTEMPTS, WHOLE_PPM, RetryPolicy, backoff_us
from raftsched.core.state.model import SECOND_US, OverlapPolicy

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()


def test_the_waits() -> None:
    [row] = re.findall(r"^\| Wait \|(.*)\|$", PAGE, re.MULTILINE)
    policy = RetryPolicy(7, max_us=10 * SECOND_US)
    waits = [backoff_us(policy, attempt, WHOLE_PPM) / SECOND_US for attempt in range(1, 7)]
    assert [cell.strip() for cell in row.split("|")] == [f"{wait:g} s" for wait in waits]


def test_the_reasons() -> None:
    assert f"`{admit(OverlapPolicy.SKIP, 1, 0, 1, 0).reason}`" in PAGE
    queue = OverlapPolicy.QUEUE
    for policy in (queue, OverlapPolicy.CANCEL_RUNNING):
        assert f"`...; {admit(policy, 1, 10, 1, 0).reason.partition('; ')[2]}`" in PAGE
    assert admit(queue, 1, 10, 1, 10).reason.endswith("10 of at most 10 queued; overlap policy QUEUE")
    assert "`... 10 of at most 10 queued; overlap policy QUEUE`" in PAGE


def test_the_limits() -> None:
    assert f"(1 unless set, at most {LARGEST_LIMIT})" in PAGE
    assert f"({DEFAULT_MAX_QUEUED} unless set, at most {LARGEST_LIMIT})" in PAGE
    assert f"1 to {LARGEST_MAX_ATTEMPTS}" in PAGE
    assert f"without one for {PIN_WAIT_US // (60 * SECOND_US)} minutes" in PAGE
    assert f"with more than {MAX_EVERY:,}" in PAGE
