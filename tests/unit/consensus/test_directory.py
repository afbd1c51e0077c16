"""What a directory is to others, over the starts of its node."""

import pytest

from raftsched.clock import SystemClock
from raftsched.consensus.directory import Directory, has_forgotten, open_directory, stored_place
from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import NO_OP
from raftsched.ports import StoreRefused
from raftsched.store.memory_store import MemoryStore

IDENTITY = "0f" * 16


def opened(store: MemoryStore, **given: object) -> Directory:
    directory = open_directory(store, SystemClock(), **{"cluster_id": "c", "place": "here", **given})  # type: ignore[arg-type]  # keywords of the function
    store.commit()
    return directory


def joined() -> tuple[MemoryStore, str]:
    store = MemoryStore()
    directory = opened(store)
    directory.join(IDENTITY, 1)
    store.commit()
    return store, directory.incarnation


def test_a_new_directory_has_an_incarnation_and_belongs_nowhere() -> None:
    directory = opened(MemoryStore())
    assert directory.is_new
    assert directory.card(1).is_empty


def test_every_start_shows() -> None:
    store, incarnation = joined()
    first, second = opened(store).card(1), opened(store).card(1)
    assert first.incarnation == second.incarnation == incarnation
    assert (second.starts, second.cluster_identity) == (first.starts + 1, IDENTITY)
    assert second.run != first.run
    assert has_forgotten(second, first)
    assert not has_forgotten(first, second)


def test_a_copy_is_another_server_until_it_is_taken_in() -> None:
    store, incarnation = joined()
    copy = opened(store, copied="its files are copies")
    assert copy.incarnation != incarnation
    assert copy.copy_of == "its files are copies"
    again = opened(store)
    assert again.incarnation == copy.incarnation
    assert again.has_forgotten
    again.taken_in(IDENTITY, again.incarnation)
    assert not again.has_forgotten


def test_a_copy_that_is_accepted_counts_as_what_it_is_a_copy_of() -> None:
    store, incarnation = joined()
    opened(store, copied="its files are copies")
    accepted = opened(store, accept_copy=True)
    assert accepted.incarnation == incarnation
    assert not accepted.has_forgotten
    assert opened(store, copied="again", accept_copy=True).incarnation == incarnation


def test_the_copy_of_a_new_directory_is_not_the_one_that_joined_since() -> None:
    store = MemoryStore()
    incarnation = opened(store).incarnation
    assert opened(store, copied="its files are copies").incarnation != incarnation


def test_the_place_is_noted_at_each_start() -> None:
    store, _ = joined()
    assert stored_place(store) == "here"
    opened(store, place="there")
    assert stored_place(store) == "there"


def test_a_directory_of_another_name_is_refused() -> None:
    store, _ = joined()
    with pytest.raises(StoreRefused, match="the settings say 'd'"):
        opened(store, cluster_id="d")


@pytest.mark.parametrize("term", [0, 3], ids=["entries", "a term"])
def test_a_directory_from_before_counts_as_it_did_until_the_members_name_it(term: int) -> None:
    store = MemoryStore()
    journal = Journal(store, "a")
    journal.add(NO_OP, 1, 0)
    if term:
        journal.setCurrentTerm(term, "a")
    else:
        journal.add(NO_OP, 2, 1)
    store.commit()
    directory = opened(store)
    assert directory.incarnation == ""
    assert directory.card(2).counts_as("anything")
    assert directory.taken_in(IDENTITY, "named so")
    store.commit()
    assert opened(store).incarnation == "named so"


def test_recovery_is_another_cluster_that_remembers_the_one_before() -> None:
    store, incarnation = joined()
    directory = opened(store)
    directory.recover(SystemClock(), 44)
    assert directory.cluster_identity not in ("", IDENTITY)
    assert directory.former_cluster_identity == IDENTITY
    assert directory.incarnation != incarnation
