"""Who may ask a real node over HTTP: by raw sockets, as browsers and others write requests."""

import json
import socket
from collections.abc import Iterator

import grpc
import pytest
from raftsched_proto.v1 import cluster_pb2, cluster_pb2_grpc

from tests.support.cluster import Cluster
from tests.support.raw_http import ask, own, raw

EVIL = "evil.example"
TASK = json.dumps(
    {"name": "owned", "schedule": {"cron": {"expression": "@yearly"}}, "action": {"command": {"argv": ["id"]}}}
).encode()
JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    hosts = {"RAFTSCHED_HTTP_HOSTS": "ops.example.org,*.example.net", "RAFTSCHED_HTTP_ORIGINS": "https://page.example"}
    with Cluster(tmp_path_factory.mktemp("hosts"), 1, http=True, **hosts) as started:
        yield started


def nothing_was_created(cluster: Cluster) -> None:
    assert ask(cluster, "GET /v1/tasks/owned", own(cluster)).status == 404


PATHS = [
    "GET /", "GET /docs", "GET /openapi.json", "GET /v1/tasks", "GET /v1/cluster", "GET /v1/executions:watch",
    "GET /assets/x.js", "GET /no/such/path", "HEAD /v1/tasks", "OPTIONS /v1/tasks", "DELETE /v1/tasks/x",
    "POST /v1/tasks/x:run", "PATCH /v1/tasks/x", "PUT /v1/tasks", "GET /metrics",
]  # fmt: skip


@pytest.mark.parametrize("line", PATHS)
def test_a_name_that_was_rebound_reaches_nothing(cluster: Cluster, line: str) -> None:
    port = cluster.http_addresses["n1"].partition(":")[2]
    answer = ask(cluster, line, f"Host: {EVIL}:{port}", f"Origin: http://{EVIL}:{port}", "Sec-Fetch-Site: same-origin")
    assert answer.status == 421
    assert answer.headers["x-content-type-options"] == "nosniff"
    if not line.startswith("HEAD"):
        answer.problem(421, "UNKNOWN_HOST")


def test_a_page_that_was_rebound_registers_no_command(cluster: Cluster) -> None:
    port = cluster.http_addresses["n1"].partition(":")[2]
    host, origin = f"Host: {EVIL}:{port}", f"Origin: http://{EVIL}:{port}"
    said = ask(cluster, "POST /v1/tasks", host, origin, JSON, body=TASK).problem(421, "UNKNOWN_HOST")
    assert EVIL in said
    assert "localhost, ops.example.org, *.example.net, 127.0.0.1, [::1]" in said
    assert "http_hosts" in said
    nothing_was_created(cluster)


def test_a_preflight_of_an_allowed_origin_passes_no_other_host(cluster: Cluster) -> None:
    preflight = ("Origin: https://page.example", "Access-Control-Request-Method: PATCH")
    ask(cluster, "OPTIONS /v1/tasks/x", f"Host: {EVIL}", *preflight).problem(421, "UNKNOWN_HOST")
    assert ask(cluster, "OPTIONS /v1/tasks/x", own(cluster), *preflight).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:8101", "localhost.", "localhost:1", "127.0.0.1", "127.0.0.2:80", "[::1]", "[::1]:8101",
        "[::ffff:127.0.0.1]", "ops.example.org", "OPS.example.org.:443", "a.example.net",
    ],
)  # fmt: skip
def test_the_names_that_it_is_served_as_are(cluster: Cluster, host: str) -> None:
    assert ask(cluster, "GET /v1/tasks", f"Host: {host}").status == 200


@pytest.mark.parametrize(
    "host",
    [
        EVIL, f"localhost.{EVIL}", f"127.0.0.1.{EVIL}", "evil.localhost", "example.net", "evilexample.net", "10.0.0.1",
        "192.168.0.1:8101", "[fe80::1]", "0", "0.0.0.0", "[::]",
    ],
)  # fmt: skip
def test_other_names_are_not(cluster: Cluster, host: str) -> None:
    answer = ask(cluster, "GET /v1/tasks", f"Host: {host}")
    assert answer.status == (400 if host == "0" else 421)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Host:"],
        ["Host: localhost", f"Host: {EVIL}"],
        ["Host: localhost", "Host: localhost"],
        [f"Host: localhost, {EVIL}"],
        [f"Host: {EVIL}@localhost"],
        [f"Host: localhost@{EVIL}"],
        ["Host: ::1"],
        ["Host: [::1"],
        ["Host: localhost:http"],
        ["Host: http://localhost"],
        ["Host: local host"],
        ["Host: localhost/v1"],
        ["Host: 127.1"],
        ["Host: 2130706433"],
        ["Host: 0x7f.0.0.1"],
        ["Host: b\u00fccher.example"],
    ],
)
def test_a_request_without_one_readable_host_is_refused(cluster: Cluster, headers: list[str]) -> None:
    ask(cluster, "POST /v1/tasks", *headers, JSON, body=TASK).problem(400, "MALFORMED_REQUEST")
    nothing_was_created(cluster)


def test_an_old_request_without_host_is_refused_too(cluster: Cluster) -> None:
    said = raw(cluster, b"GET /v1/tasks HTTP/1.0\r\n\r\n").problem(400, "MALFORMED_REQUEST")
    assert "Host" in said


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host", "X-HTTP-Host-Override"])
def test_what_a_client_says_beside_host_is_not_believed(cluster: Cluster, name: str) -> None:
    value = "host=localhost" if name == "Forwarded" else "localhost"
    ask(cluster, "GET /v1/tasks", f"Host: {EVIL}", f"{name}: {value}").problem(421, "UNKNOWN_HOST")
    evil = f"host={EVIL}" if name == "Forwarded" else EVIL
    assert ask(cluster, "GET /v1/tasks", own(cluster), f"{name}: {evil}").status == 200


