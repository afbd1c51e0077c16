"""Channels to nodes: the one place that opens them, and chooses how they are protected."""

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


def dial(endpoint: str) -> grpc.Channel:
    """A channel to host:port, which connects at its first use."""
    return grpc.insecure_channel(endpoint, _OPTIONS)


def dial_async(endpoint: str) -> grpc.aio.Channel:
    """As ``dial``, for an event loop."""
    return grpc.aio.insecure_channel(endpoint, _OPTIONS)
