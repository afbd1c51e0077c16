"""What the policies of a task may say."""

from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import execution_pb2, policy_pb2, task_pb2

from raftsched.definitions.task import changed_task, new_task
from tests.unit.api.test_validate import NOW_US, edited, refusal, valid

Edit = Callable[[task_pb2.Task], object]
ALLOW, SKIP, QUEUE = (policy_pb2.OVERLAP_POLICY_ALLOW, policy_pb2.OVERLAP_POLICY_SKIP, policy_pb2.OVERLAP_POLICY_QUEUE)
CANCEL_RUNNING, EVERY = policy_pb2.OVERLAP_POLICY_CANCEL_RUNNING, policy_pb2.PLACEMENT_EVERY

MISFIRE_SKIP, MISFIRE_ALL = policy_pb2.MISFIRE_POLICY_SKIP, policy_pb2.MISFIRE_POLICY_ALL


def with_fields(**fields: object) -> Edit:
    return lambda task: task.MergeFrom(task_pb2.Task(**fields))


def retry(**fields: object) -> Edit:
    return with_fields(retry=task_pb2.RetryPolicy(**{"max_attempts": 2, **fields}))


def backoff(field: str, seconds: int) -> Edit:
    def edit(task: task_pb2.Task) -> None:
        task.retry.max_attempts = 2
        getattr(task.retry, field).FromSeconds(seconds)

    return edit


@pytest.mark.parametrize(
    ("field", "edit"),
    [
        ("task.overlap_policy", with_fields(overlap_policy=9)),
        ("task.max_running", with_fields(max_running=2)),
        ("task.max_running", with_fields(overlap_policy=SKIP, max_running=101)),
        ("task.max_running", with_fields(overlap_policy=SKIP, max_running=-1)),
        ("task.max_queued", with_fields(overlap_policy=SKIP, max_queued=1)),
        ("task.max_queued", with_fields(overlap_policy=QUEUE, max_queued=101)),
        ("task.placement", with_fields(placement=3)),
        ("task.overlap_policy", with_fields(placement=EVERY, overlap_policy=QUEUE)),
        ("task.overlap_policy", with_fields(placement=EVERY, overlap_policy=CANCEL_RUNNING)),
        ("task.after", with_fields(placement=EVERY, after=[task_pb2.ChainParent(task="t")])),
        ("task.misfire_window", with_fields(misfire_window=Duration(seconds=9))),
        ("task.misfire_window", with_fields(misfire_window=Duration(seconds=367 * 86_400))),
        ("task.misfire_window", with_fields(misfire_policy=MISFIRE_SKIP, misfire_window=Duration(seconds=60))),
        ("task.misfire_max_runs", with_fields(misfire_max_runs=3)),
        ("task.misfire_max_runs", with_fields(misfire_policy=MISFIRE_ALL, misfire_max_runs=-1)),
        ("task.resume_time", with_fields(resume_time=Timestamp(seconds=NOW_US // 1_000_000 + 60))),
        ("task.resume_time", with_fields(paused=True, resume_time=Timestamp(seconds=-1))),
        ("task.retry.max_attempts", retry(max_attempts=0)),
        ("task.retry.max_attempts", retry(max_attempts=101)),
        ("task.retry.multiplier", retry(multiplier=11)),
        ("task.retry.states", retry(states=[execution_pb2.EXECUTION_STATE_LOST])),
        ("task.retry.states", retry(states=[99])),
        ("task.retry.exit_codes", retry(exit_codes=[256])),
        ("task.retry.exit_codes", retry(exit_codes=range(65))),
        ("task.retry.http_statuses", retry(http_statuses=[99])),
        ("task.priority", with_fields(priority=10)),
        ("task.priority", with_fields(priority=-10)),
        ("task.start_deadline", lambda task: task.start_deadline.FromMilliseconds(999)),
        ("task.jitter", lambda task: task.jitter.FromMilliseconds(9)),
        ("task.jitter", with_fields(start_deadline=Duration(seconds=60), jitter=Duration(seconds=60))),
        ("task.retry.initial_backoff", backoff("initial_backoff", 0)),
        ("task.retry.max_backoff", backoff("max_backoff", 0)),
    ],
)
def test_refused_with_the_name_of_the_field(field: str, edit: Edit) -> None:
    assert field in refusal(edited(edit))


def test_at_most_once_allows_one_attempt() -> None:
    task = edited(retry())
    task.delivery = policy_pb2.DELIVERY_AT_MOST_ONCE
    assert "allows one attempt" in refusal(task)["task.retry.max_attempts"]
    task.retry.max_attempts = 1
    new_task(task, NOW_US)


def test_the_defaults_are_written_out() -> None:
    task = new_task(valid(), NOW_US).task
    assert (task.overlap_policy, task.max_running, task.max_queued) == (ALLOW, 0, 0)
    assert not task.HasField("retry")
    task = new_task(edited(with_fields(overlap_policy=SKIP)), NOW_US).task
    assert (task.max_running, task.max_queued) == (1, 0)
    task = new_task(edited(with_fields(overlap_policy=QUEUE)), NOW_US).task
    assert (task.max_running, task.max_queued) == (1, 10)
    policy = new_task(edited(retry()), NOW_US).task.retry
    assert (policy.initial_backoff.seconds, policy.multiplier, policy.max_backoff.seconds) == (1, 2, 600)
    assert list(policy.states) == [execution_pb2.EXECUTION_STATE_FAILED, execution_pb2.EXECUTION_STATE_TIMED_OUT]


def test_the_longest_wait_is_never_shorter_than_the_first() -> None:
    policy = new_task(edited(backoff("initial_backoff", 3600)), NOW_US).task.retry
    assert policy.max_backoff.seconds == 3600


def test_policies_can_be_changed_and_taken_away() -> None:
    current = new_task(edited(retry()), NOW_US).task
    sent = task_pb2.Task(overlap_policy=QUEUE, max_queued=4)
    mask = FieldMask(paths=["overlap_policy", "max_queued", "retry"])
    changed = changed_task(current, sent, mask, NOW_US)
    assert (changed.overlap_policy, changed.max_running, changed.max_queued) == (QUEUE, 1, 4)
    assert not changed.HasField("retry")
