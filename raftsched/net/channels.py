"""Kept connections to the public services of other nodes."""

import asyncio

import grpc

from raftsched.net.dial import dial

MAX_MESSAGE_BYTES = 16 << 20
_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A leader that was down is to be found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A peer whose machine is gone sends no reset.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
]


class Channels:
    """One channel for each address, connected at the first use."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    def get(self, address: str) -> grpc.aio.Channel:
        """The channel to host:port."""
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = dial(address, _OPTIONS)
        return channel

    async def ready(self, address: str, timeout_s: float) -> grpc.aio.Channel | None:
        """The channel once it is connected; None when that takes too long, in which case nothing was sent."""
        channel = self.get(address)
        try:
            async with asyncio.timeout(timeout_s):
                await _connected(channel)
        except TimeoutError:
            return None
        return channel

    async def close(self) -> None:
        """End all connections; calls under way are cancelled."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()


async def _connected(channel: grpc.aio.Channel) -> None:
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
