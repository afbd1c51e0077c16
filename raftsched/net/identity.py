"""Who a certificate is for: a name in its subject alternative names, such as ``raftsched://CLUSTER/node/n1``. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

SCHEME = "raftsched://"
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_URI = re.compile(rf"{SCHEME}({_NAME})/(node|executor|client)/({_NAME})", re.ASCII)


class PeerRole(StrEnum):
    """What a process is to the cluster."""

    NODE = "node"
    EXECUTOR = "executor"
    CLIENT = "client"


class NoIdentity(ValueError):
    """The names of a certificate do not say who it is for; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """One process or user of one cluster."""

    cluster: str
    role: PeerRole
    id: str

    def __str__(self) -> str:
        """As it stands in a certificate."""
        return f"{SCHEME}{self.cluster}/{self.role.value}/{self.id}"


def parse_identity(uri: str) -> PeerIdentity:
    """Raises NoIdentity."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise NoIdentity(f"{uri[:200]!a} is not of the form {SCHEME}CLUSTER/node|executor|client/ID")
    cluster, role, id_ = match.groups()
    return PeerIdentity(cluster, PeerRole(role), id_)


def identity_among(uris: Iterable[str]) -> PeerIdentity:
    """The one among the names of a certificate, beside names of other schemes. Raises NoIdentity."""
    ours = [uri for uri in uris if uri.startswith(SCHEME)]
    if not ours:
        raise NoIdentity(f"it has no subject alternative name {SCHEME}CLUSTER/node|executor|client/ID")
    if len(ours) > 1:
        raise NoIdentity(f"it has {len(ours)} names that begin with {SCHEME}, and may have one")
    return parse_identity(ours[0])


def is_of(process_id: str, identity: PeerIdentity) -> bool:
    """Whether an executor may call itself so: by its name, and by what was drawn for its data directory."""
    name, dash, drawn = process_id.rpartition("-")
    return bool(dash and drawn) and name == identity.id
