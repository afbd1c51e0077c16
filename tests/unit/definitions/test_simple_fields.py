"""Simple fields are checked by what the options of the protocol say of them."""

import pytest
from google.protobuf.descriptor import FieldDescriptor
from raftsched_proto.v1 import task_pb2

from raftsched.core.policy.due import LARGEST_MAX_RUNS
from raftsched.core.policy.overlap import LARGEST_LIMIT
from raftsched.core.state.model import DEFAULT_MISFIRE_THRESHOLD_US, HIGHEST_PRIORITY
from raftsched.definitions.policies import MAX_DURATION_US
from raftsched.definitions.simple_fields import check_simple_fields
from raftsched.definitions.task_fields import TASK_FIELDS
from raftsched.definitions.violations import Invalid, Violations

BY_NAME = {field.name: field for field in TASK_FIELDS}


def refused(**fields: object) -> list[str]:
    violations = Violations()
    check_simple_fields(violations, task_pb2.Task(**fields))  # type: ignore[arg-type]  # what they hold is the test's
    try:
        violations.raise_any()
    except Invalid as invalid:
        return [violation.description for violation in invalid.violations]
    return []


def test_the_table_has_every_field_of_a_task_in_order() -> None:
    assert [field.name for field in TASK_FIELDS] == [field.name for field in task_pb2.Task.DESCRIPTOR.fields]


def test_bounds_and_defaults_of_the_options_are_those_that_the_core_works_with() -> None:
    assert (BY_NAME["priority"].min, BY_NAME["priority"].max) == (-HIGHEST_PRIORITY, HIGHEST_PRIORITY)
    assert BY_NAME["max_running"].max == BY_NAME["max_queued"].max == LARGEST_LIMIT
    assert BY_NAME["misfire_max_runs"].max == LARGEST_MAX_RUNS
    assert BY_NAME["misfire_threshold"].default == DEFAULT_MISFIRE_THRESHOLD_US
    assert {field.max for field in TASK_FIELDS if field.kind == "span"} == {MAX_DURATION_US}


def test_what_every_number_span_and_text_may_hold_is_bounded() -> None:
    for field in TASK_FIELDS:
        if field.title and field.kind in ("integer", "span"):
            assert field.min is not None, field.name
            assert field.max is not None, field.name
        if field.title and field.kind == "text":
            assert field.max_bytes or field.max_characters or field.is_name, field.name


def test_defaults_are_written_out() -> None:
    task = task_pb2.Task()
    check_simple_fields(Violations(), task)
    written = {field.name for field, _ in task.ListFields()}
    assert written == {"misfire_policy", "misfire_threshold", "delivery", "overlap_policy", "placement"}
    assert task.misfire_threshold.seconds == 10


def test_fields_that_only_the_cluster_sets_and_messages_are_not_simple() -> None:
    for field in task_pb2.Task.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_MESSAGE and BY_NAME[field.name].title:
            assert BY_NAME[field.name].kind in ("span", "time"), field.name
        assert not (BY_NAME[field.name].output and BY_NAME[field.name].title)


@pytest.mark.parametrize("text", ["", "Runs *nightly*.\r\n\n\tSee the run book.", "ü" * 2048, "👩‍🔧"])
def test_a_description_is_any_text_of_up_to_4096_bytes(text: str) -> None:
    assert refused(description=text) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" * 4097, "has 4097 bytes; at most 4096 are allowed"),
        ("ü" * 2049, "has 4098 bytes; at most 4096 are allowed"),
        ("a\x1b[31m", "has control characters other than tabs and line ends"),
        ("a\x00", "has control characters other than tabs and line ends"),
    ],
)
def test_a_description_that_is_too_long_or_does_something_to_a_terminal_is_refused(text: str, why: str) -> None:
    assert refused(description=text) == [why]


@pytest.mark.parametrize("text", ["", "Team Zürich <a@b.example>", "ü" * 200])
def test_an_owner_is_one_line_of_up_to_200_characters(text: str) -> None:
    assert refused(owner=text) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" * 201, "has 201 characters; at most 200 are allowed"),
        ("a\nb", "has characters that are not printable"),
        ("a\x1b", "has characters that are not printable"),
    ],
)
def test_an_owner_that_is_too_long_or_not_printable_is_refused(text: str, why: str) -> None:
    assert refused(owner=text) == [why]
