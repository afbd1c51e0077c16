"""How the files that a process may have open are shared out: what runs comes before who is connected.

Without a share of its own, execution fails for want of files as soon as enough clients are connected. The limit is that
of setrlimit(2), soft; it is not raised, because the programs that run inherit it, and some of them count up to it.
"""

import resource
from dataclasses import dataclass

_OWN = 48
"""Of a node: half of them when it has nothing to do; the others for searches, notifications and snapshots."""
_OF_A_PEER = 6
"""Streams in both directions, calls that are passed on, a snapshot."""
_STARTING = 16
"""Of the programs that are being started."""
_OF_A_SLOT = 3
"""A program's output, its end, and the file that its output is stored in; a container's connections."""
_FEWEST = 16
"""Connections that each server has in any case."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What a process may have at once."""

    slots: int
    remote_slots: int
    http_connections: int
    grpc_connections: int


def limit() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def share(files: int, wanted: Shares, *, others: int = 0) -> Shares:
    """What fits into so many open files, of what is wanted, beside ``others`` nodes of the cluster.

    Slots come first, as long as each server that is wanted has its fewest connections; then those of remote work; the
    servers share what is left. Nothing that is wanted gets none.
    """
    http = min(wanted.http_connections, _FEWEST)
    grpc = min(wanted.grpc_connections, _FEWEST + 4 * others)
    remote = min(wanted.remote_slots, 1)
    left = max(0, files - _OWN - _OF_A_PEER * others - _STARTING - http - grpc - remote)
    slots = min(wanted.slots, max(1, left // _OF_A_SLOT))
    left = max(0, left - _OF_A_SLOT * slots)
    more_remote = min(wanted.remote_slots - remote, left // 2)
    left -= more_remote
    more_http = min(wanted.http_connections - http, left // 2)
    more_grpc = min(wanted.grpc_connections - grpc, left - more_http)
    return Shares(slots, remote + more_remote, http + more_http, grpc + more_grpc)


def told(files: int, wanted: Shares, given: Shares) -> str:
    """What an operator is told when slots are fewer than they were set; "" when they are not."""
    if (given.slots, given.remote_slots) == (wanted.slots, wanted.remote_slots):
        return ""
    return (
        f"at most {files} files may be open (ulimit -n, LimitNOFILE): {given.slots} of {wanted.slots} slots and "
        f"{given.remote_slots} of {wanted.remote_slots} remote slots are used. Raise the limit, or set fewer"
    )
