"""The commands of ./scripts/cluster: nodes as processes of this machine, and all that they write in one directory."""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import environment
import interface
from processes import Detached

HOST = "127.0.0.1"
DEFAULT_NODES = 3
DEFAULT_BASE_PORT = 7101
HTTP_PORT_OFFSET = 1000
READY_S = 60.0
STOP_S = 20.0
FOUNDER = "n1"
CLI = environment.VENV / "bin" / "raftsched"
CERTIFICATES = "certs"
USER = "admin"


class Cluster:
    """What the flags and the data directory say of a cluster."""

    def __init__(self, directory: Path, nodes: int, base_port: int, *, secure: bool = False) -> None:
        self.directory = directory
        self.secure = secure
        self.base_port = base_port
        self.addresses = {f"n{number}": f"{HOST}:{base_port + number - 1}" for number in range(1, nodes + 1)}
        self.nodes = {id_: Detached(id_, directory) for id_ in self.addresses}

    @property
    def endpoints(self) -> str:
        return ",".join(self.addresses.values())

    def running(self) -> list[str]:
        return [id_ for id_, process in self.nodes.items() if process.pid() is not None]

    def start(self, id_: str) -> None:
        """Start one node that is not running."""
        peers = ",".join(f"{peer}={address}" for peer, address in self.addresses.items())
        arguments = [
            "--id",
            id_,
            "--listen",
            self.addresses[id_],
            "--peers",
            peers,
            "--data-dir",
            str(self.directory / id_),
            # It may stay: n1 founds nothing unless the directories of all nodes are empty.
            *(["--found"] if id_ == FOUNDER else []),
            *(f"--{name.replace('_', '-')}={path}" for name, path in self.tls(f"node-{id_}").items()),
        ]
        self.nodes[id_].start([str(CLI), "node", *arguments], self.directory)

    def tls(self, whose: str) -> dict[str, Path]:
        """The files of TLS by their flags, for one of the nodes or the user; none of a cluster without."""
        directory = self.directory / CERTIFICATES
        files = {"tls_ca": "ca.crt", "tls_cert": f"{whose}.crt", "tls_key": f"{whose}.key"}
        return {name: directory / file for name, file in files.items()} if self.secure else {}

    def variables(self) -> dict[str, str]:
        """Of the environment, with which the CLI finds this cluster."""
        tls = {f"RAFTSCHED_{name.upper()}": str(path) for name, path in self.tls(f"client-{USER}").items()}
        return {"RAFTSCHED_ENDPOINTS": self.endpoints, **tls}

    def make_certificates(self) -> None:
        """Those that are missing, if the cluster has TLS."""
        directory = self.directory / CERTIFICATES
        wanted = [["node", id_, "--host", HOST, "--host", "localhost"] for id_ in self.addresses] + [["client", USER]]
        if not self.secure:
            return
        if not (directory / "ca.crt").exists():
            _certs("init", directory)
        for role, name, *more in wanted:
            if not (directory / f"{role}-{name}.crt").exists():
                _certs(role, directory, name, *more)

    def wait_until_ready(self, started: list[str]) -> None:
        """Wait until there is a leader and the nodes that were started answer; exit with the log of one that died."""
        deadline = time.monotonic() + READY_S
        while True:
            for id_ in started:
                if self.nodes[id_].pid() is None:
                    fail(f"{id_} ended while it started. Its last words:\n\n{self.nodes[id_].last_lines()}")
            seen = self.status()
            roles = {node.get("id"): node.get("role") for node in seen.get("nodes", [])}
            votes = {node.get("id") for node in seen.get("nodes", []) if node.get("votes")}
            serve = all(roles.get(id_) in ("LEADER", "FOLLOWER") and id_ in votes for id_ in started)
            if "LEADER" in roles.values() and serve:
                return
            if time.monotonic() > deadline:
                states = [
                    f"{node.get('id')} {node.get('role')} {node.get('problem', '')}" for node in seen.get("nodes", [])
                ]
                last = "\n".join(states) or seen.get("error")
                fail(
                    f"The cluster was not ready within {READY_S:.0f} s. Its last answer:\n{last}\n"
                    f"Its processes go on. See ./scripts/cluster logs{self.flags()}"
                )
            time.sleep(0.2)

    def status(self) -> dict[str, Any]:
        """The answer of `raftsched status -o json`, or why there is none under "error"."""
        done = self.cli("status", "-o", "json", capture_output=True, text=True, timeout=30)
        try:
            answer = json.loads(done.stdout)
        except json.JSONDecodeError:
            return {"error": (done.stderr or done.stdout).strip()}
        return answer if isinstance(answer, dict) else {"error": done.stdout}

    def cli(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run the CLI against this cluster."""
        variables = {**os.environ, **self.variables()}
        return subprocess.run([CLI, *arguments], env=variables, stdin=subprocess.DEVNULL, check=False, **options)

    def flags(self) -> str:
        """The flags that name this cluster to another call of this script."""
        if self.directory == _default_directory():
            return ""
        return f" --data-dir {shlex.quote(os.path.relpath(self.directory))}"

    def remember(self) -> None:
        """Note what the next call needs to find the cluster by its directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        note = json.dumps({"nodes": len(self.nodes), "base_port": self.base_port, "secure": self.secure})
        self._note.write_text(f"{note}\n", encoding="ascii")

    def forget(self) -> None:
        """Remove everything that this script and the nodes wrote."""
        for id_, process in self.nodes.items():
            shutil.rmtree(self.directory / id_, ignore_errors=True)
            for path in (process.log, process.log.with_suffix(".log.1"), self.directory / f"{id_}.pid"):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.directory / CERTIFICATES, ignore_errors=True)
        self._note.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    @property
    def _note(self) -> Path:
        return note_in(self.directory)


