"""Channels to nodes: the one place that opens them, and chooses how they are protected."""

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import grpc

from raftsched_client._base import MAX_MESSAGE_BYTES

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A node that comes back is found within a second; gRPC's own default is up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # This library retries: it knows the request ids and the other nodes.
    ("grpc.enable_retries", 0),
    # The nodes are reached directly, whatever the environment says about proxies for the web.
    ("grpc.enable_http_proxy", 0),
)


_Channel = TypeVar("_Channel")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM for TLS: they are read again when they have changed, for connections made after that.

    Making a client raises ValueError when one cannot be read.
    """

    ca: str | os.PathLike[str]
    """The authorities that are trusted."""
    cert: str | os.PathLike[str] = ""
    """The certificate of this user; "": it shows none."""
    key: str | os.PathLike[str] = ""
    """Its key, without a password."""

    def __post_init__(self) -> None:
        if bool(self.cert) != bool(self.key):
            raise ValueError("tls: cert and key go together")

    def credentials(self) -> grpc.ChannelCredentials:
        """As gRPC takes them. Raises ValueError: a file cannot be read."""
        try:
            ca, key, cert = (Path(path).read_bytes() if path else None for path in (self.ca, self.key, self.cert))
        except OSError as error:
            raise ValueError(f"tls: cannot read {error.filename}: {error.strerror}") from None
        return grpc.ssl_channel_credentials(ca, key, cert)

    def stamp(self) -> Hashable:
        """What changes with the files."""
        try:
            seen = [os.stat(path) for path in (self.ca, self.key, self.cert) if path]
        except OSError:
            return None
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in seen)


Protection = Tls | grpc.ChannelCredentials | None
"""How connections are protected; None: they are in plain text."""


def dial(endpoint: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """A channel to host:port, which connects at its first use."""
    if credentials is not None:
        return grpc.secure_channel(endpoint, credentials, _OPTIONS)
    return grpc.insecure_channel(endpoint, _OPTIONS)


def dial_async(endpoint: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """As ``dial``, for an event loop."""
    if credentials is not None:
        return grpc.aio.secure_channel(endpoint, credentials, _OPTIONS)
    return grpc.aio.insecure_channel(endpoint, _OPTIONS)


class KeptChannels(Generic[_Channel]):
    """A channel for each endpoint, opened at its first use, and anew when the certificates have changed."""

    def __init__(
        self, open_channel: Callable[[str, grpc.ChannelCredentials | None], _Channel], tls: Protection
    ) -> None:
        """Raises ValueError: a file cannot be read."""
        self._open = open_channel
        self._tls = tls
        self._stamp = self._now()
        self._credentials = tls.credentials() if isinstance(tls, Tls) else tls
        self._channels: dict[str, _Channel] = {}
        self._retired: list[_Channel] = []
        """Their calls go on."""

    def get(self, endpoint: str) -> _Channel:
        """The channel to host:port."""
        self._renew()
        if endpoint not in self._channels:
            self._channels[endpoint] = self._open(endpoint, self._credentials)
        return self._channels[endpoint]

    def take_all(self) -> list[_Channel]:
        """All that there are, to be closed."""
        channels = [*self._retired, *self._channels.values()]
        self._channels, self._retired = {}, []
        return channels

    def _now(self) -> Hashable:
        return self._tls.stamp() if isinstance(self._tls, Tls) else None

    def _renew(self) -> None:
        stamp = self._now()
        if not isinstance(self._tls, Tls) or stamp is None or stamp == self._stamp:
            return
        try:
            self._credentials = self._tls.credentials()
        except ValueError:
            # They change at this moment: the next call looks again.
            return
        self._stamp = stamp
        self._retired += self._channels.values()
        self._channels = {}
