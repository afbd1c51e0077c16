"""What a follower makes of an append (Raft 5.3, figure 7), without the engine."""

from dataclasses import replace

import pytest

from raftsched.consensus.journal import Journal
from raftsched.consensus.matching import Accepted, InvariantBroken, Rejected, examine, is_well_formed
from raftsched.consensus.messages import COMMAND, AppendEntries, LogEntry
from raftsched.store.memory_store import MemoryStore
from tests.support.raft_bench import append


def log_of(*terms: int) -> Journal:
    journal = Journal(MemoryStore(), "a")
    journal.add(b"\x01", 1, 0)
    for index, term in enumerate(terms, start=2):
        journal.add(COMMAND + b"entry %d of term %d" % (index, term), index, term)
    return journal


def terms_after(journal: Journal, verdict: Accepted) -> list[int]:
    kept = [entry.term for entry in journal if entry.index <= verdict.keep_to]
    return (kept + [entry.term for entry in verdict.entries])[1:]


@pytest.mark.parametrize(
    ("own", "prev", "sent", "then"),
    [
        ([1, 1], (3, 1), [1, 1], [1, 1, 1, 1]),
        ([1, 1, 1, 1], (3, 1), [1], [1, 1, 1, 1]),
        ([1, 1, 1, 1], (2, 1), [], [1, 1, 1, 1]),
        ([1, 1, 1, 1], (1, 0), [1, 1], [1, 1, 1, 1]),
        ([1, 2, 2], (2, 1), [3], [1, 3]),
        ([1, 2, 2], (2, 1), [2, 3, 3], [1, 2, 3, 3]),
        ([1, 2, 2], (3, 2), [2, 2, 2], [1, 2, 2, 2, 2]),
    ],
    ids=[
        "appends what it lacks",
        "a shorter append cuts nothing",
        "a heartbeat cuts nothing",
        "an old append cuts nothing",
        "cuts from the conflict on",
        "keeps what is equal before the conflict",
        "skips what it has",
    ],
)
def test_the_log_after_an_append(own: list[int], prev: tuple[int, int], sent: list[int], then: list[int]) -> None:
    journal = log_of(*own)
    verdict = examine(journal, 1, append(4, prev, sent))
    assert isinstance(verdict, Accepted)
    assert terms_after(journal, verdict) == then


def test_only_what_was_compared_counts_as_verified() -> None:
    assert examine(log_of(1, 1, 1, 1), 1, append(1, (2, 1), [1])) == Accepted(5, (), verified=3)


def test_a_committed_prefix_counts_as_verified() -> None:
    assert examine(log_of(1, 1, 1), 4, append(2, (2, 1))) == Accepted(4, (), verified=4)


def test_a_log_that_is_too_short_hints_at_its_end() -> None:
    assert examine(log_of(1, 1), 1, append(4, (9, 4), [4])) == Rejected(hint=4)


def test_a_conflict_hints_at_the_first_entry_of_its_term() -> None:
    assert examine(log_of(1, 2, 2, 2), 1, append(4, (5, 4), [4])) == Rejected(hint=3)


def test_a_hint_is_never_at_or_below_the_commit_index() -> None:
    assert examine(log_of(1, 2, 2, 2), 3, append(4, (5, 4), [4])) == Rejected(hint=4)


def test_entries_that_were_compacted_are_skipped() -> None:
    journal = log_of(1, 1, 1, 1)
    journal.compact_to(4)
    assert examine(journal, 4, append(2, (2, 1), [1, 1, 1, 2])) == Accepted(
        5, (LogEntry(b"\x10entry 6 of term 2", 6, 2),), verified=6
    )


def test_the_last_entry_is_compared_too() -> None:
    sent = append(1, (2, 1), [1])
    other = LogEntry(sent.entries[0].data + b" of a lie", 3, 1)
    with pytest.raises(InvariantBroken, match="at entry 3 of term 1"):
        examine(log_of(1, 1), 1, replace(sent, entries=(other,)))


def test_the_oldest_entry_that_is_left_is_compared_too() -> None:
    journal = log_of(1, 1, 1, 1)
    journal.compact_to(4)
    assert journal.first_index == 4
    with pytest.raises(InvariantBroken, match="committed here"):
        examine(journal, 4, append(3, (4, 2), [3]))


@pytest.mark.parametrize("prev", [(3, 2), (2, 1)], ids=["at prev_index", "in the entries"])
def test_a_committed_entry_is_never_given_up(prev: tuple[int, int]) -> None:
    with pytest.raises(InvariantBroken, match="committed here"):
        examine(log_of(1, 1, 1), 4, append(2, prev, [2]))


@pytest.mark.parametrize(
    "nonsense",
    [
        append(1, (2, 1), [2]),
        append(3, (2, 2), [1]),
        append(3, (2, 4)),
        AppendEntries(2, 2, 1, (LogEntry(b"\x10x", 4, 2),), 1, 0, 0, oldest=False),
        AppendEntries(2, 2, 1, (LogEntry(b"\x00pickle", 3, 2),), 1, 0, 0, oldest=False),
        AppendEntries(2, 2, 1, (LogEntry(b"\x02membership", 3, 2),), 1, 0, 0, oldest=False),
        AppendEntries(2, 2, 1, (LogEntry(b"\x03version", 3, 2),), 1, 0, 0, oldest=False),
        AppendEntries(2, 2, 1, (LogEntry(b"", 3, 2),), 1, 0, 0, oldest=False),
        append(2, (0, 0), [1]),
    ],
    ids=[
        "a term above the sender's",
        "a term that falls",
        "prev_term above the sender's",
        "a gap",
        "what the engine would unpickle",
        "what the engine takes for a change of members",
        "what the engine takes for a new version",
        "an empty entry",
        "an index before the first",
    ],
)
def test_nonsense_is_recognised(nonsense: AppendEntries) -> None:
    assert not is_well_formed(nonsense)


def test_sense_is_recognised() -> None:
    assert is_well_formed(append(3, (2, 1), [1, 2, 3]))
