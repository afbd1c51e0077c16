"""The REST API of a real node, over HTTP."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.cluster import Cluster, eventually

NOOP = {"schedule": {"cron": {"expression": "@yearly"}}, "action": {"noop": {}}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("rest"), 1, http=True) as started:
        yield started


@pytest.fixture
def http(cluster: Cluster) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{cluster.http_addresses['n1']}", timeout=20) as client:
        yield client


@pytest.fixture
def task(http: httpx.Client, request: pytest.FixtureRequest) -> str:
    name: str = request.node.name.partition("[")[0]
    assert http.post("/v1/tasks", json={"name": name, **NOOP}).status_code == 201
    return name


def command(http: httpx.Client, name: str, script: str) -> None:
    action = {"command": {"argv": [script], "shell": True}}
    body = {"name": name, "schedule": NOOP["schedule"], "action": action}
    assert http.post("/v1/tasks", json=body).status_code == 201


def problem(response: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert (document["status"], document["reason"]) == (status, reason)
    return document


def ended(http: httpx.Client, execution: str) -> dict[str, Any]:
    def read() -> dict[str, Any] | None:
        shown: dict[str, Any] = http.get(f"/v1/executions/{execution}").json()
        return shown if shown.get("endTime") else None

    return eventually(read, what=f"the end of {execution}") or {}


def test_a_description_and_an_owner_are_set_changed_taken_away_and_bounded(http: httpx.Client, task: str) -> None:
    path = f"/v1/tasks/{task}"
    changed = http.patch(path, json={"description": "# Why\n*this*", "owner": "Team A"}).json()
    assert (changed["description"], changed["owner"]) == ("# Why\n*this*", "Team A")
    assert http.patch(path, json={"owner": ""}).json()["owner"] == ""
    assert http.get(path).json()["description"] == "# Why\n*this*"
    refused = problem(http.patch(path, json={"description": "a" * 4097}), 400, "INVALID_FIELDS")
    assert [each["field"] for each in refused["violations"]] == ["description"]
    properties = http.get("/openapi.json").json()["components"]["schemas"]["Task"]["properties"]
    assert "Markdown" in properties["description"]["description"]


def test_a_task_is_registered_read_changed_and_deleted(http: httpx.Client) -> None:
    created = http.post("/v1/tasks", json={"name": "life", "labels": {"team": "a"}, **NOOP})
    assert (created.status_code, created.headers["location"]) == (201, "/v1/tasks/life")
    read = http.get("/v1/tasks/life")
    assert read.json() == created.json()
    assert read.json()["nextFireTime"].endswith("-01-01T00:00:00Z")
    changed = http.patch("/v1/tasks/life", json={"labels": {"team": "b"}, "timeLimit": "90s"})
    assert (changed.json()["labels"], changed.json()["timeLimit"]) == ({"team": "b"}, "90s")
    assert changed.json()["schedule"] == created.json()["schedule"]
    gone = http.delete("/v1/tasks/life")
    assert (gone.status_code, gone.content) == (204, b"")
    problem(http.get("/v1/tasks/life"), 404, "NOT_FOUND")


def test_a_name_that_is_taken_is_a_conflict(http: httpx.Client, task: str) -> None:
    problem(http.post("/v1/tasks", json={"name": task, **NOOP}), 409, "ALREADY_EXISTS")


def test_an_etag_guards_against_changes_in_between(http: httpx.Client, task: str) -> None:
    seen = http.get(f"/v1/tasks/{task}").headers["etag"]
    again = http.get(f"/v1/tasks/{task}", headers={"If-None-Match": seen})
    assert (again.status_code, again.headers["cache-control"]) == (200, "no-store")
    assert http.patch(f"/v1/tasks/{task}", json={"paused": True}, headers={"If-Match": seen}).status_code == 200
    late = http.patch(f"/v1/tasks/{task}", json={"paused": False}, headers={"If-Match": seen})
    assert problem(late, 412, "ETAG_MISMATCH")["applied"] == "no"
    problem(http.delete(f"/v1/tasks/{task}", headers={"If-Match": seen}), 412, "ETAG_MISMATCH")
    problem(http.delete(f"/v1/tasks/{task}", params={"etag": seen.strip('"')}), 409, "ETAG_MISMATCH")
    assert http.delete(f"/v1/tasks/{task}", headers={"If-Match": "*"}).status_code == 204


def test_a_repeated_call_with_the_same_key_acts_once(http: httpx.Client, task: str) -> None:
    runs = {http.post(f"/v1/tasks/{task}:run", headers={"Idempotency-Key": "once"}).json()["id"] for _ in range(3)}
    assert len(runs) == 1
    assert http.post(f"/v1/tasks/{task}:run", json={"requestId": "twice"}).json()["id"] not in runs


def test_pages_and_filters_follow_the_query(http: httpx.Client) -> None:
    tasks = [{"name": f"page-{number}", "labels": {"odd": str(number % 2)}, **NOOP} for number in range(5)]
    created = http.post("/v1/tasks:batchCreate", json={"tasks": [*tasks, {"name": "-"}]}).json()["results"]
    assert [result["code"] for result in created] == [0, 0, 0, 0, 0, 3]
    assert created[5]["field"] == "task.name"
    names: list[str] = []
    query = {"namePrefix": "page-", "pageSize": "2", "labels[odd]": "0"}
    while True:
        page = http.get("/v1/tasks", params=query).json()
        names += [each["name"] for each in page["tasks"]]
        if not page["nextPageToken"]:
            break
        query["pageToken"] = page["nextPageToken"]
    assert names == ["page-0", "page-2", "page-4"]


def test_pause_and_resume(http: httpx.Client, task: str) -> None:
    assert http.post(f"/v1/tasks/{task}:pause").json()["state"] == "TASK_STATE_PAUSED"
    assert http.post(f"/v1/tasks/{task}:resume", json={}).json()["state"] == "TASK_STATE_ACTIVE"


def test_a_run_is_recorded_with_its_output(http: httpx.Client) -> None:
    command(http, "record", "printf 'one\\ntwo\\n'")
    execution = http.post("/v1/tasks/record:run").json()["id"]
    assert ended(http, execution)["state"] == "EXECUTION_STATE_SUCCEEDED"
    listed = http.get("/v1/executions", params={"task": "record", "states": "EXECUTION_STATE_SUCCEEDED"}).json()
    assert [each["id"] for each in listed["executions"]] == [execution]
    ledger = http.get("/v1/tasks/record/ledger").json()["entries"]
    assert [(each["decision"], each["executionId"]) for each in ledger] == [("DECISION_RAN", execution)]
    output = http.get(f"/v1/executions/{execution}/output")
    assert (output.text, output.headers["raftsched-truncated-bytes"]) == ("one\ntwo\n", "0")
    assert output.headers["content-type"].startswith("text/plain")
    problem(http.post(f"/v1/executions/{execution}:cancel"), 409, "FAILED_PRECONDITION")
    problem(http.get("/v1/executions/01M84PP4RMKJGA6A0WDJTK2FTR/output"), 404, "NOT_FOUND")


def test_output_is_followed_while_it_is_written(http: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command(http, "follow", f"echo first; while [ ! -e {gate} ]; do sleep 0.05; done; echo second")
    execution = http.post("/v1/tasks/follow:run").json()["id"]
    text = ""
    with http.stream("GET", f"/v1/executions/{execution}/output", params={"follow": "true"}) as response:
        assert response.status_code == 200
        for chunk in response.iter_text():
            text += chunk
            if text == "first\n":
                gate.touch()
    assert text == "first\nsecond\n"


def events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            # A sign of life, which comes where nothing else does.
            continue
        if line:
            key, _, value = line.partition(": ")
            event[key] = value
        elif event:
            yield event
            event = {}


def test_a_watch_sends_every_change_from_its_beginning_on(http: httpx.Client, task: str) -> None:
    with http.stream("GET", "/v1/executions:watch", params={"task": task}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = events(response.iter_lines())
        assert next(seen)["event"] == "begin"
        execution = http.post(f"/v1/tasks/{task}:run").json()["id"]
        states = []
        for event in seen:
            change = json.loads(event["data"])["execution"]
            assert (change["id"], event["id"]) == (execution, str(len(states) + 1))
            states.append(change["state"])
            if change.get("endTime"):
                break
    assert states[-1] == "EXECUTION_STATE_SUCCEEDED"


def test_a_watch_of_one_execution_ends_with_it_and_stays_ended(http: httpx.Client, task: str) -> None:
    execution = http.post(f"/v1/tasks/{task}:run").json()["id"]
    with http.stream("GET", "/v1/executions:watch", params={"id": execution}) as response:
        last = list(events(response.iter_lines()))[-1]
    assert (last["event"], last["id"]) == ("end", "end")
    again = http.get("/v1/executions:watch", params={"id": execution}, headers={"Last-Event-ID": "end"})
    assert again.status_code == 204


def test_a_stream_that_cannot_begin_is_refused_with_its_status(http: httpx.Client) -> None:
    problem(http.get("/v1/executions:watch", params={"id": "01M84PP4RMKJGA6A0WDJTK2FTR"}), 404, "NOT_FOUND")
    problem(http.get("/v1/executions:watch", params={"id": "x"}), 400, "INVALID_FIELDS")


def test_watchers_that_hang_up_are_forgotten(http: httpx.Client) -> None:
    for _ in range(250):
        with http.stream("GET", "/v1/executions:watch") as response:
            assert response.status_code == 200, "the bound of 200 watchers counts those that are gone"


def test_a_preview_tells_the_times_or_the_field(http: httpx.Client) -> None:
    body = {"schedule": {"cron": {"expression": "0 9 * * *"}}, "after": "2030-01-01T12:00:00Z", "count": 1}
    assert http.post("/v1/schedules:preview", json=body).json() == {
        "nominalTimes": ["2030-01-02T09:00:00Z"],
        "problems": [],
        "warnings": [],
    }
    body["schedule"] = {"cron": {"expression": "99 * * * *"}}
    assert http.post("/v1/schedules:preview", json=body).json()["problems"][0]["field"] == "schedule.cron.expression"


def test_the_cluster_is_shown_and_leads_itself(http: httpx.Client) -> None:
    status = http.get("/v1/cluster", params={"localOnly": "true"}).json()
    assert [(node["id"], node["role"]) for node in status["nodes"]] == [("n1", "LEADER")]
    assert http.post("/v1/cluster:transferLeadership", json={"nodeId": "n1"}).json() == {"leaderId": "n1"}


def test_violations_stand_at_the_fields_of_the_body(http: httpx.Client) -> None:
    schedule = {"cron": {"expression": "@daily", "timeZone": "Mars/Olympus"}}
    document = problem(http.post("/v1/tasks", json={"name": "v", **NOOP, "schedule": schedule}), 400, "INVALID_FIELDS")
    assert [each["field"] for each in document["violations"]] == ["schedule.cron.timeZone"]


@pytest.mark.parametrize(
    ("call", "status", "reason"),
    [
        (lambda http: http.get("/v1"), 404, "NOT_FOUND"),
        (lambda http: http.get("/v1/tasks/"), 404, "NOT_FOUND"),
        (lambda http: http.get("/v1/tasks/a%2Fb"), 400, "INVALID_FIELDS"),
        (lambda http: http.get("/v1/tasks/%ff"), 400, "MALFORMED_REQUEST"),
        (lambda http: http.get("/nothing.js"), 404, "NOT_FOUND"),
        (lambda http: http.get("/v1/tasks", headers={"X-Large": "x" * 33_000}), 431, "HEADERS_TOO_LARGE"),
        (lambda http: http.get("/v1/tasks?namePrefix=" + "x" * 9_000), 414, "HEADERS_TOO_LARGE"),
        (lambda http: http.get("/%00"), 400, "MALFORMED_REQUEST"),
        (lambda http: http.post("/docs"), 405, "METHOD_NOT_ALLOWED"),
        (lambda http: http.post("/v1/tasks", data={"a": "b"}), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (lambda http: http.post("/v1/tasks", content=b"{}"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            lambda http: http.post("/v1/tasks", json={}, headers={"Content-Encoding": "gzip"}),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (lambda http: http.request("GET", "/v1/tasks", json={}), 400, "MALFORMED_REQUEST"),
        (lambda http: http.request("DELETE", "/v1/tasks/x", content=iter([b"x"])), 400, "MALFORMED_REQUEST"),
        (lambda http: http.post("/v1/tasks/x:run", headers={"Origin": "http://evil.example"}), 403, "CROSS_ORIGIN"),
    ],
)
def test_what_http_does_not_allow_is_refused(
    http: httpx.Client, call: Callable[[httpx.Client], httpx.Response], status: int, reason: str
) -> None:
    assert problem(call(http), status, reason)["applied"] == "no"


def test_a_wrong_method_names_the_right_ones(http: httpx.Client) -> None:
    for method in ("PUT", "POST", "TRACE", "OPTIONS"):
        response = http.request(method, "/v1/tasks/x")
        problem(response, 405, "METHOD_NOT_ALLOWED")
        assert response.headers["allow"] == "DELETE, GET, HEAD, PATCH"


def test_a_body_beyond_the_bound_is_refused_declared_or_not(http: httpx.Client) -> None:
    large = b'{"name": "' + b"x" * (8 << 20) + b'"}'
    headers = {"Content-Type": "application/json"}
    problem(http.post("/v1/tasks", content=large, headers=headers), 413, "BODY_TOO_LARGE")
    pieces = (large[start : start + 65536] for start in range(0, len(large), 65536))
    problem(http.post("/v1/tasks", content=pieces, headers=headers), 413, "BODY_TOO_LARGE")


def test_a_large_body_does_not_hold_up_the_node(http: httpx.Client, cluster: Cluster) -> None:
    tasks = [{"name": f"-{number}", "labels": {"x": "y" * 200}} for number in range(10_000)]
    body = json.dumps({"tasks": tasks}).encode()
    done = threading.Event()
    answers: list[httpx.Response] = []

    def post() -> None:
        with httpx.Client(base_url=http.base_url, timeout=60) as client:
            try:
                headers = {"Content-Type": "application/json"}
                answers.append(client.post("/v1/tasks:batchCreate", content=body, headers=headers))
            finally:
                done.set()

    poster = threading.Thread(target=post)
    poster.start()
    told_s = [time.monotonic()]
    while not done.is_set():
        assert http.get("/v1/cluster").json()["leaderId"] == "n1"
        told_s.append(time.monotonic())
    poster.join()
    assert [answer.status_code for answer in answers] == [200]
    # Measured by the large call itself, which takes its time on any machine: no other waits for most of it.
    longest_s = max(later - earlier for earlier, later in pairwise(told_s))
    assert longest_s < (told_s[-1] - told_s[0]) / 2


def test_head_is_get_without_the_body(http: httpx.Client, task: str) -> None:
    read, head = http.get(f"/v1/tasks/{task}"), http.head(f"/v1/tasks/{task}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == read.headers["etag"]
    assert http.head("/v1/tasks/none").status_code == 404
    assert http.head("/v1/executions:watch").headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/tasks HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 400_000 + b"\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e3\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(cluster: Cluster, raw: bytes) -> None:
    host, _, port = cluster.http_addresses["n1"].partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        # The answer, and the end of the connection, may come before all is sent.
        with contextlib.suppress(ConnectionError):
            connection.sendall(raw)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 4"), answer


def test_the_description_and_the_reference_load_nothing_from_elsewhere(http: httpx.Client) -> None:
    described = http.get("/openapi.json")
    assert described.headers["content-type"] == "application/json"
    assert described.json()["openapi"] == "3.1.0"
    page = http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    for path in described.json()["paths"]:
        assert path in page.text


def test_the_start_page_is_guarded(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_any_node_serves_all_of_it_and_outlives_the_leader(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, http=True) as three:
        leader = three.leader()
        follower, other = (id_ for id_ in three.nodes if id_ != leader)
        url = f"http://{three.http_addresses[follower]}"
        with httpx.Client(base_url=url, timeout=20) as client:
            created = client.post("/v1/tasks", json={"name": "t", **NOOP})
            assert created.status_code == 201
            read = httpx.get(f"http://{three.http_addresses[other]}/v1/tasks/t", timeout=20)
            assert read.json() == created.json()
            execution = client.post("/v1/tasks/t:run").json()["id"]
            with client.stream("GET", "/v1/executions:watch", params={"id": execution}) as response:
                assert list(events(response.iter_lines()))[-1]["event"] == "end"
            refused = client.post("/v1/tasks", json={"name": "-", **NOOP})
            assert problem(refused, 400, "INVALID_FIELDS")["violations"][0]["field"] == "name"
            with client.stream("GET", "/v1/executions:watch") as response:
                seen = events(response.iter_lines())
                assert next(seen)["event"] == "begin"
                three.nodes[leader].kill()
                assert next(seen)["event"] == "problem"
            until = time.monotonic() + 30
            while (answer := client.post("/v1/tasks/t:run", headers={"Idempotency-Key": "k"})).status_code == 503:
                assert time.monotonic() < until, answer.text
            assert answer.status_code == 200
