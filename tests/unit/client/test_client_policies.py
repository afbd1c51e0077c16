"""Policies of tasks from Python values."""

from datetime import timedelta

from google.protobuf.json_format import MessageToDict
from raftsched_client import retry_policy, task


def test_overlap_and_retry():
    policy = retry_policy(
        5,
        initial_backoff=timedelta(seconds=2),
        multiplier=3,
        max_backoff=timedelta(minutes=1),
        states=["failed"],
        exit_codes=[75],
        http_statuses=[429, 503],
    )
    built = task(
        "t",
        every=timedelta(minutes=1),
        noop=True,
        overlap="queue",
        max_running=2,
        max_queued=3,
        retry=policy,
        start_deadline=timedelta(minutes=5),
        priority=-3,
        jitter=timedelta(seconds=9),
        placement="any",
    )
    shown = MessageToDict(built)
    assert shown["placement"] == "PLACEMENT_ANY"
    assert (shown["overlapPolicy"], shown["maxRunning"], shown["maxQueued"]) == ("OVERLAP_POLICY_QUEUE", 2, 3)
    assert (shown["startDeadline"], shown["priority"], shown["jitter"]) == ("300s", -3, "9s")
    assert shown["retry"] == {
        "maxAttempts": 5,
        "initialBackoff": "2s",
        "multiplier": 3,
        "maxBackoff": "60s",
        "states": ["EXECUTION_STATE_FAILED"],
        "exitCodes": [75],
        "httpStatuses": [429, 503],
    }


def test_what_is_left_out_is_left_to_the_cluster():
    assert MessageToDict(retry_policy(3)) == {"maxAttempts": 3}
