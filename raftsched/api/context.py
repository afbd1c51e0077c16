"""What the API of a node works with; filled in by the composition root."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message
from raftsched_client.v1 import cluster_pb2

from raftsched.api.channels import Channels
from raftsched.api.feed import ExecutionFeed
from raftsched.core.rows import ExecutionRow
from raftsched.history.reader import HistoryReader
from raftsched.ports import Clock, Log, Peer, Role, Store

CallContext = grpc.aio.ServicerContext[Message, Message]


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """Part of what an attempt wrote."""

    found: bool
    """Whether somebody who can be reached has the output."""
    offset: int = 0
    """Of the first byte of ``data``; higher than asked when the bytes before are not kept."""
    data: bytes = b""
    ended: bool = False
    """Whether the attempt has ended: what follows ``data`` is there already, and nothing comes after it."""


class OutputSource(Protocol):
    """Where the output of attempts is kept while it is longer than what travels through the log."""

    async def fetch(self, execution_id: bytes, row: ExecutionRow, offset: int) -> OutputChunk:
        """Bytes of the output of the last attempt from ``offset``. Not found: nobody who can be reached has it."""


def _no_problem() -> str:
    return ""


def _no_executors() -> list[cluster_pb2.ExecutorStatus]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """One node, as its API sees it."""

    node_id: str
    cluster_id: str
    members: tuple[Peer, ...]
    """All voting members of the group, this node included."""
    log: Log
    store: Store
    clock: Clock
    output: OutputSource
    feed: ExecutionFeed = field(default_factory=ExecutionFeed)
    channels: Channels = field(default_factory=Channels)
    executors: Callable[[], list[cluster_pb2.ExecutorStatus]] = _no_executors
    """The executors that are connected to this node; none unless it leads."""
    problem: Callable[[], str] = _no_problem
    """Why this node is not healthy, beyond what its Raft group says; "" when it is."""
    state_checked_us: Callable[[], int] = int
    """When the last comparison of this node's state tables with those of the others ended; 0: none did."""
    history: HistoryReader | None = None
    """The history index of this node."""
    history_problem: Callable[[], str] = _no_problem
    """Why that index does not go on; "" while it does."""
    history_sinks: Callable[[], list[dict[str, Any]]] = list
    """How the sinks do that the history is shipped to: see ``history.shipping.ShippingState``."""
    version: str = ""
    tzdata_version: str = ""

    def leads(self) -> bool:
        """Whether this node believes that it leads."""
        return self.log.status().role is Role.LEADER

    def leader_address(self) -> str:
        """host:port of the leader's gRPC service, or "" while none is known."""
        leader_id = self.log.status().leader_id
        return next((member.address for member in self.members if member.id == leader_id), "")
