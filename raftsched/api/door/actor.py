"""Who asks for a change: for the record, not for permission. A caller says who its user is, and is believed."""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache

from raftsched.core.machine.wellformed import MAX_ACTOR_BYTES

USER_KEY = "raftsched-user"
"""Metadata: the name of the user, as the caller gives it."""
ADDRESS_KEY = "raftsched-address"
"""Metadata between nodes, and from the REST API: the address of the caller, as the node saw it that was asked first."""
ACTOR: ContextVar[str] = ContextVar("actor", default="")
"""Of the call that is being answered: ``user@address``, or the address."""

_PEER = re.compile(r"(?:ipv4|ipv6):(.*):\d+")
_UNPRINTABLE = re.compile(r"[^ -~]")


Metadata = Mapping[str, str | bytes]


def address_of(metadata: Metadata, peer: str) -> str:
    """The address of the caller, without its port. ``peer`` is the other end of the connection, as gRPC writes it."""
    given = metadata.get(ADDRESS_KEY)
    return _plain(str(given)) if given else _host_of(peer)


@lru_cache(maxsize=1024)
def _host_of(peer: str) -> str:
    """Kept, because many calls come over one connection."""
    found = _PEER.fullmatch(peer)
    return _plain(found.group(1).replace("%5B", "").replace("%5D", "")) if found else ""


def actor_of(metadata: Metadata, peer: str) -> str:
    """Who asks."""
    given = metadata.get(USER_KEY)
    user = _plain(str(given)) if given else ""
    address = address_of(metadata, peer)
    return (f"{user}@{address}" if user else address)[:MAX_ACTOR_BYTES]


def _plain(text: str) -> str:
    return _UNPRINTABLE.sub("?", text[:100])
