"""Tasks from Python values, and errors from status details."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from raftsched_client import HttpAction, InvalidArgumentError, RaftschedError, UnavailableError, task, to_datetime
from raftsched_client._decode import decode

from tests.support.peer_cluster import refusal


def test_cron_task_with_everything():
    built = task(
        "report",
        cron="30 2 * * *",
        zone="Europe/Berlin",
        start=datetime(2026, 3, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        end=datetime(2027, 1, 1, tzinfo=UTC),
        shell="exec report",
        env={"A": "1"},
        working_directory="/srv",
        stdin=b"in",
        labels={"team": "a"},
        executor_labels={"disk": "ssd"},
        time_limit=timedelta(minutes=5),
        misfire="skip",
        misfire_threshold=timedelta(seconds=30),
        delivery="at_most_once",
        paused=True,
    )
    assert MessageToDict(built) == {
        "name": "report",
        "labels": {"team": "a"},
        "schedule": {
            "cron": {"expression": "30 2 * * *", "timeZone": "Europe/Berlin"},
            "startTime": "2026-02-28T23:00:00Z",
            "endTime": "2027-01-01T00:00:00Z",
        },
        "action": {
            "command": {
                "argv": ["exec report"],
                "shell": True,
                "env": {"A": "1"},
                "workingDirectory": "/srv",
                "stdin": "aW4=",
            }
        },
        "timeLimit": "300s",
        "paused": True,
        "executorLabels": {"disk": "ssd"},
        "misfirePolicy": "MISFIRE_POLICY_SKIP",
        "misfireThreshold": "30s",
        "delivery": "DELIVERY_AT_MOST_ONCE",
    }


def test_least_task_leaves_the_defaults_to_the_cluster():
    built = task("beat", every=timedelta(seconds=90), noop=True)
    assert MessageToDict(built) == {
        "name": "beat",
        "schedule": {"interval": {"every": "90s"}},
        "action": {"noop": {}},
    }


def test_one_time_http_and_python_tasks():
    moment = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    once = task("once", at=moment, http="https://example.org/")
    assert to_datetime(once.schedule.at) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert once.action.http.url == "https://example.org/"
    request = HttpAction(url="https://example.org/", method="POST", expected_statuses=[202])
    assert task("post", at=moment, http=request).action.http == request
    call = task("call", at=moment, python="jobs:run", kwargs={"n": 1})
    assert (call.action.python.callable, call.action.python.kwargs_json) == ("jobs:run", '{"n": 1}')


def test_anchor_is_kept():
    built = task("beat", every=timedelta(hours=1), anchor=datetime(2026, 1, 1, tzinfo=UTC), noop=True)
    assert built.schedule.interval.anchor.ToJsonString() == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("schedule: give exactly one of cron, rrule, every, at, union, not none", {"noop": True}),
        ("not cron and every", {"cron": "@daily", "every": timedelta(1), "noop": True}),
        ("action: give exactly one of", {"cron": "@daily"}),
        ("not shell and noop", {"cron": "@daily", "shell": "x", "noop": True}),
        ("zone: goes with cron or rrule only", {"every": timedelta(1), "zone": "UTC", "noop": True}),
        ("anchor: goes with every only", {"cron": "@daily", "anchor": datetime.now(UTC), "noop": True}),
        ("env: goes with command or shell only", {"cron": "@daily", "noop": True, "env": {}}),
        ("kwargs: goes with python only", {"cron": "@daily", "noop": True, "kwargs": {}}),
        ("command: give a sequence", {"cron": "@daily", "command": "ls -l"}),
        ("at: .* has no time zone", {"at": datetime(2026, 1, 1), "noop": True}),  # noqa: DTZ001 - refused
        ("start: .* has no time zone", {"cron": "@daily", "start": datetime(2026, 1, 1), "noop": True}),  # noqa: DTZ001 - refused
    ],
)
def test_what_does_not_go_together_is_refused_by_name(message, arguments):
    with pytest.raises(ValueError, match=message):
        task("t", **arguments)


def test_status_without_details_says_what_gRPC_knows():
    error = decode(grpc.StatusCode.UNAVAILABLE, "Socket closed", ())
    assert isinstance(error, UnavailableError)
    assert (str(error), error.applied, error.reason, error.retry_after) == ("Socket closed", "unknown", "", None)
    error = decode(grpc.StatusCode.UNIMPLEMENTED, "", ())
    assert (type(error), str(error), error.applied) == (RaftschedError, "UNIMPLEMENTED", "no")


def test_details_are_read():
    sent = refusal("INVALID_ARGUMENT", "bad", applied="no", reason="BAD", field_name="task.name", retry_ms=1500)
    error = decode(sent.code, sent.message, sent.metadata())
    assert isinstance(error, InvalidArgumentError)
    assert (error.reason, error.metadata, error.retry_after) == ("BAD", {"applied": "no"}, timedelta(seconds=1.5))
    assert [(v.field, v.description) for v in error.field_violations] == [("task.name", "bad")]


def test_details_that_cannot_be_read_are_left_out():
    error = decode(grpc.StatusCode.NOT_FOUND, "gone", [("grpc-status-details-bin", b"\xff\xff")])
    assert (str(error), error.reason) == ("gone", "")
