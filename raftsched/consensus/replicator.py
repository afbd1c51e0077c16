"""What a leader knows of its followers, and how much it sends them."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from raftsched.consensus.engine import Engine
from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import AppendEntries, AppendReply, AppendResult, LogEntry, Message
from raftsched.consensus.settings import Settings
from raftsched.ports import Clock, Role

_ENTRY_BYTES = 64


@dataclass(slots=True)
class _Progress:
    """One follower. In probing, where the logs part is unknown and only one batch at a time is sent."""

    connected: bool = False
    epoch: int = 0
    probing: bool = True
    paused: bool = False
    """The engine takes the peer for disconnected, so that it sends no more before an answer."""
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)
    """Last index and bytes of each append with entries that was not answered."""
    in_flight_bytes: int = 0
    acked_round: int = 0

    def probe_again(self) -> None:
        """Answers to what was sent so far say nothing about the next probe."""
        self.epoch += 1
        self.probing = True
        self.forget_in_flight()

    def forget_in_flight(self) -> None:
        """Nothing of it will be answered."""
        self.in_flight.clear()
        self.in_flight_bytes = 0

    def sent(self, last_index: int, size_bytes: int) -> None:
        """An append with entries left."""
        self.in_flight.append((last_index, size_bytes))
        self.in_flight_bytes += size_bytes

    def accepted(self, index: int) -> None:
        """The follower's log is equal up to here."""
        self.probing = False
        while self.in_flight and self.in_flight[0][0] <= index:
            self.in_flight_bytes -= self.in_flight.popleft()[1]


