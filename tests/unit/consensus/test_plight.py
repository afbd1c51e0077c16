"""What a node says of its situation: who has what, and what to do."""

from dataclasses import replace

from raftsched.clock import SystemClock
from raftsched.consensus.directory import Card, Directory, open_directory
from raftsched.consensus.membership import Members
from raftsched.consensus.plight import Situation, plight
from raftsched.ports import Peer
from raftsched.store.memory_store import MemoryStore

IDENTITY = "3f2a9c41" * 4
EMPTY = Card("", "x1", 1, "r", 1)


def directory(*, identity: str = IDENTITY, copied: str = "") -> Directory:
    store = MemoryStore()
    open_directory(store, SystemClock(), cluster_id="c").join(identity, 1)
    store.commit()
    return open_directory(store, SystemClock(), cluster_id="c", copied=copied)


def situation(own: Directory, **given: object) -> Situation:
    """Of n1 among three voters."""
    voters = (Peer("n1", "", own.incarnation), Peer("n2", "", "b1"), Peer("n3", "", "c1"))
    at = Situation(
        node_id="n1",
        directory=own,
        last_index=40,
        members=Members(voters, cluster_identity=IDENTITY),
        leader_id="",
        cards={},
        refused={},
        founding_problem="",
        wanted=("n1", "n2", "n3"),
    )
    return replace(at, **given)  # type: ignore[arg-type]  # fields of the class


def voter(incarnation: str, last_index: int = 40) -> Card:
    return Card(IDENTITY, incarnation, 1, "r", last_index)


def test_nothing_is_wrong_with_a_leader_or_while_a_majority_elects() -> None:
    assert plight(situation(directory(), leader_id="n2")) == ""
    assert plight(situation(directory(), cards={"n2": voter("b1")})) == ""


def test_a_majority_that_forgot_is_named_with_what_it_has_and_how_to_recover() -> None:
    said = plight(situation(directory(), cards={"n2": EMPTY, "n3": voter("c9", 7)}))
    assert "no leader: 2 of the voters n1, n2, n3 must remember" in said
    assert "n2 has a data directory that does not remember (nothing)" in said
    assert f"n3 has a data directory that does not remember (cluster {IDENTITY} up to entry 7)" in said
    assert "n1 holds most of those that answer (up to entry 40); start it once with --recover 3f2a9c41" in said
    assert "lost" in said


def test_recovery_names_the_node_that_holds_most() -> None:
    members = Members(tuple(Peer(f"n{number}", "", f"{number}") for number in range(1, 6)), cluster_identity=IDENTITY)
    said = plight(situation(directory(), members=members, cards={"n2": voter("2", 90)}))
    assert "n2 holds most of those that answer (up to entry 90)" in said


def test_an_empty_node_says_what_it_waits_for() -> None:
    new = open_directory(MemoryStore(), SystemClock(), cluster_id="c")
    nobody = Members(())
    said = plight(situation(new, members=nobody, last_index=1, cards={"n2": EMPTY}))
    assert "no node that answers belongs to one. So are those of n2" in said
    assert "--found" in said
    said = plight(situation(new, members=nobody, last_index=1, cards={"n2": voter("b1")}))
    assert f"n2 holds cluster {IDENTITY} up to entry 40" in said
    assert "--recover 3f2a9c41" in said
    said = plight(situation(new, members=nobody, last_index=1, founding_problem="waits with founding"))
    assert said == "waits with founding"


def test_a_copy_says_what_it_is_and_how_to_let_it_count() -> None:
    copy = directory(copied="its files are copies")
    said = plight(situation(copy, members=Members((Peer("n1", "", "original"),), cluster_identity=IDENTITY)))
    assert "does not vote, lead or fire: its files are copies" in said
    assert "--accept-copy" in said
    assert "takes it in as a new voter" in plight(situation(copy, leader_id="n2"))


def test_who_is_refused_comes_first() -> None:
    assert plight(situation(directory(), refused={"n3": "two processes"}, leader_id="n1")) == "two processes"
