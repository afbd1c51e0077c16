"""Which names a node serves, and which of them a request is for (RFC 9110 section 7.2, RFC 9112 section 3.2).

A page whose name its owner lets point to 127.0.0.1 (DNS rebinding) is of the same origin as the node for the browser,
which sends its name as Host. So only the names that a node is known by are served. Addresses cannot be rebound.
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

ANY = "*"
_LOOPBACK_NAME = "localhost"
_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII)
_PORT = re.compile(r"(:[0-9]{0,5})?", re.ASCII)
_SHOWN = 10
_DEFAULT_PORTS = {"http": "80", "https": "443"}

Address = IPv4Address | IPv6Address


class MalformedHost(ValueError):
    """The text is no host, with or without a port."""


@dataclass(frozen=True, slots=True)
class Host:
    """A name in lower case and without the dot in the end, or an address."""

    name: str
    address: Address | None = None

    def __str__(self) -> str:
        """As it is written in a URL."""
        return f"[{self.name}]" if isinstance(self.address, IPv6Address) else self.name


def parse_host(text: str) -> Host:
    """The host of ``host``, ``host:port`` or ``[v6]:port``. Raises MalformedHost."""
    if text.startswith("["):
        inner, closed, port = text[1:].partition("]")
        if not closed or not _PORT.fullmatch(port):
            raise MalformedHost(text)
        return _of_address(_address(inner.partition("%")[0], IPv6Address, text))
    name, colon, port = text.partition(":")
    if not _PORT.fullmatch(colon + port):
        raise MalformedHost(text)
    name = name.lower().removesuffix(".")
    if not _NAME.fullmatch(name):
        raise MalformedHost(text)
    if name.rpartition(".")[2].isdigit():
        # As URLs have it: what ends in a number is an IPv4 address. The old short forms of one are served to nobody.
        return _of_address(_address(name, IPv4Address, text))
    return Host(name)


def parse_origin(text: str) -> str:
    """An origin in the one form that it has (RFC 6454 section 6.2), without a default port. Raises MalformedHost."""
    scheme, _, authority = text.lower().partition("://")
    if scheme not in _DEFAULT_PORTS:
        raise MalformedHost(text)
    host = str(parse_host(authority))
    port = authority[authority.rindex("]") + 1 :] if authority.startswith("[") else authority.partition(":")[2]
    port = port.removeprefix(":").lstrip("0")
    return f"{scheme}://{host}:{port}" if port not in ("", _DEFAULT_PORTS[scheme]) else f"{scheme}://{host}"


def _address(text: str, kind: type[Address], whole: str) -> Address:
    try:
        found = kind(text)
    except ValueError:
        raise MalformedHost(whole) from None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _of_address(address: Address) -> Host:
    return Host(str(address), address)


def parse_pattern(text: str) -> str:
    """A name that is to be served, as ``Hosts`` takes it: a host, ``*.domain``, or ``*``. Raises MalformedHost."""
    if text == ANY:
        return text
    if text.startswith("*."):
        domain = parse_host(text[2:])
        if domain.address is not None or ":" in text:
            raise MalformedHost(text)
        return f"*.{domain.name}"
    if ":" in text and not (text.startswith("[") and text.endswith("]")):
        raise MalformedHost(text)
    return parse_host(text).name


class Hosts:
    """The names that a node is served under: loopback, where it listens, and what the operator adds."""

    def __init__(self, known: Iterable[str] = (), added: Iterable[str] = ()) -> None:
        """``known``: host:port by which others know it. ``added``: patterns. Raises MalformedHost for one of these."""
        self._names = {_LOOPBACK_NAME}
        self._addresses: set[Address] = {IPv4Address("127.0.0.1"), IPv6Address("::1")}
        self._domains: list[str] = []
        self._any = self._any_address = False
        for address in known:
            self.known_as(address)
        for pattern in added:
            self._add_pattern(parse_pattern(pattern))

    def known_as(self, address: str) -> None:
        """Others know it by this host:port."""
        self._add(host_of(address))

    def listening(self, address: str) -> None:
        """It listens on this IP address; the unspecified one stands for all that the machine has."""
        bound = ip_address(address.partition("%")[0])
        if bound.is_loopback:
            return
        self._any_address = self._any_address or bound.is_unspecified
        self._add(str(_of_address(bound)))
        self._add(socket.gethostname())

    def _add(self, text: str) -> None:
        try:
            host = parse_host(text)
        except MalformedHost:
            # The name of a machine may be one that no URL can hold.
            return
        if host.address is None:
            self._names.add(host.name)
        elif not host.address.is_unspecified:
            self._addresses.add(host.address)

    def _add_pattern(self, pattern: str) -> None:
        if pattern == ANY:
            self._any = True
        elif pattern.startswith("*."):
            self._domains.append(pattern[1:])
        else:
            self._add(f"[{pattern}]" if ":" in pattern else pattern)

    def serves(self, host: Host) -> bool:
        """Whether requests for this host are answered; the port does not matter, as tunnels and proxies change it."""
        if self._any:
            return True
        if host.address is not None:
            return self._any_address or host.address.is_loopback or host.address in self._addresses
        return host.name in self._names or any(host.name.endswith(domain) for domain in self._domains)

    def __str__(self) -> str:
        """What is served, for people."""
        names = [*sorted(self._names), *(f"*{domain}" for domain in self._domains)]
        if self._any_address:
            names.append("any IP address")
        else:
            names += [str(_of_address(each)) for each in sorted(self._addresses, key=str)]
        shown = ", ".join(names[:_SHOWN])
        return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def host_of(address: str) -> str:
    """The host of host:port as ``parse_host`` takes it, whether or not an IPv6 address is in brackets."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return f"[{host}]" if isinstance(ip_address(host), IPv6Address) else host
    except ValueError:
        return host
