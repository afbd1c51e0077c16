"""A cluster of real node processes on loopback ports, which a test may kill, pause and start again."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

from raftsched_client import Client, RaftschedError, Tls
from raftsched_proto.v1 import cluster_pb2

from raftsched.net.certificate_files import CertificateFiles
from raftsched.net.identity import PeerIdentity, PeerRole
from tests.support.ports import free_ports

READY_S = 60.0
STATUS_S = 6.0
"""One attempt gets a third of it: a node that is asked waits up to a second for another that does not answer."""
T = TypeVar("T")


def eventually(probe: Callable[[], T], *, within_s: float = READY_S, what: str = "") -> T:
    """The first true value of the probe; a call that the cluster refuses counts as not yet."""
    deadline = time.monotonic() + within_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            value = probe()
        except RaftschedError as error:
            last = error
        else:
            if value:
                return value
            last = value
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s: {what or probe}; last: {last!r}")


def certificates(directory: Path, nodes: int = 3, cluster: str = "raftsched", days: int = 2) -> CertificateFiles:
    """Of an authority with the nodes of a cluster, an executor "e1" and a client "test"."""
    files = CertificateFiles(directory)
    now = datetime.now(UTC)
    files.found(cluster, now, days)
    for number in range(1, nodes + 1):
        files.add(PeerIdentity(cluster, PeerRole.NODE, f"n{number}"), ["127.0.0.1", "localhost"], now, days)
    files.add(PeerIdentity(cluster, PeerRole.EXECUTOR, "e1"), [], now, days)
    files.add(PeerIdentity(cluster, PeerRole.CLIENT, "test"), [], now, days)
    return files


def tls_of(files: CertificateFiles, role: PeerRole, id_: str) -> Tls:
    """As the client library takes them."""
    certificate, key = files.paths(PeerIdentity("any", role, id_))
    return Tls(files.authority, certificate, key)


def tls_flags(files: CertificateFiles, role: PeerRole, id_: str) -> list[str]:
    """As a process takes them."""
    tls = tls_of(files, role, id_)
    return ["--tls-ca", str(tls.ca), "--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]


class Process:
    """One child process with its log in a file."""

    prefix: tuple[str, ...] = ()
    """A program that runs it, and becomes it."""

    def __init__(self, arguments: list[str], log: Path, variables: Mapping[str, str] | None = None) -> None:
        self._arguments = arguments
        self._variables = variables or {}
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None

    def add_variables(self, variables: Mapping[str, str]) -> None:
        """Of its environment, from its next start on."""
        self._variables = {**self._variables, **variables}

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self, *more: str) -> None:
        """Begin, with more flags this once."""
        assert not self.running
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RAFTSCHED_")}
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "raftsched.cli.main", *self._arguments, *more],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**environment, **self._variables},
            )

    def send(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def kill(self) -> None:
        if self.running:
            self.send(signal.SIGKILL)
        self.wait()

    def wait(self, timeout_s: float = READY_S) -> int:
        return 0 if self._child is None else self._child.wait(timeout_s)


class Cluster:
    """Nodes n1, n2, ... in one directory."""

    def __init__(
        self,
        directory: Path,
        nodes: int = 3,
        options: tuple[str, ...] = (),
        *,
        http: bool = False,
        certificates: CertificateFiles | None = None,
        **variables: str,
    ) -> None:
        """``http``: serve the REST API too, at ``http_addresses``. ``variables``: of the environment of all nodes.

        ``certificates``: of all nodes, and of a client "test"; None: plain text.
        """
        self.directory = directory
        self.certificates = certificates
        self.tls = None if certificates is None else tls_of(certificates, PeerRole.CLIENT, "test")
        ids = [f"n{number}" for number in range(1, nodes + 1)]
        ports = free_ports(2 * nodes)
        self.addresses = {id_: f"127.0.0.1:{port}" for id_, port in zip(ids, ports[:nodes], strict=True)}
        self.http_addresses = {id_: f"127.0.0.1:{port}" for id_, port in zip(ids, ports[nodes:], strict=True)}
        peers = ",".join(f"{id_}={address}" for id_, address in self.addresses.items())
        self.nodes = {
            id_: Process(
                self._arguments(id_, address, peers, options),
                directory / f"{id_}.log",
                {"RAFTSCHED_HTTP_LISTEN": self.http_addresses[id_] if http else "off", **variables},
            )
            for id_, address in self.addresses.items()
        }

    def _arguments(self, id_: str, address: str, peers: str, options: tuple[str, ...]) -> list[str]:
        where = ["--id", id_, "--listen", address, "--peers", peers, "--data-dir", str(self.directory / id_)]
        # As the start script does: it may stay, since nothing is founded beside data.
        founds = ["--found"] if id_ == "n1" else []
        tls = [] if self.certificates is None else tls_flags(self.certificates, PeerRole.NODE, id_)
        return ["node", *where, *founds, "--log-format", "json", *tls, *options]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes.values():
            if node.running:
                node.send(signal.SIGCONT)
            node.kill()

    @property
    def endpoints(self) -> list[str]:
        return list(self.addresses.values())

    def start(self) -> None:
        for node in self.nodes.values():
            node.start()
        self.wait_ready()

    def wipe(self, id_: str, part: str = "") -> None:
        """Remove the data directory of a node that was killed, or a part of it.

        Processes of a killed node write for a moment more until they notice, so its files are put aside first.
        """
        aside = self.directory / f"wiped-{id_}-{time.monotonic_ns()}"
        (self.directory / id_ / part).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def wait_ready(self) -> None:
        with self.client() as client:
            eventually(lambda: self._all_ready(client), what=f"a healthy cluster in {self.directory}")

    def _all_ready(self, client: Client) -> bool:
        status = client.get_status(timeout=STATUS_S)
        roles = [node.role for node in status.nodes]
        followers = roles.count(cluster_pb2.FOLLOWER)
        # An executor that has gone is shown, without its node, until its lease has run out.
        connected = {each.node_id for each in status.executors}
        voting = all(node.votes for node in status.nodes)
        return bool(status.leader_id) and voting and followers == len(self.nodes) - 1 and connected >= self.nodes.keys()

    def leader(self) -> str:
        with self.client() as client:
            return eventually(lambda: client.get_status(timeout=STATUS_S).leader_id, what="a leader")

    def follower(self) -> str:
        leader = self.leader()
        return next(id_ for id_ in self.nodes if id_ != leader)

    @contextlib.contextmanager
    def client(self, *nodes: str, timeout: float = 20.0) -> Iterator[Client]:
        endpoints = [self.addresses[id_] for id_ in nodes] or self.endpoints
        with Client(endpoints, timeout=timeout, tls=self.tls) as client:
            yield client

    def log_lines(self, id_: str) -> list[dict[str, object]]:
        lines = self.nodes[id_].log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]
