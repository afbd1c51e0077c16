"""What the API of a node works with; filled in by the composition root."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message
from raftsched_proto.v1 import cluster_pb2

from raftsched.api.executions.feed import ExecutionFeed
from raftsched.commands.gate import Gate
from raftsched.core.state.rows import ExecutionRow
from raftsched.history.reader import HistoryReader
from raftsched.net.channels import Channels
from raftsched.outputs.sources import OutputChunk
from raftsched.ports import AgreedClock, Log, MemberList, Reader, Role, Store
from raftsched.scheduler.waiting import Explainer

CallContext = grpc.aio.ServicerContext[Message, Message]


class OutputSource(Protocol):
    """Where the output of attempts is kept while it is longer than what travels through the log."""

    async def fetch(self, execution_id: bytes, row: ExecutionRow, offset: int) -> OutputChunk:
        """Bytes of the output of the last attempt from ``offset``. Not found: nobody who can be reached has it."""


def _no_problem() -> str:
    return ""


def _no_executors() -> list[cluster_pb2.ExecutorStatus]:
    return []


def _no_explainer(_reader: Reader) -> Explainer | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """One node, as its API sees it."""

    node_id: str
    cluster_id: str
    members: MemberList
    log: Log
    store: Store
    clock: AgreedClock
    gate: Gate
    output: OutputSource
    lease_ms: int = 5_000
    """Of executors."""
    feed: ExecutionFeed = field(default_factory=ExecutionFeed)
    channels: Channels = field(default_factory=Channels)
    executors: Callable[[], list[cluster_pb2.ExecutorStatus]] = _no_executors
    """The executors that are connected to this node, good until the next call; none unless it leads."""
    knows_executors: Callable[[], bool] = bool
    """Whether those are all that there are: this node leads, and has for as long as they take to connect."""
    explainer: Callable[[Reader], Explainer | None] = _no_explainer
    """What says why executions wait; None unless this node leads."""
    problem: Callable[[], str] = _no_problem
    """Why this node is not healthy, beyond what its shard says; "" when it is."""
    state_checked_us: Callable[[], int] = int
    """When the last comparison of this node's state tables with those of the others ended; 0: none did."""
    history: HistoryReader | None = None
    """The history index of this node."""
    history_problem: Callable[[], str] = _no_problem
    """Why that index does not go on; "" while it does."""
    history_sinks: Callable[[], list[dict[str, Any]]] = list
    """How the sinks do that the history is shipped to: see ``history.shipping.ShippingState``."""
    http_address: str = ""
    """host:port of this node's REST API and web interface; "" when it serves none."""
    certificate_end_us: Callable[[], int] = int
    """Until when this node's certificate is good, in microseconds since the Unix epoch; 0: it has none."""
    version: str = ""
    tzdata_version: str = ""

    def leads(self) -> bool:
        """Whether this node believes that it leads."""
        return self.log.role is Role.LEADER

    def leader_address(self) -> str:
        """host:port of the leader's gRPC service, or "" while none is known."""
        return self.members.address(self.log.leader_id)

    def voter_ids(self) -> tuple[str, ...]:
        """Who elects and commits; while nobody knows, all members."""
        return self.log.status().voters or tuple(member.id for member in self.members.current)
