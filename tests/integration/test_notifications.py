"""Notifications through three real processes to a real HTTP server, with a leader that dies before it has told."""

import base64
import hashlib
import hmac
import json
import shlex
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from raftsched_client import Client, notifications, task
from raftsched_proto.v1 import execution_pb2

from raftsched.cli.main import run
from tests.support.cluster import Cluster, eventually

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
FAR = datetime(2100, 1, 1, tzinfo=UTC)
RUNNING = execution_pb2.EXECUTION_STATE_RUNNING
SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED


class Hook(BaseHTTPRequestHandler):
    """Keeps every request, and answers with ``status``."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str], bytes]]
    status: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.status[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Any]:
    handler = type("Handler", (Hook,), {"seen": [], "status": [204]})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "hook.key").write_text("the signing key\n")
    (secrets / "hook").write_text("hidden/way\n")
    running = Cluster(tmp_path)
    for node in running.nodes.values():
        node.add_variables({"RAFTSCHED_EXECUTOR__SECRETS_DIR": str(secrets)})
    with running:
        yield running


def events(hook: Any, kind: str = "") -> list[dict[str, Any]]:
    found = [json.loads(body) for _, _, body in hook.seen]
    return [event for event in found if event["type"].endswith(kind)]


def subjects(hook: Any, kind: str) -> set[str]:
    """Tasks that were told of, each at least once."""
    return {event["subject"] for event in events(hook, kind)}


def test_failure_is_told_signed_and_with_secrets_that_are_not_stored(cluster: Cluster, hook: Any) -> None:
    told = notifications(
        hook.url + "/${secret:hook}",
        on=["failure"],
        signing_secret="hook.key",
        headers={"X-Key": "k ${secret:hook} größe"},
    )
    with cluster.client() as client:
        client.create_task(task("t", at=FAR, shell="exit 3", notifications=told))
        execution = client.run_task("t")
        eventually(lambda: hook.seen, what="the event")
        assert "${secret:hook}" in client.get_task("t").notifications.url
    path, headers, body = hook.seen[0]
    event = json.loads(body)
    assert path == "/hook/hidden/way"
    assert headers["x-key"].encode("latin-1").decode() == "k hidden/way größe"
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert headers["webhook-id"] == event["id"] == f"{execution.id}-failure"
    signed = f"{event['id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(b"the signing key", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "raftsched.execution.failed", "t")
    assert event["source"] == "/raftsched/raftsched"
    assert event["data"]["executionId"] == execution.id
    assert (event["data"]["state"], event["data"]["exitCode"]) == ("FAILED", 3)
    assert set(json.loads(PAGE.partition("```json")[2].partition("```")[0])["data"]) == set(event["data"])


def test_killing_the_leader_loses_no_notice(cluster: Cluster, hook: Any) -> None:
    hook.status[0] = 503
    with cluster.client() as client:
        for number in range(10):
            told = notifications(hook.url, on=["failure"])
            client.create_task(task(f"t{number}", at=FAR, shell="exit 1", notifications=told))
        ids = {f"{client.run_task(f't{number}').id}-failure" for number in range(10)}
        eventually(lambda: {event["id"] for event in events(hook)} == ids, what="a first try of each")
        leader = cluster.leader()
        cluster.nodes[leader].kill()
        hook.seen.clear()
        hook.status[0] = 204
        eventually(lambda: {event["id"] for event in events(hook)} == ids, what="each from the next leader")
        eventually(lambda: client.get_status().counts.notices_waiting == 0, what="an empty outbox")
        assert client.get_status().counts.notices_dropped == 0


def test_late_and_missing_are_told_by_whoever_leads_then(cluster: Cluster, hook: Any) -> None:
    told = notifications(
        hook.url, on=["late", "missing"], late_after=timedelta(seconds=10), report_within=timedelta(seconds=13)
    )
    start = datetime.now(UTC) + timedelta(seconds=1)
    with cluster.client() as client:
        client.create_task(task("nowhere", at=start, noop=True, executor_labels={"no": "such"}, notifications=told))
        client.create_task(task("fine", at=start, noop=True, notifications=told))
        client.create_task(task("slow", at=start, shell="sleep 60", notifications=told))
        # What has not started when the leader dies, or is not known to have, may well be late.
        eventually(lambda: any(client.list_executions(task="fine", states=[SUCCEEDED])), what="the end of one")
        eventually(lambda: any(client.list_executions(task="slow", states=[RUNNING])), what="the start of the other")
        cluster.nodes[cluster.leader()].kill()
        eventually(lambda: subjects(hook, "missing") == {"nowhere", "slow"}, what="both missing")
        eventually(lambda: subjects(hook, "late"), what="the late one")
        assert subjects(hook, "missing") == {"nowhere", "slow"}
        assert subjects(hook, "late") == {"nowhere"}


def test_skipped_and_lost_are_told(cluster: Cluster, hook: Any) -> None:
    told = notifications(hook.url, on=["skipped", "lost"])
    with cluster.client() as client:
        client.create_task(
            task("busy", every=timedelta(seconds=1), shell="sleep 30", overlap="skip", notifications=told)
        )
        eventually(lambda: events(hook, "skipped"), what="a skipped nominal time")
        client.pause_task("busy")
        assert "overlap policy SKIP" in events(hook, "skipped")[0]["data"]["error"]
        client.create_task(task("once", at=FAR, shell="sleep 60", delivery="at_most_once", notifications=told))
        execution_id = client.run_task("once").id
        # Assigned is not enough: a process that is killed before the assignment reaches it is given the attempt again.
        running = eventually(
            lambda: found if (found := client.get_execution(execution_id)).state == RUNNING else None, what="its start"
        )
        owner = next(id_ for id_ in cluster.nodes if running.executor_id.startswith(f"{id_}-"))
        cluster.nodes[owner].kill()
        cluster.nodes[owner].start()
        eventually(lambda: events(hook, "lost"), what="the loss")
    assert events(hook, "lost")[0]["data"]["executionId"] == execution_id


def examples() -> list[str]:
    return [line[2:] for line in PAGE.splitlines() if line.startswith("$ ")]


def test_examples_of_the_page_are_accepted(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFTSCHED_ENDPOINTS", ",".join(cluster.endpoints))
    assert len(examples()) >= 4
    for example in examples():
        assert run(shlex.split(example)[1:]) == 0
    with Client(cluster.endpoints) as client:
        assert all(each.HasField("notifications") for each in client.list_tasks())
