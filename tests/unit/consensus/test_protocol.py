"""Which version of the peers' protocol two nodes speak."""

import pytest
from raftsched_proto.internal.v1 import raft_pb2 as pb

from raftsched.consensus.protocol import Protocols, protocols_of, put_protocols


@pytest.mark.parametrize(
    ("one", "other", "spoken"),
    [
        (Protocols(2, 2), Protocols(2, 2), 2),
        (Protocols(2, 4), Protocols(3, 5), 4),
        (Protocols(1, 9), Protocols(2, 3), 3),
        (Protocols(2, 2), Protocols(3, 4), 0),
    ],
)
def test_the_newest_that_both_speak(one: Protocols, other: Protocols, spoken: int) -> None:
    assert one.common(other) == other.common(one) == spoken


def test_it_travels_in_the_greeting() -> None:
    greeting = pb.RaftGreeting()
    put_protocols(greeting, Protocols(2, 4))
    assert protocols_of(greeting) == Protocols(2, 4)
    assert protocols_of(pb.RaftGreeting(protocol_version=2)) == Protocols(2, 2)
    assert (str(Protocols(2, 2)), str(Protocols(2, 4))) == ("protocol 2", "protocols 2 to 4")
