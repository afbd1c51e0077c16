"""What a task definition may say: each refusal names its field, and what passes has its defaults written out."""

import json
from collections.abc import Callable
from importlib import resources

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import notification_pb2, policy_pb2, task_pb2

from raftsched.definitions import references
from raftsched.definitions import task as validate
from raftsched.definitions.task import (
    INPUT_FIELDS,
    changed_task,
    check_definition,
    definition,
    first_fire,
    new_task,
)
from raftsched.definitions.violations import Invalid, Violation, Violations

SECOND = 1_000_000
NOW_US = 1_800_000_000 * SECOND
Edit = Callable[[task_pb2.Task], object]


def valid() -> task_pb2.Task:
    task = task_pb2.Task(name="t")
    task.schedule.cron.expression = "*/5 * * * *"
    task.action.command.argv.extend(["echo", "hi"])
    return task


def edited(edit: Edit) -> task_pb2.Task:
    task = valid()
    edit(task)
    return task


def refusal(task: task_pb2.Task) -> dict[str, str]:
    with pytest.raises(Invalid) as raised:
        new_task(task, NOW_US)
    return {violation.field: violation.description for violation in raised.value.violations}


def at(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)


def http(**fields: object) -> Edit:
    def edit(task: task_pb2.Task) -> None:
        task.action.http.CopyFrom(task_pb2.HttpAction(**{"url": "http://host/", **fields}))

    return edit


def python(**fields: str) -> Edit:
    return lambda task: task.action.python.CopyFrom(task_pb2.PythonAction(**{"callable": "f", **fields}))


def command(**fields: object) -> Edit:
    def edit(task: task_pb2.Task) -> None:
        task.action.command.CopyFrom(task_pb2.CommandAction(**{"argv": ["x"], **fields}))

    return edit


def grpc(**fields: object) -> Edit:
    def edit(task: task_pb2.Task) -> None:
        values = {"target": "host:1", "method": "p.S/M", **fields}
        task.action.grpc.CopyFrom(task_pb2.GrpcAction(**values))

    return edit


def aws_lambda(**fields: object) -> Edit:
    def edit(task: task_pb2.Task) -> None:
        task.action.aws_lambda.CopyFrom(task_pb2.AwsLambdaAction(**{"function": "f", **fields}))

    return edit


def container(**fields: object) -> Edit:
    def edit(task: task_pb2.Task) -> None:
        task.action.container.CopyFrom(task_pb2.ContainerAction(**{"image": "i", **fields}))

    return edit


def extension(**fields: str) -> Edit:
    return lambda task: task.action.extension.CopyFrom(task_pb2.ExtensionAction(**{"kind": "sql", **fields}))


def interval(seconds: int, nanos: int = 0) -> Edit:
    def edit(task: task_pb2.Task) -> None:
        task.schedule.interval.every.seconds = seconds
        task.schedule.interval.every.nanos = nanos

    return edit


def notifications(**fields: object) -> Edit:
    def edit(task: task_pb2.Task) -> None:
        values = {"url": "http://h/", "occasions": [notification_pb2.OCCASION_FAILURE], **fields}
        task.notifications.CopyFrom(notification_pb2.Notifications(**values))

    return edit


LATE = notification_pb2.OCCASION_LATE

