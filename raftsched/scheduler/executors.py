"""The executors that are connected to the leader, and how much each of them may be given."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from raftsched.internal.v1 import executor_pb2 as xpb

AttemptKey = tuple[bytes, int]
"""Execution id and attempt."""

MAX_BURST = 4_000
_BURST_PERIOD_S = 0.1


class ExecutorLink(Protocol):
    """The leader's end of an executor's stream."""

    def send(self, message: xpb.ConnectResponse) -> None:
        """Queue a message. A link whose queue is full closes itself; the executor reconnects."""

    def close(self) -> None:
        """End the stream."""


@dataclass(slots=True)
class Session:
    """One connected executor."""

    executor_id: str
    incarnation: str
    labels: Mapping[str, str]
    slots: int
    node_id: str
    version: str
    link: ExecutorLink
    draining: bool
    held: set[AttemptKey] = field(default_factory=set)
    """Attempts that it was given and whose end is not in the log."""
    reserved: int = 0
    """Attempts that it is being given by commands under way."""
    burst: int = 0
    """How far beyond its slots it may be filled: about what it finishes in two burst periods, so that short
    attempts follow each other without a round trip, while long ones are not queued behind each other."""
    ended_since: int = 0

    @property
    def free(self) -> int:
        """How many more attempts it may be given."""
        return 0 if self.draining else self.slots + self.burst - len(self.held) - self.reserved

    def matches(self, wanted: Mapping[str, str]) -> bool:
        """Whether it carries all of these labels."""
        return all(self.labels.get(key) == value for key, value in wanted.items())


class Executors:
    """Sessions by executor id, and the choice among them."""

    def __init__(self, leader_id: str) -> None:
        self._leader_id = leader_id
        self._sessions: dict[str, Session] = {}
        self._burst_at = 0.0

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def get(self, executor_id: str) -> Session | None:
        """The session, or None when that executor is not connected."""
        return self._sessions.get(executor_id)

    def add(self, session: Session) -> None:
        """Take a new session; an older one of the same executor is closed."""
        older = self._sessions.get(session.executor_id)
        if older is not None:
            older.link.close()
        self._sessions[session.executor_id] = session

    def remove(self, session: Session) -> bool:
        """Forget the session; False when it had been replaced already."""
        if self._sessions.get(session.executor_id) is not session:
            return False
        del self._sessions[session.executor_id]
        return True

    def any_free(self) -> bool:
        """Whether any executor may be given more."""
        return any(session.free > 0 for session in self._sessions.values())

    def reserve(self, wanted: Mapping[str, str]) -> str:
        """The id of the executor with the most room that carries the labels, or "" when none has room.

        The leader's own pool is the last resort: the leader has other work.
        """
        best: Session | None = None
        last_resort: Session | None = None
        for session in self._sessions.values():
            free = session.free
            if free <= 0 or (wanted and not session.matches(wanted)):
                continue
            if session.node_id == self._leader_id:
                last_resort = session
            elif best is None or free > best.free:
                best = session
        chosen = best or last_resort
        if chosen is None:
            return ""
        chosen.reserved += 1
        return chosen.executor_id

    def release(self, executor_ids: Iterable[str]) -> None:
        """End reservations: the attempts are held by now, or will not be."""
        for executor_id in executor_ids:
            session = self._sessions.get(executor_id)
            if session is not None and session.reserved > 0:
                session.reserved -= 1

    def adapt_bursts(self, now_s: float) -> None:
        """Widen or narrow each window to what its executor finished lately."""
        if now_s - self._burst_at < _BURST_PERIOD_S:
            return
        self._burst_at = now_s
        for session in self._sessions.values():
            # Halving keeps a window open through a short lull.
            session.burst = min(MAX_BURST, max(2 * session.ended_since, session.burst // 2))
            session.ended_since = 0
