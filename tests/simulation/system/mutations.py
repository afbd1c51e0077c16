"""Each guard of the scheduler and the executors switched off, one at a time: what the simulation must find then."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from unittest.mock import ANY

import pytest

from raftsched.api import task_change
from raftsched.core.exclusion import Exclusions
from raftsched.core.machine import attempts, queueing
from raftsched.core.machine.context import Context
from raftsched.core.model import ExecutionState
from raftsched.core.rows import ExecutionRow, backfill_open_key
from raftsched.executor.attempts import Attempts
from raftsched.executor.journal import Journal, Verdict
from raftsched.executor.keys import AttemptKey
from raftsched.internal.v1 import executor_pb2 as xpb
from raftsched.ports import Reader
from raftsched.scheduler.dispatch import Dispatcher, read_execution
from raftsched.scheduler.executors import Executors
from raftsched.scheduler.leases import Leases
from raftsched.scheduler.reports import Reporter
from tests.simulation.system import schedules

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class SystemMutation:
    """One guard, and where its absence shows."""

    guard: str
    switch_off: Callable[[Patch], None]
    finds: tuple[str, ...]
    """How the violation may begin."""
    profile: str = "everything"
    nodes: int = 3
    schedule: Callable[[], None] | None = None
    """Instead of seeds of the profile."""


def fire_whatever_is_due(patch: Patch) -> None:
    patch.setattr("raftsched.core.machine.fires.due_value", lambda uid, generation: ANY)


def no_lease_after_take_over(patch: Patch) -> None:
    expire = Leases.expire

    def at_once(self: Leases, assigned: dict[str, list[AttemptKey]], now_s: float) -> list[str]:
        for executor_id in assigned:
            self._deadlines.setdefault(executor_id, now_s)
        return expire(self, assigned, now_s)

    patch.setattr(Leases, "expire", at_once)


def _judge(patch: Patch, forgotten: Verdict) -> None:
    judge = Journal.judge

    def judged(self: Journal, key: AttemptKey, fencing_token: int) -> Verdict:
        verdict = judge(self, key, fencing_token)
        return Verdict.NEW if verdict is forgotten and key not in self.held else verdict

    patch.setattr(Journal, "judge", judged)


def repeated_attempts_run_again(patch: Patch) -> None:
    """The term keeps the leaders away that would assign one, so that it is switched off too."""
    obey_any_leader(patch)
    _judge(patch, Verdict.REPEATED)


def obey_any_leader(patch: Patch) -> None:
    patch.setattr(Attempts, "term", property(lambda self: 0, lambda self, term: None), raising=False)


def older_attempts_run(patch: Patch) -> None:
    """As above."""
    obey_any_leader(patch)
    _judge(patch, Verdict.STALE)


def what_was_dropped_is_forgotten(patch: Patch) -> None:
    """As above."""
    obey_any_leader(patch)
    patch.setattr(Attempts, "_give_back", lambda self, key, fencing_token: None)


def no_request_memory(patch: Patch) -> None:
    patch.setattr("raftsched.core.machine._remember", lambda context, request: None)


def dispatch_when_proposed(patch: Patch) -> None:
    collect = Dispatcher._collect_pending

    def collect_and_send(self: Dispatcher, reader: Reader) -> object:
        batch = collect(self, reader)
        for item in batch.command.assign.items:
            session, row = self._executors.get(item.executor_id), read_execution(reader, item.id)
            row.state, row.executor_id, row.fencing_token = ExecutionState.ASSIGNED, item.executor_id, 1 << 40
            if session is not None:
                self.send(reader, session, [(item.id, row)])
        return batch

    patch.setattr(Dispatcher, "_collect_pending", collect_and_send)


def acknowledge_what_arrives(patch: Patch) -> None:
    take = Reporter.take

    def take_and_acknowledge(self: Reporter, executor_id: str, reports: Iterable[xpb.AttemptReport]) -> bool:
        reports = list(reports)
        message = xpb.ConnectResponse()
        for report in reports:
            if report.state != ExecutionState.RUNNING:
                message.acknowledge.keys.add().CopyFrom(report.key)
        session = self._executors.get(executor_id)
        if session is not None and message.acknowledge.keys:
            session.link.send(message)
        return take(self, executor_id, reports)

    patch.setattr(Reporter, "take", take_and_acknowledge)


def run_before_it_is_written_down(patch: Patch) -> None:
    commit = Journal.commit

    def lazy(self: Journal) -> None:
        if not self.executor_id or not self.held:
            commit(self)
        else:
            self._buffer.clear()

    patch.setattr(Journal, "commit", lazy)


def at_most_once_without_sync(patch: Patch) -> None:
    patch.setattr(Journal, "sync", lambda self: None)


def clock_leads_back(patch: Patch) -> None:
    patch.setattr(task_change, "max", lambda now_us, _last_us: now_us, raising=False)


def groups_let_all_start(patch: Patch) -> None:
    patch.setattr("raftsched.core.machine.placement.acquire", lambda context, name, execution_id: True)


def ends_are_told_to_nobody(patch: Patch) -> None:
    patch.setattr("raftsched.core.machine.follow_ends", lambda context: None)


def backfills_all_at_once(patch: Patch) -> None:
    ids_between = queueing._ids_between

    def without_open_backfills(context: Context, start: bytes, stop: bytes) -> list[bytes]:
        return (
            []
            if start == backfill_open_key(int.from_bytes(start[:8], "big"), b"")
            else ids_between(context, start, stop)
        )

    patch.setattr(queueing, "_ids_between", without_open_backfills)


def pins_hold_nobody(patch: Patch) -> None:
    """The leader gives what is pinned to anybody, and the log lets it."""
    find = attempts.find_execution

    def find_unpinned(context: Context, execution_id: bytes) -> ExecutionRow | None:
        row = find(context, execution_id)
        if row is not None and row.state == ExecutionState.PENDING:
            row.pinned_executor_id = ""
        return row

    patch.setattr(attempts, "find_execution", find_unpinned)
    patch.setattr(Executors, "reserve_on", lambda self, _executor_id, *, slot: self.reserve({}, slot=slot))


def nothing_is_left_out(patch: Patch) -> None:
    patch.setattr(Exclusions, "end_of", lambda self, at_us: 0)


MUTATIONS = [
    SystemMutation(
        "one on every executor", pins_hold_nobody, ("placement", "ledger", "execution"), profile="system-related"
    ),
    SystemMutation("windows left out", nothing_is_left_out, ("schedule", "ledger"), profile="system-related"),
    SystemMutation("places of a group", groups_let_all_start, ("group",), profile="system-related"),
    SystemMutation("ends go on to children", ends_are_told_to_nobody, ("chain",), profile="system-related"),
    SystemMutation("a backfill goes on by so many", backfills_all_at_once, ("backfill",), profile="system-related"),
    SystemMutation("due row of a fire", fire_whatever_is_due, ("ledger",)),
    SystemMutation("lease after a take-over", no_lease_after_take_over, ("lease",), profile="system-leaders"),
    SystemMutation(
        "executor drops repeated attempts",
        repeated_attempts_run_again,
        ("attempt", "at most once"),
        schedule=schedules.leader_that_slept_through_the_end,
    ),
    SystemMutation("executor refuses lower terms", obey_any_leader, ("deposed",), schedule=schedules.leader_that_slept),
    SystemMutation(
        "executor refuses older attempts",
        older_attempts_run,
        ("attempt", "fencing"),
        schedule=schedules.leader_that_slept_too_long,
    ),
    SystemMutation(
        "executor gives back what it dropped",
        what_was_dropped_is_forgotten,
        ("end",),
        schedule=schedules.leader_that_slept,
    ),
    SystemMutation("memory of request ids", no_request_memory, ("request id", "not linearizable")),
    SystemMutation(
        "dispatch after apply", dispatch_when_proposed, ("attempt", "fencing", "at most once", "ghost", "end")
    ),
    SystemMutation("acknowledge after apply", acknowledge_what_arrives, ("end", "report")),
    SystemMutation("journal before the start", run_before_it_is_written_down, ("attempt", "at most once", "end")),
    SystemMutation(
        "sync before an at-most-once start", at_most_once_without_sync, ("at most once", "attempt"), "system-executors"
    ),
    SystemMutation("a clock put back does not lead back", clock_leads_back, ("ledger",), profile="system-clocks"),
]