REFUSED: list[tuple[str, Edit]] = [
    ("task.notifications.url", notifications(url="")),
    ("task.notifications.url", notifications(url="mailto:ops@example.org")),
    ("task.notifications.url", notifications(url="http://h/${secret:a b}")),
    ("task.notifications.occasions", notifications(occasions=[])),
    ("task.notifications.occasions", notifications(occasions=[0])),
    ("task.notifications.occasions", notifications(occasions=[99])),
    ("task.notifications.late_after", notifications(occasions=[LATE])),
    ("task.notifications.late_after", notifications(late_after=Duration(seconds=5))),
    ("task.notifications.late_after", notifications(occasions=[LATE], late_after=Duration(nanos=1000))),
    ("task.notifications.report_within", notifications(report_within=Duration(seconds=5))),
    ("task.notifications.signing_secret", notifications(signing_secret="../x")),
    ("task.notifications.headers", notifications(headers={"a b": "x"})),
    ("task.notifications.headers", notifications(headers={"a": "${secret:}"})),
    ("task.notifications.headers", notifications(headers={f"h{n}": "" for n in range(17)})),
    ("task.action.grpc.target", grpc(target="")),
    ("task.action.grpc.target", grpc(target="host")),
    ("task.action.grpc.target", grpc(target="host:99999")),
    ("task.action.grpc.target", grpc(target="http://host:1")),
    ("task.action.grpc.method", grpc(method="/p.S/M")),
    ("task.action.grpc.method", grpc(method="S")),
    ("task.action.grpc.request_json", grpc(request_json="[]")),
    ("task.action.grpc.request_json", grpc(request_json="{")),
    ("task.action.grpc.metadata", grpc(metadata={"Upper": "x"})),
    ("task.action.grpc.metadata", grpc(metadata={"x-bin": "x"})),
    ("task.action.grpc.metadata", grpc(metadata={"grpc-x": "x"})),
    ("task.action.grpc.metadata", grpc(metadata={"x": "ä"})),
    ("task.action.grpc.descriptor_set", grpc(descriptor_set=b"\xff")),
    ("task.action.grpc.descriptor_set", grpc(descriptor_set=b"\n\x00")),
    ("task.action.aws_lambda.function", aws_lambda(function="")),
    ("task.action.aws_lambda.function", aws_lambda(function="a b")),
    ("task.action.aws_lambda.qualifier", aws_lambda(qualifier="a b")),
    ("task.action.aws_lambda.region", aws_lambda(region="EU")),
    ("task.action.aws_lambda.attempt_key", aws_lambda(attempt_key="k" * 65)),
    ("task.action.aws_lambda.payload_json", aws_lambda(payload_json="{")),
    ("task.action.aws_lambda.payload_json", aws_lambda(payload_json="[]", attempt_key="k")),
    ("task.action.container.image", container(image="")),
    ("task.action.container.image", container(image="a b")),
    ("task.action.container.env", container(env={"": "x"})),
    ("task.action.container.command", container(command=["a\0"])),
    ("task.action.container.working_directory", container(working_directory="relative")),
    ("task.action.container.user", container(user="a b")),
    ("task.action.container.network", container(network="a b")),
    ("task.action.container.memory_limit_bytes", container(memory_limit_bytes=1)),
    ("task.action.container.cpu_limit_millis", container(cpu_limit_millis=-1)),
    ("task.action.container.pull_policy", container(pull_policy=9)),
    ("task.action.extension.kind", extension(kind="")),
    ("task.action.extension.kind", extension(kind="http")),
    ("task.action.extension.parameters_json", extension(parameters_json="[]")),
    ("task.action.command.argv", command(argv=["echo", "${secret:}"])),
    ("task.action.command.env", command(env={"A": "${secret:a b}"})),
    ("task.action.command.stdin", command(stdin=b"${secret:../x}")),
    ("task.action.http.headers", http(headers={"A": "${secret:"})),
    ("task.action.grpc.metadata", grpc(metadata={"a": "${secret:/}"})),
    ("task.name", lambda t: setattr(t, "name", "")),
    ("task.name", lambda t: setattr(t, "name", ".hidden")),
    ("task.name", lambda t: setattr(t, "name", "a/b")),
    ("task.name", lambda t: setattr(t, "name", "a\n")),
    ("task.name", lambda t: setattr(t, "name", "x" * 201)),
    ("task.labels", lambda t: t.labels.update({"": "x"})),
    ("task.labels", lambda t: t.labels.update({"a b": "x"})),
    ("task.labels", lambda t: t.labels.update({"a": "x" * 256})),
    ("task.labels", lambda t: t.labels.update({f"k{n}": "" for n in range(33)})),
    ("task.executor_labels", lambda t: t.executor_labels.update({"ä": "x"})),
    ("task.schedule", lambda t: t.ClearField("schedule")),
    ("task.schedule.cron.expression", lambda t: setattr(t.schedule.cron, "expression", "")),
    ("task.schedule.cron.expression", lambda t: setattr(t.schedule.cron, "expression", "61 * * * *")),
    ("task.schedule.cron.expression", lambda t: setattr(t.schedule.cron, "expression", "0 0 30 2 *")),
    ("task.schedule.cron.time_zone", lambda t: setattr(t.schedule.cron, "time_zone", "Mars/Olympus")),
    ("task.schedule.cron.time_zone", lambda t: setattr(t.schedule.cron, "time_zone", "../../etc/passwd")),
    ("task.schedule.interval.every", interval(0)),
    ("task.schedule.interval.every", interval(0, 999_999_999)),
    ("task.schedule.interval.every", interval(-5)),
    ("task.schedule.interval.every", interval(10**12)),
    ("task.schedule.interval.every", interval(1, -5)),
    ("task.schedule.at", lambda t: t.schedule.at.CopyFrom(at(-1))),
    ("task.schedule.at", lambda t: t.schedule.at.CopyFrom(at(253_402_300_800))),
    ("task.schedule.at", lambda t: t.schedule.at.CopyFrom(Timestamp(seconds=1, nanos=-1))),
    ("task.schedule.at", lambda t: t.schedule.at.CopyFrom(at(1_800_000_000 - 11))),
    ("task.schedule.start_time", lambda t: t.schedule.start_time.CopyFrom(at(-1))),
    ("task.schedule.end_time", lambda t: t.schedule.end_time.CopyFrom(at(1_700_000_000))),
    ("task.action", lambda t: t.ClearField("action")),
    ("task.action.command.argv", command(argv=[])),
    ("task.action.command.argv", command(argv=[""])),
    ("task.action.command.argv", command(argv=[""], shell=True)),
    ("task.action.command.argv", command(argv=["x", "a\0b"])),
    ("task.action.command.env", command(env={"": "x"})),
    ("task.action.command.env", command(env={"A=B": "x"})),
    ("task.action.command.env", command(env={"A": "x\0"})),
    ("task.action.command.working_directory", command(working_directory="relative")),
    ("task.action.command.stdin", command(stdin=b"x" * ((128 << 10) + 1))),
    ("task.action.http.url", http(url="")),
    ("task.action.http.url", http(url="ftp://host/")),
    ("task.action.http.url", http(url="http://")),
    ("task.action.http.url", http(url="http://host:99999/")),
    ("task.action.http.url", http(url="http://[::1/")),
    ("task.action.http.url", http(url="http://host/a b")),
    ("task.action.http.method", http(method="get")),
    ("task.action.http.method", http(method="GET /\r\n")),
    ("task.action.http.headers", http(headers={"a:b": "x"})),
    ("task.action.http.headers", http(headers={"a": "x\r\ny: z"})),
    ("task.action.http.headers", http(headers={"a": "x\x01"})),
    ("task.action.http.headers", http(headers={"a": "\x7f"})),
    ("task.action.http.headers", http(headers={"a": " x"})),
    ("task.action.http.headers", http(headers={"a": "x\t"})),
    ("task.action.http.headers", http(headers={"größe": "x"})),
    ("task.notifications.headers", notifications(headers={"a": "x "})),
    ("task.action.http.expected_statuses", http(expected_statuses=[99])),
    ("task.action.http.expected_statuses", http(expected_statuses=[600])),
    ("task.action.http.body", http(body=b"x" * ((128 << 10) + 1))),
    ("task.action.python.callable", python(callable="")),
    ("task.action.python.callable", python(callable="os:system()")),
    ("task.action.python.callable", python(callable=":f")),
    ("task.action.python.kwargs_json", python(kwargs_json="[1]")),
    ("task.action.python.kwargs_json", python(kwargs_json="{")),
    ("task.action.python.kwargs_json", python(kwargs_json="[" * 20_000)),
    ("task.action.python.kwargs_json", python(kwargs_json='{"a": NaN}')),
    ("task.action.python.kwargs_json", python(kwargs_json='{"a": [-Infinity]}')),
    ("task.action.python.kwargs_json", python(kwargs_json='{"a": 1e999}')),
    ("task.action.python.kwargs_json", python(kwargs_json='{"a": {"b": 1, "b": 2}}')),
    ("task.time_limit", lambda t: t.time_limit.FromSeconds(0)),
    ("task.time_limit", lambda t: t.time_limit.FromSeconds(-1)),
    ("task.misfire_threshold", lambda t: t.misfire_threshold.FromMilliseconds(999)),
    ("task.misfire_policy", lambda t: setattr(t, "misfire_policy", 9)),
    ("task.delivery", lambda t: setattr(t, "delivery", 9)),
    ("task", lambda t: t.action.command.argv.extend(["x" * 1000] * 300)),
]


