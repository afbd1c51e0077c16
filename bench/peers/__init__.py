"""Other systems under the same load: one file each, none of which is needed to measure raftsched itself.

A peer is started in a temporary directory, measured, and stopped. What it needs is looked for on the PATH and in the
directory that BENCH_PEERS names (default ``.bench-peers`` here), and is never installed by the benchmark.
"""

import os
import shutil
import socket
from pathlib import Path


class NotInstalled(Exception):
    """Says what is missing, and how to install it."""


def directory() -> Path:
    """Where peers may be installed for the benchmark alone."""
    return Path(os.environ.get("BENCH_PEERS", Path(__file__).parent.parent.parent / ".bench-peers")).resolve()


def program(name: str, advice: str, *places: str) -> str:
    """The path of a program. Raises NotInstalled with the advice."""
    for place in places:
        if (directory() / place).exists():
            return str(directory() / place)
    found = shutil.which(name)
    if found is None:
        raise NotInstalled(f"{name} is not installed: {advice}")
    return found


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
