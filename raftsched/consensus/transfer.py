"""Handing the leadership over (Raft dissertation 3.10)."""

from collections.abc import Callable

from raftsched.consensus.guard import Guard
from raftsched.consensus.journal import Journal
from raftsched.consensus.messages import TimeoutNow
from raftsched.consensus.pending import Call
from raftsched.consensus.settings import Settings
from raftsched.ports import Clock, Role


class Transfer:
    """At most one at a time. While it goes on, the leader takes no proposals, so that the target can catch up."""

    def __init__(self, guard: Guard, journal: Journal, clock: Clock, settings: Settings, endings: list[Call]) -> None:
        """``endings`` holds the calls to make after the next commit."""
        self._guard = guard
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._endings = endings
        self._target = ""
        self._told = False
        self._deadline = float("inf")
        self._done: Callable[[str], None] = _nobody_waits

    @property
    def active(self) -> bool:
        """Whether the leadership is being handed over."""
        return bool(self._target)

    def next_deadline(self) -> float:
        """When it has failed."""
        return self._deadline

    def begin(self, peer_ids: tuple[str, ...], peer_id: str, done: Callable[[str], None]) -> None:
        """Choose the target, or say why not."""
        problem = self._problem(peer_ids, peer_id)
        if problem:
            self._endings.append(lambda: done(problem))
            return
        self._target = peer_id or self._best(peer_ids)
        self._told = False
        self._deadline = self._clock.monotonic() + self._settings.election_timeout_max_s
        self._done = done

    def tick(self, send: Callable[[str, TimeoutNow], None]) -> None:
        """Tell the target once it has caught up; end when there is an outcome."""
        if not self.active:
            return
        engine = self._guard.engine
        if engine.role is not Role.LEADER:
            if engine.leader_id:
                self._end("")
            elif self._clock.monotonic() >= self._deadline:
                self._end("this node leads no more, and no other node was heard to lead within an election timeout")
        elif self._clock.monotonic() >= self._deadline:
            self._end(f"{self._target} did not take over within an election timeout; this node goes on leading")
        elif not self._told and engine.match_index(self._target) == self._journal.last_index:
            self._told = True
            send(self._target, TimeoutNow(engine.term))

    def _problem(self, peer_ids: tuple[str, ...], peer_id: str) -> str:
        if self._guard.engine.role is not Role.LEADER:
            return "this node does not lead"
        if self.active:
            return f"the leadership is already being handed over to {self._target}"
        if peer_id and peer_id not in peer_ids:
            return f"{peer_id} is not another voting node of the shard"
        if not any(map(self._guard.replicator.connected, (peer_id,) if peer_id else peer_ids)):
            return f"{peer_id or 'every other node'} is disconnected"
        return ""

    def _best(self, peer_ids: tuple[str, ...]) -> str:
        connected = [peer_id for peer_id in peer_ids if self._guard.replicator.connected(peer_id)]
        return max(connected, key=lambda peer_id: (self._guard.engine.match_index(peer_id), peer_id))

    def _end(self, problem: str) -> None:
        done = self._done
        self._endings.append(lambda: done(problem))
        self._target, self._deadline, self._done = "", float("inf"), _nobody_waits


def _nobody_waits(_problem: str) -> None:
    pass
