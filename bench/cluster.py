"""A cluster under measurement, run by the start script that users run."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from raftsched_client import Client, RaftschedError

_ROOT = Path(__file__).parent.parent


class Cluster:
    """Nodes on loopback ports of their own, in a temporary directory that goes away with them."""

    def __init__(self, base_port: int, nodes: int = 3) -> None:
        self.nodes = nodes
        self.endpoints = [f"127.0.0.1:{base_port + number}" for number in range(nodes)]
        self._directory = tempfile.TemporaryDirectory(prefix="raftsched-bench-")
        self._options = ["--nodes", str(nodes), "--base-port", str(base_port), "--data-dir", self._directory.name]

    def __enter__(self) -> Self:
        self.script("up")
        return self

    def __exit__(self, *_: object) -> None:
        self.script("down")
        self._directory.cleanup()

    def script(self, command: str, *arguments: str) -> None:
        """Run a command of the start script."""
        ran = subprocess.run(
            [sys.executable, str(_ROOT / "scripts/cluster"), command, *arguments, *self._options],
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(f"scripts/cluster {command} failed:\n{ran.stdout}{ran.stderr}")

    def client(self, timeout_s: float = 30.0) -> Client:
        """A client of all nodes."""
        return Client(self.endpoints, timeout=timeout_s)

    def leader_number(self) -> int:
        """Which node leads, from 1."""
        with self.client() as client:
            return int(client.get_status().leader_id.removeprefix("n"))

    def pids(self) -> list[int]:
        """The processes of the nodes that run."""
        files = Path(self._directory.name).glob("**/*.pid")
        return [int(_pid(file.read_text())) for file in files]

    def wait_ready(self, within_s: float = 30.0) -> None:
        """Until all nodes answer and one leads."""
        deadline = time.monotonic() + within_s
        with self.client() as client:
            while time.monotonic() < deadline:
                try:
                    status = client.get_status(timeout=2.0)
                    if status.leader_id and len(status.executors) >= self.nodes:
                        return
                except RaftschedError:
                    pass
                time.sleep(0.1)
        raise SystemExit("the cluster did not become ready")


def _pid(text: str) -> str:
    text = text.strip()
    return str(json.loads(text)["pid"]) if text.startswith("{") else text.split()[0]
