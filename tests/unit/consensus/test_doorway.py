"""Who may talk to a node, by the directories that are shown."""

from dataclasses import replace

import pytest

from raftsched.consensus.directory import Card, Directory, open_directory
from raftsched.consensus.doorway import Doorway
from raftsched.store.memory_store import MemoryStore
from tests.support.raft_bench import ManualClock

OURS, THEIRS = "0f" * 16, "e1" * 16
CARD = Card(OURS, "incarnation of b", 3, "third run", 9)


class Door:
    """Of node a, which belongs to a cluster."""

    def __init__(self, identity: str = OURS) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.directory = open_directory(self.store, self.clock, cluster_id="c")
        if identity:
            self.directory.join(identity, 1)
        self.store.commit()
        self.door = Doorway("a", self.directory, self.clock, on_work=lambda: None, last_index=lambda: 7)

    def greet(self, card: Card, live: Card | None = None) -> str:
        problem = self.door.examine("b", card, live)
        self.door.take_news()
        self.store.commit()
        return problem

    def restart(self) -> "Door":
        again = Door.__new__(Door)
        again.clock, again.store = self.clock, self.store
        again.directory = open_directory(self.store, self.clock, cluster_id="c")
        self.store.commit()
        again.door = Doorway("a", again.directory, self.clock, on_work=lambda: None, last_index=lambda: 7)
        return again


def test_a_directory_of_another_founding_is_refused_with_both_identities() -> None:
    said = Door().greet(replace(CARD, cluster_identity=THEIRS))
    assert OURS in said
    assert THEIRS in said
    assert "up to entry 7" in said
    assert "up to entry 9" in said


@pytest.mark.parametrize("identity", [OURS, ""], ids=["of the same", "of none yet"])
def test_a_directory_of_the_same_founding_or_of_none_is_welcome(identity: str) -> None:
    assert Door().greet(replace(CARD, cluster_identity=identity)) == ""


def test_a_new_directory_is_told_by_anybody() -> None:
    assert Door(identity="").greet(replace(CARD, cluster_identity=THEIRS)) == ""


def test_a_later_process_of_the_same_directory_takes_over_at_once() -> None:
    door = Door()
    assert door.greet(CARD) == ""
    assert door.greet(replace(CARD, starts=4, run="fourth run"), live=CARD) == ""


@pytest.mark.parametrize(
    "older", [replace(CARD, starts=2, run="x"), replace(CARD, run="x")], ids=["an earlier start", "the same start"]
)
def test_an_older_state_of_a_directory_is_refused_also_by_a_process_that_came_after(older: Card) -> None:
    door = Door()
    assert door.greet(CARD) == ""
    assert "is an older state of the one that a remembers" in door.greet(older)
    assert "is an older state of the one that a remembers" in door.restart().greet(older)


def test_a_second_process_is_refused_while_the_first_is_heard_and_taken_in_after() -> None:
    door = Door()
    assert door.greet(CARD) == ""
    second = Card("", "incarnation of another", 1, "its run", 1)
    assert "two processes say that they are node b" in door.greet(second, live=CARD)
    assert door.door.refused().keys() == {"b"}
    assert door.greet(second) == ""
    assert door.door.refused() == {}


def test_a_refusal_is_shown_for_as_long_as_it_is_repeated() -> None:
    door = Door()
    door.greet(replace(CARD, cluster_identity=THEIRS))
    door.clock.now += 9.0
    assert door.door.refused().keys() == {"b"}
    door.clock.now += 2.0
    assert door.door.refused() == {}


def test_who_is_remembered_better_than_it_remembers_learns_so() -> None:
    door = Door()
    mine = door.door.card()
    door.door.answered("b", CARD, mine)
    assert not door.door.found_forgetful
    door.door.answered("b", CARD, replace(mine, starts=mine.starts + 1, run="a later one"))
    assert door.door.found_forgetful


def test_who_lacks_what_it_acknowledged_is_cut_and_told() -> None:
    door = Door()
    assert door.greet(CARD) == ""
    door.door.found_out("b")
    assert door.door.turns_away("b")
    assert "is an older state" in door.greet(CARD)
    known = door.door.known("b")
    assert known is not None
    peer = Directory()
    assert peer.incarnation == ""
    assert door.greet(replace(CARD, incarnation="a new one")) == ""
    assert not door.door.turns_away("b")