@pytest.mark.parametrize(("field", "edit"), REFUSED, ids=[f"{n}-{field}" for n, (field, _) in enumerate(REFUSED)])
def test_refused_with_the_name_of_the_field(field: str, edit: Edit) -> None:
    assert list(refusal(edited(edit))) == [field]


ACCEPTED: list[Edit] = [
    lambda t: setattr(t, "name", "0"),
    lambda t: setattr(t, "name", "x" * 200),
    lambda t: t.labels.update({"app.example/tier_1-a": ""}),
    lambda t: setattr(t.schedule.cron, "expression", "@hourly"),
    lambda t: setattr(t.schedule.cron, "expression", "*/10 * * * * *"),
    lambda t: setattr(t.schedule.cron, "time_zone", "Europe/Berlin"),
    interval(1),
    lambda t: t.schedule.at.CopyFrom(at(1_800_000_000 - 10)),
    lambda t: t.schedule.at.CopyFrom(at(253_402_300_799)),
    lambda t: t.schedule.start_time.CopyFrom(at(1_900_000_000)),
    command(argv=["exit 1", "a"], shell=True, env={"PATH": ""}, working_directory="/tmp", stdin=b"\0"),
    http(
        url="https://user:pass@host:8443/path?q=1#f",
        method="PATCH",
        headers={"X-A": "b\tc größe \U0001f600", "B": ""},
        expected_statuses=[204],
    ),
    http(url="http://[::1]:80/"),
    python(callable="reports.daily:main", kwargs_json='{"a": [1]}'),
    python(callable="send-report"),
    lambda t: t.action.noop.SetInParent(),
    lambda t: t.time_limit.FromMilliseconds(1),
]


