"""Who leads: pre-votes, votes and the refusal to vote while a leader is alive, around the engine's own election."""

from collections.abc import Callable

from raftsched.consensus.engine import Engine
from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import Message, PreVote, PreVoteReply, RequestVote, TimeoutNow, Vote
from raftsched.consensus.settings import Settings
from raftsched.ports import Clock, Role

_NEVER = float("-inf")


class Elections:
    """Decides when the engine may stand for election, and which vote requests reach it.

    Raft dissertation: 9.6 pre-vote, 4.2.3 leader stickiness, 3.10 leadership transfer.
    """

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
        self._voter_ids: tuple[str, ...] = ()
        self._votes_itself = self._is_voter = False
        self._may_stand = True
        self._quorum = 1
        self._leader_heard_at = _NEVER
        self._misses_leader = False
        # What was gathered counts in the term it was gathered in, and in no other.
        self._pre_votes: tuple[int, set[str]] | None = None
        self._votes: tuple[int, set[str]] = (0, set())
        self._ready_to_stand_in: int | None = None
        self._told_to_stand = False
        self._granted = False
        self._asked_at = _NEVER

    def set_voters(self, voter_ids: tuple[str, ...], *, votes_itself: bool) -> None:
        """The other voters, and whether this node is one: only then may it stand for election."""
        self._voter_ids, self._is_voter = voter_ids, votes_itself
        self._quorum = (len(voter_ids) + votes_itself) // 2 + 1
        self.set_may_stand(self._may_stand)

    def set_may_stand(self, may_stand: bool) -> None:
        """Whether the directory of this node counts as the member's: another one is another server, and no voter."""
        self._may_stand = may_stand
        self._votes_itself = self._is_voter and may_stand
        if not self._votes_itself:
            self._pre_votes = self._ready_to_stand_in = None
            self._told_to_stand = False

    def begin(self) -> None:
        """Who is alone waits for nobody."""
        if self._votes_itself and not self._voter_ids:
            self._ready_to_stand_in = self._engine.term

    @property
    def votes(self) -> bool:
        """Whether this node is a voter, and its directory the one that counts."""
        return self._votes_itself

    @property
    def asks_for_pre_votes(self) -> bool:
        """Whether this node has given up on its leader and asks whether it may stand."""
        return self._pre_votes is not None and self._pre_votes[0] == self._engine.term

    @property
    def known_leader_id(self) -> str:
        """Who leads, as far as this node knows; "" while it has given up on its leader, with a vote or without."""
        gave_up = self._misses_leader or self.asks_for_pre_votes or self._engine.role is Role.CANDIDATE
        return "" if gave_up else self._engine.leader_id

    def next_wakeup(self) -> float:
        """When ``before_tick`` of a node that does not lead has something to do, if nothing is heard."""
        if self._is_ready_to_stand():
            return _NEVER
        deadline = self._engine.election_deadline
        return min(deadline, self._asked_at + self._settings.heartbeat_s) if self._is_asking() else deadline

    def before_tick(self) -> None:
        """Replace the engine's election at the timeout by a pre-vote; ask the silent again."""
        if self._engine.role is Role.LEADER:
            return
        if not self._votes_itself:
            if self._engine.election_deadline < self._clock.monotonic():
                self._misses_leader = True
                self._engine.restart_election_timer()
        elif self._is_ready_to_stand():
            self._engine.stand_for_election()
        elif self._engine.election_deadline < self._clock.monotonic():
            self._ask_for_pre_votes()
        elif self._is_asking() and self._clock.monotonic() >= self._asked_at + self._settings.heartbeat_s:
            self._ask()

    def after_tick(self) -> None:
        """Forget an election that the engine did not begin because no peer is connected."""
        self._ready_to_stand_in = None
        if self._engine.election_deadline == _NEVER:
            self._engine.restart_election_timer()

    def role_changed(self, before: Role, now: Role) -> None:
        """The engine changes its role."""
        self._misses_leader = False
        if before is Role.LEADER:
            # The engine's deadline dates from before it led.
            self._engine.restart_election_timer()
        if now is not Role.CANDIDATE:
            self._pre_votes = None
            self._told_to_stand = False

    def leader_heard(self) -> None:
        """An append of the current term's leader came."""
        self._leader_heard_at = self._clock.monotonic()
        self._misses_leader = False
        self._pre_votes = None
        if not self._told_to_stand:
            self._ready_to_stand_in = None

    def peer_connected(self, peer_id: str) -> None:
        """What was asked over the broken link may be lost: ask again."""
        if self._is_asking() and peer_id in self._voter_ids:
            self._ask_peer(peer_id)

    def vote_wanted(self, peer_id: str) -> None:
        """The engine asks for a vote."""
        if self._votes[0] != self._engine.term:
            self._votes = (self._engine.term, set())
            self._pre_votes = None
            self._asked_at = self._clock.monotonic()
        self._ask_peer(peer_id)

    def vote_granted(self) -> None:
        """The engine votes for whose request it has just been given."""
        self._granted = True

    def on_pre_vote(self, peer_id: str, message: PreVote) -> None:
        """Grant when the vote itself would be granted; nothing changes here."""
        grant = (
            message.term >= self._engine.term
            and not self._leader_is_alive()
            and (message.last_term, message.last_index) >= (self._journal.last_term, self._journal.last_index)
        )
        self._send(peer_id, PreVoteReply(self._engine.term, message.term + 1, grant))

    def on_pre_vote_reply(self, peer_id: str, message: PreVoteReply) -> None:
        """Stand for election once a majority would vote."""
        if self._pre_votes is None or not message.granted:
            return
        term, granted_by = self._pre_votes
        if message.asked_term == term + 1 and term == self._engine.term:
            granted_by.add(peer_id)
            granted_by &= set(self._voter_ids)
            if len(granted_by) + 1 >= self._quorum:
                self._ready_to_stand_in = term

    def on_request_vote(self, peer_id: str, message: RequestVote) -> None:
        """Let the engine decide, unless the answer is known."""
        if message.term == self._engine.term and self._journal.voted_for == peer_id:
            granted = True
        elif message.term < self._engine.term or (self._leader_is_alive() and not message.transfer):
            granted = False
        else:
            self._granted = False
            self._engine.receive_request_vote(peer_id, message.term, message.last_index, message.last_term)
            granted = self._granted
        self._send(peer_id, Vote(self._engine.term, granted))

    def on_vote(self, peer_id: str, message: Vote) -> None:
        """Count each peer once in a term."""
        if self._engine.role is not Role.CANDIDATE or not message.granted or message.term != self._engine.term:
            return
        if peer_id in self._voter_ids and peer_id not in self._votes[1]:
            self._votes[1].add(peer_id)
            self._engine.receive_vote(peer_id)

    def on_timeout_now(self, peer_id: str, message: TimeoutNow) -> None:
        """Stand for election without a pre-vote, for the leader that asks for it."""
        is_leader = message.term == self._engine.term and peer_id == self._engine.leader_id
        if is_leader and self._votes_itself:
            self._told_to_stand = True
            self._ready_to_stand_in = message.term

    def _ask_for_pre_votes(self) -> None:
        if self._quorum == 1:
            self._engine.stand_for_election()
            return
        self._engine.restart_election_timer()
        self._pre_votes = (self._engine.term, set())
        self._told_to_stand = False
        self._ask()

    def _ask(self) -> None:
        self._asked_at = self._clock.monotonic()
        for peer_id in self._voter_ids:
            self._ask_peer(peer_id)

    def _ask_peer(self, peer_id: str) -> None:
        last_index, last_term = self._journal.last_index, self._journal.last_term
        if self._pre_votes is not None and self.asks_for_pre_votes:
            if peer_id not in self._pre_votes[1]:
                self._send(peer_id, PreVote(self._engine.term, last_index, last_term))
        elif peer_id not in self._votes[1]:
            self._send(peer_id, RequestVote(self._engine.term, last_index, last_term, self._told_to_stand))

    def _is_ready_to_stand(self) -> bool:
        return self._ready_to_stand_in == self._engine.term

    def _is_asking(self) -> bool:
        return self.asks_for_pre_votes or self._engine.role is Role.CANDIDATE

    def _leader_is_alive(self) -> bool:
        if self._engine.role is Role.LEADER:
            return True
        return self._clock.monotonic() < self._leader_heard_at + self._settings.election_timeout_min_s
