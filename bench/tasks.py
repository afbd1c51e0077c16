"""What the workloads share: making tasks, waiting for their executions, and how late those were."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from raftsched_client import Client, task
from raftsched_proto.v1 import execution_pb2, task_pb2

FAR = datetime(2100, 1, 1, tzinfo=UTC)
_OPEN_STATES = (
    execution_pb2.EXECUTION_STATE_ARMED,
    execution_pb2.EXECUTION_STATE_PENDING,
    execution_pb2.EXECUTION_STATE_ASSIGNED,
    execution_pb2.EXECUTION_STATE_RUNNING,
)


def new_task(name: str, action: str, **schedule: object) -> task_pb2.Task:
    """A task that runs ``/bin/true`` (action "command"), or nothing (action "noop")."""
    what = {"noop": True} if action == "noop" else {"command": ["/bin/true"]}
    return task(name, **schedule, **what)


def far_tasks(prefix: str, count: int) -> Iterator[task_pb2.Task]:
    """Tasks that do not fire while anybody measures. Made from one, since making each anew costs more than sending."""
    made = task("x", at=FAR, noop=True)
    for number in range(count):
        each = task_pb2.Task()
        each.CopyFrom(made)
        each.name = f"{prefix}-{number:07}"
        yield each


def create(client: Client, tasks: Iterable[task_pb2.Task], batch_size: int = 1_000) -> None:
    """Register all, or end the program."""
    failed = [result for result in client.create_tasks(tasks, batch_size=batch_size) if result.code]
    if failed:
        raise SystemExit(f"{len(failed)} registrations failed: {failed[0].message}")


def sleep_until(when: datetime) -> None:
    time.sleep(max(0.0, (when - datetime.now(UTC)).total_seconds()))


def wait_for_ends(client: Client, count: int, within_s: float) -> None:
    """Until the cluster counts as many executions, and none of them is open."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if client.get_status().counts.executions >= count and not any(
            True for _ in client.list_executions(states=_OPEN_STATES, page_size=1)
        ):
            return
        time.sleep(0.5)
    raise SystemExit(f"not all of {count} executions ended within {within_s:.0f} s")


def lateness_s(client: Client, start: datetime, end: datetime) -> list[float]:
    """From the nominal time to the start of each execution with a nominal time in the range."""
    return [
        (each.start_time.ToMicroseconds() - each.nominal_time.ToMicroseconds()) / 1e6
        for each in client.list_executions(start=start, end=end + timedelta(microseconds=1))
        if each.HasField("start_time")
    ]
