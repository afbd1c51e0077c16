"""Proposals and reads on their way, and how each of them ends."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from raftsched.consensus.settings import Settings
from raftsched.ports import Clock, Fate

ProposalDone = Callable[[Fate, bytes], None]
ReadDone = Callable[[Fate], None]
Call = Callable[[], None]


@dataclass(slots=True)
class _Proposal:
    index: int
    term: int
    size_bytes: int
    deadline: float
    done: ProposalDone
    early: bool = False
    over: bool = False


class PendingProposals:
    """Commands that this node proposed as leader, from the call to the commit of what they did.

    ``endings`` holds the calls to make after the next commit, ``early_endings`` those to make before it.
    """

    def __init__(self, clock: Clock, settings: Settings, endings: list[Call], early_endings: list[Call]) -> None:
        self._clock = clock
        self._settings = settings
        self._endings = endings
        self._early_endings = early_endings
        self._failed = False
        self._waiting: list[tuple[bytes, ProposalDone, bool]] = []
        self._appended: deque[_Proposal] = deque()
        self._count = self._size_bytes = self._waiting_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """Of the commands that wait to be appended."""
        return self._waiting_bytes

    @property
    def waits(self) -> bool:
        """Whether commands wait to be appended."""
        return bool(self._waiting)

    def next_deadline(self) -> float:
        """When the oldest ends as UNKNOWN."""
        return next((proposal.deadline for proposal in self._appended if not proposal.over), float("inf"))

    def add(self, command: bytes, done: ProposalDone, *, early: bool = False) -> None:
        """Take a command, or end it as OVERLOADED."""
        settings = self._settings
        fits = self._size_bytes + len(command) <= settings.max_proposal_bytes
        if self._count >= settings.max_proposals or not fits:
            self._end(done, Fate.OVERLOADED)
            return
        self._count += 1
        self._size_bytes += len(command)
        self._waiting_bytes += len(command)
        self._waiting.append((command, done, early))

    def track(self, index: int, term: int, size_bytes: int, done: ProposalDone) -> None:
        """Take an entry that is appended already."""
        self._count += 1
        self._size_bytes += size_bytes
        deadline = self._clock.monotonic() + self._settings.proposal_deadline_s
        self._appended.append(_Proposal(index, term, size_bytes, deadline, done))

    def append_waiting(self, term: int, append: Callable[[bytes], int]) -> None:
        """Append all that waits, as the leader of the term; ``append`` returns the index."""
        deadline = self._clock.monotonic() + self._settings.proposal_deadline_s
        for command, done, early in self._waiting:
            self._appended.append(_Proposal(append(command), term, len(command), deadline, done, early))
        self._clear_waiting()

    def refuse_waiting(self, fate: Fate) -> None:
        """End what was never appended."""
        for command, done, _ in self._waiting:
            self._forget(len(command))
            self._end(done, fate)
        self._clear_waiting()

    def _clear_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def applied(self, index: int, term: int, outcome: bytes, durable_index: int) -> None:
        """The entry at the index, of this term, was applied; the log is on the disk of this node up to another.

        One that is there, too, was committed by what is on disks: its end needs no commit.
        """
        if not self._appended or self._appended[0].index != index:
            return
        proposal = self._appended.popleft()
        # Leadership was never lost since, so nothing else can have taken the index.
        assert proposal.term == term
        self._forget(proposal.size_bytes)
        if not proposal.over:
            is_early = proposal.early and index <= durable_index
            self._end(proposal.done, Fate.DONE, outcome, self._early_endings if is_early else None)

    def fail(self) -> None:
        """The step or its commit has failed: whether what the calls of it speak of is anywhere is not known."""
        self._failed = True

    def lose(self) -> None:
        """Leadership is lost: what was appended may be applied yet or never."""
        for proposal in self._appended:
            self._forget(proposal.size_bytes)
            if not proposal.over:
                self._end(proposal.done, Fate.UNKNOWN)
        self._appended.clear()

    def expire(self) -> None:
        """End what is past its deadline. It still counts as in flight until it is applied."""
        now = self._clock.monotonic()
        for proposal in self._appended:
            if proposal.deadline > now:
                break
            if not proposal.over:
                proposal.over = True
                self._end(proposal.done, Fate.UNKNOWN)

    def _forget(self, size_bytes: int) -> None:
        self._count -= 1
        self._size_bytes -= size_bytes

    def _end(self, done: ProposalDone, fate: Fate, outcome: bytes = b"", endings: list[Call] | None = None) -> None:
        def end() -> None:
            unknown = self._failed and fate is Fate.DONE
            done(Fate.UNKNOWN if unknown else fate, b"" if unknown else outcome)

        (self._endings if endings is None else endings).append(end)


@dataclass(slots=True)
class _Read:
    deadline: float
    done: ReadDone


class PendingReads:
    """Reads that wait until this node has proved that it leads, and has applied what was committed (Raft 6.4).

    One round is open at a time; who comes meanwhile shares the next one.
    """

    def __init__(self, clock: Clock, settings: Settings, endings: list[Call]) -> None:
        self._clock = clock
        self._settings = settings
        self._endings = endings
        self._failed = False
        self._waiting: deque[_Read] = deque()
        self._in_round: deque[_Read] = deque()
        self._round = self._index = 0

    @property
    def waits(self) -> bool:
        """Whether a round shall begin."""
        return bool(self._waiting) and not self._in_round

    def next_deadline(self) -> float:
        """When the oldest ends as UNKNOWN."""
        oldest = self._in_round or self._waiting
        return oldest[0].deadline if oldest else float("inf")

    def add(self, done: ReadDone) -> None:
        """Take a read, or end it as OVERLOADED."""
        if len(self._waiting) + len(self._in_round) >= self._settings.max_reads:
            self._end(done, Fate.OVERLOADED)
        else:
            self._waiting.append(_Read(self._clock.monotonic() + self._settings.proposal_deadline_s, done))

    def begin(self, round_number: int, commit_index: int) -> None:
        """All that waits will be answered by this round, which has not left yet."""
        self._round, self._index = round_number, commit_index
        self._in_round, self._waiting = self._waiting, self._in_round

    def confirm(self, round_number: int, applied_index: int) -> None:
        """A majority answered this round, and this much is applied."""
        if round_number >= self._round and applied_index >= self._index:
            self._end_all(self._in_round, Fate.DONE)

    def fail(self) -> None:
        """The commit that the calls wait for has failed: nobody sees what they were to see."""
        self._failed = True

    def refuse(self, fate: Fate) -> None:
        """End all."""
        self._end_all(self._in_round, fate)
        self._end_all(self._waiting, fate)

    def expire(self) -> None:
        """End what is past its deadline."""
        now = self._clock.monotonic()
        for reads in (self._in_round, self._waiting):
            while reads and reads[0].deadline <= now:
                self._end(reads.popleft().done, Fate.UNKNOWN)

    def _end_all(self, reads: deque[_Read], fate: Fate) -> None:
        for read in reads:
            self._end(read.done, fate)
        reads.clear()

    def _end(self, done: ReadDone, fate: Fate) -> None:
        self._endings.append(lambda: done(Fate.UNKNOWN if self._failed and fate is Fate.DONE else fate))
