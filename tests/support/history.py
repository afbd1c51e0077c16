"""Checks what a cluster recorded against what its schedules asked for. Shares no code with the scheduler."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from raftsched_proto.v1 import execution_pb2

RAN = execution_pb2.DECISION_RAN


def interval_times(first: datetime, last: datetime, every_s: int) -> list[datetime]:
    """first, first + every, ... up to last."""
    count = int((last - first).total_seconds()) // every_s
    return [datetime.fromtimestamp(first.timestamp() + every_s * number, UTC) for number in range(count + 1)]


def nominal(entry: execution_pb2.LedgerEntry) -> datetime:
    """The first nominal time of an entry."""
    return entry.nominal_time.ToDatetime(UTC)


def decided_times(entries: Iterable[execution_pb2.LedgerEntry], expected: Sequence[datetime]) -> Counter[datetime]:
    """How often each expected nominal time was decided, by entries of the schedule."""
    decided: Counter[datetime] = Counter()
    for entry in entries:
        if entry.trigger != execution_pb2.TRIGGER_SCHEDULE:
            continue
        last = entry.last_nominal_time.ToDatetime(UTC)
        decided.update(time for time in expected if nominal(entry) <= time <= last)
    return decided


def assert_each_decided_once(
    task: str, entries: Iterable[execution_pb2.LedgerEntry], expected: Sequence[datetime]
) -> None:
    """Every expected nominal time is in exactly one entry."""
    decided = decided_times(entries, expected)
    missing = [time.isoformat() for time in expected if decided[time] == 0]
    twice = [time.isoformat() for time in expected if decided[time] > 1]
    assert not missing, f"{task}: {len(missing)} nominal times have no record: {missing[:5]}"
    assert not twice, f"{task}: {len(twice)} nominal times were decided more than once: {twice[:5]}"


def assert_one_execution_per_nominal_time(executions: Iterable[execution_pb2.Execution]) -> None:
    """No nominal time of a task has two executions."""
    seen = Counter(
        (execution.task, execution.nominal_time.ToMicroseconds())
        for execution in executions
        if execution.trigger == execution_pb2.TRIGGER_SCHEDULE
    )
    twice = [key for key, count in seen.items() if count > 1]
    assert not twice, f"nominal times with two executions: {twice[:5]}"


def start_delay_s(execution: execution_pb2.Execution) -> float:
    """Seconds from the nominal time to the start."""
    return (execution.start_time.ToMicroseconds() - execution.nominal_time.ToMicroseconds()) / 1e6
