"""Marked secrets of every kind that the configuration takes: they turn up nowhere but at the sinks."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from raftsched_client import Client, task

from tests.support.cluster import Cluster, eventually
from tests.support.raw_http import ask, own
from tests.support.sinks import Receiver

LIMIT_S = 100
MARK = "marked"


def configuration(receiver: str, closed: str) -> str:
    """Sinks that refuse, with a secret in each place that takes one."""
    host = receiver.removeprefix("http://")
    return f"""
[history.sinks.search]
kind = "elasticsearch"
target = "http://{MARK}-user:{MARK}-password@{host}"
headers = {{ x-key = "{MARK}-header", x-auth = "ApiKey {MARK}-key" }}
[history.sinks.lost]
kind = "elasticsearch"
target = "http://{MARK}-user:{MARK}-password@{closed}/?token={MARK}-query"
[history.sinks.otel]
kind = "otlp"
target = "http://{closed}/v1/logs?token={MARK}-query"
headers = {{ authorization = "Bearer {MARK}-bearer" }}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    found.refuses = 401
    with found.serving():
        yield found


def failing(client: Client) -> int:
    return len([each for each in client.get_history_status().sinks if each.problem])


def told(cluster: Cluster) -> str:
    log = cluster.nodes["n1"].log.read_text()
    return log if log.count("a sink of the history fails") >= 3 else ""


@pytest.mark.timeout(LIMIT_S)
def test_secrets_of_settings_are_in_no_log_status_or_error(tmp_path: Path, receiver: Receiver) -> None:
    file = tmp_path / "secrets.toml"
    file.write_text(configuration(receiver.url, "127.0.0.1:1"))
    with Cluster(tmp_path, 1, ("--config", str(file)), http=True) as cluster, cluster.client() as client:
        client.create_task(task("t", every=timedelta(days=300), noop=True))
        client.run_task("t")
        eventually(lambda: failing(client) == 3, within_s=60, what="three sinks that fail")
        status = ask(cluster, "GET /v1/logs:status", own(cluster)).body.decode()
        assert '"problem"' in status
        log = eventually(lambda: told(cluster), within_s=10, what="a line of the log for each sink")
        for shown in (status, log, str(client.get_history_status())):
            assert MARK not in shown


def run(*arguments: str, **variables: str) -> str:
    command = [sys.executable, "-m", "raftsched.cli.main", *arguments]
    told = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=variables)
    return told.stdout + told.stderr


@pytest.mark.timeout(LIMIT_S)
def test_the_printed_configuration_and_refusals_have_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "secrets.toml"
    where = ["node", "--id", "n1", "--listen", "127.0.0.1:7101", "--data-dir", str(tmp_path / "n1"), "--print-config"]
    file.write_text(configuration("http://127.0.0.1:1", "127.0.0.1:2"))
    shown = run(*where, "--config", str(file))
    assert "***@127.0.0.1:1" in shown
    assert MARK not in shown
    sink = "RAFTSCHED_HISTORY__SINKS__X__"
    for variables in (
        {"TARGET": f"{MARK}://x", "KIND": "otlp"},
        {"TARGET": f"http://{MARK}" * 200, "KIND": "otlp"},
        {"TARGET": "http://h", "KIND": "otlp", "HEADERS": f"authorization {MARK}"},
        {"TARGET": "http://h", "KIND": "otlp", "HEADERS": f"authorization=\u00fc{MARK}"},
        {"TARGET": "http://h", "KIND": "otlp", "HEADERS": f"a={MARK},a={MARK}"},
    ):
        told = run(*where, **{f"{sink}{name}": value for name, value in variables.items()})
        assert "history.sinks.x" in told, told
        assert MARK not in told
