"""Limits and periods of the leader's work."""

from dataclasses import dataclass

from raftsched.ports import Peer


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """Limits and periods of the leader's work."""

    lease_ms: int = 5_000
    """An executor that is not heard of for this long loses its attempts."""
    heartbeat_interval_ms: int = 1_000
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
    reconcile_interval_s: float = 1.0
    copy_nodes: tuple[Peer, ...] = ()
    """Nodes that take second copies of outputs."""
