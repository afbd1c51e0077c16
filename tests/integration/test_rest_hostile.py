"""Whatever comes over HTTP, on any route: bad input is the caller's fault, and a problem document says so."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from raftsched.rest.body import MAX_BODY_BYTES
from raftsched.rest.routes import Route, RouteTable
from tests.support.cluster import Cluster, eventually

ROUTES = RouteTable().routes
WITH_BODY = [route for route in ROUTES if route.body]
JSON = {"content-type": "application/json"}
DEPTH = 20_000
NO_MESSAGE = {
    "not-json": b"{",
    "nothing-after-a-key": b'{"name":}',
    "two-values": b"{} {}",
    "no-object": b"[]",
    "a-number": b"1",
    "bad-utf-8": b'{"name": "\xff\xfe"}',
    "half-a-surrogate-pair": rb'{"\ud800": 1}',
    "deep-objects": b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
    "deep-lists": b'{"labels":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    "unknown-field": b'{"thereIsNoSuchField": 1}',
    "oversized": b'{"name": "' + b"x" * MAX_BODY_BYTES + b'"}',
}
"""None of these is any message."""
ODD = (
    True, -1, 10**30, 1e308, "", "\0", "\ud800", "x" * 100_000, "-1s", "9999-99-99T00:00:00Z", [], [[]], [None], {},
    {"a": [1]}, {"x" * 10_000: "y"}, ["x" * 10_000], {"seconds": "1"},
)  # fmt: skip
"""Some of these are wrong for any field."""
ODD_QUERY = (
    "%ff", "%00", "-1", "1e999", "99999999999999999999", "x" * 5_000, "%ED%A0%80", "true", "[]", "{}",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "315576000001s", "((((((((", '"', "%25",
)  # fmt: skip


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A node that is asked, and must be well in the end."""
    directory: Path = tmp_path_factory.mktemp("hostile")
    with Cluster(directory, 1, http=True) as cluster:
        (address,) = cluster.http_addresses.values()
        with httpx.Client(base_url=f"http://{address}", timeout=30) as client:
            eventually(lambda: client.get("/v1/logs").status_code == 200, what="the history index")
            yield client
            assert client.get("/v1/tasks").status_code == 200
        assert not [line for line in cluster.log_lines("n1") if line.get("level") in ("error", "critical")]


def path(route: Route) -> str:
    """The path with names that are nobody's."""
    found = route.template
    for variable in route.variables:
        found = found.replace("{" + variable + "}", "nobody")
    return found


def told(response: httpx.Response, what: object) -> None:
    """No fault of the node, and a fault of the caller as a problem document."""
    assert response.status_code < 500, f"{what}: {response.status_code} {response.read()[:500]!r}"
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json", what
        if response.request.method != "HEAD":
            problem = json.loads(response.read())
            assert problem["status"] == response.status_code
            assert problem["title"], what


def named(routes: list[Route] | tuple[Route, ...]) -> list[object]:
    return [pytest.param(route, id=f"{route.verb} {route.template}") for route in routes]


@pytest.mark.parametrize("route", named(WITH_BODY))
def test_a_body_that_is_no_message_is_refused(http: httpx.Client, route: Route) -> None:
    for name, body in NO_MESSAGE.items():
        response = http.request(route.verb, path(route), content=body, headers=JSON)
        told(response, name)
        assert 400 <= response.status_code < 500, f"{name}: {response.status_code} {response.text[:200]}"
    told(http.request(route.verb, path(route), content=b"a=1", headers={"content-type": "text/plain"}), "text")


def fields(message: Descriptor, depth: int = 2) -> Iterator[list[str]]:
    """JSON paths of the fields of a message, and of the messages in it."""
    for field in message.fields:
        yield [field.json_name]
        if depth and field.type == FieldDescriptor.TYPE_MESSAGE and not field.message_type.GetOptions().map_entry:
            yield from ([field.json_name, *inner] for inner in fields(field.message_type, depth - 1))


def nested(names: list[str], value: object) -> object:
    for name in reversed(names):
        value = {name: value}
    return value


@pytest.mark.parametrize("route", named(WITH_BODY))
def test_values_of_the_wrong_kind_are_refused_with_a_reason(http: httpx.Client, route: Route) -> None:
    message = route.request if route.body == "*" else route.request.fields_by_name[route.body].message_type
    refused = 0
    for number, names in enumerate(fields(message)):
        # Each field meets some of them, all fields of a message all.
        for value in ODD[number % 3 :: 3]:
            content = json.dumps(nested(names, value))
            response = http.request(route.verb, path(route), content=content, headers=JSON)
            told(response, content[:200])
            refused += response.status_code >= 400
    assert refused or not message.fields


@pytest.mark.parametrize("route", named([route for route in ROUTES if route.verb == "GET"]))
def test_odd_queries_and_names_are_no_fault_of_the_node(http: httpx.Client, route: Route) -> None:
    for number, field in enumerate([*route.query_fields, "thereIsNoSuchField"]):
        for value in ODD_QUERY[number % 2 :: 2]:
            with http.stream("GET", f"{path(route)}?{field}={value}") as response:
                if response.status_code >= 400:
                    told(response, (field, value[:100]))
                assert response.status_code < 500
    for name in ("%ff", "%00", "..%2f..%2fetc%2fpasswd", "x" * 5_000, "%ED%A0%80", "%20"):
        if route.variables:
            with http.stream("GET", path(route).replace("nobody", name)) as response:
                told(response, name)
                assert response.status_code >= 400 or route.template.startswith("/v1/tasks/{task}")
