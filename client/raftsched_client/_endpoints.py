"""The nodes that a client knows, and the one that it talks to."""

from collections.abc import Sequence


class Endpoints:
    """A list of ``host:port`` of which one is current. Not tied to a thread or an event loop."""

    def __init__(self, endpoints: str | Sequence[str]) -> None:
        self.all = parse_endpoints(endpoints)
        self.current = self.all[0]

    def __len__(self) -> int:
        return len(self.all)

    def leave(self, failed: str, hint: str = "") -> None:
        """Go to ``hint`` if it is one of ours, else to the next; stay when another call has left ``failed`` already."""
        if self.current != failed:
            return
        if hint in self.all and hint != failed:
            self.current = hint
        else:
            self.current = self.all[(self.all.index(failed) + 1) % len(self.all)]

    def follow(self, asked: str, leader: str) -> None:
        """Go to the leader, which ``asked`` had to pass a call on to, if it is one of ours."""
        if self.current == asked and leader in self.all:
            self.current = leader


def parse_endpoints(endpoints: str | Sequence[str]) -> tuple[str, ...]:
    """``host:port`` of each endpoint, in order, without repetition.

    Raises ValueError: there is none, or one is not ``host:port``.
    """
    parts = endpoints.split(",") if isinstance(endpoints, str) else endpoints
    found = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not found:
        raise ValueError("endpoints: give at least one host:port")
    for endpoint in found:
        _check(endpoint)
    return found


def _check(endpoint: str) -> None:
    host, _, port = endpoint.rpartition(":")
    if not host or "/" in endpoint or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"endpoints: {endpoint!r} is not host:port with a port from 1 to 65535")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"endpoints: {endpoint!r}: write an IPv6 address in brackets, such as [::1]:7101")
