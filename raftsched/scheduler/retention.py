"""Removes what is older than it must be kept, a little at a time.

Age is counted by a time of its own, which a wrong clock cannot carry off: it is never ahead of the agreed time, waits
when that has jumped, and goes at most ``PACE`` times as fast as time passes. So even a majority of clocks that is wrong
for an hour costs at most the records of the oldest ten hours.
"""

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.state import ids
from raftsched.core.state.model import SECOND_US, ExecutionState, Trigger
from raftsched.core.state.rows import (
    RETENTION_TIME_KEY,
    ExecutionRow,
    LedgerRow,
    be64,
    ledger_key_after_task,
    parse_ledger_key,
    timestamp_us,
)
from raftsched.core.times.paced_time import PACE
from raftsched.ports import AgreedClock, Fate, Reader, Table
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings

_LEDGER_ROWS_READ = 5_000
_CHANGE_ROWS_READ = 500
_SAVE_US = 600 * SECOND_US
"""The time of retention is saved when it has gone on by so much, or with what it removes."""


class Retention:
    """Names old rows in Retire commands; applying one removes them on every node alike."""

    def __init__(self, proposer: Proposer, clock: AgreedClock, settings: SchedulerSettings) -> None:
        self._proposer = proposer
        self._clock = clock
        self._settings = settings
        self._began_s = clock.monotonic()
        self._time_us = 0
        """The time that age is counted by, as of ``_time_at_s``; 0: not known yet."""
        self._time_at_s = 0.0
        self._saved_us = 0
        self._under_way = False
        self._next_s = 0.0
        self._executions_resume = b""
        self._ledger_resume = b""
        self._changes_resume = b""
        self._rounds_resume = b""

    def step(self, reader: Reader, now_s: float) -> None:
        """Propose one batch, when it is time for one."""
        if self._under_way or now_s < self._next_s:
            return
        if not self._time_us:
            self._begin(reader, now_s)
        settled_s = max(self._began_s, self._clock.stepped_at_s) + self._settings.retention_settle_s
        if now_s < settled_s:
            self._next_s = min(settled_s, now_s + self._settings.retention_interval_s)
            return
        self._next_s = now_s + self._settings.retention_interval_s
        command = self._proposer.command()
        self._go_on(command.now_us, now_s)
        self._old_executions(reader, command)
        self._old_ledger(reader, command)
        self._old_changes(reader, command)
        self._old_requests(reader, command)
        self._old_rounds(reader, command)
        retire = command.retire
        full = (
            self._executions_resume
            or len(retire.request_expiry_keys) >= self._settings.retention_batch_rows
            or len(retire.ledger_keys) >= self._settings.retention_batch_rows
        )
        if retire.ByteSize() or abs(self._time_us - self._saved_us) >= _SAVE_US:
            self._under_way = True
            self._saved_us = retire.time_us = self._time_us
            self._proposer.propose(command, self._finish)
        if full:
            self._next_s = now_s

    def _finish(self, _fate: Fate) -> None:
        self._under_way = False

    def _begin(self, reader: Reader, now_s: float) -> None:
        """Go on where the leader before has left the time of retention.

        Where none has, it is the present one, at once: what is agreed on once nothing more is feared may be another.
        """
        saved = reader.get(Table.META, RETENTION_TIME_KEY)
        self._saved_us = 0 if saved is None else int.from_bytes(saved, "big")
        self._time_us, self._time_at_s = self._saved_us or self._clock.now_us(), now_s

    def _go_on(self, now_us: int, now_s: float) -> None:
        """Let the time of retention go on from where it stood."""
        passed_us = int((now_s - self._time_at_s) * PACE * SECOND_US)
        self._time_us, self._time_at_s = min(now_us, self._time_us + passed_us), now_s

    def _old_executions(self, reader: Reader, command: pb.Command) -> None:
        """Oldest nominal time first, in several steps when there is much.

        What was decided late is as old as its decision. Backfills stay for their time whatever the number: by their
        nominal times they would be the first to go, as soon as they have ended.
        """
        cutoff_us = self._time_us - self._settings.keep_executions_s * SECOND_US
        cutoff = ids.first_id(cutoff_us)
        excess = reader.count(Table.EXECUTIONS) - self._settings.keep_executions_count
        room = self._settings.retention_batch_rows
        for execution_id, value in reader.scan(Table.EXECUTIONS, self._executions_resume):
            if execution_id >= cutoff and excess <= 0:
                break
            if room <= 0:
                self._executions_resume = execution_id
                return
            room -= 1
            row = ExecutionRow.FromString(value)
            is_old = row.fire_us < cutoff_us
            if row.trigger == Trigger.BACKFILL and not is_old:
                continue
            excess -= 1
            if ExecutionState(row.state).ended and (is_old or excess >= 0):
                command.retire.execution_ids.append(execution_id)
        self._executions_resume = b""

    def _old_ledger(self, reader: Reader, command: pb.Command) -> None:
        """The ledger sorts by task, then by nominal time: a walk over its tasks, which goes on where it stopped.

        It leaves a task at its first nominal time that is to be kept: it takes as long as there are tasks and old
        entries, not as long as there are entries.
        """
        cutoff_us = self._time_us - self._settings.keep_ledger_s * SECOND_US
        rows = 0
        resume: bytes | None = self._ledger_resume
        while resume is not None:
            start, resume = resume, None
            for key, value in reader.scan(Table.LEDGER, start):
                rows += 1
                if rows > _LEDGER_ROWS_READ:
                    self._ledger_resume = key
                    return
                name, nominal_us, _ = parse_ledger_key(key)
                if nominal_us >= cutoff_us:
                    resume = ledger_key_after_task(name)
                    break
                # What was decided late, as by a backfill, is as old as its decision.
                if LedgerRow.FromString(value).decide_us < cutoff_us:
                    command.retire.ledger_keys.append(key)
        self._ledger_resume = b""

    def _old_changes(self, reader: Reader, command: pb.Command) -> None:
        """Walks as through the ledger; a replaced definition is as old as its last change."""
        cutoff_us = self._time_us - self._settings.keep_ledger_s * SECOND_US
        for rows, (key, value) in enumerate(reader.scan(Table.TASK_CHANGES, self._changes_resume), start=1):
            self._changes_resume = key
            row = pb.TaskRow.FromString(value)
            if (row.delete_us or timestamp_us(row.task.update_time)) < cutoff_us:
                command.retire.task_change_keys.append(key)
            if rows >= _CHANGE_ROWS_READ:
                return
        self._changes_resume = b""

    def _old_requests(self, reader: Reader, command: pb.Command) -> None:
        for key, _ in reader.scan(Table.REQUEST_EXPIRY, stop=be64(self._time_us)):
            if len(command.retire.request_expiry_keys) >= self._settings.retention_batch_rows:
                return
            command.retire.request_expiry_keys.append(key)

    def _old_rounds(self, reader: Reader, command: pb.Command) -> None:
        """Rounds of chains in which a task has waited for longer than executions are kept."""
        cutoff_us = self._time_us - self._settings.keep_executions_s * SECOND_US
        for rows, (key, value) in enumerate(reader.scan(Table.ROUNDS, self._rounds_resume), start=1):
            self._rounds_resume = key
            if pb.RoundRow.FromString(value).begin_us < cutoff_us:
                command.retire.round_keys.append(key)
            if rows >= self._settings.retention_batch_rows:
                return
        self._rounds_resume = b""
