"""How a leader changes the members of its shard: one node at a time (Raft dissertation 4.1 and its erratum)."""

from collections.abc import Callable, Mapping

import structlog

from raftsched.consensus.admission import named, next_change
from raftsched.consensus.directory import Card, Directory
from raftsched.consensus.guard import Guard
from raftsched.consensus.journal import Journal
from raftsched.consensus.membership import (
    ChangeDone,
    ChangeKind,
    MemberChange,
    Members,
    Membership,
    changed,
    config_entry,
)
from raftsched.consensus.pending import Call, PendingProposals
from raftsched.consensus.settings import Settings
from raftsched.consensus.transfer import Transfer
from raftsched.ports import Clock, Fate, Peer

_log = structlog.get_logger(__name__)
_HANDED_OVER = "the leader was to be removed and has handed over; ask the new leader to remove it"
_ENDS = {
    Fate.DONE: "",
    Fate.NOT_LEADER: "this node leads no more: the change was not made",
    Fate.OVERLOADED: "too much is under way: the change was not made",
    Fate.UNKNOWN: "this node leads no more, or the change took too long: it may have been made or may be yet",
}


class MemberChanges:
    """Takes changes, and tells the guard who the members are."""

    def __init__(
        self,
        *,
        node_id: str,
        membership: Membership,
        guard: Guard,
        journal: Journal,
        clock: Clock,
        settings: Settings,
        proposals: PendingProposals,
        transfer: Transfer,
        knows_what_is_committed: Callable[[], bool],
        endings: list[Call],
        directory: Directory,
        wanted: tuple[Peer, ...],
        cards: Callable[[], Mapping[str, Card]],
        cluster_version: Callable[[], int],
    ) -> None:
        """``wanted`` are the nodes that shall be voters, none: only on request; ``cards`` those of whom is connected.
        Of these, who does not know the ``cluster_version`` of the state is not taken in.

        ``endings`` holds the calls to make after the next commit."""
        self._node_id = node_id
        self._membership = membership
        self._guard = guard
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._proposals = proposals
        self._transfer = transfer
        self._knows_what_is_committed = knows_what_is_committed
        self._endings = endings
        self._directory = directory
        self._wanted = wanted
        self._cards = cards
        self._cluster_version = cluster_version
        self._waiting: list[tuple[MemberChange, ChangeDone]] = []
        self._leaving: dict[str, float] = {}
        """Removed nodes that still get entries, and until when."""
        self.peer_ids: tuple[str, ...] = ()
        """All other members, and those that are to be."""
        self._set_members()

    @property
    def waits(self) -> bool:
        """Whether a change waits to be begun."""
        return bool(self._waiting)

    @property
    def other_voter_ids(self) -> tuple[str, ...]:
        """The voters but for this node."""
        return tuple(peer_id for peer_id in self._membership.members.voter_ids if peer_id != self._node_id)

    def add(self, change: MemberChange, done: ChangeDone) -> None:
        """Take a change; it is begun by ``begin_waiting``, or refused."""
        self._waiting.append((change, done))

    def begin_waiting(self) -> None:
        """Begin what may be begun, as the leader, and let go those who have left."""
        for change, done in self._waiting:
            self._begin(change, done)
        self._waiting.clear()
        if self._wanted and self._is_free():
            self._take_in()
        if self._leaving and min(self._leaving.values()) <= self._clock.monotonic():
            self._leaving.clear()
            self._set_members()

    def refuse_waiting(self) -> None:
        """This node does not lead."""
        for _, done in self._waiting:
            self._endings.append(lambda done=done: done("this node does not lead"))  # type: ignore[misc]  # no types in lambdas
        self._waiting.clear()

    def refresh(self) -> None:
        """The log may have other members now."""
        if self._membership.refresh():
            self._set_members()

    def directory_changed(self) -> None:
        """Another directory counts as this node's, or no longer does."""
        self._set_members()

    def stop_leading(self) -> None:
        """Who leaves is the next leader's business."""
        if self._leaving:
            self._leaving.clear()
            self._set_members()

    def _begin(self, change: MemberChange, done: ChangeDone) -> None:
        problem = self._problem(change)
        if problem:
            self._endings.append(lambda: done(problem))
            return
        peer_id = change.peer.id
        if change.kind is ChangeKind.REMOVE and peer_id == self._node_id:
            self._transfer.begin(self.other_voter_ids, "", lambda problem: done(problem or _HANDED_OVER))
            return
        if change.kind is ChangeKind.REMOVE:
            self._leaving[peer_id] = self._clock.monotonic() + self._settings.farewell_s
        else:
            self._leaving.pop(peer_id, None)
        self._append(changed(self._membership.members, change), done)

    def _append(self, members: Members, done: ChangeDone) -> None:
        data = config_entry(members)
        index, term = self._journal.last_index + 1, self._guard.engine.term
        self._journal.add(data, index, term)
        self._membership.refresh()
        self._set_members()
        self._guard.replicator.send_soon()
        self._proposals.track(index, term, len(data), lambda fate, _outcome: done(_ENDS[fate]))

    def _is_free(self) -> bool:
        """Whether a change may be begun now."""
        pending = self._membership.index > self._guard.engine.commit_index
        return not pending and not self._transfer.active and self._knows_what_is_committed()

    def _take_in(self) -> None:
        """Make the members what is wanted, one change at a time."""
        members = self._membership.members
        if not members.cluster_identity:
            self._append(named(members, self._clock), _said("name the cluster and its directories"))
            return
        change = next_change(members, self._wanted, self._upgraded(), self._has_caught_up)
        if change is not None:
            self._begin(change, _said(f"{change.kind.value}: {change.peer.id}"))

    def _upgraded(self) -> dict[str, Card]:
        """The peers that know the cluster version: the others would stop at its first entry."""
        version = self._cluster_version()
        return {peer_id: card for peer_id, card in self._cards().items() if card.newest_version >= version}

    def _problem(self, change: MemberChange) -> str:
        """One at a time, and none before the leader knows what is committed."""
        if self._transfer.active:
            return "the leadership is being handed over"
        if not self._knows_what_is_committed():
            return "the leader has just been elected and does not know yet what is committed; ask again"
        if self._membership.index > self._guard.engine.commit_index:
            return "another change is under way; ask again"
        try:
            changed(self._membership.members, change)
        except ValueError as error:
            return str(error)
        is_learner = change.peer.id in self._membership.members.learner_ids
        if change.kind is ChangeKind.PROMOTE and is_learner and not self._has_caught_up(change.peer.id):
            return f"{change.peer.id} has not caught up yet; ask again"
        return ""

    def _has_caught_up(self, peer_id: str) -> bool:
        lag = self._journal.last_index - self._guard.engine.match_index(peer_id)
        # A voter knows the entry that named it: it need not learn from others that it counts.
        knows = self._guard.engine.match_index(peer_id) >= self._membership.index
        return self._guard.replicator.connected(peer_id) and knows and lag <= self._settings.learner_lag_entries

    def _set_members(self) -> None:
        members = self._membership.members
        leaving = tuple(peer_id for peer_id in self._leaving if peer_id not in members.voter_ids + members.learner_ids)
        wanted = {peer.id for peer in self._wanted}
        self.peer_ids = tuple(sorted({*members.voter_ids, *members.learner_ids, *wanted} - {self._node_id}))
        counts = self._directory.incarnation in ("", members.incarnation(self._node_id))
        self._guard.set_members(members.voter_ids, members.learner_ids + leaving)
        self._guard.set_incarnations(members.incarnations)
        self._guard.elections.set_may_stand(counts)


def _said(what: str) -> ChangeDone:
    """Log what became of a change that nobody asked for."""

    def done(problem: str) -> None:
        if problem:
            _log.warning("could not change the members of the cluster", change=what, reason=problem)
        else:
            _log.info("changed the members of the cluster", change=what)

    return done