@pytest.mark.parametrize("edit", ACCEPTED, ids=range(len(ACCEPTED)))
def test_a_valid_definition_is_accepted(edit: Edit) -> None:
    assert new_task(edited(edit), NOW_US).next_us > 0


def looked_at_whole(sent: task_pb2.Task) -> tuple[bytes, int] | tuple[Violation, ...]:
    """What becomes of a definition of which nothing is remembered."""
    task = definition(sent)
    try:
        check_definition(task, NOW_US)
        return task.SerializeToString(deterministic=True), first_fire(task, NOW_US)
    except Invalid as error:
        return error.violations


def registered(sent: task_pb2.Task) -> tuple[bytes, int] | tuple[Violation, ...]:
    try:
        new = new_task(sent, NOW_US)
    except Invalid as error:
        return error.violations
    return new.task.SerializeToString(deterministic=True), new.next_us


EDITS = [*(edit for _, edit in REFUSED), *ACCEPTED]


@pytest.mark.parametrize("edit", EDITS, ids=range(len(EDITS)))
def test_what_is_remembered_of_a_definition_changes_neither_what_is_kept_nor_what_is_refused(edit: Edit) -> None:
    sent, unlike = edited(edit), edited(edit)
    unlike.name = "-" + "x" * 300
    unlike.schedule.at.seconds = -1
    expected = looked_at_whole(sent), looked_at_whole(unlike)
    for _ in range(2):
        assert (registered(sent), registered(unlike)) == expected


