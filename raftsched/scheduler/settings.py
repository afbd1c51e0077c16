"""Limits and periods of the leader's work."""

from dataclasses import dataclass

from raftsched.core.policy.due import MAX_AHEAD_US


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """Limits and periods of the leader's work."""

    lease_ms: int = 5_000
    """An executor that is not heard of for this long loses its attempts."""
    ahead_s: float = 1.0
    """How long before their nominal times executions are decided, to be armed on executors; 0: not before. At most a
    third of a lease."""
    herd_row_us: int = 300
    """How long it takes to decide one nominal time of a herd: what that is too long for within ``ahead_s`` is decided
    earlier, up to ``MAX_AHEAD_US``."""
    deposed_s: float = 1.4
    """For how long a leader may go on as one after another has followed it: it steps down when it has heard of no
    majority for the longest election timeout."""
    fire_batch_items: int = 500
    """Nominal times decided by one log entry."""
    report_batch_items: int = 500
    pipeline_commands: int = 4
    """Commands of one kind that may be under way at once."""
    keep_executions_s: int = 7 * 86_400
    keep_executions_count: int = 1_000_000
    keep_ledger_s: int = 30 * 86_400
    retention_interval_s: float = 5.0
    retention_batch_rows: int = 1_000
    retention_settle_s: float = 60.0
    """Nothing is removed for so long after a leader began, and after the agreed time has jumped: it may jump back."""
    reconcile_interval_s: float = 1.0
    look_up_attempts: int = 500
    """Of those that an executor holds which connects, looked up in one turn of the event loop."""

    @property
    def armed_lease_ms(self) -> int:
        """For how long an executor that was heard of may start what is armed: what remains of a lease that the next
        leader counts from its first moment, while the one before goes on answering. 0: a lease is too short for it.
        """
        return max(0, self.lease_ms - round(self.deposed_s * 1000))

    @property
    def ahead_us(self) -> int:
        """How far ahead is decided. An executor that dies may have its attempts back before they are late."""
        return min(round(self.ahead_s * 1e6), self.lease_ms * 1000 // 3, self.armed_lease_ms * 1000 // 2)

    @property
    def herd_ahead_us(self) -> int:
        """How far ahead of a herd is decided at most, which takes longer. An executor that dies a lease before has its
        attempts back when their time comes; one whose lease is renewed holds them however far ahead they are.
        """
        return MAX_AHEAD_US if self.ahead_us else 0

    @property
    def heartbeat_interval_ms(self) -> int:
        """How often an executor says that it is there: two may get lost within its lease."""
        return min(1_000, self.lease_ms // 3)