def note_in(directory: Path) -> Path:
    """Where a cluster is remembered."""
    return directory / "cluster.json"


def up(cluster: Cluster, _: argparse.Namespace) -> None:
    """Set up what is missing, start the nodes, and wait until the cluster takes writes."""
    began = time.monotonic()
    environment.prepare()
    interface.build()
    missing = [id_ for id_ in cluster.nodes if id_ not in cluster.running()]
    _check_ports_are_free(cluster, missing)
    cluster.remember()
    cluster.make_certificates()
    try:
        for id_ in missing:
            cluster.start(id_)
        cluster.wait_until_ready(missing)
    except KeyboardInterrupt:
        fail(f"Interrupted; the nodes go on. Stop them with ./scripts/cluster down{cluster.flags()}")
    took = f" after {time.monotonic() - began:.1f} s" if missing else ""
    size = "1 node" if len(cluster.nodes) == 1 else f"{len(cluster.nodes)} nodes"
    print(
        f"The cluster of {size} takes writes{took}. Data and logs: {cluster.directory}\n",
        flush=True,
    )
    cluster.cli("status")
    _print_what_to_try(cluster)


def down(cluster: Cluster, _: argparse.Namespace) -> None:
    """Stop all nodes (SIGTERM; SIGKILL after 20 s)."""
    stopping = [process for process in cluster.nodes.values() if process.send(signal.SIGTERM)]
    deadline = time.monotonic() + STOP_S
    for process in stopping:
        if not process.wait_for_end(max(0.0, deadline - time.monotonic())):
            print(f"{process.name} did not stop in {STOP_S:.0f} s and is killed", file=sys.stderr)
            process.send(signal.SIGKILL)
            process.wait_for_end(STOP_S)
    print(f"Stopped {', '.join(process.name for process in stopping)}" if stopping else "No node was running")


def status(cluster: Cluster, _: argparse.Namespace) -> None:
    """Show what the cluster says of itself, and which processes run."""
    code = cluster.cli("status").returncode if cluster.running() else 1
    for id_, process in cluster.nodes.items():
        pid = process.pid()
        print(f"{id_}  {cluster.addresses[id_]}  {f'process {pid}' if pid else 'not running'}")
    sys.exit(code)


