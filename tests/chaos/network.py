"""Where the nodes of a chaos run live: each in a network namespace of its own, or all on the loopback interface.

With namespaces every node has its own address on a bridge, and nftables rules in the namespace of the receiver drop
what another node sends: links break in one direction or both, as they do between machines. Clients sit on the bridge
and reach every node throughout, so that a leader that was cut off is asked for reads and writes. Delay proper needs the
kernel's netem queue; without it a link is made slow by a token bucket, whose queue delays.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence

PORT = 7101
_TAG = f"{os.getpid():x}"


def _run(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def why_no_namespaces() -> str:
    """Empty when this process may make network namespaces and filter in them."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "nft", "nsenter") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is missing (packages iproute2, nftables, util-linux)"
    name = f"raftsched-{_TAG}-probe"
    if not _works("ip", "netns", "add", name):
        return "the kernel gives no network namespace"
    try:
        filters = _works("nsenter", f"--net=/run/netns/{name}", "nft", "add", "table", "inet", "probe")
    finally:
        _run("ip", "netns", "delete", name)
    return "" if filters else "the kernel has no nftables"


class Loopback:
    """All nodes on 127.0.0.1: nothing can be cut."""

    can_cut = False
    can_slow = ""

    def __init__(self, ids: Sequence[str], ports: Sequence[int]) -> None:
        self.addresses = {id_: f"127.0.0.1:{port}" for id_, port in zip(ids, ports, strict=True)}

    def prefix(self, id_: str) -> list[str]:
        """What runs a command where the node lives."""
        return []

    def heal(self) -> None:
        """Nothing is ever cut."""

    def close(self) -> None:
        """There is nothing to remove."""


class Namespaces:
    """One network namespace for each node, on one bridge."""

    can_cut = True

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = list(ids)
        self._bridge = f"rs{_TAG}"
        net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self._hosts = {id_: f"{net}.{number}" for number, id_ in enumerate(ids, 1)}
        self.addresses = {id_: f"{host}:{PORT}" for id_, host in self._hosts.items()}
        try:
            _run("ip", "link", "add", self._bridge, "type", "bridge")
            _run("ip", "address", "add", f"{net}.254/24", "dev", self._bridge)
            _run("ip", "link", "set", self._bridge, "up")
            for id_ in ids:
                self._add(id_)
            self.can_slow = self._detect_slow()
        except BaseException:
            self.close()
            raise

    def prefix(self, id_: str) -> list[str]:
        """What runs a command where the node lives."""
        return ["nsenter", f"--net=/run/netns/{self._name(id_)}", "--"]

    def cut(self, links: Iterable[tuple[str, str]]) -> None:
        """Drop what goes from the first node of each pair to the second."""
        rules: dict[str, list[str]] = {}
        for sender, receiver in links:
            rules.setdefault(receiver, []).append(f"ip saddr {self._hosts[sender]} drop")
        for receiver, lines in rules.items():
            self._filter(receiver, lines)

    def lose(self, id_: str, percent: int) -> None:
        """Drop that share of the packets that reach the node, whoever sends them."""
        self._filter(id_, [f"numgen random mod 100 < {percent} drop"])

    def slow(self, id_: str) -> None:
        """Make what the node sends late: by netem, or by a narrow link with a queue."""
        shape = ["netem", "delay", "60ms", "30ms"]
        if self.can_slow == "tbf":
            shape = ["tbf", "rate", "600kbit", "burst", "4kb", "latency", "400ms"]
        self._exec(id_, "tc", "qdisc", "replace", "dev", "eth0", "root", *shape)

    def heal(self) -> None:
        """Everything passes again."""
        for id_ in self._ids:
            self._filter(id_, [])
            # Fails when there is none, and one that stays would be seen by the next run of commands.
            subprocess.run([*self.prefix(id_), "tc", "qdisc", "delete", "dev", "eth0", "root"], capture_output=True)

    def close(self) -> None:
        """Remove the namespaces and the bridge."""
        for id_ in self._ids:
            subprocess.run(["ip", "netns", "delete", self._name(id_)], capture_output=True)
        subprocess.run(["ip", "link", "delete", self._bridge], capture_output=True)

    def _name(self, id_: str) -> str:
        return f"raftsched-{_TAG}-{id_}"

    def _add(self, id_: str) -> None:
        name, outside = self._name(id_), f"{self._bridge}{id_}"
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", outside, "master", self._bridge, "up")
        self._exec(id_, "ip", "address", "add", f"{self._hosts[id_]}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._exec(id_, "ip", "link", "set", device, "up")
        self._filter(id_, [])

    def _detect_slow(self) -> str:
        """Which queue can make a link slow; empty: none."""
        for kind, shape in (("netem", ["delay", "1ms"]), ("tbf", ["rate", "1gbit", "burst", "1mb", "latency", "1ms"])):
            command = ["tc", "qdisc", "add", "dev", "eth0", "root", kind, *shape]
            if _works(*self.prefix(self._ids[0]), *command):
                self.heal()
                return kind
        return ""

    def _filter(self, id_: str, lines: list[str]) -> None:
        chain = "\n".join(["type filter hook input priority 0;", *lines])
        head = "table inet chaos\ndelete table inet chaos\ntable inet chaos {\nchain input {"
        rules = f"{head}\n{chain}\n}}\n}}\n"
        _run(*self.prefix(id_), "nft", "-f", "-", text=rules)

    def _exec(self, id_: str, *command: str) -> None:
        _run(*self.prefix(id_), *command)


Network = Loopback | Namespaces
