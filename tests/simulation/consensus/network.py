"""Streams between simulated nodes: in order while they live, and with all that happens when they break.

A stream that breaks loses the end of what was on its way; the rest may still be read, late, after messages of the
stream that replaces it.
"""

from typing import Protocol

from raftsched.consensus import wire
from raftsched.consensus.directory import Card, decode_card, encode_card
from raftsched.consensus.messages import Message
from tests.simulation.consensus.world import World

BREAK_AFTER_S = 2.5
"""A stream without a sign of life for so long is given up."""


_Parcel = tuple[Message, Card]
"""A message, and what its sender showed when the stream began."""


class Station(Protocol):
    """A node, as the network sees it."""

    def is_down(self) -> bool: ...
    def link_changed(self, peer_id: str, connected: bool) -> None: ...
    def deliver(self, sender_id: str, message: Message, card: Card | None = None) -> None: ...
    def card(self) -> Card: ...
    def greeted(self, sender_id: str, card: Card) -> str: ...
    def answered(self, peer_id: str, target: "Station") -> None: ...
    def wall_us(self) -> int: ...
    def told_clock(self, peer_id: str, wall_us: int, asked_at_s: float) -> None: ...


class _Stream:
    """From one node to another; dialled by the first."""

    def __init__(self, network: "Network", source: str, target: str) -> None:
        self._network = network
        self.source = source
        self.target = target
        self.up = False
        self.cut = False
        self.slow = False
        self._generation = 0
        self._last_arrival = 0.0
        self._card = Card()
        self._on_the_way: list[list[_Parcel]] = []
        self._stalled: list[_Parcel] = []
        self._cut_count = 0

    def send(self, message: Message) -> None:
        if not self.up:
            return
        if self.cut:
            self._stalled.append((message, self._card))
        else:
            self._travel((message, self._card))

    def ask_clock(self, asked_at_s: float) -> None:
        """The dialling node asks the other one for its wall clock; the answer comes back on the same stream."""
        generation = self._generation

        def answer() -> None:
            if self._carries(generation) and not self._network.stations[self.target].is_down():
                wall_us = self._network.stations[self.target].wall_us()
                self._network.world.after(self._network.delay(self.slow), lambda: take(wall_us))

        def take(wall_us: int) -> None:
            if self._carries(generation) and not self._network.stations[self.source].is_down():
                self._network.stations[self.source].told_clock(self.target, wall_us, asked_at_s)

        if self._carries(generation):
            self._network.world.after(self._network.delay(self.slow), answer)

    def _carries(self, generation: int) -> bool:
        return self.up and not self.cut and generation == self._generation

    def dial(self) -> None:
        network = self._network
        stations = network.stations
        if self.up or stations[self.source].is_down():
            return
        if self.cut or stations[self.target].is_down():
            network.world.after(network.random.uniform(0.05, 0.25), self.dial)
            return
        card = stations[self.source].card()
        refusal = stations[self.target].greeted(self.source, card)
        stations[self.source].answered(self.target, stations[self.target])
        if refusal:
            network.world.note("refused", self.source, self.target, refusal[:40])
            network.world.after(network.random.uniform(0.5, 2.0), self.dial)
            return
        self.up, self._card = True, card
        self._generation += 1
        self._last_arrival = network.world.now
        network.world.note("link up", self.source, self.target)
        stations[self.source].link_changed(self.target, True)

    def break_off(self) -> None:
        """Lose the end of what is on its way; the rest may take its time."""
        if not self.up:
            return
        network = self._network
        network.world.note("link down", self.source, self.target)
        self.up = False
        self._stalled.clear()
        survivors = self._on_the_way[: network.random.randint(0, len(self._on_the_way))]
        for lost in self._on_the_way[len(survivors) :]:
            lost.clear()
        self._on_the_way = []
        if network.random.random() < 0.5:
            self._read_late(survivors)
        if not network.stations[self.source].is_down():
            network.stations[self.source].link_changed(self.target, False)
            network.world.after(network.random.uniform(0.01, 0.25), self.dial)

    def cut_off(self) -> None:
        """Nothing arrives any more; after a while the stream breaks."""
        self.cut = True
        self._cut_count += 1
        count = self._cut_count

        def give_up() -> None:
            if self.cut and count == self._cut_count:
                self.break_off()

        self._network.world.after(BREAK_AFTER_S, give_up)

    def heal(self) -> None:
        self.cut = False
        stalled, self._stalled = self._stalled, []
        for message in stalled:
            self._travel(message)

    def _travel(self, message: _Parcel) -> None:
        delay = self._network.delay(self.slow)
        self._last_arrival = max(self._last_arrival, self._network.world.now + delay)
        parcel = [message]
        self._on_the_way.append(parcel)
        self._network.world.at(self._last_arrival, lambda: self._arrive(parcel))

    def _read_late(self, parcels: list[list[_Parcel]]) -> None:
        """They arrive in order, up to ``late_s`` later: on a stale connection."""
        arrival = self._network.world.now
        for parcel in parcels:
            message = [parcel.pop()] if parcel else []
            arrival += self._network.random.uniform(0, self._network.late_s / max(len(parcels), 1))
            self._network.world.at(arrival, lambda message=message: self._arrive(message))

    def _arrive(self, parcel: list[_Parcel]) -> None:
        if not parcel:
            return
        if self._on_the_way and self._on_the_way[0] is parcel:
            self._on_the_way.pop(0)
        self._network.deliver(self.source, self.target, *parcel[0])


class Network:
    """All streams of a run."""

    def __init__(self, world: World, node_ids: list[str]) -> None:
        self.world = world
        self.random = world.random("network")
        self.stations: dict[str, Station] = {}
        self.base_delay_s = 0.002
        self.has_spikes = True
        self.late_s = 1.0
        """What survives the break of its stream arrives up to so much later."""
        self.delivered_at: dict[tuple[str, str], float] = {}
        self.streams = {
            (source, target): _Stream(self, source, target)
            for source in node_ids
            for target in node_ids
            if source != target
        }

    def send(self, source: str, target: str, message: Message) -> None:
        self.streams[source, target].send(message)

    def ask_clock(self, source: str, target: str, asked_at_s: float) -> None:
        self.streams[source, target].ask_clock(asked_at_s)

    def node_up(self, node_id: str) -> None:
        for (source, target), stream in self.streams.items():
            if node_id in (source, target):
                self.world.after(self.random.uniform(0.001, 0.2), stream.dial)

    def node_down(self, node_id: str) -> None:
        for (source, target), stream in self.streams.items():
            if node_id == source:
                stream.break_off()
            elif node_id == target:
                # A process that dies resets its connections; a machine that dies only goes silent.
                self.world.after(self.random.choice([0.001, 0.001, BREAK_AFTER_S]), stream.break_off)

    def heal_all(self) -> None:
        self.has_spikes = False
        for stream in self.streams.values():
            stream.slow = False
            stream.heal()

    def delay(self, slow: bool) -> float:
        delay = self.base_delay_s * self.random.uniform(0.5, 2.0)
        if self.has_spikes and (slow or self.random.random() < 0.002):
            delay += self.random.uniform(0.0, 0.5)
        return delay

    def deliver(self, source: str, target: str, message: Message, card: Card) -> None:
        travelled = wire.decode(wire.encode(1, message))
        assert travelled == message
        assert decode_card(encode_card(card)) == card
        self.delivered_at[source, target] = self.world.now
        self.stations[target].deliver(source, travelled, card)
