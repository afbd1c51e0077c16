"""Who may talk to this node, by the directories that are shown, and what is remembered of them.

Called between two steps, also while one is being committed; what is to be written waits for the next step.
"""

from collections.abc import Callable
from dataclasses import replace

import structlog

from raftsched.consensus.directory import Card, Directory, has_forgotten
from raftsched.ports import Clock

_log = structlog.get_logger(__name__)
_LOST = "lost"
"""In place of the run of a process: what it showed is no longer so, whichever process shows it."""
_REFUSAL_COUNTS_S = 10.0
"""A peer that is refused dials again every two seconds."""


class Doorway:
    """Examines greetings, and knows the directories of the peers."""

    def __init__(
        self,
        node_id: str,
        directory: Directory,
        clock: Clock,
        *,
        on_work: Callable[[], None],
        last_index: Callable[[], int],
    ) -> None:
        self.cards: dict[str, Card] = {}
        """What each peer showed when it last greeted this node."""
        self.answers: dict[str, Card] = {}
        """What those showed whom this node has greeted, as long as that stream lives."""
        self.found_forgetful = False
        """A peer remembers more of this node's directory than it does itself."""
        self._node_id = node_id
        self._directory = directory
        self._clock = clock
        self._on_work = on_work
        self._last_index = last_index
        self._refused: dict[str, tuple[str, float]] = {}
        self._news: list[tuple[str, Card]] = []
        self._turned_away: set[str] = set()

    @property
    def has_news(self) -> bool:
        """Whether something waits for the next step."""
        return bool(self._news) or self.found_forgetful

    def card(self) -> Card:
        """What this node shows."""
        return self._directory.card(self._last_index())

    def known(self, peer_id: str) -> Card | None:
        """What is remembered of the peer's directory."""
        return self._directory.known(peer_id)

    def examine(self, peer_id: str, card: Card, live: Card | None) -> str:
        """Why a peer that shows this card is refused; "" when it may talk.

        ``live`` is the card of a stream of that peer that is still there.
        """
        problem = self._problem(peer_id, card, live)
        if problem:
            self._refused[peer_id] = (problem, self._clock.monotonic())
            return problem
        self._refused.pop(peer_id, None)
        self._turned_away.discard(peer_id)
        self.cards[peer_id] = card
        self._news.append((peer_id, card))
        self._on_work()
        return ""

    def answered(self, peer_id: str, card: Card, known: Card | None) -> None:
        """A peer that was greeted shows its card, and what it remembers of this node's."""
        foreign = self.foreign(peer_id, card)
        if foreign:
            self._refused[peer_id] = (foreign, self._clock.monotonic())
        else:
            self.answers[peer_id] = card
        if has_forgotten(known, self.card()):
            self.found_forgetful = True
        self._on_work()

    def found_out(self, peer_id: str) -> None:
        """The peer lacks what it acknowledged: hear it no more until it greets again, and then know better than it."""
        card = self.cards.get(peer_id)
        if card is not None and card.incarnation:
            self._news.append((peer_id, replace(card, run=_LOST)))
            self._turned_away.add(peer_id)
            _log.error("a peer lacks what it has acknowledged: its data directory is an older one", peer=peer_id)

    def turns_away(self, peer_id: str) -> bool:
        """Whether the stream of the peer shall be cut."""
        return peer_id in self._turned_away

    def hung_up(self, peer_id: str) -> None:
        """The stream to the peer has ended."""
        self.answers.pop(peer_id, None)

    def take_news(self) -> bool:
        """Remember what was shown, in the store's open batch; whether something has to be committed."""
        changed = [self._directory.remember(peer_id, card) for peer_id, card in self._news]
        self._news.clear()
        return any(changed)

    def refused(self) -> dict[str, str]:
        """The peers that were refused lately, and why."""
        since = self._clock.monotonic() - _REFUSAL_COUNTS_S
        return {peer_id: reason for peer_id, (reason, at) in self._refused.items() if at > since}

    def _problem(self, peer_id: str, card: Card, live: Card | None) -> str:
        foreign = self.foreign(peer_id, card)
        if foreign:
            return foreign
        if has_forgotten(self._last_known(peer_id), card):
            return (
                f"the data directory of {peer_id} is an older state of the one that {self._node_id} remembers: a "
                f"backup, a copy, or a second process. It is taken in anew when no other process of {peer_id} is heard"
            )
        if live is not None and live.run != card.run and not _follows(live, card):
            which = f"{live.incarnation[:8]}, and {card.incarnation[:8]} that is refused"
            return (
                f"two processes say that they are node {peer_id}, with two data directories (incarnations {which}). "
                "Stop one of them, or give it an id of its own"
            )
        return ""

    def _last_known(self, peer_id: str) -> Card | None:
        """Also what waits to be written."""
        return next((card for id_, card in reversed(self._news) if id_ == peer_id), self.known(peer_id))

    def foreign(self, peer_id: str, card: Card) -> str:
        """What to tell a peer whose cluster was founded apart; "" when it was not."""
        own = self._directory
        if not own.cluster_identity or card.cluster_identity in ("", own.cluster_identity):
            return ""
        recovered = f", recovered from {own.former_cluster_identity}" if own.former_cluster_identity else ""
        return (
            f"{self._node_id} belongs to cluster {own.cluster_identity} (up to entry {self._last_index()}{recovered}), "
            f"{peer_id} to cluster {card.cluster_identity} (up to entry {card.last_index}): they were founded apart, "
            "and nothing goes from one to the other. Keep both data directories; start the node that is to leave its "
            "cluster on an empty one, and it joins the other"
        )


def _follows(live: Card, card: Card) -> bool:
    """Whether this is the process that came after the one whose stream is still there."""
    return live.incarnation == card.incarnation and card.starts > live.starts
