"""Each guard of the scheduler and the executors switched off, one at a time: what the simulation must find then."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from unittest.mock import ANY

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.v1 import task_pb2

from raftsched.api.context import ApiContext
from raftsched.commands.gate import Gate
from raftsched.commands.versions import Versions
from raftsched.consensus import cluster_time
from raftsched.core import machine
from raftsched.core.machine import attempts, queueing
from raftsched.core.machine.context import Context, rejected
from raftsched.core.state.model import ExecutionState
from raftsched.core.state.rows import ExecutionRow, backfill_open_key
from raftsched.core.times.exclusion import Exclusions
from raftsched.executor.armed import Armed
from raftsched.executor.attempt_journal import AssignmentVerdict, AttemptJournal
from raftsched.executor.inbox import Inbox
from raftsched.executor.keys import AttemptKey
from raftsched.executor.leader_time import LeaderTime
from raftsched.ports import Batch, Reader
from raftsched.scheduler.dispatch import Dispatcher, read_execution
from raftsched.scheduler.executors import Executors
from raftsched.scheduler.leases import Leases
from raftsched.scheduler.repair import CursorRepair
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
    first_seed: int = 0


def fire_whatever_is_due(patch: Patch) -> None:
    patch.setattr("raftsched.core.machine.fires.due_value", lambda uid, revision: ANY)


def no_lease_after_take_over(patch: Patch) -> None:
    expire = Leases.expire

    def at_once(self: Leases, assigned: dict[str, list[AttemptKey]], now_s: float) -> list[str]:
        for executor_id in assigned:
            self._deadlines.setdefault(executor_id, now_s)
        return expire(self, assigned, now_s)

    patch.setattr(Leases, "expire", at_once)


def _judge(patch: Patch, forgotten: AssignmentVerdict) -> None:
    judge = AttemptJournal.judge

    def judged(self: AttemptJournal, key: AttemptKey, fencing_token: int) -> AssignmentVerdict:
        verdict = judge(self, key, fencing_token)
        return AssignmentVerdict.NEW if verdict is forgotten and key not in self.held else verdict

    patch.setattr(AttemptJournal, "judge", judged)


def repeated_attempts_run_again(patch: Patch) -> None:
    """The term keeps the leaders away that would assign one, so that it is switched off too."""
    obey_any_leader(patch)
    _judge(patch, AssignmentVerdict.REPEATED)


def obey_any_leader(patch: Patch) -> None:
    patch.setattr(Inbox, "term", property(lambda self: 0, lambda self, term: None), raising=False)


def older_attempts_run(patch: Patch) -> None:
    """As above."""
    obey_any_leader(patch)
    _judge(patch, AssignmentVerdict.STALE)


def no_request_memory(patch: Patch) -> None:
    patch.setattr("raftsched.core.machine._remember", lambda context, request: None)


def tokens_of_the_entry(patch: Patch) -> None:
    patch.setattr("raftsched.core.machine.placement.next_token", lambda context: context.index << 8)


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
    commit = AttemptJournal.commit

    def lazy(self: AttemptJournal) -> None:
        if not self.executor_id or not self.held:
            commit(self)
        else:
            self._buffer.clear()

    patch.setattr(AttemptJournal, "commit", lazy)


def at_most_once_without_sync(patch: Patch) -> None:
    patch.setattr(AttemptJournal, "sync", lambda self: None)


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


def every_node_goes_by_its_own_clock(patch: Patch) -> None:
    def own(sources: dict[str, cluster_time.Bounds], _quorum: int, _near_us: int | None = None) -> object:
        # Only of its own clock a node knows where it stands exactly.
        found = next((each.low_us for each in sources.values() if each.low_us == each.high_us), None)
        return None if found is None else cluster_time.Agreement(found, 0, frozenset(sources))

    patch.setattr(cluster_time, "agree", own)


def a_jump_is_believed_at_once(patch: Patch) -> None:
    patch.setattr(cluster_time, "CONFIRM_S", 0.0)


def retention_follows_at_once(patch: Patch) -> None:
    patch.setattr("raftsched.scheduler.retention.PACE", 10**9)


def cursors_stay_where_they_are(patch: Patch) -> None:
    patch.setattr(CursorRepair, "step", lambda self, reader, now_s: None)


def who_is_not_of_the_agreed_time_hands_over(patch: Patch) -> None:
    """A pause keeps the leadership from going round, so that it is switched off too."""
    patch.setattr("raftsched.scheduler.hand_over._PAUSE_S", 0.0)

    def better_placed(self: cluster_time.ClusterTime) -> tuple[str, ...]:
        if abs(self.own_offset_us) <= cluster_time.LARGEST_OFFSET_US or self._agreement is None:
            return ()
        return tuple(sorted(self._agreement.node_ids - {self._node_id}))

    patch.setattr(cluster_time.ClusterTime, "better_placed", better_placed)


def executors_report_by_their_own_clocks(patch: Patch) -> None:
    """The entry that takes the report bounds it, so that it is switched off too."""
    patch.setattr(LeaderTime, "known_us", lambda self: 0)
    patch.setattr(attempts, "_within", lambda reported_us, low_us, high_us: reported_us)


def armed_ones_start_when_they_come(patch: Patch) -> None:
    patch.setattr(LeaderTime, "earliest_us", lambda self: self.now_us() + 10_000_000)


def what_vanishes_runs_again_at_once(patch: Patch) -> None:
    again = attempts._again
    patch.setattr(attempts, "_again", lambda *args: again(*args[:-1], 0 if args[3] == ExecutionState.LOST else args[4]))


def a_change_is_answered_at_once(patch: Patch) -> None:
    async def told(_api: ApiContext, _ids: Iterable[bytes], **_: bool) -> list[task_pb2.TaskWarning]:
        return []

    patch.setattr("raftsched.api.tasks.service.await_withdrawn", told)


def what_is_given_back_starts_all_the_same(patch: Patch) -> None:
    patch.setattr(Armed, "take_out", lambda self, key: self._items.get(key))


def armed_ones_start_without_a_lease(patch: Patch) -> None:
    patch.setattr(Armed, "leased_until_s", property(lambda self: float("inf"), lambda self, _: None), raising=False)


def everything_may_be_proposed(patch: Patch) -> None:
    patch.setattr(Gate, "check", lambda self, command: None)


def what_is_newer_is_rejected(patch: Patch) -> None:
    """The node goes on without it, and with tables and snapshots that are newer."""
    apply = machine.apply

    def reject(batch: Batch, index: int, data: bytes, versions: Versions) -> machine.Applied:
        if pb.Command.FromString(data).version > versions.newest:
            return machine.Applied(rejected(machine.INVALID_ARGUMENT, "not known"))
        return apply(batch, index, data, versions)

    patch.setattr("raftsched.node.replica.apply", reject)
    patch.setattr(Versions, "check", lambda self, what, version: None)


MUTATIONS = [
    SystemMutation("armed ones wait for their time", armed_ones_start_when_they_come, ("early",), "system-leaders"),
    SystemMutation(
        "what was armed for later waits for its time when its executor vanishes",
        what_vanishes_runs_again_at_once,
        ("early",),
        "system-executors",
        first_seed=50,
    ),
    SystemMutation(
        "a pause is answered when nothing starts any more",
        a_change_is_answered_at_once,
        ("paused",),
        schedule=schedules.a_pause_that_does_not_reach_the_executor,
    ),
    SystemMutation(
        "what is given back does not start",
        what_is_given_back_starts_all_the_same,
        ("paused", "attempt", "early"),
        schedule=schedules.a_pause_just_before_the_time,
    ),
    SystemMutation(
        "nothing armed starts without a lease",
        armed_ones_start_without_a_lease,
        ("paused",),
        schedule=schedules.an_executor_that_slept_through_its_lease,
    ),
    SystemMutation(
        "the gate: nothing that a member does not know", everything_may_be_proposed, ("version",), profile="versions"
    ),
    SystemMutation(
        "an older node stops at what is newer",
        what_is_newer_is_rejected,
        ("determinism", "no convergence", "the nodes do not stay agreed"),
        profile="versions",
    ),
    SystemMutation(
        "a majority says what time it is",
        every_node_goes_by_its_own_clock,
        ("truth", "silent", "deleted", "end", "leadership", "record"),
        profile="clocks",
    ),
    SystemMutation(
        "a jump is believed when it lasts", a_jump_is_believed_at_once, ("truth",), profile="clocks-together"
    ),
    SystemMutation(
        "nobody hands over to a clock that is as wrong",
        who_is_not_of_the_agreed_time_hands_over,
        ("leadership", "end"),
        profile="clocks-together",
    ),
    SystemMutation(
        "the pace of retention",
        retention_follows_at_once,
        ("deleted",),
        schedule=schedules.clocks_that_were_all_weeks_ahead,
    ),
    SystemMutation(
        "cursors that are ahead are led back",
        cursors_stay_where_they_are,
        ("silent",),
        schedule=schedules.clocks_that_were_all_an_hour_ahead,
    ),
    SystemMutation(
        "executors report by the leader's time", executors_report_by_their_own_clocks, ("record",), profile="clocks"
    ),
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
    SystemMutation("a fencing token for each attempt", tokens_of_the_entry, ("fencing",)),
    SystemMutation("memory of request ids", no_request_memory, ("request id", "not linearizable")),
    SystemMutation(
        "dispatch after apply", dispatch_when_proposed, ("attempt", "fencing", "at most once", "ghost", "end")
    ),
    SystemMutation("acknowledge after apply", acknowledge_what_arrives, ("end", "report")),
    SystemMutation("journal before the start", run_before_it_is_written_down, ("attempt", "at most once", "end")),
    SystemMutation(
        "sync before an at-most-once start",
        at_most_once_without_sync,
        ("at most once", "attempt", "lease"),
        "system-executors",
    ),
]
