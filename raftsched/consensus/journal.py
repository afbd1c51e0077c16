"""The Raft log, term and vote in the store, under the interface that the engine has for journals.

Writes go to the store's open batch, and become durable with the shard's commit. The log is compacted to a bounded
length, so all of it is also kept in memory.
"""

# ruff: noqa: N802, N803, D102 - the engine prescribes the names

import struct
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from typing import overload

from raftsched.consensus.messages import CONFIG, NO_OP, LogEntry
from raftsched.ports import Reader, Store, StoreRefused, Table

_STATE_KEY, _COMMIT_KEY, _NODE_KEY, _CHAIN_KEY = b"state", b"commit_index", b"node_id", b"base_chain"
_INDEX = struct.Struct(">Q")
_TERM = struct.Struct(">Q")
"""Before the data of an entry."""
_CHAIN = struct.Struct(">QQ")
_LINK = struct.Struct(">QQQ")


class Journal:
    """The log: a base entry, of which only index and term count, and the entries that follow it without a gap."""

    def __init__(self, store: Store, node_id: str) -> None:
        """Read what the store holds.

        Raises StoreRefused: the store is another node's, or an entry is missing. StoreFailed: an entry is damaged.
        """
        self._store = store
        self._entries: list[LogEntry] = []
        # How many bytes of data there were up to and with each entry; only differences count.
        self._ends: list[int] = []
        self._chains: list[int] = []
        self._configs: list[LogEntry] = []
        self._term, self._voted_for, self._commit_index, self._saved_commit_index = 0, "", 1, 1
        self.dirty = False
        """Whether something waits for the commit that a message may speak of."""
        self._load(node_id)

    @property
    def first_index(self) -> int:
        """Index of the base entry."""
        return self._entries[0].index

    @property
    def last_index(self) -> int:
        return self._entries[-1].index

    @property
    def last_term(self) -> int:
        return self._entries[-1].term

    @property
    def last_config(self) -> LogEntry | None:
        """The last entry with members of the shard, if any is held."""
        return self._configs[-1] if self._configs else None

    @property
    def voted_for(self) -> str:
        """Whom this node voted for in the current term; "" for nobody."""
        return self._voted_for

    @property
    def size_bytes(self) -> int:
        """Bytes of the entries after the base."""
        return self._ends[-1] - self._ends[0]

    def bytes_after(self, index: int) -> int:
        """Bytes of the entries after one that is held."""
        return self._ends[-1] - self._ends[index - self.first_index]

    def first_within(self, limit_bytes: int) -> int:
        """The lowest index after which there are at most so many bytes."""
        return self.first_index + bisect_left(self._ends, self._ends[-1] - limit_bytes)

    def term_at(self, index: int) -> int | None:
        """Term of the entry; None when it is compacted or does not exist."""
        position = index - self.first_index
        return self._entries[position].term if 0 <= position < len(self._entries) else None

    def entry(self, index: int) -> LogEntry:
        """An entry that is there."""
        return self._entries[index - self.first_index]

    def chain_at(self, index: int) -> int:
        """A checksum over the entry and those before it, from the first of its term; 0: not known, or not held.

        Two logs that hold an entry of the same index and term are equal up to there (Raft 5.3), and so are these.
        """
        position = index - self.first_index
        return self._chains[position] if 0 <= position < len(self._chains) else 0

    def adopt_chain(self, index: int, chain: int) -> None:
        """Take the leader's word for what is not known: of the entry that a snapshot ends with."""
        position = index - self.first_index
        self._chains[position] = chain
        if not position:
            self._save_base_chain()
        for later in range(position + 1, len(self._entries)):
            self._chains[later] = _linked(self._chains[later - 1], self._entries[later])

    def is_same(self, entry: LogEntry) -> bool:
        """Whether an entry of an index and term that is held is the one that is held. The base counts as such."""
        return entry.index == self.first_index or self.entry(entry.index).data == entry.data

    def first_index_of_term_at(self, index: int) -> int:
        """The lowest index that is held with the same term as the entry at this index."""
        position = index - self.first_index
        term = self._entries[position].term
        while position > 0 and self._entries[position - 1].term == term:
            position -= 1
        return self._entries[position].index

    def restart_at(self, index: int, term: int) -> None:
        """Hold nothing but a base entry: what it and all before it did is in the state tables."""
        self.clear()
        self.add(NO_OP, index, term)
        self._chains[0] = 0
        self._save_base_chain()

    def compact_to(self, index: int) -> None:
        """Make an entry that is held the base."""
        self.deleteEntriesTo(index - self.first_index)

    def save_commit_index(self) -> None:
        """Let the commit index be part of the commit that is about to happen. It is never the reason for one."""
        if self._commit_index != self._saved_commit_index:
            self._store.batch().put(Table.RAFT, _COMMIT_KEY, _INDEX.pack(self._commit_index))
            self._saved_commit_index = self._commit_index

    def add(self, command: bytes, idx: int, term: int) -> None:
        assert not self._entries or idx == self.last_index + 1
        self._store.batch().put(Table.LOG, _INDEX.pack(idx), _TERM.pack(term) + command)
        self._hold(LogEntry(command, idx, term))
        self.dirty = True

    def clear(self) -> None:
        self.deleteEntriesFrom(0)

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        self._forget(self._entries[entryFrom:])
        del self._entries[entryFrom:], self._ends[entryFrom:], self._chains[entryFrom:]
        while self._configs and (not self._entries or self._configs[-1].index > self.last_index):
            self._configs.pop()
        self.dirty = True

    def deleteEntriesTo(self, entryTo: int) -> None:
        self._forget(self._entries[:entryTo])
        del self._entries[:entryTo], self._ends[:entryTo], self._chains[:entryTo]
        self._save_base_chain()
        while self._configs and self._configs[0].index < self.first_index:
            del self._configs[0]

    @overload
    def __getitem__(self, item: int) -> LogEntry: ...
    @overload
    def __getitem__(self, item: slice) -> list[LogEntry]: ...
    def __getitem__(self, item: int | slice) -> LogEntry | list[LogEntry]:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(self._entries)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        self._commit_index = raftCommitIndex

    def getRaftCommitIndex(self) -> int:
        return self._commit_index

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        self._term, self._voted_for = term, votedForNodeId or ""
        self._store.batch().put(Table.RAFT, _STATE_KEY, _INDEX.pack(term) + self._voted_for.encode())
        self.dirty = True

    def getCurrentTerm(self) -> int:
        return self._term

    def getVotedForNodeId(self) -> str | None:
        return self._voted_for or None

    def onOneSecondTimer(self) -> None:
        pass

    def _destroy(self) -> None:
        pass

    def _forget(self, entries: list[LogEntry]) -> None:
        batch = self._store.batch()
        for entry in entries:
            batch.delete(Table.LOG, _INDEX.pack(entry.index))

    def _save_base_chain(self) -> None:
        """The base stands for entries that are gone: without it nobody could tell whether they were the leader's."""
        self._store.batch().put(Table.RAFT, _CHAIN_KEY, _CHAIN.pack(self.first_index, self._chains[0]))

    def _hold(self, entry: LogEntry) -> None:
        self._chains.append(_linked(self._chains[-1] if self._chains else 0, entry))
        self._ends.append((self._ends[-1] if self._ends else 0) + len(entry.data))
        self._entries.append(entry)
        if entry.data[:1] == CONFIG:
            self._configs.append(entry)

    def _load(self, node_id: str) -> None:
        with self._store.read() as view:
            owner = view.get(Table.RAFT, _NODE_KEY)
            state = view.get(Table.RAFT, _STATE_KEY)
            commit_index = view.get(Table.RAFT, _COMMIT_KEY)
            base = view.get(Table.RAFT, _CHAIN_KEY)
            for key, value in view.scan(Table.LOG):
                self._hold(_decode(key, value))
                if len(self._entries) == 1:
                    self._chains[0] = _base_chain(base, self._entries[0])
        if owner is None:
            if self._entries or state:
                raise StoreRefused("the Raft log of the store has no owner: it is not a raftsched log, or damaged")
            self._store.batch().put(Table.RAFT, _NODE_KEY, node_id.encode())
            return
        if owner != node_id.encode():
            raise StoreRefused(
                f"the store belongs to node {owner.decode(errors='replace')!r}, this node is {node_id!r}; nothing was "
                "changed. Give each node a data directory of its own and start it with the id that it had."
            )
        if state is not None:
            self._term, self._voted_for = _INDEX.unpack(state[:8])[0], state[8:].decode()
        if commit_index is not None:
            self._commit_index = self._saved_commit_index = _INDEX.unpack(commit_index)[0]
        self._check()

    def _check(self) -> None:
        for before, entry in zip(self._entries, self._entries[1:], strict=False):
            if entry.index != before.index + 1 or entry.term < before.term:
                raise StoreRefused(f"the Raft log of the store is damaged between {before.index} and {entry.index}")
        if not self._entries or not self.first_index <= self._commit_index <= self.last_index:
            raise StoreRefused("the Raft log of the store does not reach its commit index")


