"""Policies of tasks from Python values."""

from datetime import timedelta

import pytest
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


def test_simple_fields_are_named_by_their_options_and_none_leaves_them_out():
    built = task(
        "t",
        every=timedelta(minutes=1),
        noop=True,
        description="Sends the *report*.",
        owner="Team A",
        misfire="skip",
        group=None,
        time_limit=timedelta(minutes=5),
    )
    shown = MessageToDict(built)
    assert (shown["description"], shown["owner"]) == ("Sends the *report*.", "Team A")
    assert (shown["misfirePolicy"], shown["timeLimit"]) == ("MISFIRE_POLICY_SKIP", "300s")
    assert "group" not in shown


def test_an_argument_or_a_value_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="'ownr'"):
        task("t", every=timedelta(minutes=1), noop=True, ownr="Team A")
    with pytest.raises(ValueError, match="overlap: 'wait' is none of allow, skip, queue, cancel_running"):
        task("t", every=timedelta(minutes=1), noop=True, overlap="wait")
