"""The executors that are connected to the leader, and how much each of them may be given."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from raftsched_client.v1 import task_pb2

from raftsched.core.model import Task
from raftsched.internal.v1 import executor_pb2 as xpb

AttemptKey = tuple[bytes, int]
"""Execution id and attempt."""

Reservation = tuple[str, bool]
"""Executor id, and whether a slot of it is reserved."""

MAX_BURST = 4_000
BURST_PERIOD_S = 0.1


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
    remote_slots: int = 0
    """Attempts that it may be given at a time of actions that hold no slot."""
    remote_reserved: int = 0
    remote: set[AttemptKey] = field(default_factory=set)
    """Those of ``held`` that hold no slot."""

    @property
    def free(self) -> int:
        """How many more attempts it may be given."""
        return 0 if self.draining else self.slots + self.burst - len(self.held) + len(self.remote) - self.reserved

    @property
    def remote_free(self) -> int:
        """How many more attempts that hold no slot it may be given."""
        return 0 if self.draining else self.remote_slots - len(self.remote) - self.remote_reserved

    def give(self, key: AttemptKey, *, slot: bool) -> None:
        """It holds this attempt from now on, in a slot or without."""
        self.held.add(key)
        if not slot:
            self.remote.add(key)

    def let_go(self, key: AttemptKey) -> None:
        """It holds this attempt no longer."""
        self.held.discard(key)
        self.remote.discard(key)

    def matches(self, wanted: Mapping[str, str]) -> bool:
        """Whether it carries all of these labels."""
        return all(self.labels.get(key) == value for key, value in wanted.items())


def holds_slot(task: Task) -> bool:
    """Whether an attempt of the task takes a slot of its executor; AWS Lambda does its work elsewhere."""
    return _holds_slot(task.action)


@lru_cache(maxsize=1_024)
def _holds_slot(action: bytes) -> bool:
    """Kept, because the tasks of a herd share their action."""
    return not task_pb2.Action.FromString(action).HasField("aws_lambda")


class Executors:
    """Sessions by executor id, and the choice among them."""

    def __init__(self, leader_id: str) -> None:
        self._leader_id = leader_id
        self._sessions: dict[str, Session] = {}
        self._burst_at = 0.0
        self._absent: dict[str, Session] = {}
        """Those that left and may come back before their lease runs out."""

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
        self._absent.pop(session.executor_id, None)

    def remove(self, session: Session) -> bool:
        """Forget the session; False when it had been replaced already."""
        if self._sessions.get(session.executor_id) is not session:
            return False
        del self._sessions[session.executor_id]
        self._absent[session.executor_id] = session
        return True

    def forget(self, executor_id: str) -> None:
        """The lease of an executor has run out: it is not expected back."""
        self._absent.pop(executor_id, None)

    def everyone(self, wanted: Mapping[str, str]) -> list[str]:
        """Ids of the executors that carry the labels and are not draining, in order; those that just left too."""
        known = (*self._sessions.values(), *self._absent.values())
        return sorted(session.executor_id for session in known if not session.draining and session.matches(wanted))

    def room(self) -> int:
        """How many more attempts they may be given, all together."""
        return sum(max(0, session.free) for session in self._sessions.values())

    def window(self) -> int:
        """How many attempts they may be given at a time beyond their slots, by what they finished lately."""
        return sum(session.burst for session in self._sessions.values() if not session.draining)

    def any_free(self) -> bool:
        """Whether any executor may be given more."""
        return any(session.free > 0 for session in self._sessions.values())

    def reserve_on(self, executor_id: str, *, slot: bool = True) -> str:
        """The id of this executor, if it is connected and has room, or ""."""
        session = self._sessions.get(executor_id)
        if session is None or (session.free if slot else session.remote_free) <= 0:
            return ""
        if slot:
            session.reserved += 1
        else:
            session.remote_reserved += 1
        return executor_id

    def _reserve_remote(self, wanted: Mapping[str, str]) -> str:
        """As ``reserve``, for an attempt that holds no slot."""
        able = [session for session in self._sessions.values() if session.remote_free > 0 and session.matches(wanted)]
        if not able:
            return ""
        chosen = max(able, key=lambda session: session.remote_free)
        chosen.remote_reserved += 1
        return chosen.executor_id

    def reserve(self, wanted: Mapping[str, str], *, slot: bool = True) -> str:
        """The id of the executor with the most room that carries the labels, or "" when none has room.

        The leader's own pool is the last resort: the leader has other work.
        """
        if not slot:
            return self._reserve_remote(wanted)
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

    def release(self, reservations: Iterable[Reservation]) -> None:
        """End reservations: the attempts are held by now, or will not be."""
        for executor_id, slot in reservations:
            session = self._sessions.get(executor_id)
            if session is None:
                continue
            if slot:
                session.reserved = max(0, session.reserved - 1)
            else:
                session.remote_reserved = max(0, session.remote_reserved - 1)

    def adapt_bursts(self, now_s: float) -> None:
        """Widen or narrow each window to what its executor finished lately."""
        if now_s - self._burst_at < BURST_PERIOD_S:
            return
        self._burst_at = now_s
        for session in self._sessions.values():
            # Halving keeps a window open through a short lull.
            session.burst = min(MAX_BURST, max(2 * session.ended_since, session.burst // 2))
            session.ended_since = 0
