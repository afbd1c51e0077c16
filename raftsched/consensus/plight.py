"""What keeps a node or its shard from its work, in words for who has to mend it: a pure function."""

from collections.abc import Mapping
from dataclasses import dataclass

from raftsched.consensus.admission import described
from raftsched.consensus.directory import Card, Directory, code_of
from raftsched.consensus.membership import Members

_OLDER = "its data directory was found to be a copy, or an older state of what other nodes remember"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a node knows of itself and the others."""

    node_id: str
    directory: Directory
    last_index: int
    members: Members
    """In force on this node."""
    leader_id: str
    cards: Mapping[str, Card]
    """Of the peers that are connected."""
    refused: Mapping[str, str]
    """Peers that were refused lately, and why."""
    founding_problem: str
    """Why this node does not found, when it was told to; "" when it was not."""
    wanted: tuple[str, ...]
    """The nodes of the settings; none: nobody is taken in."""


def plight(at: Situation) -> str:
    """What is wrong and what to do; "" when nothing is."""
    if at.refused:
        return "; ".join(at.refused[peer_id] for peer_id in sorted(at.refused))
    if at.directory.is_new:
        return _outside(at)
    if at.leader_id:
        return _standing(at)
    return _leaderless(at) if at.members.voters else ""


def _outside(at: Situation) -> str:
    """The directory is empty."""
    if at.leader_id:
        return "its data directory is new: the leader is taking it in"
    holders = {id_: card for id_, card in at.cards.items() if not card.is_empty}
    if holders:
        held = "; ".join(f"{id_} holds {described(card)}" for id_, card in sorted(holders.items()))
        return (
            f"its data directory is empty, and it waits to be taken in by a leader: {held}. There is no leader while a "
            f"majority of the voters that remember is missing: start those. {_recovery(holders)}"
        )
    if at.founding_problem:
        return at.founding_problem
    empty = ", ".join(sorted(at.cards))
    beside = f" So are those of {empty}." if empty else ""
    return (
        f"its data directory is empty, and it waits for a cluster to take it in; no node that answers belongs to one."
        f"{beside} If there was a cluster, start the nodes that hold its data. If there was none, start one node with "
        "--found, once all nodes run"
    )


def _standing(at: Situation) -> str:
    """There is a leader."""
    named = at.members.incarnation(at.node_id)
    if at.directory.has_forgotten:
        why = at.directory.copy_of or _OLDER
        return f"does not vote yet: {why}. The leader takes it in as a new voter when it has caught up"
    if at.wanted and named is not None and at.node_id in at.members.learner_ids:
        return "does not vote yet: it is catching up"
    return ""


def _leaderless(at: Situation) -> str:
    own = _own_copy(at)
    if own:
        return own
    voters = at.members.voter_ids
    missing, forgetful = [], []
    for id_ in voters:
        card = at.cards.get(id_)
        if id_ == at.node_id:
            continue
        if card is None:
            missing.append(id_)
        elif not card.counts_as(at.members.incarnations[id_]):
            forgetful.append(id_)
    if len(voters) - len(missing) - len(forgetful) > len(voters) // 2:
        return ""
    said = [f"{' and '.join(missing)} cannot be reached"] if missing else []
    said += [f"{id_} has a data directory that does not remember ({described(at.cards[id_])})" for id_ in forgetful]
    holders = {**at.cards, at.node_id: at.directory.card(at.last_index)}
    return (
        f"no leader: {len(voters) // 2 + 1} of the voters {', '.join(voters)} must remember, and {'; '.join(said)}. "
        f"Start what is missing with its own data directory. {_recovery(holders)}"
    )


def _own_copy(at: Situation) -> str:
    """What to do with a copy that nobody takes in."""
    if not at.directory.has_forgotten:
        return ""
    why = at.directory.copy_of or _OLDER
    return (
        f"does not vote, lead or fire: {why}, so it may lack what was acknowledged since. A leader takes it in by "
        "itself. If the original is gone, and this is to go on in its place, start this node once with --accept-copy"
    )


def _recovery(holders: Mapping[str, Card]) -> str:
    cards = {id_: card for id_, card in holders.items() if not card.is_empty}
    best = max(sorted(cards), key=lambda id_: cards[id_].last_index, default="")
    if not best:
        return ""
    code = code_of(cards[best].cluster_identity)
    return (
        f"If they are lost for ever: {best} holds most of those that answer (up to entry {cards[best].last_index}); "
        f"start it once with --recover {code}, and the others are taken in by it. What only the lost ones held is lost"
    )
