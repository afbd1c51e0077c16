"""Which nodes can be reached, in words for whoever gets no answer because of it."""

import grpc

from raftsched.api.context import ApiContext
from raftsched.api.door.errors import ApiError, no_leader, no_majority
from raftsched.ports import PeerLink

_SILENT_S = 3.0
"""A node that answers no election for so long is missing: there is one about every second."""
_WORDS = {
    grpc.StatusCode.UNAVAILABLE: "does not answer: no connection to {address}; it is down or stands still, or the "
    "network is cut",
    grpc.StatusCode.DEADLINE_EXCEEDED: "does not answer within {timeout_s:g} s: it stands still, is overloaded, or the "
    "network is cut",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "does not answer: too many calls are under way there",
    grpc.StatusCode.UNIMPLEMENTED: "answers, and is no node of this version: something else listens on {address}",
}


def unreachable(error: grpc.aio.AioRpcError, address: str, timeout_s: float) -> str:
    """Why a node at host:port did not answer."""
    words = _WORDS.get(error.code(), "does not answer: it ended the call with {code}")
    return words.format(address=address, timeout_s=timeout_s, code=error.code().name)


def missing(api: ApiContext) -> list[PeerLink]:
    """The nodes that this one hears nothing from, while nobody leads."""
    voters = api.voter_ids()
    return [
        link
        for link in api.log.status().links
        if link.peer_id in voters and not (link.connected and link.silence_s < _SILENT_S)
    ]


def nobody_leads(api: ApiContext) -> ApiError:
    """Why there is no leader: there is no majority, or an election is under way."""
    gone = missing(api)
    voters = len(api.voter_ids())
    if 2 * (voters - len(gone)) > voters or not gone:
        return no_leader()
    return no_majority(described(api, gone, voters), [link.peer_id for link in gone])


def described(api: ApiContext, gone: list[PeerLink], voters: int) -> str:
    """``n1 reaches 1 of 3 nodes, itself included; missing: n2 at 127.0.0.1:7102 (silent for 12 s)``."""
    nodes = ", ".join(
        f"{link.peer_id} at {api.members.address(link.peer_id) or '?'} (silent for {link.silence_s:.0f} s)"
        for link in gone
    )
    return f"{api.node_id} reaches {voters - len(gone)} of {voters} nodes, itself included; missing: {nodes}"


def unconfirmed(api: ApiContext) -> str:
    """What to add where a majority did not confirm something: who is missing, if anyone is."""
    gone = missing(api)
    voters = len(api.voter_ids())
    return f" ({described(api, gone, voters)})" if gone else ""