def test_what_tasks_have_in_common_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    check = validate.check_action

    def counted(violations: Violations, field: str, action: task_pb2.Action) -> None:
        looked_at.append(field)
        check(violations, field, action)

    monkeypatch.setattr(validate, "check_action", counted)
    common = valid()
    common.action.command.argv.append("what no other test runs")
    for number in range(10):
        common.name = f"t{number}"
        common.schedule.at.seconds = 1_900_000_000 + number
        new_task(common, NOW_US)
    assert len(looked_at) == 1


def test_a_large_definition_is_not_remembered() -> None:
    large = valid()
    large.action.command.stdin = b"x" * (64 << 10)
    before = validate._checked.cache_info()
    new_task(large, NOW_US)
    assert validate._checked.cache_info() == before


def test_defaults_are_written_out() -> None:
    task = new_task(edited(http()), NOW_US).task
    assert task.schedule.cron.time_zone == "UTC"
    assert task.action.http.method == "GET"
    assert task.misfire_threshold.seconds == 10
    assert task.misfire_policy == policy_pb2.MISFIRE_POLICY_ONE
    assert task.delivery == policy_pb2.DELIVERY_AT_LEAST_ONCE


def test_times_are_kept_to_the_microsecond() -> None:
    task = edited(lambda t: t.schedule.at.CopyFrom(Timestamp(seconds=1_800_000_001, nanos=123_456_789)))
    assert new_task(task, NOW_US).task.schedule.at.nanos == 123_456_000


def test_what_a_caller_cannot_set_is_ignored() -> None:
    task = valid()
    task.uid, task.etag, task.generation, task.state = "u", "e", 5, task_pb2.TASK_STATE_FINISHED
    for field in (task.create_time, task.update_time, task.next_fire_time, task.last_fire_time):
        field.seconds = 1
    assert {field.name for field, _ in new_task(task, NOW_US).task.ListFields()} <= set(INPUT_FIELDS)


def test_unknown_fields_are_dropped() -> None:
    task = task_pb2.Task.FromString(valid().SerializeToString() + b"\xfa\x3f\x03new")
    assert new_task(task, NOW_US).task.SerializeToString(deterministic=True) == new_task(
        valid(), NOW_US
    ).task.SerializeToString(deterministic=True)


def test_a_late_one_time_task_fires_at_its_own_time() -> None:
    task = edited(lambda t: t.schedule.at.CopyFrom(at(1_800_000_000 - 10)))
    assert new_task(task, NOW_US).next_us == NOW_US - 10 * SECOND
    task.misfire_threshold.FromSeconds(9)
    assert list(refusal(task)) == ["task.schedule.at"]


def test_all_violations_are_told_together() -> None:
    task = valid()
    task.name, task.action.command.argv[0] = "", ""
    task.time_limit.seconds = -1
    assert set(refusal(task)) == {"task.name", "task.action.command.argv", "task.time_limit"}


def test_a_change_checks_the_whole_definition_and_keeps_the_rest() -> None:
    current = new_task(valid(), NOW_US).task
    sent = task_pb2.Task(paused=True, labels={"a": "b"})
    sent.time_limit.seconds = 5
    changed = changed_task(current, sent, FieldMask(paths=["paused", "labels"]), NOW_US)
    assert changed.paused
    assert dict(changed.labels) == {"a": "b"}
    assert not changed.HasField("time_limit")
    assert changed.schedule == current.schedule
    assert not changed_task(changed, task_pb2.Task(), FieldMask(paths=["labels"]), NOW_US).labels
    with pytest.raises(Invalid) as raised:
        changed_task(current, task_pb2.Task(), FieldMask(paths=["action"]), NOW_US)
    assert [violation.field for violation in raised.value.violations] == ["task.action"]


