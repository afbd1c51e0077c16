"""A page that somebody opens in a browser beside a node: what it can have the browser ask, without leave."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.raw_http import ask, own

EVIL = "http://evil.example"
TASK = json.dumps(
    {"name": "owned", "schedule": {"cron": {"expression": "@yearly"}}, "action": {"command": {"argv": ["id"]}}}
).encode()
JSON = "Content-Type: application/json"
SECURE = "https://localhost"
"""Somebody else's: what listens at the port of https on this machine."""
READS = [
    "GET /v1/tasks", "GET /v1/executions:watch", "GET /v1/logs", "GET /v1/cluster", "HEAD /v1/tasks",
    "OPTIONS /v1/tasks",
]  # fmt: skip
LINK = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    page = {"RAFTSCHED_HTTP_ORIGINS": "https://page.example:443"}
    with Cluster(tmp_path_factory.mktemp("pages"), 1, http=True, **page) as started:
        yield started


@pytest.mark.parametrize("line", READS)
@pytest.mark.parametrize(
    "headers",
    [
        [f"Origin: {EVIL}", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"],
        ["Origin: null"],
        ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"],
        ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"],
        ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"],
        LINK,
    ],
    ids=["fetch", "sandbox", "image", "script-of-a-sibling", "frame", "link"],
)  # fmt: skip
def test_a_page_of_another_origin_reads_nothing(cluster: Cluster, line: str, headers: list[str]) -> None:
    answer = ask(cluster, line, own(cluster), *headers)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    if not line.startswith("HEAD"):
        assert "http_origins" in answer.problem(403, "CROSS_ORIGIN")


def test_the_events_of_a_stream_are_refused_to_another_origin_before_the_first(cluster: Cluster) -> None:
    events = ("Accept: text/event-stream", f"Origin: {EVIL}", "Sec-Fetch-Mode: cors")
    ask(cluster, "GET /v1/executions:watch", own(cluster), *events).problem(403, "CROSS_ORIGIN")


def test_the_same_host_over_another_scheme_is_another_origin(cluster: Cluster) -> None:
    ask(cluster, "POST /v1/tasks", "Host: localhost", f"Origin: {SECURE}", JSON, body=TASK).problem(403, "CROSS_ORIGIN")
    ask(cluster, "GET /v1/tasks", "Host: localhost", f"Origin: {SECURE}").problem(403, "CROSS_ORIGIN")
    assert ask(cluster, "GET /v1/tasks/owned", own(cluster)).status == 404


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost", "http://localhost", 404),
        ("localhost:80", "http://localhost", 404),
        ("localhost", "http://localhost:80", 404),
        ("[::1]:8101", "http://[::1]:8101", 404),
        ("localhost:8101", "http://localhost:8102", 403),
        ("localhost:8101", "http://127.0.0.1:8101", 403),
        ("localhost:8101", "http://localhost:8101.evil.example", 403),
        ("localhost:8101", "ftp://localhost:8101", 403),
        ("localhost:8101", "http://localhost:8101/", 403),
        ("localhost:8101", "", 403),
        ("localhost:8101", "https://page.example", 404),
        ("localhost:8101", "http://page.example", 403),
        ("localhost:8101", "https://page.example:444", 403),
    ],
)
def test_an_origin_is_scheme_host_and_port(cluster: Cluster, host: str, origin: str, status: int) -> None:
    answer = ask(cluster, "POST /v1/tasks/no-such-task:run", f"Host: {host}", f"Origin: {origin}")
    assert answer.status == status, answer.body


def test_a_link_from_elsewhere_opens_the_pages_of_the_node_and_no_data(cluster: Cluster) -> None:
    for path in ("/", "/docs"):
        assert ask(cluster, f"GET {path}", own(cluster), *LINK).status == 200
    for path in ("/v1", "/v1/", "/v1/tasks", "/v1//tasks", "/%76%31/tasks"):
        assert ask(cluster, f"GET {path}", own(cluster), *LINK).status in (403, 404), path
    ask(cluster, "POST /", own(cluster), *LINK).problem(403, "CROSS_ORIGIN")


def test_a_form_of_another_page_that_is_sent_in_a_new_window_changes_nothing(cluster: Cluster) -> None:
    ask(cluster, "POST /v1/tasks", own(cluster), *LINK, JSON, body=TASK).problem(403, "CROSS_ORIGIN")
    assert ask(cluster, "GET /v1/tasks/owned", own(cluster)).status == 404


def test_what_is_no_browser_reads_without_such_headers(cluster: Cluster) -> None:
    assert ask(cluster, "GET /v1/tasks", own(cluster)).status == 200
    assert ask(cluster, "GET /v1/tasks", own(cluster), "Sec-Fetch-Site: none").status == 200
    assert ask(cluster, "GET /v1/tasks", own(cluster), "Sec-Fetch-Site: same-origin").status == 200


def test_a_second_request_on_the_connection_is_looked_at_as_the_first(cluster: Cluster) -> None:
    host, _, port = cluster.http_addresses["n1"].partition(":")
    good = f"GET /v1/tasks HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
    bad = f"GET /v1/tasks HTTP/1.1\r\nHost: evil.example:{port}\r\nOrigin: {EVIL}:{port}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall((good + bad).encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 421" in received
