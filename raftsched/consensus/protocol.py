"""Versions of what nodes say to each other: each speaks a range, and the newest that both speak is spoken."""

from dataclasses import dataclass

from raftsched_proto.internal.v1 import raft_pb2 as pb


@dataclass(frozen=True, slots=True)
class Protocols:
    """From the oldest to the newest that a node speaks."""

    oldest: int
    newest: int

    def __str__(self) -> str:
        return f"protocol {self.newest}" if self.oldest == self.newest else f"protocols {self.oldest} to {self.newest}"

    def common(self, other: "Protocols") -> int:
        """The newest that both speak; 0: there is none."""
        newest = min(self.newest, other.newest)
        return newest if newest >= max(self.oldest, other.oldest) else 0


PROTOCOLS = Protocols(2, 2)
"""Of this program. 2: directories are shown (docs/adr/0009)."""


def put_protocols(greeting: pb.RaftGreeting, spoken: Protocols) -> None:
    """Say in a greeting what is spoken."""
    greeting.oldest_protocol_version, greeting.protocol_version = spoken.oldest, spoken.newest


def protocols_of(greeting: pb.RaftGreeting) -> Protocols:
    """What the sender of a greeting speaks."""
    return Protocols(greeting.oldest_protocol_version or greeting.protocol_version, greeting.protocol_version)
