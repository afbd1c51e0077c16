"""Whether an address may be used without certificates: what is not loopback only where somebody has said so."""

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


def exposed(addresses: Mapping[str, str]) -> str:
    """Those of the addresses (host:port by the name of their setting) that others can reach, in words; "" for none."""
    return " and ".join(f"{name} {each}" for name, each in addresses.items() if not is_loopback(each))


def refusal(addresses: Mapping[str, str], *, insecure: bool) -> str:
    """Why a process must not start with these addresses, at which nobody shows a certificate, and what to do.

    "" when it may. ``insecure``: the operator says that others may reach them.
    """
    found = "" if insecure else exposed(addresses)
    if not found:
        return ""
    return (
        f"{found}: not on loopback, and without certificates on both sides. Whoever reaches such a port can run "
        "commands and read what they write; nothing was started. Give it certificates (raftsched certs, section "
        "[tls]); use an address of loopback, such as 127.0.0.1; or, if the network is private to machines that you "
        "trust, say so with --insecure (insecure = true, RAFTSCHED_INSECURE=true)."
    )
