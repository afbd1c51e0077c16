"""Kept connections to the public services of other nodes."""

import asyncio

import grpc

from raftsched.net.dial import PLAIN, Network

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
_RETIRED_S = 3_600.0
"""How long calls go on that began before the certificates changed."""


class Channels:
    """One channel for each address, connected at the first use."""

    def __init__(self, network: Network = PLAIN) -> None:
        self._network = network
        self._generation = network.generation
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._retired: set[asyncio.Task[None]] = set()

    def get(self, address: str) -> grpc.aio.Channel:
        """The channel to host:port, opened with the certificates of now."""
        if self._network.generation != self._generation:
            self._generation = self._network.generation
            self._retire()
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = self._network.dial(address, _OPTIONS)
        return channel

    def _retire(self) -> None:
        """Let the calls of the channels so far go on, and give them no new ones."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            task = asyncio.get_running_loop().create_task(channel.close(_RETIRED_S))
            self._retired.add(task)
            task.add_done_callback(self._retired.discard)

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
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)


async def _connected(channel: grpc.aio.Channel) -> None:
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
