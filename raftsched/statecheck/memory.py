"""The comparison of the nodes' state tables: what a node remembers of it, and who is odd.

A pass walks all state tables in steps. Each step is a log entry, so all nodes hash the same rows as of the same state;
the digests that the leader gathered come back in a later entry, so all nodes come to the same verdict.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from raftsched_proto.internal.v1 import check_pb2 as pb

from raftsched.core.machine.hashing import CheckStep, HashedRange

_KEEP_STEPS = 16


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the state of a node comes from."""

    cluster_identity: str = ""
    """"": the cluster is from before there were identities."""
    since_index: int = 0
    """The log entry that the history of its data directory begins with; 0: not known."""

    def __str__(self) -> str:
        whose = f"cluster {self.cluster_identity}" if self.cluster_identity else "a cluster without an identity"
        return f"{whose} since entry {self.since_index}" if self.since_index else whose


@dataclass(frozen=True, slots=True)
class Divergence:
    """A node whose rows are not those of the others."""

    node_id: str
    pass_us: int
    index: int
    table: str
    first_key: bytes
    last_key: bytes
    others: tuple[str, ...]
    """The nodes that agree with each other; none when no two of them are a majority."""
    origins: tuple[tuple[str, Origin], ...] = ()
    """Of all nodes that answered."""

    def __str__(self) -> str:
        rows = f"table {self.table}, rows {_shown(self.first_key)} to {_shown(self.last_key)}, as of entry {self.index}"
        if not self.others:
            who = f"the state of {self.node_id} differs from that of the other nodes, and no majority agrees"
        else:
            who = f"the state of {self.node_id} differs from that of {' and '.join(self.others)}"
        held = "".join(f"; {node} holds {origin}" for node, origin in self.origins)
        return (
            f"{who}: {rows}{held}. Which is right does not follow from how many agree: keep all data directories, "
            f"and compare what the nodes answer (--endpoints of one, --stale). If {self.node_id} is wrong, stop it "
            "while all others are up, move its data directory aside, and start it on an empty one: they send theirs. "
            "If it is right, recover from it (docs/operations.md)"
        )


def odd_ones(digests: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
    """Who differs from the majority of those that answered, and that majority. Without one, all are odd."""
    counts = Counter(digests.values())
    if len(counts) <= 1:
        return [], sorted(digests)
    common, count = counts.most_common(1)[0]
    if 2 * count <= len(digests):
        return sorted(digests), []
    return (
        sorted(node for node, digest in digests.items() if digest != common),
        sorted(node for node, digest in digests.items() if digest == common),
    )


class CheckMemory:
    """What this node knows of the passes since it was started. Belongs to the thread that applies entries."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._hashed: dict[int, HashedRange] = {}
        self._whole = False
        self.origin: Callable[[], Origin] = Origin
        """Where the state of this node comes from."""
        self.pass_us = 0
        """When the pass under way, or the last one, began."""
        self.last: HashedRange | None = None
        """The last step; None after a pass has ended."""
        self.last_whole_end_us = 0
        """When the last pass ended in which this node took part throughout."""
        self.divergences: dict[str, Divergence] = {}
        """By node. One stays until a pass has ended that did not find it again."""

    def applied(self, step: CheckStep) -> list[Divergence]:
        """Take a step that was applied; what it shows that was not known."""
        command = step.command
        if command.pass_us != self.pass_us:
            self.pass_us = command.pass_us
            # Who comes in later, after a restart or a snapshot, sees a part of the pass only.
            self._whole = not command.HasField("found") and not command.start.table
        news = self._judge(command) if command.HasField("found") else []
        self.last = step.hashed
        if step.hashed is not None:
            self._hashed[step.hashed.index] = step.hashed
            while len(self._hashed) > _KEEP_STEPS:
                del self._hashed[next(iter(self._hashed))]
        if command.ends_pass:
            self._end_pass(step.now_us)
        return news

    def digest(self, index: int) -> bytes:
        """Of the rows that the step of this entry hashed; empty when this node did not."""
        hashed = self._hashed.get(index)
        return b"" if hashed is None else hashed.digest

    def problem(self) -> str:
        """What is wrong with the state of this node; "" when nothing is known to be."""
        divergence = self.divergences.get(self._node_id)
        return "" if divergence is None else str(divergence)

    def forget_steps(self) -> None:
        """A snapshot has replaced the tables."""
        self._whole = False
        self.last = None

    def _judge(self, command: pb.CheckState) -> list[Divergence]:
        index = command.found.index
        digests = {node.node_id: node.digest for node in command.found.nodes}
        self._whole = self._whole and self._node_id in digests
        odd, others = odd_ones(digests)
        hashed = self._hashed.get(index)
        table, first, last = (hashed.table, hashed.first_key, hashed.last_key) if hashed else ("unknown", b"", b"")
        origins = tuple((each.node_id, Origin(each.cluster_identity, each.since_index)) for each in command.found.nodes)
        found = [Divergence(node, command.pass_us, index, table, first, last, tuple(others), origins) for node in odd]
        news = [each for each in found if each.node_id not in self.divergences]
        for each in found:
            known = self.divergences.get(each.node_id)
            if known is None or known.pass_us != each.pass_us:
                self.divergences[each.node_id] = each
        return news

    def _end_pass(self, now_us: int) -> None:
        self.last = None
        if self._whole:
            self.last_whole_end_us = now_us
            self.divergences = {node: each for node, each in self.divergences.items() if each.pass_us == self.pass_us}
        self._whole = False


def _shown(key: bytes) -> str:
    text = key.decode("ascii", "replace")
    return text if text.isprintable() and "\ufffd" not in text else f"0x{key.hex()}"
