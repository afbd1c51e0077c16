"""Who asks for a change: for the record, not for permission. A caller says who its user is, and is believed."""

import re
from contextvars import ContextVar

from raftsched.api.context import CallContext
from raftsched.core.machine.wellformed import MAX_ACTOR_BYTES

USER_KEY = "raftsched-user"
"""Metadata: the name of the user, as the caller gives it."""
ADDRESS_KEY = "raftsched-address"
"""Metadata between nodes, and from the REST API: the address of the caller, as the node saw it that was asked first."""
ACTOR: ContextVar[str] = ContextVar("actor", default="")
"""Of the call that is being answered: ``user@address``, or the address."""

_PEER = re.compile(r"(?:ipv4|ipv6):(.*):\d+")
_UNPRINTABLE = re.compile(r"[^ -~]")


def address_of(context: CallContext) -> str:
    """The address of the caller, without its port."""
    given = dict(context.invocation_metadata() or ()).get(ADDRESS_KEY, "")
    if given:
        return _plain(str(given))
    found = _PEER.fullmatch(context.peer())
    return _plain(found.group(1).replace("%5B", "").replace("%5D", "")) if found else ""


def actor_of(context: CallContext) -> str:
    """Who asks."""
    user = _plain(str(dict(context.invocation_metadata() or ()).get(USER_KEY, "")))
    address = address_of(context)
    return (f"{user}@{address}" if user else address)[:MAX_ACTOR_BYTES]


def _plain(text: str) -> str:
    return _UNPRINTABLE.sub("?", text[:100])
