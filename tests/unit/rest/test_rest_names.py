"""Texts of the API as REST tells them."""

import pytest

from raftsched.rest.names import in_json_names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("give max_running, max_starts, or both", "give maxRunning, maxStarts, or both"),
        ("must be at least `misfire_threshold`", "must be at least `misfireThreshold`"),
        ("Repeat it with the same request_id", "Repeat it with the same Idempotency-Key"),
        ("the task 'time_limit' exists", "the task 'time_limit' exists"),
        ('the key "time_limit" is taken', 'the key "time_limit" is taken'),
        ("the setting executor.python_allow", "the setting executor.python_allow"),
        ("no_such_field of ours", "no_such_field of ours"),
        ("lies before start_time.", "lies before startTime."),
        ("start_time=now", "start_time=now"),
        ("lies before start_time", "lies before startTime"),
        ("name", "name"),
    ],
)
def test_fields_have_their_json_names_and_what_is_quoted_stays(text: str, told: str) -> None:
    assert in_json_names(text) == told
