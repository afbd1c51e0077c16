"""Connections to other processes: the one place that opens a channel or a port, and chooses how it is protected."""

from collections.abc import Sequence
from typing import Any

import grpc

Options = Sequence[tuple[str, Any]]
_ALWAYS = (
    # No setting of the environment sends what nodes say to each other elsewhere.
    ("grpc.enable_http_proxy", 0),
)


def dial(
    address: str, options: Options = (), *, credentials: grpc.ChannelCredentials | None = None
) -> grpc.aio.Channel:
    """A channel to host:port, which connects at its first use; ``options`` are those of gRPC channels.

    Without ``credentials`` nothing is encrypted.
    """
    if credentials is not None:
        return grpc.aio.secure_channel(address, credentials, options=(*options, *_ALWAYS))
    return grpc.aio.insecure_channel(address, options=(*options, *_ALWAYS))


def dial_blocking(address: str, options: Options = ()) -> grpc.Channel:
    """As ``dial``, for threads."""
    return grpc.insecure_channel(address, options=(*options, *_ALWAYS))


def listen(server: grpc.aio.Server, address: str) -> int:
    """Bind host:port; the port, which the system chooses when it is 0. Raises RuntimeError when it is in use."""
    return server.add_insecure_port(address)
