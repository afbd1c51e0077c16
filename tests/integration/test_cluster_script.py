"""The start script against real nodes: up, kill, start, down, up again, wipe."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import eventually
from tests.support.ports import free_ports

SCRIPTS = Path(__file__).parents[2] / "scripts" / "lib"
CLI = Path(sys.executable).with_name("raftsched")
HTTP_PORT_OFFSET = 1000
# The environment of this test stands in for the one that the script would make.
RUN = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(SCRIPTS)!r})
import cluster
cluster.CLI = Path({str(CLI)!r})
cluster.environment.prepare = lambda: None
cluster.interface.build = lambda: None
cluster.main(sys.argv[1:])
"""


class Script:
    def __init__(self, directory: Path, base_port: int) -> None:
        self.directory = directory
        self.flags = ["--base-port", str(base_port), "--data-dir", str(directory)]
        self.endpoints = ",".join(f"127.0.0.1:{base_port + number}" for number in range(3))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", RUN, *words, *self.flags]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pids(self) -> dict[str, int]:
        return {path.stem: json.loads(path.read_text())["pid"] for path in self.directory.glob("*.pid")}

    def roles(self) -> list[str]:
        return sorted(node["role"] for node in json.loads(self.cli("status", "-o", "json"))["nodes"])

    def cli(self, *words: str) -> str:
        variables = {**os.environ, "RAFTSCHED_ENDPOINTS": self.endpoints}
        done = subprocess.run([CLI, *words], env=variables, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_a_secure_cluster_answers_whoever_has_the_certificate_that_it_made(tmp_path: Path) -> None:
    script = Script(tmp_path, base_port(3))
    try:
        said = script.ok("up", "--secure")
        exports = dict(
            line.removeprefix("  export ").split("=", 1) for line in said.splitlines() if line.startswith("  export ")
        )
        assert exports.keys() == {f"RAFTSCHED_{name}" for name in ("ENDPOINTS", "TLS_CA", "TLS_CERT", "TLS_KEY")}
        [curl] = [line.split() for line in said.splitlines() if line.startswith("  curl ")]
        assert '"tasks":[]' in subprocess.run([*curl, "-s"], capture_output=True, text=True, check=True).stdout
        assert subprocess.run(["curl", "-s", "-k", curl[-1]], capture_output=True).returncode != 0
        script.ok("down")
        assert "3 nodes" in script.ok("up")
        status = subprocess.run(
            [CLI, "status", "-o", "json"], env={**os.environ, **exports}, capture_output=True, text=True, check=True
        )
        assert all(node["certificateEndTime"] for node in json.loads(status.stdout)["nodes"])
    finally:
        script.run("wipe")
    assert not (tmp_path / "certs").exists()


def base_port(nodes: int) -> int:
    """The first of several free ports in a row; those of their REST APIs are free too."""
    for _ in range(100):
        first = free_ports(1)[0]
        if all(port_is_free(first + offset + number) for offset in (0, HTTP_PORT_OFFSET) for number in range(nodes)):
            return first
    raise AssertionError("no free ports in a row")


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    made = Script(tmp_path / "data", base_port(3))
    yield made
    made.run("wipe")


def test_cluster_goes_up_survives_a_kill_and_comes_back_with_its_data(script: Script) -> None:
    shown = script.ok("up")
    assert "The cluster of 3 nodes takes writes" in shown
    # A node that does not answer within a second is shown as unreachable.
    eventually(lambda: script.roles() == ["FOLLOWER", "FOLLOWER", "LEADER"], what="a leader and two followers")
    script.cli("task", "create", "hello", "--every", "1h", "--", "echo", "hello")

    first = script.pids()
    assert "Killed n2" in script.ok("kill", "2")
    assert "n2 is not running" in script.run("kill", "2").stderr
    assert "Started n2" in script.ok("start", "n2")
    assert "n1 is running already" in script.run("start", "1").stderr
    second = script.pids()
    assert first["n2"] != second["n2"]

    script.ok("up")
    assert script.pids() == second
    assert "process" in script.ok("status")
    assert "n3.log" in script.ok("logs")

    assert script.ok("down") == "Stopped n1, n2, n3\n"
    assert script.ok("down") == "No node was running\n"
    assert script.run("status").returncode == 1
    script.ok("up")
    assert "hello" in script.cli("task", "list")
    script.ok("wipe")
    assert not script.directory.exists()