class Replicator:
    """Stamps, cuts and holds back the engine's appends, and makes of the replies what the engine counts."""

    def __init__(
        self,
        *,
        engine: Engine,
        journal: Journal,
        clock: Clock,
        settings: Settings,
        send: Callable[[str, Message], None],
    ) -> None:
        """``send`` takes messages that leave after the next commit."""
        self._engine = engine
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._send = send
        self._progress: dict[str, _Progress] = defaultdict(_Progress)
        self._voter_ids: tuple[str, ...] = ()
        self._member_ids: tuple[str, ...] = ()
        self._round = 0
        self._round_began: deque[tuple[int, float]] = deque()
        self._heartbeat_at = float("-inf")
        self._is_heartbeat = False
        self._send_now = False
        self.on_forgetful: Callable[[str], None] = _ignore
        """Takes a peer that lacks what it has acknowledged to this leader."""

    def set_members(self, voter_ids: tuple[str, ...], learner_ids: tuple[str, ...]) -> None:
        """The other members: those who count, and all who get entries."""
        new = set(voter_ids + learner_ids) - set(self._member_ids)
        self._voter_ids, self._member_ids = voter_ids, voter_ids + learner_ids
        for peer_id in sorted(new):
            progress = self._progress[peer_id]
            progress.probe_again()
            progress.acked_round = 0
            self._resume(peer_id)

    def forget(self, peer_id: str) -> None:
        """The peer has another directory: what the one before held says nothing about it."""
        progress = self._progress[peer_id]
        progress.probe_again()
        progress.acked_round = 0
        self._engine.set_match_index(peer_id, 0)
        self._resume(peer_id)

    def next_wakeup(self) -> float:
        """When the next heartbeat is due."""
        return float("-inf") if self._send_now else self._heartbeat_at

    def connected(self, peer_id: str) -> bool:
        """Whether messages to the peer leave."""
        return self._progress[peer_id].connected

    def send_soon(self) -> None:
        """There is news for the followers: let the next tick send it."""
        self._send_now = True

    def begin_round(self) -> int:
        """Let the next tick send heartbeats to all, and return their number (see ``confirmed_round``)."""
        self._heartbeat_at = float("-inf")
        return self._round + 1

    def confirmed_round(self) -> int:
        """The last round that a majority, this node included, answered in the current term."""
        return self._held_by_majority(lambda peer_id: self._progress[peer_id].acked_round, self._round)

    def confirmed_index(self) -> int:
        """The last entry that a majority, this node included, is known to hold. What is committed the engine says."""
        return self._held_by_majority(self._engine.match_index, self._journal.last_index)

    def _held_by_majority(self, reached: Callable[[str], int], own: int) -> int:
        """How far a majority of the voters has come: learners, and who is no member any more, do not count."""
        others = sorted(map(reached, self._voter_ids), reverse=True)
        others_needed = (len(others) + 1) // 2
        return others[others_needed - 1] if others_needed else own

    def before_tick(self) -> bool:
        """Whether the engine shall send appends in this tick."""
        if self._engine.role is not Role.LEADER:
            return False
        now = self._clock.monotonic()
        self._is_heartbeat = now >= self._heartbeat_at
        if self._is_heartbeat:
            self._begin_heartbeat(now)
        return self._is_heartbeat or self._send_now

    def after_tick(self) -> None:
        """Send the heartbeats of those whom the engine takes for disconnected."""
        self._send_now = False
        if self._is_heartbeat and self._engine.role is Role.LEADER:
            for peer_id in self._member_ids:
                progress = self._progress[peer_id]
                if progress.paused and progress.connected:
                    self._probe(peer_id)
        self._is_heartbeat = False

    def role_changed(self, before: Role, now: Role) -> None:
        """The engine changes its role; a new leader sends at once."""
        if now is not Role.LEADER and before is not Role.LEADER:
            return
        for peer_id, progress in self._progress.items():
            progress.probe_again()
            progress.acked_round = 0
            self._resume(peer_id)
        if now is Role.LEADER:
            self._round_began.clear()
            self._begin_heartbeat(self._clock.monotonic())
            self._is_heartbeat = True

    def peer_connected(self, peer_id: str) -> None:
        """What was sent over the broken link may be lost: begin behind what the peer is known to hold."""
        progress = self._progress[peer_id]
        progress.connected = True
        progress.probe_again()
        match = self._engine.match_index(peer_id)
        if match and peer_id in self._member_ids and self._engine.role is Role.LEADER:
            self._engine.set_next_index(peer_id, match + 1)
        progress.paused = False
        self._engine.connect(peer_id)
        self.begin_round()

    def peer_disconnected(self, peer_id: str) -> None:
        """Nothing that is sent now arrives."""
        progress = self._progress[peer_id]
        progress.connected = False
        progress.forget_in_flight()
        self._engine.disconnect(peer_id)

    def append(self, peer_id: str, prev_index: int, prev_term: int, entries: tuple[LogEntry, ...]) -> None:
        """The engine has entries for the peer, or a heartbeat."""
        if not entries:
            # The engine sends to all or to none; who has no news waits for the heartbeat.
            if self._is_heartbeat:
                self._emit(peer_id, prev_index, prev_term, ())
            return
        progress = self._progress[peer_id]
        for batch, size_bytes in _batches(entries, self._settings.batch_bytes):
            if self._is_full(progress):
                self._engine.set_next_index(peer_id, batch[0].index)
                break
            self._emit(peer_id, prev_index, prev_term, batch)
            progress.sent(batch[-1].index, size_bytes)
            prev_index, prev_term = batch[-1].index, batch[-1].term
        if self._is_full(progress):
            self._pause(peer_id)

    def append_compacted(self, peer_id: str) -> None:
        """The peer needs what the log no longer holds."""
        self._pause(peer_id)
        if self._is_heartbeat:
            return
        self._probe(peer_id)

    def on_reply(self, peer_id: str, message: AppendReply) -> None:
        """A follower answers an append of this term."""
        if self._engine.role is not Role.LEADER or message.round > self._round or peer_id not in self._member_ids:
            return
        progress = self._progress[peer_id]
        self._count_contact(peer_id, message.round)
        progress.acked_round = max(progress.acked_round, message.round)
        if message.epoch != progress.epoch or message.index > self._journal.last_index + 1:
            return
        if message.result is AppendResult.ACCEPTED:
            self._accepted(peer_id, message.index)
        elif message.result is AppendResult.REJECTED:
            self._rejected(peer_id, message.index)
        else:
            progress.forget_in_flight()
            self._pause(peer_id)

    def _accepted(self, peer_id: str, index: int) -> None:
        index = min(index, self._journal.last_index)
        engine = self._engine
        engine.set_match_index(peer_id, max(engine.match_index(peer_id), index))
        engine.set_next_index(peer_id, max(engine.next_index(peer_id), index + 1))
        self._progress[peer_id].accepted(index)
        if not self._is_full(self._progress[peer_id]):
            self._resume(peer_id)

    def _rejected(self, peer_id: str, hint: int) -> None:
        """Probe again at the hint.

        A hint at or below the match index comes from a follower that lost its disk: counting on what it held would be
        wrong, so the match index falls. The commit index never does.
        """
        engine = self._engine
        if hint <= engine.match_index(peer_id):
            self.on_forgetful(peer_id)
        engine.set_match_index(peer_id, min(engine.match_index(peer_id), max(hint - 1, 0)))
        engine.set_next_index(peer_id, max(hint, 1))
        self._progress[peer_id].probe_again()
        self._resume(peer_id)
        self._send_now = True

    def _probe(self, peer_id: str) -> None:
        """A heartbeat that the engine does not send: it also asks again where the logs part."""
        prev_index = max(self._engine.next_index(peer_id) - 1, self._journal.first_index)
        prev_term = self._journal.term_at(prev_index)
        assert prev_term is not None
        self._emit(peer_id, prev_index, prev_term, ())

    def _emit(self, peer_id: str, prev_index: int, prev_term: int, entries: tuple[LogEntry, ...]) -> None:
        epoch, engine = self._progress[peer_id].epoch, self._engine
        journal = self._journal
        oldest, chain = prev_index == journal.first_index, journal.chain_at(prev_index)
        append = AppendEntries(
            engine.term, prev_index, prev_term, entries, engine.commit_index, epoch, self._round, oldest, chain
        )
        self._send(peer_id, append)

    def _is_full(self, progress: _Progress) -> bool:
        if progress.probing:
            return bool(progress.in_flight)
        return progress.in_flight_bytes >= self._settings.in_flight_bytes

    def _pause(self, peer_id: str) -> None:
        self._progress[peer_id].paused = True
        self._engine.disconnect(peer_id)

    def _resume(self, peer_id: str) -> None:
        progress = self._progress[peer_id]
        if progress.paused:
            progress.paused = False
            if progress.connected:
                self._engine.connect(peer_id)
                self._send_now = True

    def _begin_heartbeat(self, now: float) -> None:
        self._round += 1
        self._round_began.append((self._round, now))
        self._heartbeat_at = now + self._settings.heartbeat_s
        while self._round_began[0][1] < now - self._settings.election_timeout_max_s:
            self._round_began.popleft()

    def _count_contact(self, peer_id: str, round_number: int) -> None:
        """The peer followed when the round began that it answers, or later; when the answer came proves less."""
        if self._round_began and round_number >= self._round_began[0][0]:
            self._engine.contact(peer_id, self._round_began[round_number - self._round_began[0][0]][1])


def _ignore(_peer_id: str) -> None:
    pass


def _batches(entries: tuple[LogEntry, ...], limit_bytes: int) -> Iterator[tuple[tuple[LogEntry, ...], int]]:
    """Cut into pieces within the limit; an entry over the limit goes alone."""
    start = size_bytes = 0
    for position, entry in enumerate(entries):
        entry_bytes = len(entry.data) + _ENTRY_BYTES
        if position > start and size_bytes + entry_bytes > limit_bytes:
            yield entries[start:position], size_bytes
            start, size_bytes = position, 0
        size_bytes += entry_bytes
    yield entries[start:], size_bytes
