"""The executors that are connected to the leader, and how much each of them may be given."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.v1 import cluster_pb2, task_pb2

from raftsched.core.state.model import Task

AttemptKey = tuple[bytes, int]
"""Execution id and attempt."""

Reservation = tuple[str, bool]
"""Executor id, and whether a slot of it is reserved."""

MAX_BURST = 4_000
MAX_ARMED = 40_000
"""On one executor. Once they have started, their ends wait there for their acknowledgement, among 100,000 attempts that
an executor holds."""
_MOMENT_US = 100_000
BURST_PERIOD_S = 0.1


class ExecutorLink(Protocol):
    """The leader's end of an executor's stream."""

    @property
    def has_room(self) -> bool:
        """Whether it may be sent assignments: while the executor does not read they wait in the table instead."""

    def send(self, message: xpb.ConnectResponse) -> None:
        """Queue a message. A link whose queue is full closes itself; the executor reconnects."""

    def close(self) -> None:
        """End the stream."""


@dataclass(slots=True)
class ExecutorSession:
    """One connected executor."""

    executor_id: str
    incarnation: str
    labels: Mapping[str, str]
    slots: int
    node_id: str
    version: str
    link: ExecutorLink
    draining: bool
    held: dict[AttemptKey, int] = field(default_factory=dict)
    """Attempts that it was given and whose end is not in the log, with their fencing tokens."""
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
    capabilities: cluster_pb2.Capabilities | None = None
    """What it can run; None: it has not said."""
    arms: bool = False
    """Whether it holds what is to start later until then."""
    armed: "ArmedAttempts" = field(default_factory=lambda: ArmedAttempts())
    """Those of ``held`` whose time is yet to come: they take no slot yet."""
    _status: cluster_pb2.ExecutorStatus = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._status = cluster_pb2.ExecutorStatus(
            id=self.executor_id,
            labels=self.labels,
            node_id=self.node_id,
            version=self.version,
            capabilities=self.capabilities,
        )

    def status(self) -> cluster_pb2.ExecutorStatus:
        """What is shown of it, good until the next call.

        Each registration asks for it, and what an executor can run may be a thousand names: it is not copied.
        """
        status = self._status
        status.slots, status.slots_used = self.slots, min(self.slots, len(self.held) - len(self.remote))
        draining = self.draining
        status.state = cluster_pb2.EXECUTOR_STATE_DRAINING if draining else cluster_pb2.EXECUTOR_STATE_READY
        return status

    @property
    def free(self) -> int:
        """How many more attempts it may be given."""
        in_slots = len(self.held) - len(self.remote) - len(self.armed.keys)
        return 0 if self._is_closed_to_more else self.slots + self.burst - in_slots - self.reserved

    @property
    def remote_free(self) -> int:
        """How many more attempts that hold no slot it may be given."""
        return 0 if self._is_closed_to_more else self.remote_slots - len(self.remote) - self.remote_reserved

    @property
    def _is_closed_to_more(self) -> bool:
        return self.draining or not self.link.has_room

    def give(self, key: AttemptKey, fencing_token: int, *, slot: bool, start_us: int = 0) -> None:
        """It holds this attempt from now on, without a slot, or in one, which it takes at ``start_us`` (0: at once)."""
        self.held[key] = fencing_token
        if not slot:
            self.remote.add(key)
        elif start_us:
            self.armed.add(key, start_us)

    def let_go(self, key: AttemptKey) -> None:
        """It holds this attempt no longer."""
        self.held.pop(key, None)
        self.remote.discard(key)
        self.armed.discard(key)

    def may_arm(self, task: Task, start_us: int) -> bool:
        """Whether it may be given one more attempt, of this task, that starts then.

        Of those that take a slot for a while it gets as many for one moment as it has slots, and as many more as it
        finished lately.
        """
        if not self.arms or self._is_closed_to_more or self.armed.count >= MAX_ARMED:
            return False
        match _kind(task.action):
            case "noop":
                return True
            case "aws_lambda":
                return self.remote_free > self.armed.reserved
        return self.free > 0 and self.armed.of_moment(start_us) < self.slots + self.burst

    def matches(self, wanted: Mapping[str, str]) -> bool:
        """Whether it carries all of these labels."""
        return all(self.labels.get(key) == value for key, value in wanted.items())


class ArmedAttempts:
    """Attempts that an executor holds until their time comes, and those that it is being given."""

    def __init__(self) -> None:
        self.keys: dict[AttemptKey, int] = {}
        """When each of them starts. Not to be changed."""
        self._times: list[tuple[int, AttemptKey]] = []
        """A heap; of some that are gone too."""
        self._moments: dict[int, int] = {}
        """How many start within a tenth of a second, given and being given."""
        self.reserved = 0
        """How many it is being given."""

    @property
    def count(self) -> int:
        """Those that it holds and those that it is being given."""
        return len(self.keys) + self.reserved

    def of_moment(self, start_us: int) -> int:
        """How many of these start about then."""
        return self._moments.get(start_us // _MOMENT_US, 0)

    def reserve(self, start_us: int) -> None:
        """One more is being given."""
        self.reserved += 1
        self._count(start_us, 1)

    def release(self, start_us: int) -> None:
        """It is held by now, or will not be."""
        self.reserved -= 1
        self._count(start_us, -1)

    def add(self, key: AttemptKey, start_us: int) -> None:
        """It holds this one."""
        if key not in self.keys:
            self.keys[key] = start_us
            heapq.heappush(self._times, (start_us, key))
            self._count(start_us, 1)

    def discard(self, key: AttemptKey) -> None:
        """It holds this one no longer."""
        start_us = self.keys.pop(key, 0)
        if start_us:
            self._count(start_us, -1)

    def start(self, now_us: int) -> list[AttemptKey]:
        """Those whose time has come, which are armed no longer."""
        started = []
        while self._times and self._times[0][0] <= now_us:
            start_us, key = heapq.heappop(self._times)
            if self.keys.get(key) == start_us:
                self.discard(key)
                started.append(key)
        return started

    def _count(self, start_us: int, change: int) -> None:
        moment = start_us // _MOMENT_US
        count = self._moments.get(moment, 0) + change
        if count > 0:
            self._moments[moment] = count
        else:
            self._moments.pop(moment, None)


def holds_slot(task: Task) -> bool:
    """Whether an attempt of the task takes a slot of its executor; AWS Lambda does its work elsewhere."""
    return _holds_slot(task.action)


def _holds_slot(action: bytes) -> bool:
    return _kind(action) != "aws_lambda"


@lru_cache(maxsize=1_024)
def _kind(action: bytes) -> str | None:
    """Kept, because the tasks of a herd share their action."""
    return task_pb2.Action.FromString(action).WhichOneof("kind")


class Executors:
    """Sessions by executor id, and the choice among them."""

    def __init__(self, leader_id: str) -> None:
        self._leader_id = leader_id
        self._sessions: dict[str, ExecutorSession] = {}
        self._burst_at = 0.0
        self._absent: dict[str, ExecutorSession] = {}
        """Those that left and may come back before their lease runs out."""

    def __iter__(self) -> Iterator[ExecutorSession]:
        return iter(self._sessions.values())

    def get(self, executor_id: str) -> ExecutorSession | None:
        """The session, or None when that executor is not connected."""
        return self._sessions.get(executor_id)

    def add(self, session: ExecutorSession) -> None:
        """Take a new session; an older one of the same executor is closed."""
        older = self._sessions.get(session.executor_id)
        if older is not None:
            older.link.close()
        self._sessions[session.executor_id] = session
        self._absent.pop(session.executor_id, None)

    def remove(self, session: ExecutorSession) -> bool:
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
        best: ExecutorSession | None = None
        last_resort: ExecutorSession | None = None
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

    def reserve_ahead(self, task: Task, start_us: int) -> ExecutorSession | None:
        """The executor that is to hold an attempt of the task until then; None when none may.

        It is the one with the fewest of them, and the leader's own pool only when there is no other. ``armed.release``
        is to follow.
        """
        able = [
            session
            for session in self._sessions.values()
            if session.may_arm(task, start_us) and session.matches(task.executor_labels)
        ]
        if not able:
            return None
        chosen = min(able, key=lambda session: (session.node_id == self._leader_id, session.armed.count))
        chosen.armed.reserve(start_us)
        return chosen

    def can_arm(self) -> bool:
        """Whether there is an executor that holds what is to start later."""
        return any(session.arms for session in self._sessions.values())

    def start_armed(self, now_us: int) -> None:
        """What was armed until now takes a slot from now on, until its end is reported."""
        for session in self._sessions.values():
            session.armed.start(now_us)

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
