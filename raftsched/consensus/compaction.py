"""How much of the log is kept. The state is durable in the store, so compacting is only forgetting entries."""

from collections.abc import Iterable

from raftsched.consensus.journal import Journal
from raftsched.consensus.settings import Settings

_STEP_ENTRIES = 1000


def compaction_due(journal: Journal, settings: Settings, applied_index: int, needed: Iterable[int]) -> int | None:
    """Up to which entry the log shall be forgotten now, at most 1,000 entries on; None when it is not worth the while.

    ``needed`` are match indexes of followers that wait for entries; the log is kept for them up to the hard bound.
    """
    factor = settings.log_hard_factor
    wanted = _first_kept(journal, applied_index, settings.log_keep_entries, settings.log_keep_bytes)
    hard = _first_kept(journal, applied_index, factor * settings.log_keep_entries, factor * settings.log_keep_bytes)
    oldest = max(min([wanted, *needed]), hard)
    oldest = min(oldest, applied_index, journal.first_index + _STEP_ENTRIES)
    freed = oldest - journal.first_index
    if freed <= 0:
        return None
    freed_bytes = journal.size_bytes - journal.bytes_after(oldest)
    worth = freed * 10 >= settings.log_keep_entries or freed_bytes * 10 >= settings.log_keep_bytes
    return oldest if worth or freed >= _STEP_ENTRIES else None


def _first_kept(journal: Journal, applied_index: int, entries: int, limit_bytes: int) -> int:
    return max(applied_index - entries, journal.first_within(limit_bytes))
