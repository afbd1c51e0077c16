"""Log matching: what a follower makes of an append before the engine sees it (Raft 5.3).

The engine cuts its log behind prev_index at every append. Here an append is compared with the log first, so that only
entries which conflict are cut, and a late or shorter append changes nothing.
"""

from dataclasses import dataclass

from raftsched.consensus.journal import Journal
from raftsched.consensus.membership import Members
from raftsched.consensus.messages import CONFIG, ENTRY_KINDS, AppendEntries, LogEntry


class InvariantBroken(Exception):
    """The node and its leader contradict each other: going on could lose what was acknowledged. The node must stop."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The logs are equal up to ``verified`` once ``entries`` follow ``keep_to``."""

    keep_to: int
    """Own entries behind this index conflict and go."""
    entries: tuple[LogEntry, ...]
    """What the log lacks."""
    verified: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """The own log does not hold prev_index with prev_term."""

    hint: int
    """The logs can be equal only before this index (Raft 5.3, the first index of the conflicting term)."""


def is_well_formed(append: AppendEntries) -> bool:
    """Whether indexes have no gap, terms do not fall or exceed the sender's, and all entries are of known kinds."""
    term, index = append.prev_term, append.prev_index
    if not (index >= 1 and append.commit_index >= 1):
        return False
    for entry in append.entries:
        index += 1
        if entry.index != index or entry.term < term or not entry.data or entry.data[0] not in ENTRY_KINDS:
            return False
        if entry.data[:1] == CONFIG and not _are_members(entry.data[1:]):
            return False
        term = entry.term
    return term <= append.term


def _are_members(data: bytes) -> bool:
    try:
        Members.decode(data)
    except ValueError:
        return False
    return True


def examine(journal: Journal, commit_index: int, append: AppendEntries) -> Accepted | Rejected:
    """Compare a well-formed append of the current leader with the log.

    What is committed here is in the log of every later leader (Leader Completeness, Raft 5.4.3), so entries up to the
    commit index count as equal without a look, and need not be there any more.

    Raises InvariantBroken: the append contradicts a committed entry, or holds another entry of one index and term.
    """
    if append.prev_index > journal.last_index:
        return Rejected(journal.last_index + 1)
    if append.prev_index >= journal.first_index and journal.term_at(append.prev_index) != append.prev_term:
        _refuse_to_cut(append.prev_index, commit_index, append)
        return Rejected(max(journal.first_index_of_term_at(append.prev_index), commit_index + 1))
    _refuse_two_of_one(journal, append)
    conflict = _first_conflict(journal, append.entries)
    verified = max(append.prev_index + len(append.entries), commit_index)
    if conflict is None:
        missing = append.entries[max(journal.last_index - append.prev_index, 0) :]
        return Accepted(journal.last_index, missing, verified)
    _refuse_to_cut(conflict, commit_index, append)
    return Accepted(conflict - 1, append.entries[conflict - append.prev_index - 1 :], verified)


def _first_conflict(journal: Journal, entries: tuple[LogEntry, ...]) -> int | None:
    for entry in entries:
        held = journal.term_at(entry.index)
        if held is not None and held != entry.term:
            return entry.index
    return None


def _refuse_two_of_one(journal: Journal, append: AppendEntries) -> None:
    """A leader puts one entry at an index, so whoever holds another one of that term was told something else.

    What lies before the entry is compared by checksums, and where only one side knows its own, nothing is said.
    """
    own = journal.chain_at(append.prev_index)
    if own and append.prev_chain and own != append.prev_chain:
        raise _divergence(f"at or before entry {append.prev_index} of term {append.prev_term}")
    for entry in append.entries:
        if entry.index > journal.last_index:
            return
        if journal.term_at(entry.index) == entry.term and not journal.is_same(entry):
            raise _divergence(f"at entry {entry.index} of term {entry.term}")


def _divergence(where: str) -> InvariantBroken:
    return InvariantBroken(
        f"the log of this node and that of the leader hold different entries {where}: a message or a disk has lied to "
        "one of them. Nothing was taken. Keep the data directories of all nodes. If a majority goes on without this "
        "node, it is this one that is wrong: move its data directory away, and let it start with an empty one."
    )


def _refuse_to_cut(index: int, commit_index: int, append: AppendEntries) -> None:
    if index <= commit_index:
        raise InvariantBroken(
            f"the leader of term {append.term} contradicts entry {index}, which is committed here (commit index "
            f"{commit_index}). Nothing was cut. Keep the data directories of all nodes and compare their logs."
        )
