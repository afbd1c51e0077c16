"""Whom a leader takes in: the nodes of its settings, as the directories that they come with.

A founder, a cluster that grows and a voter that lost its disk are all one: somebody among ``wanted`` shows a directory
that the members do not name. It becomes a learner, and a voter once it has caught up.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from raftsched.consensus.directory import Card
from raftsched.consensus.membership import ChangeKind, MemberChange, Members
from raftsched.ports import Clock, Peer


def next_change(
    members: Members, wanted: tuple[Peer, ...], cards: Mapping[str, Card], has_caught_up: Callable[[str], bool]
) -> MemberChange | None:
    """The next change that brings the members closer to what is wanted; None when there is nothing to do now.

    ``cards`` are those of the peers that are connected.
    """
    for peer in sorted(wanted, key=lambda peer: peer.id):
        card = cards.get(peer.id)
        if card is None:
            continue
        named = members.incarnation(peer.id)
        shown = replace(peer, incarnation=card.incarnation)
        if named is None:
            if card.incarnation:
                return MemberChange(ChangeKind.ADD_LEARNER, shown)
        elif not card.counts_as(named):
            if members.voter_ids != (peer.id,):
                return MemberChange(ChangeKind.REJOIN, shown)
        elif peer.id in members.learner_ids and has_caught_up(peer.id):
            return MemberChange(ChangeKind.PROMOTE, shown)
    return None


def named(members: Members, clock: Clock) -> Members:
    """Members from before there were identities, with what they lack."""
    return replace(
        members,
        voters=tuple(replace(peer, incarnation=peer.incarnation or clock.token()) for peer in members.voters),
        learners=tuple(replace(peer, incarnation=peer.incarnation or clock.token()) for peer in members.learners),
        cluster_identity=clock.token(),
    )


def founding_problem(node_id: str, wanted: tuple[Peer, ...], answers: Mapping[str, Card]) -> str:
    """Why this node must not found a cluster now; "" when it may.

    All others must have answered that they have nothing: whoever does not answer may hold a cluster's data. ``answers``
    are the cards of those that are connected.
    """
    others = [peer.id for peer in wanted if peer.id != node_id]
    held = [f"{id_} holds {described(answers[id_])}" for id_ in others if id_ in answers and not answers[id_].is_empty]
    if held:
        return f"founds no cluster, since there is one: {'; '.join(held)}"
    silent = [id_ for id_ in others if id_ not in answers]
    if silent:
        names = " and ".join(silent)
        return f"waits with founding a cluster until {names} can be asked: who does not answer may hold data"
    first = min((id_ for id_ in others if answers[id_].founds), default="")
    if first and first < node_id:
        return f"leaves it to {first} to found the cluster"
    return ""


def described(card: Card) -> str:
    """What a directory holds, for people."""
    if card.is_empty:
        return "nothing"
    whose = (
        f"cluster {card.cluster_identity}" if card.cluster_identity else "a cluster from before there were identities"
    )
    return f"{whose} up to entry {card.last_index}"