def test_of_a_target_in_absolute_form_its_authority_counts(cluster: Cluster) -> None:
    ask(cluster, f"GET http://{EVIL}/v1/tasks", "Host: localhost").problem(421, "UNKNOWN_HOST")
    assert ask(cluster, "GET http://localhost:8101/v1/tasks?pageSize=1", f"Host: {EVIL}").status == 200
    assert ask(cluster, "GET HTTP://127.0.0.1", own(cluster)).status == 200
    for target in ("ftp://localhost/", "http://", "http:///v1/tasks", f"http://localhost@{EVIL}/", "localhost", "*"):
        ask(cluster, f"GET {target}", "Host: localhost").problem(400, "MALFORMED_REQUEST")
    ask(cluster, "CONNECT localhost:8101", "Host: localhost").problem(400, "MALFORMED_REQUEST")
    origin = ("Host: localhost", f"Origin: http://{EVIL}", JSON)
    ask(cluster, "POST http://localhost/v1/tasks", *origin, body=TASK).problem(403, "CROSS_ORIGIN")
    nothing_was_created(cluster)


@pytest.mark.parametrize(
    "upgrade",
    [
        ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: YQ=="],
        ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"],
    ],
)  # fmt: skip
def test_an_upgrade_changes_nothing(cluster: Cluster, upgrade: list[str]) -> None:
    def head(host: str) -> bytes:
        return "\r\n".join(("GET /v1/tasks HTTP/1.1", host, *upgrade, "", "")).encode()

    raw_host, _, port = cluster.http_addresses["n1"].partition(":")
    for host, status in ((f"Host: {EVIL}", b"421"), (own(cluster), b"200")):
        with socket.create_connection((raw_host, int(port)), timeout=20) as connection:
            connection.sendall(head(host))
            assert connection.recv(12) == b"HTTP/1.1 " + status


@pytest.mark.parametrize(
    "headers",
    [
        [f"Origin: http://{EVIL}"],
        ["Origin: null"],
        ["Origin: http://localhost:1"],
        ["Origin: http://["],
        ["Origin: https://page.example.evil"],
        ["Origin: https://page.example", f"Origin: http://{EVIL}"],
        ["Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: same-site"],
        ["Referer: http://localhost/", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"],
    ],
)
def test_pages_of_others_change_nothing(cluster: Cluster, headers: list[str]) -> None:
    for line, body in (("POST /v1/tasks", TASK), ("POST /v1/tasks/x:run", b""), ("DELETE /v1/tasks/x", b"")):
        ask(cluster, line, own(cluster), *headers, JSON, body=body).problem(403, "CROSS_ORIGIN")
    nothing_was_created(cluster)
    read = ask(cluster, "GET /v1/tasks", own(cluster), *headers)
    read.problem(403, "CROSS_ORIGIN")
    assert read.headers["cross-origin-resource-policy"] == "same-origin"


def test_pages_of_the_node_and_those_that_are_named_may(cluster: Cluster) -> None:
    address = cluster.http_addresses["n1"]
    for headers in (
        [f"Origin: http://{address}", "Sec-Fetch-Site: same-origin"],
        ["Origin: https://page.example", "Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: none"],
        [],
    ):
        ask(cluster, "POST /v1/tasks/no-such-task:run", own(cluster), *headers).problem(404, "NOT_FOUND")


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/plain; charset=application/json",
        "text/plain;application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json, text/plain",
        "application/jsonp",
        "application/json; charset=utf-16",
        "",
    ],
)
def test_json_that_a_form_can_send_is_not_read(cluster: Cluster, kind: str) -> None:
    ask(cluster, "POST /v1/tasks", own(cluster), f"Content-Type: {kind}", body=TASK).problem(
        415, "UNSUPPORTED_MEDIA_TYPE"
    )
    nothing_was_created(cluster)


def test_json_of_no_declared_kind_or_of_two_is_not_read(cluster: Cluster) -> None:
    for kinds in ([], [JSON, "Content-Type: text/plain"], ["Content-Type: text/plain", JSON]):
        ask(cluster, "POST /v1/tasks", own(cluster), *kinds, body=TASK).problem(415, "UNSUPPORTED_MEDIA_TYPE")
    nothing_was_created(cluster)


def test_a_grpc_client_at_this_port_is_told_that_it_is_another(cluster: Cluster) -> None:
    with grpc.insecure_channel(cluster.http_addresses["n1"]) as channel:
        stub = cluster_pb2_grpc.ClusterServiceStub(channel)
        with pytest.raises(grpc.RpcError) as told:
            stub.GetStatus(cluster_pb2.GetStatusRequest(), timeout=20)
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE, "at once, and not at the deadline"
    assert "http1.x server" in told.value.details()
    said = raw(cluster, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0").problem(400, "MALFORMED_REQUEST")
    assert "gRPC is served on the port of the setting `listen`" in said


def test_tls_at_this_port_is_told_that_there_is_none(cluster: Cluster) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"
    assert "without TLS" in raw(cluster, hello).problem(400, "MALFORMED_REQUEST")


def test_probes_find_nothing_that_is_not_there(cluster: Cluster) -> None:
    for path in ("/metrics", "/healthz", "/livez", "/readyz", "/ready", "/no/such/page"):
        for verb in ("GET", "HEAD", "POST"):
            answer = ask(cluster, f"{verb} {path}", own(cluster), "Accept: */*")
            assert answer.status == 404
            assert answer.headers["content-type"] == "application/problem+json"