def _linked(before: int, entry: LogEntry) -> int:
    """The checksum up to an entry, from that up to the one before; it begins anew with the first entry of a leader."""
    if entry.data == NO_OP:
        before = 0
    elif not before:
        return 0
    linked = blake2b(_LINK.pack(before, entry.index, entry.term), digest_size=_INDEX.size)
    linked.update(entry.data)
    return int.from_bytes(linked.digest(), "big") or 1


def _base_chain(saved: bytes | None, base: LogEntry) -> int:
    """Of the base. The first entry of all is its own beginning."""
    if saved is not None and len(saved) == _CHAIN.size:
        index, chain = _CHAIN.unpack(saved)
        if index == base.index:
            return int(chain)
    return _linked(0, base) if base.index == 1 else 0


def stored_term(view: Reader, index: int) -> int:
    """Term of an entry that the view holds.

    Raises StoreRefused: it is missing.
    """
    key = _INDEX.pack(index)
    return _decode(key, view.get(Table.LOG, key) or b"").term


def _decode(key: bytes, value: bytes) -> LogEntry:
    if len(key) != _INDEX.size or len(value) <= _TERM.size:
        raise StoreRefused(f"row {key.hex()} of the Raft log of the store is missing or not one of ours")
    return LogEntry(value[_TERM.size :], _INDEX.unpack(key)[0], _TERM.unpack_from(value)[0])
