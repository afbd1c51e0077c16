"""Whom a leader takes in, and when a node may found."""

import pytest

from raftsched.consensus.admission import founding_problem, next_change
from raftsched.consensus.directory import Card
from raftsched.consensus.membership import ChangeKind, MemberChange, Members, changed
from raftsched.ports import Peer

IDENTITY = "0f" * 16
WANTED = (Peer("a", "1"), Peer("b", "2"), Peer("c", "3"))
A, B, C = Peer("a", "1", "a1"), Peer("b", "2", "b1"), Peer("c", "3", "c1")
FOUNDED = Members((A,), cluster_identity=IDENTITY)
EMPTY = Card("", "x1", 1, "r", 1)


def cards(**incarnations: str) -> dict[str, Card]:
    return {id_: Card(IDENTITY, incarnation, 1, "r", 5) for id_, incarnation in incarnations.items()}


def after(members: Members, *, caught_up: bool = False, **incarnations: str) -> MemberChange | None:
    return next_change(members, WANTED, cards(**incarnations), lambda _: caught_up)


def test_whoever_is_wanted_and_comes_is_added_as_a_learner() -> None:
    assert after(FOUNDED) is None
    assert after(FOUNDED, b="b1") == MemberChange(ChangeKind.ADD_LEARNER, B)


def test_a_learner_is_made_a_voter_once_it_has_caught_up() -> None:
    members = changed(FOUNDED, MemberChange(ChangeKind.ADD_LEARNER, B))
    assert after(members, b="b1") is None
    assert after(members, b="b1", caught_up=True) == MemberChange(ChangeKind.PROMOTE, B)
    assert changed(members, MemberChange(ChangeKind.PROMOTE, B)).voters == (A, B)


@pytest.mark.parametrize("members", [Members((A, B, C)), Members((A, C), (B,))], ids=["voter", "learner"])
def test_a_member_with_another_directory_is_taken_in_anew(members: Members) -> None:
    change = after(members, b="b2", c="c1")
    assert change == MemberChange(ChangeKind.REJOIN, Peer("b", "2", "b2"))
    assert changed(members, change) == Members((A, C), (Peer("b", "2", "b2"),))


def test_a_directory_from_before_is_added_to_nothing() -> None:
    assert after(FOUNDED, b="") is None


def test_who_is_not_wanted_stays_out() -> None:
    assert next_change(FOUNDED, (WANTED[0],), cards(b="b1"), lambda _: True) is None


class TestFounding:
    def test_waits_for_the_answer_of_all(self) -> None:
        assert "until b and c can be asked" in founding_problem("a", WANTED, {})
        assert "until c can be asked" in founding_problem("a", WANTED, {"b": EMPTY})
        assert founding_problem("a", WANTED, {"b": EMPTY, "c": EMPTY}) == ""

    @pytest.mark.parametrize(
        "held", [Card(IDENTITY, "c1", 3, "r", 99), Card("", "", 0, "", 99)], ids=["with an identity", "from before"]
    )
    def test_is_refused_beside_data_and_says_whose(self, held: Card) -> None:
        said = founding_problem("a", WANTED, {"b": EMPTY, "c": held})
        assert "founds no cluster" in said
        assert "c holds" in said
        assert "up to entry 99" in said

    def test_is_left_to_the_first_of_several(self) -> None:
        founds = Card("", "x1", 1, "r", 1, founds=True)
        assert founding_problem("a", WANTED, {"b": founds, "c": founds}) == ""
        assert "leaves it to a" in founding_problem("b", WANTED, {"a": founds, "c": EMPTY})

    def test_alone_nobody_is_asked(self) -> None:
        assert founding_problem("a", WANTED[:1], {}) == ""
