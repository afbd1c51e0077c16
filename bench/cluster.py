"""A cluster under measurement, run by the start script that users run."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from raftsched_client import Client, RaftschedError, Tls

_ROOT = Path(__file__).parent.parent
_STOP_S = 30.0


class Cluster:
    """Nodes on loopback ports of their own, in a temporary directory that goes away with them."""

    def __init__(
        self, base_port: int, nodes: int = 3, variables: Mapping[str, str] | None = None, *, secure: bool = False
    ) -> None:
        """``variables``: environment of the nodes besides that of this process, which goes before. ``secure``: TLS."""
        self._secure = secure
        self.nodes = nodes
        self._variables = {**(variables or {}), **os.environ}
        self.endpoints = [f"127.0.0.1:{base_port + number}" for number in range(nodes)]
        self._directory = tempfile.TemporaryDirectory(prefix="raftsched-bench-")
        self._restarted: list[subprocess.Popen[bytes]] = []
        self._options = ["--nodes", str(nodes), "--base-port", str(base_port), "--data-dir", self._directory.name]

    def __enter__(self) -> Self:
        try:
            self.script("up", *(["--secure"] if self._secure else []))
        except BaseException:
            # Those that have started would go on without their directory.
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.script("down")
        # Not SIGKILL: the index processes would outlive their nodes, and write into what is being removed.
        for process in self._restarted:
            process.terminate()
        for process in self._restarted:
            _wait_or_kill(process)
        self._directory.cleanup()

    def script(self, command: str, *arguments: str) -> None:
        """Run a command of the start script."""
        ran = subprocess.run(
            [sys.executable, str(_ROOT / "scripts/cluster"), command, *arguments, *self._options],
            capture_output=True,
            text=True,
            check=False,
            env=self._variables,
        )
        if ran.returncode:
            raise SystemExit(f"scripts/cluster {command} failed:\n{ran.stdout}{ran.stderr}")

    def client(self, timeout_s: float = 30.0) -> Client:
        """A client of all nodes."""
        return Client(self.endpoints, timeout=timeout_s, tls=self.tls)

    @property
    def tls(self) -> Tls | None:
        """What a client shows and believes; None in plain text."""
        directory = Path(self._directory.name) / "certs"
        if not self._secure:
            return None
        return Tls(directory / "ca.crt", directory / "client-admin.crt", directory / "client-admin.key")

    def leader_number(self) -> int:
        """Which node leads, from 1."""
        with self.client() as client:
            return int(client.get_status().leader_id.removeprefix("n"))

    def pids(self) -> list[int]:
        """The processes of the nodes that run."""
        if self._restarted:
            return [process.pid for process in self._restarted]
        files = Path(self._directory.name).glob("**/*.pid")
        return [int(_pid(file.read_text())) for file in files]

    def restart_all(self, probe: Callable[[Client], object]) -> float:
        """Kill all nodes (SIGKILL), start them again, and return the seconds until a call succeeds."""
        pids = self.pids()
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0") for pid in pids]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        while any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids) and time.monotonic() < began + 10:
            time.sleep(0.01)
        began = time.monotonic()
        self._restarted = [
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._variables,
            )
            for command in commands
        ]
        with self.client(timeout_s=120) as client:
            while True:
                try:
                    probe(client)
                except RaftschedError:
                    time.sleep(0.02)
                else:
                    return time.monotonic() - began

    def data_mib(self) -> float:
        """What the nodes keep on disk, all together."""
        files = (file for file in Path(self._directory.name).glob("n*/**/*") if file.is_file())
        return sum(file.stat().st_blocks * 512 for file in files) / (1 << 20)

    def pid(self, id_: str) -> int:
        """The process of a node that runs."""
        return int(_pid((Path(self._directory.name) / f"{id_}.pid").read_text()))

    def data_directory(self, id_: str) -> Path:
        """Where a node keeps its data."""
        return Path(self._directory.name) / id_

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


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pid(text: str) -> str:
    text = text.strip()
    return str(json.loads(text)["pid"]) if text.startswith("{") else text.split()[0]
