"""Connections to other processes: the one place that opens a channel or a port, and chooses how it is protected."""

from collections.abc import Sequence
from typing import Any

import grpc

from raftsched.net.tls import Tls

Options = Sequence[tuple[str, Any]]
_ALWAYS = (
    # No setting of the environment sends what nodes say to each other elsewhere.
    ("grpc.enable_http_proxy", 0),
)


class Network:
    """How this process reaches others of the cluster and is reached: by TLS, or in plain text."""

    def __init__(self, tls: Tls | None = None) -> None:
        """``tls``: None for plain text."""
        self._tls = tls

    @property
    def generation(self) -> object:
        """Another one after the certificates have changed: then a channel that is kept should be opened anew."""
        return None if self._tls is None else self._tls.generation

    def dial(self, address: str, options: Options = ()) -> grpc.aio.Channel:
        """A channel to host:port of the cluster, which connects at its first use; ``options`` are those of gRPC."""
        return dial(address, options, credentials=None if self._tls is None else self._tls.channel_credentials())

    def dial_blocking(self, address: str, options: Options = ()) -> grpc.Channel:
        """As ``dial``, for threads."""
        if self._tls is not None:
            return grpc.secure_channel(address, self._tls.channel_credentials(), options=(*options, *_ALWAYS))
        return grpc.insecure_channel(address, options=(*options, *_ALWAYS))

    def listen(self, server: grpc.aio.Server, address: str) -> int:
        """Bind host:port; the port, which the system chooses when it is 0. Raises RuntimeError when it is in use."""
        if self._tls is not None:
            return server.add_secure_port(address, self._tls.server_credentials())
        return server.add_insecure_port(address)


PLAIN = Network()
"""Nothing is encrypted, and nobody shows who they are."""


def dial(
    address: str, options: Options = (), *, credentials: grpc.ChannelCredentials | None = None
) -> grpc.aio.Channel:
    """A channel to any host:port, also outside the cluster. Without ``credentials`` nothing is encrypted."""
    if credentials is not None:
        return grpc.aio.secure_channel(address, credentials, options=(*options, *_ALWAYS))
    return grpc.aio.insecure_channel(address, options=(*options, *_ALWAYS))


def listen_within(server: grpc.aio.Server, target: str) -> None:
    """Bind a target that only processes of this machine reach, in plain text: the caller guards it."""
    server.add_insecure_port(target)
