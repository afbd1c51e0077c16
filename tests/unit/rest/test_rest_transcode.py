"""From HTTP requests to the requests of the rpcs: paths, queries, bodies, headers, and what is refused."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from raftsched_proto.v1 import execution_pb2, task_pb2

from raftsched.api.door.errors import MAX_VIOLATIONS
from raftsched.definitions.violations import Violation
from raftsched.rest import transcode
from raftsched.rest.problem import Problem
from raftsched.rest.routes import Route, RouteTable
from raftsched.rest.transcode import build_request, to_json

TABLE = RouteTable()


def find(verb: str, path: str) -> tuple[Route, dict[str, str]]:
    return next((route, variables) for route, variables in TABLE.find(path) if route.verb == verb)


def request(line: str, body: object = None, *, raw: bytes = b"", headers: Mapping[str, str] | None = None) -> Message:
    verb, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    route, variables = find(verb, path)
    content = json.dumps(body).encode() if body is not None else raw
    return build_request(route, variables, query.encode(), content, headers or {}, TABLE.outputs)


def refused(line: str, body: object = None, *, raw: bytes = b"", headers: Mapping[str, str] | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        request(line, body, raw=raw, headers=headers)
    assert caught.value.status == 400
    return caught.value


def fields(problem: Problem) -> list[str]:
    return [violation.field for violation in problem.violations]


def test_each_rpc_has_one_route_and_each_route_is_found_by_its_own_path() -> None:
    assert len({(route.verb, route.template) for route in TABLE.routes}) == len(TABLE.routes) == 39
    for route in TABLE.routes:
        path = route.template.replace("{task.name}", "x").replace("{name}", "x").replace("{task}", "x")
        assert [found for found, _ in TABLE.find(path.replace("{id}", "x")) if found.verb == route.verb] == [route]


def test_a_variable_is_one_segment_decoded_after_the_split() -> None:
    assert request("GET /v1/tasks/a%2Fb") == task_pb2.GetTaskRequest(name="a/b")
    assert not TABLE.find("/v1/tasks/a/b")
    assert not TABLE.find("/v1/tasks/")
    with pytest.raises(UnicodeDecodeError):
        TABLE.find("/v1/tasks/%ff")


def test_a_verb_of_our_own_is_no_part_of_a_name() -> None:
    assert request("POST /v1/tasks/a:pause") == task_pb2.PauseTaskRequest(name="a")
    assert not TABLE.find("/v1/tasks/a:explode")


def test_query_parameters_of_every_kind() -> None:
    listed = request(
        "GET /v1/executions?pageSize=5&task=t&states=EXECUTION_STATE_FAILED&states=EXECUTION_STATE_LOST"
        "&startTime=2030-01-31T12:00:00%2B01:00&consistency=CONSISTENCY_STALE"
    )
    assert isinstance(listed, execution_pb2.ListExecutionsRequest)
    assert (listed.page_size, listed.task, list(listed.states)) == (5, "t", [5, 8])
    assert listed.start_time.ToJsonString() == "2030-01-31T11:00:00Z"
    tasks = request("GET /v1/tasks?labels[team]=a%26b&labels[zone]=&name_prefix=x")
    assert tasks == task_pb2.ListTasksRequest(labels={"team": "a&b", "zone": ""}, name_prefix="x")
    output = request("GET /v1/executions/x/output?follow=true")
    assert output == execution_pb2.GetOutputRequest(id="x", follow=True)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pageSize=many", "pageSize"),
        ("pageSize=1e3", "pageSize"),
        ("pageSize=99999999999", "pageSize"),
        ("pageSize=1&pageSize=2", "pageSize"),
        ("pageSize=1&page_size=2", "page_size"),
        ("state=ACTIVE", "state"),
        ("labels=x", "labels"),
        ("labels[a]=1&labels[a]=2", "a"),
        ("labels[a[b]]=1", "labels[a[b]]"),
        ("nothing=1", "nothing"),
        ("namePrefix[x]=1", "namePrefix[x]"),
    ],
)
def test_a_query_parameter_that_cannot_be_is_refused_by_its_name(query: str, field: str) -> None:
    assert fields(refused(f"GET /v1/tasks?{query}")) == [field]


@pytest.mark.parametrize("query", ["namePrefix=%ff", "a=1&" * 1001])
def test_a_query_that_cannot_be_read_is_refused(query: str) -> None:
    assert refused(f"GET /v1/tasks?{query}").reason == "MALFORMED_REQUEST"


def test_the_body_is_the_field_that_the_route_names() -> None:
    body = {
        "name": "t",
        "timeLimit": "1.5s",
        "labels": {"a": "b"},
        "action": {"command": {"argv": ["x"], "stdin": "aGk="}},
    }
    created = request("POST /v1/tasks?requestId=r", body)
    assert isinstance(created, task_pb2.CreateTaskRequest)
    assert (created.task.name, created.request_id, created.task.time_limit.ToMilliseconds()) == ("t", "r", 1500)
    assert created.task.action.command.stdin == b"hi"


def test_fields_may_be_given_by_the_names_of_the_protocol() -> None:
    created = request("POST /v1/tasks", {"time_limit": "1s"})
    assert isinstance(created, task_pb2.CreateTaskRequest)
    assert created.task.time_limit.seconds == 1
    assert request("POST /v1/tasks/a:run", {"request_id": "r"}) == task_pb2.RunTaskRequest(name="a", request_id="r")


def test_a_whole_body_may_be_left_out() -> None:
    assert request("POST /v1/tasks/a:run") == task_pb2.RunTaskRequest(name="a")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "task"),
        ({"name": 1}, "name"),
        ({"name": None}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"nothing": 1}, "nothing"),
        ({"timeLimit": 5}, "timeLimit"),
        ({"timeLimit": "5"}, "timeLimit"),
        ({"timeLimit": "999999999999s"}, "timeLimit"),
        ({"paused": "true"}, "paused"),
        ({"misfirePolicy": 1}, "misfirePolicy"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"labels": []}, "labels"),
        ({"schedule": {"at": "tomorrow"}}, "schedule.at"),
        ({"schedule": {"at": "2030-02-31T00:00:00Z"}}, "schedule.at"),
        ({"schedule": {"cron": {}, "interval": {}}}, "schedule.interval"),
        ({"timeLimit": "1s", "time_limit": "1s"}, "time_limit"),
        ({"action": {"command": {"argv": "x"}}}, "action.command.argv"),
        ({"action": {"command": {"argv": ["x", 1]}}}, "action.command.argv[1]"),
        ({"action": {"command": {"stdin": "?"}}}, "action.command.stdin"),
        ({"action": {"http": {"expectedStatuses": ["200"]}}}, "action.http.expectedStatuses[0]"),
        ({"action": {"http": {"expectedStatuses": [2**31]}}}, "action.http.expectedStatuses[0]"),
    ],
)
def test_a_body_that_cannot_be_is_refused_by_the_path_of_its_field(body: object, field: str) -> None:
    problem = refused("POST /v1/tasks", body)
    assert fields(problem) == [field]
    assert problem.reason == "INVALID_FIELDS"


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b'{"a":1,"a":2}', b"NaN", b"[" * 100_000, b"1" * 5_000, b'{"a":' * 5_000],
)
def test_a_body_that_is_no_json_is_refused(raw: bytes) -> None:
    assert refused("POST /v1/tasks", raw=raw).reason == "MALFORMED_REQUEST"


CRON = {"cron": {"expression": "* * * * *"}}
HOSTILE = {
    "300 unions of 400": json.dumps(
        {"schedule": {"union": {"schedules": [{"union": {"schedules": [CRON] * 400}}] * 300}}}
    ).encode(),
    "more commas than a definition has room for": b'{"name": [' + b"1," * 400_001 + b"1]}",
    "unions in unions": b'{"schedule":' + b'{"union":{"schedules":[' * 300 + b"{}" + b"]}}" * 300 + b"}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_body_that_holds_too_much_is_refused_before_it_is_checked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = 0
    real = transcode.check_message

    def counted(*arguments: Any) -> Iterator[Violation]:
        nonlocal checked
        checked += 1
        return real(*arguments)

    monkeypatch.setattr(transcode, "check_message", counted)
    problem = refused("POST /v1/tasks", raw=HOSTILE[name])
    assert problem.reason == "MALFORMED_REQUEST"
    # Only the depth is found by going down.
    assert checked == (name == "unions in unions")


def test_a_batch_may_hold_more_than_one_definition() -> None:
    each = {"name": "t", "schedule": {"union": {"schedules": [CRON] * 4}}, "action": {"noop": {}}}
    message = request("POST /v1/tasks:batchCreate", {"tasks": [each] * 2_000})
    assert isinstance(message, task_pb2.BatchCreateTasksRequest)
    assert len(message.tasks) == 2_000


def test_of_many_violations_a_few_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = 0
    real = transcode.check_message

    def counted(*arguments: Any) -> Iterator[Violation]:
        nonlocal found
        for each in real(*arguments):
            found += 1
            yield each

    monkeypatch.setattr(transcode, "check_message", counted)
    refused("POST /v1/tasks", {f"unknown{number}": 1 for number in range(10_000)})
    assert 0 < found <= MAX_VIOLATIONS


def test_a_patch_without_a_mask_replaces_what_its_body_holds() -> None:
    patched = request(
        "PATCH /v1/tasks/t",
        {"paused": True, "timeLimit": "1s", "name": "t", "etag": "a-1", "state": "TASK_STATE_ACTIVE"},
    )
    assert isinstance(patched, task_pb2.UpdateTaskRequest)
    assert list(patched.update_mask.paths) == ["paused", "time_limit"]
    assert (patched.task.name, patched.task.etag) == ("t", "a-1")


@pytest.mark.parametrize("mask", ["labels,timeLimit", "labels,time_limit"])
def test_a_mask_may_be_written_either_way(mask: str) -> None:
    patched = request(f"PATCH /v1/tasks/t?updateMask={mask}", {})
    assert isinstance(patched, task_pb2.UpdateTaskRequest)
    assert list(patched.update_mask.paths) == ["labels", "time_limit"]


def test_a_name_in_the_body_that_differs_from_the_path_is_refused() -> None:
    assert fields(refused("PATCH /v1/tasks/t", {"name": "u"})) == ["name"]


def test_headers_are_fields_of_the_request() -> None:
    headers = {"idempotency-key": '"key"', "if-match": '"a-1"'}
    assert request("DELETE /v1/tasks/t", headers=headers) == task_pb2.DeleteTaskRequest(
        name="t", etag="a-1", request_id="key"
    )
    assert request("DELETE /v1/tasks/t", headers={"if-match": "*"}) == task_pb2.DeleteTaskRequest(name="t")
    weak = request("DELETE /v1/tasks/t", headers={"if-match": 'W/"a-1"'})
    assert weak == task_pb2.DeleteTaskRequest(name="t", etag='W/"a-1"'), "a weak etag must match nothing"


def test_a_header_that_cannot_be_heeded_is_refused() -> None:
    assert "If-Match has no meaning" in refused("POST /v1/tasks/t:run", headers={"if-match": '"a-1"'}).detail
    assert "one etag" in refused("DELETE /v1/tasks/t", headers={"if-match": '"a", "b"'}).detail
    assert fields(refused("DELETE /v1/tasks/t?requestId=a", headers={"idempotency-key": "b"})) == ["requestId"]


def test_a_response_shows_the_field_that_the_route_names_with_all_its_values() -> None:
    route, _ = find("GET", "/v1/tasks/t")
    shown = to_json(route, task_pb2.GetTaskResponse(task=task_pb2.Task(name="t", generation=2**60)))
    assert (shown["name"], shown["generation"], shown["paused"]) == ("t", str(2**60), False)
    assert "nextFireTime" not in shown


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(alphabet=st.characters(categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "labels", "schedule", "cron", "at", "action", "command", "argv", "timeLimit"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def answered(line: str, raw: bytes = b"") -> bool:
    """Whether there is a request or a refusal with 400 whose text can be written; anything else raises."""
    try:
        request(line, raw=raw)
    except Problem as problem:
        return problem.status == 400 and bool(problem.text())
    return True


@given(JSON)
def test_no_json_breaks_the_reader(body: object) -> None:
    for line in ("POST /v1/tasks", "POST /v1/tasks:batchCreate", "PATCH /v1/tasks/t", "POST /v1/schedules:preview"):
        assert answered(line, json.dumps(body).encode())


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    assert answered("POST /v1/tasks", raw)


@given(st.text(alphabet="abpageSizlLxn[]=&%+0159.-_fFé\x00 "))
def test_no_query_breaks_the_reader(query: str) -> None:
    assert answered(f"GET /v1/tasks?{query}")
