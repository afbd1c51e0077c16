"""Loopback ports for servers that a test starts."""

import contextlib
import itertools
import os
import socket

_WORKERS = 16
_FIRST, _END = 12_000, 32_000
"""Below the ports that Linux gives to clients, one of which could take the port of a node that is down for a while."""
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_ports = range(_FIRST + _worker, _END, _WORKERS)
_candidates = itertools.cycle((*_ports[os.getpid() % len(_ports) :], *_ports[: os.getpid() % len(_ports)]))
"""Those of one worker of a test run, from a place of the process's own: runs of two checkouts keep apart too."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that no test beside this one is given."""
    ports: list[int] = []
    for port in itertools.islice(_candidates, len(_ports)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"no {count} free ports from {_FIRST} to {_END}")
