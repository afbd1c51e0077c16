"""Checks of the policies of a task: what is wrong is noted, and the defaults are written out."""

from collections.abc import Iterable

from raftsched_proto.v1 import execution_pb2, policy_pb2, task_pb2

from raftsched.core.machine import MAX_PARENTS
from raftsched.core.policy import retry
from raftsched.core.policy.chain import ChainCondition
from raftsched.core.policy.overlap import DEFAULT_MAX_QUEUED
from raftsched.core.state.model import SECOND_US
from raftsched.core.state.rows import timestamp_us
from raftsched.core.times.spans import in_words
from raftsched.definitions.fields import check_duration, check_enum, check_name, check_number
from raftsched.definitions.violations import Violations

MAX_DURATION_US = retry.LARGEST_BACKOFF_US
_MAX_LISTED = 64


def check_misfire(violations: Violations, task: task_pb2.Task) -> None:
    """What of misfire policy, threshold, window and cap does not go together."""
    if task.HasField("misfire_window"):
        if task.misfire_policy == policy_pb2.MISFIRE_POLICY_SKIP:
            violations.add("task.misfire_window", "goes with misfire policy ONE or ALL; SKIP makes nothing up")
        if SECOND_US <= timestamp_us(task.misfire_window) < timestamp_us(task.misfire_threshold) <= MAX_DURATION_US:
            threshold = in_words(timestamp_us(task.misfire_threshold))
            violations.add("task.misfire_window", f"must lie between {threshold} and {in_words(MAX_DURATION_US)}")
    if task.misfire_max_runs and task.misfire_policy != policy_pb2.MISFIRE_POLICY_ALL:
        violations.add("task.misfire_max_runs", "goes with misfire policy ALL only")


def check_overlap(violations: Violations, task: task_pb2.Task) -> None:
    """The limits that the overlap policy asks for, with their defaults. One that it does not ask for is refused."""
    if task.overlap_policy == policy_pb2.OVERLAP_POLICY_ALLOW:
        if task.max_running:
            violations.add("task.max_running", "goes with an overlap policy other than ALLOW, which sets no limit")
    else:
        task.max_running = task.max_running or 1
    if task.overlap_policy == policy_pb2.OVERLAP_POLICY_QUEUE:
        task.max_queued = task.max_queued or DEFAULT_MAX_QUEUED
    elif task.max_queued:
        violations.add("task.max_queued", "goes with overlap policy QUEUE only")


def check_placement(violations: Violations, task: task_pb2.Task) -> None:
    """What does not go with placement EVERY; tasks that run after it are seen where the entry is applied."""
    if task.placement != policy_pb2.PLACEMENT_EVERY:
        return
    if task.after:
        violations.add(
            "task.after", "goes with placement ANY only: the end of another task does not know the executors"
        )
    if task.overlap_policy > policy_pb2.OVERLAP_POLICY_SKIP:
        violations.add("task.overlap_policy", "is ALLOW or SKIP with placement EVERY")


def check_chain(violations: Violations, task: task_pb2.Task) -> None:
    """The tasks that this one runs after. Whether they exist, and make no cycle, is seen where the entry is applied."""
    if len(task.after) > MAX_PARENTS:
        violations.add("task.after", f"{len(task.after)} tasks; at most {MAX_PARENTS} are allowed")
    for number, parent in enumerate(task.after):
        check_name(violations, f"task.after[{number}].task", parent.task)
        parent.on = parent.on or task_pb2.CHAIN_CONDITION_SUCCESS
        check_enum(violations, f"task.after[{number}].on", parent.on, ChainCondition)
        if any(parent.task == other.task for other in task.after[:number]):
            violations.add(f"task.after[{number}].task", f"{parent.task} is named twice")


def check_retry(violations: Violations, task: task_pb2.Task) -> None:
    """The retry policy of a task that has one."""
    policy = task.retry
    check_number(violations, "task.retry.max_attempts", policy.max_attempts, 1, retry.LARGEST_MAX_ATTEMPTS)
    if task.delivery == policy_pb2.DELIVERY_AT_MOST_ONCE and policy.max_attempts > 1:
        violations.add("task.retry.max_attempts", "must be 1 with delivery AT_MOST_ONCE, which allows one attempt")
    policy.multiplier = policy.multiplier or retry.DEFAULT_MULTIPLIER
    check_number(violations, "task.retry.multiplier", policy.multiplier, 1, retry.LARGEST_MULTIPLIER)
    _check_backoff(violations, policy)
    policy.states[:] = sorted(set(policy.states) or retry.RETRIED_STATES)  # type: ignore[arg-type]  # enums of the stub are ints
    for state in policy.states:
        if state not in retry.RETRIED_STATES:
            shown = _state_name(state)
            violations.add("task.retry.states", f"{shown} is followed by no attempt; give FAILED and TIMED_OUT only")
    _check_listed(violations, "task.retry.exit_codes", policy.exit_codes, -255, 255)
    _check_listed(violations, "task.retry.http_statuses", policy.http_statuses, 100, 599)


def _check_backoff(violations: Violations, policy: task_pb2.RetryPolicy) -> None:
    low_us, high_us = retry.SMALLEST_BACKOFF_US, retry.LARGEST_BACKOFF_US
    if not policy.HasField("initial_backoff"):
        policy.initial_backoff.FromMicroseconds(retry.DEFAULT_INITIAL_US)
    found = Violations()
    check_duration(found, "task.retry.initial_backoff", policy.initial_backoff, low_us, high_us)
    if not found:
        low_us = policy.initial_backoff.ToMicroseconds()
        if not policy.HasField("max_backoff"):
            policy.max_backoff.FromMicroseconds(max(low_us, retry.DEFAULT_MAX_US))
    if policy.HasField("max_backoff"):
        check_duration(found, "task.retry.max_backoff", policy.max_backoff, low_us, high_us)
    violations.extend(found)


def _check_listed(violations: Violations, field: str, values: Iterable[int], low: int, high: int) -> None:
    listed = list(values)
    if len(listed) > _MAX_LISTED:
        violations.add(field, f"{len(listed)} values; at most {_MAX_LISTED} are allowed")
    for value in listed[:_MAX_LISTED]:
        check_number(violations, field, value, low, high)


def _state_name(state: int) -> str:
    try:
        return execution_pb2.ExecutionState.Name(state).removeprefix("EXECUTION_STATE_")  # type: ignore[arg-type]  # enums of the stub are ints
    except ValueError:
        return str(state)