def kill(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """Kill one node (SIGKILL): it gets no chance to say goodbye."""
    process = cluster.nodes[_node(cluster, arguments.node)]
    if not process.send(signal.SIGKILL):
        fail(f"{process.name} is not running")
    process.wait_for_end(STOP_S)
    print(f"Killed {process.name}. Start it again with ./scripts/cluster start {process.name}{cluster.flags()}")


def start(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """Start one node again, and wait until it takes part."""
    environment.prepare()
    id_ = _node(cluster, arguments.node)
    if cluster.nodes[id_].pid() is not None:
        fail(f"{id_} is running already")
    _check_ports_are_free(cluster, [id_])
    cluster.start(id_)
    cluster.wait_until_ready([id_])
    print(f"Started {id_}")


def wipe(cluster: Cluster, _: argparse.Namespace) -> None:
    """Kill all nodes and remove their data."""
    if not note_in(cluster.directory).exists():
        print(f"There is no cluster in {cluster.directory}")
        return
    for process in cluster.nodes.values():
        if process.send(signal.SIGKILL) and not process.wait_for_end(STOP_S):
            fail(f"{process.name} does not end; nothing was removed")
    cluster.forget()
    print(f"Removed the nodes and their data from {cluster.directory}")


def logs(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """Show the end of the nodes' logs."""
    names = [_node(cluster, arguments.node)] if arguments.node else list(cluster.nodes)
    paths = [str(cluster.nodes[name].log) for name in names if cluster.nodes[name].log.exists()]
    if not paths:
        fail(f"There is no log in {cluster.directory} yet")
    sys.stdout.flush()
    os.execvp("tail", ["tail", *(["-F"] if arguments.follow else []), "-n", str(arguments.lines), *paths])


def main(words: list[str]) -> None:
    """Run one command."""
    arguments = _parser().parse_args(words)
    try:
        arguments.run(_cluster(arguments), arguments)
    except OSError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """End with a message for the user."""
    sys.exit(message)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--nodes", type=int, choices=(1, 3, 5), help=f"size of the cluster (default {DEFAULT_NODES})")
    common.add_argument(
        "--base-port", type=int, metavar="PORT", help=f"port of n1; the next ones follow (default {DEFAULT_BASE_PORT})"
    )
    common.add_argument(
        "--data-dir", type=Path, default=_default_directory(), metavar="DIR", help="data, logs and pids (default .data)"
    )
    parser = argparse.ArgumentParser(
        prog="./scripts/cluster",
        description="Run a raftsched cluster on this machine. A cluster is found again by its --data-dir alone.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run in (up, down, status, kill, start, wipe, logs):
        sub = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__, parents=[common])
        sub.set_defaults(run=run)
        if run is up:
            sub.add_argument("--secure", action="store_true", help="with TLS: makes certificates in the data directory")
        if run in (kill, start):
            sub.add_argument("node", metavar="N", help="a node: 2 or n2")
        if run is logs:
            sub.add_argument("node", metavar="N", nargs="?", help="one node only: 2 or n2")
            sub.add_argument("-f", "--follow", action="store_true", help="go on with what is written")
            sub.add_argument("-n", "--lines", type=int, default=20, help="lines of each log (default 20)")
    return parser


def _certs(command: str, directory: Path, *words: str) -> None:
    done = subprocess.run(
        [CLI, "certs", command, *words, "--dir", directory],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        fail(f"The certificates could not be made; no node was started.\n{done.stderr.strip()}")


def _cluster(arguments: argparse.Namespace) -> Cluster:
    """The cluster in the data directory, or the one that the flags describe when there is none yet."""
    directory = arguments.data_dir.absolute()
    try:
        known = json.loads(note_in(directory).read_text(encoding="ascii"))
    except FileNotFoundError:
        if arguments.run not in (up, status, down, wipe):
            fail(f"There is no cluster in {directory}. Start one with ./scripts/cluster up")
        known = {}
    nodes = arguments.nodes or known.get("nodes", DEFAULT_NODES)
    base_port = arguments.base_port or known.get("base_port", DEFAULT_BASE_PORT)
    if not 1024 <= base_port <= 65535 - nodes:
        fail(f"--base-port must be from 1024 to {65535 - nodes}, not {base_port}")
    if known:
        _check_same(Cluster(directory, known["nodes"], known["base_port"]), nodes, base_port)
    secure = known.get("secure", False)
    if getattr(arguments, "secure", False) and not secure:
        if Cluster(directory, nodes, base_port).running():
            fail(f"The cluster in {directory} runs without TLS. Stop it with ./scripts/cluster down first")
        secure = True
    return Cluster(directory, nodes, base_port, secure=secure)


def _check_same(known: Cluster, nodes: int, base_port: int) -> None:
    """A cluster keeps its size; its ports may change while it is down."""
    if len(known.nodes) != nodes:
        difference = f"of {len(known.nodes)} nodes, not {nodes}"
    elif known.base_port != base_port and known.running():
        difference = f"that runs on ports from {known.base_port}, not {base_port}"
    else:
        return
    fail(
        f"{known.directory} holds a cluster {difference}.\n"
        "Give the other one a directory of its own with --data-dir, or remove this one with ./scripts/cluster wipe"
    )


def _node(cluster: Cluster, word: str) -> str:
    id_ = word if word.startswith("n") else f"n{word}"
    if id_ not in cluster.nodes:
        fail(f"There is no node {word}; the nodes are {', '.join(cluster.nodes)}")
    return id_


def _check_ports_are_free(cluster: Cluster, ids: list[str]) -> None:
    for id_ in ids:
        host, _, port = cluster.addresses[id_].rpartition(":")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, int(port)))
            except OSError as error:
                fail(
                    f"{id_} cannot listen on {host}:{port}: {error.strerror}. Nothing was started.\n"
                    "Another program or cluster has the port: choose others with --base-port, and for a second "
                    "cluster a directory with --data-dir."
                )


def _print_what_to_try(cluster: Cluster) -> None:
    elsewhere = cluster.base_port != DEFAULT_BASE_PORT
    cli = os.path.relpath(CLI)
    variables = cluster.variables() if elsewhere or cluster.secure else {}
    exports = "".join(f"  export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    scheme = "https" if cluster.secure else "http"
    print(
        "\nTry:\n" + exports + f"  {cli} task create hello --every 5s -- echo hello\n"
        f"  {cli} task list\n"
        f"  {cli} execution list\n"
        f"\nWeb interface: {scheme}://{HOST}:{cluster.base_port + HTTP_PORT_OFFSET}\n"
        + (_how_to_browse(cluster) if cluster.secure else "")
    )


def _how_to_browse(cluster: Cluster) -> str:
    files = cluster.tls(f"client-{USER}")
    ca, certificate, key = (shlex.quote(str(path)) for path in files.values())
    url = f"https://{HOST}:{cluster.base_port + HTTP_PORT_OFFSET}/v1/tasks"
    return (
        f"  curl --cacert {ca} --cert {certificate} --key {key} {url}\n"
        f"A browser wants ca.crt as an authority, and as a certificate of yours {USER}.p12 of:\n"
        f"  openssl pkcs12 -export -in {certificate} -inkey {key} -out {USER}.p12\n"
    )


def _default_directory() -> Path:
    return environment.ROOT / ".data"