def test_a_change_that_ends_a_pause_drops_the_time_at_which_it_would_have_ended() -> None:
    task = valid()
    task.paused = True
    task.resume_time.FromSeconds(NOW_US // SECOND + 60)
    current = new_task(task, NOW_US).task
    assert changed_task(current, task_pb2.Task(), FieldMask(paths=["labels"]), NOW_US).HasField("resume_time")
    assert not changed_task(current, task_pb2.Task(), FieldMask(paths=["paused"]), NOW_US).HasField("resume_time")
    with pytest.raises(Invalid) as raised:
        changed_task(new_task(valid(), NOW_US).task, current, FieldMask(paths=["resume_time"]), NOW_US)
    assert [violation.field for violation in raised.value.violations] == ["task.resume_time"]


def test_comments_say_which_fields_are_output_only() -> None:
    # Generated from the comments of proto/.
    comments = json.loads(resources.files("raftsched.rest").joinpath("routes.json").read_text())["comments"]
    for field in task_pb2.Task.DESCRIPTOR.fields:
        is_output = comments.get(f"raftsched.v1.Task.{field.name}", "").startswith("Output only")
        assert is_output == (field.name not in INPUT_FIELDS), field.name


def test_a_change_replaces_what_the_mask_names_and_nothing_else() -> None:
    task = valid()
    task.owner, task.description, task.labels["a"] = "before", "kept", "1"
    sent = task_pb2.Task(owner="after", description="not asked for", labels={"b": "2"})
    changed = changed_task(new_task(task, NOW_US).task, sent, FieldMask(paths=["owner", "labels"]), NOW_US)
    assert (changed.owner, changed.description, dict(changed.labels)) == ("after", "kept", {"b": "2"})
    assert changed_task(changed, task_pb2.Task(), FieldMask(paths=["owner"]), NOW_US).owner == ""


def test_a_time_limit_can_be_taken_away() -> None:
    task = valid()
    task.time_limit.seconds = 5
    current = new_task(task, NOW_US).task
    assert not changed_task(current, task_pb2.Task(), FieldMask(paths=["time_limit"]), NOW_US).HasField("time_limit")


def test_messages_stay_short_and_printable() -> None:
    for description in refusal(edited(lambda t: setattr(t, "name", "\x1b[31m" + "ü" * 1000))).values():
        assert description.isascii()
        assert description.isprintable()
        assert len(description) < 300


@pytest.mark.parametrize(
    "edit",
    [
        grpc(target="[::1]:7101", request_json='{"a": "${secret:x}"}', metadata={"a": "Bearer ${secret:t}"}),
        aws_lambda(function="arn:aws:lambda:eu-central-1:123456789012:function:tidy:live", payload_json="[1]"),
        container(image="registry.example.org:5000/team/tool@sha256:00", user="1000:1000", memory_limit_bytes=6 << 20),
        extension(kind="my_kind-2", parameters_json='{"a": 1}'),
        http(url="https://${secret:user}:${secret:password}@host/${secret:path}?q=$${secret:x}"),
        command(argv=["echo", "$${secret:", "${secret:API_KEY}"]),
    ],
)
def test_action_with_references_to_secrets_is_accepted_as_it_is(edit: Edit) -> None:
    sent = edited(edit)
    accepted = new_task(sent, NOW_US).task.action
    # Defaults are written out.
    assert {field for field, _ in accepted.ListFields()} == {field for field, _ in sent.action.ListFields()}
    assert set(references.texts(sent.action)) <= set(references.texts(accepted))


def test_pull_policy_has_a_default() -> None:
    accepted = new_task(edited(container()), NOW_US).task
    assert accepted.action.container.pull_policy == task_pb2.PULL_POLICY_IF_NOT_PRESENT


def test_bounds_of_a_length_of_time_have_units_that_people_read() -> None:
    task = valid()
    task.time_limit.FromSeconds(400 * 86_400)
    task.jitter.FromNanoseconds(1_000)
    told = refusal(task)
    assert told["task.time_limit"] == "must lie between 1 ms and 366 days"
    assert told["task.jitter"] == "must lie between 10 ms and 366 days"
