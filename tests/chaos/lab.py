"""A cluster of real processes whose network, clocks and disks a chaos run can break."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.network import Loopback, Namespaces, Network, why_no_namespaces
from tests.support.cluster import Cluster, Process
from tests.support.faketime import WallClock, shared_memory, why_no_faketime
from tests.support.ports import free_ports

_TMPFS_MIB = 384
_EXTRA_EXECUTORS = 2
FULL_MARK = "filler"


def why_no_small_disk() -> str:
    """Empty when this process may mount a small file system."""
    return "" if os.geteuid() == 0 and shutil.which("mount") else "a small file system needs root"


class LabProcess(Process):
    """A process that runs behind a prefix (a network namespace) with variables of its own (a clock that can step)."""

    def __init__(self, arguments: list[str], log: Path, prefix: list[str], variables: dict[str, str]) -> None:
        super().__init__(arguments, log)
        self._prefix = prefix
        self._own_variables = variables

    def start(self) -> None:
        assert not self.running
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAFTSCHED_")}
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "raftsched.cli.main", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                # Namespaces have addresses of their own, which only this machine reaches.
                env={**inherited, "RAFTSCHED_INSECURE": "true", **self._own_variables},
            )


class Lab(Cluster):
    """Nodes n1, n2, ... that can be cut off, and executor-only processes e1, e2 that come and go.

    The last node has a small file system to itself where the machine allows. Nodes whose clock may step run under
    libfaketime with a monotonic clock that does not.
    """

    def __init__(self, directory: Path, nodes: int, *, network: bool, clocks: bool, small_disk: bool) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        ids = [f"n{number}" for number in range(1, nodes + 1)]
        self.network: Network = Namespaces(ids) if network else Loopback(ids, free_ports(nodes))
        self.addresses = self.network.addresses
        self.certificates, self.tls = None, None
        self._clocks = clocks
        self._clock_of: dict[str, WallClock] = {}
        self._shared_before = shared_memory()
        self.small_disk = directory / ids[-1] if small_disk else None
        peers = ",".join(f"{id_}={address}" for id_, address in self.addresses.items())
        self.nodes: dict[str, Process] = {
            id_: LabProcess(
                self._arguments(id_, address, peers, ("--slots", "16")),
                directory / f"{id_}.log",
                self.network.prefix(id_),
                {"RAFTSCHED_HTTP_LISTEN": "off", **self._clock_variables(id_)},
            )
            for id_, address in self.addresses.items()
        }
        self.executors = {f"e{number}": self._executor(f"e{number}") for number in range(1, _EXTRA_EXECUTORS + 1)}

    def start(self) -> None:
        if self.small_disk is not None:
            self.small_disk.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={_TMPFS_MIB}m", "tmpfs", str(self.small_disk)]
            subprocess.run(mount, check=True)
        super().start()

    def __enter__(self) -> "Lab":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.nodes.values(), *self.executors.values()]:
            if process.running:
                process.send(signal.SIGCONT)
            process.kill()
        if self.small_disk is not None and os.path.ismount(self.small_disk):
            self._keep_small_disk()
        self.network.close()
        if self._clocks:
            # Of processes that were killed.
            for left in shared_memory() - self._shared_before:
                left.unlink(missing_ok=True)

    def step_clock(self, id_: str, by_s: float) -> None:
        """Set the wall clock of a node apart from that of the machine."""
        self._clock_of[id_].step_to(by_s)

    def fill_disk(self) -> None:
        """Leave no byte on the small file system."""
        assert self.small_disk is not None
        with (self.small_disk / FULL_MARK).open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(1 << 16))

    def free_disk(self) -> None:
        assert self.small_disk is not None
        (self.small_disk / FULL_MARK).unlink(missing_ok=True)

    def stop_all(self) -> None:
        """Ask every process to end, and wait for it."""
        processes = [each for each in [*self.nodes.values(), *self.executors.values()] if each.running]
        for process in processes:
            process.send(signal.SIGTERM)
        deadline = time.monotonic() + 40
        for process in processes:
            process.wait(max(1.0, deadline - time.monotonic()))

    def last_words(self, id_: str) -> str:
        """The end of what a node logged, for a report."""
        return "\n".join(line[:300] for line in self._lines(id_)[-6:])

    def reason_to_stop(self, id_: str) -> str:
        """What a node told its operator beside its log when it stopped for the last time."""
        return "\n".join([line for line in self._lines(id_) if not line.startswith("{")][-6:])

    def _lines(self, id_: str) -> list[str]:
        return self.nodes[id_].log.read_text(errors="replace").splitlines()

    def _executor(self, name: str) -> Process:
        options = ["--join", ",".join(self.addresses.values()), "--data-dir", str(self.directory / name)]
        arguments = ["executor", *options, "--name", name, "--slots", "8", "--log-format", "json"]
        return LabProcess(arguments, self.directory / f"{name}.log", [], {})

    def _clock_variables(self, id_: str) -> dict[str, str]:
        if not self._clocks:
            return {}
        clock = self._clock_of[id_] = WallClock(self.directory / f"{id_}.clock")
        return clock.variables

    def _keep_small_disk(self) -> None:
        """Copy what the small file system holds, so that it can be looked at after a failure."""
        assert self.small_disk is not None
        self.free_disk()
        kept = self.directory / f"{self.small_disk.name}.kept"
        shutil.copytree(self.small_disk, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
        subprocess.run(["umount", str(self.small_disk)], check=False, capture_output=True)


def missing_abilities() -> dict[str, str]:
    """What this machine cannot do, and why."""
    reasons = {"network": why_no_namespaces(), "clocks": why_no_faketime(), "small_disk": why_no_small_disk()}
    return {name: reason for name, reason in reasons.items() if reason}
