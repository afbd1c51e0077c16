"""Whether an address may be used without TLS: what is not loopback only where somebody has said so."""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address


def is_loopback(address: str) -> bool:
    """Whether host:port can be reached from this machine alone. A name other than localhost may mean anything."""
    host = address.rpartition(":")[0].strip("[]").lower().removesuffix(".")
    try:
        found = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def exposed(addresses: Mapping[str, str], *, tls: bool) -> str:
    """Those of the addresses (host:port by the name of their setting) that others can reach in the clear, in words.

    "" when there are none.
    """
    return " and ".join(f"{name} {each}" for name, each in addresses.items() if not (tls or is_loopback(each)))


def refusal(addresses: Mapping[str, str], *, tls: bool, insecure: bool) -> str:
    """Why a process must not start with these addresses, and what to do; "" when it may.

    ``tls``: all of them are protected by it. ``insecure``: the operator says that they need not be.
    """
    found = "" if insecure else exposed(addresses, tls=tls)
    if not found:
        return ""
    return (
        f"{found}: not on loopback, and without TLS or authentication. Whoever reaches such a port can run commands "
        "and read what they write, and whoever is on the way can, too; nothing was started. Use an address of "
        "loopback, such as 127.0.0.1; or, if the network is private to machines that you trust, say so with --insecure "
        "(insecure = true, RAFTSCHED_INSECURE=true)."
    )
