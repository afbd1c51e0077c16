"""How soon the next leader fires."""

import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from raftsched_client import Client
from raftsched_proto.v1 import execution_pb2

from bench.cluster import Cluster
from bench.measure import Figures, quantile
from bench.tasks import create, new_task

_WITHIN_S = 60.0
_SETTLE_S = 3.0
"""In which the tasks fire: before the first kill, and behind each, so that what it made late has started."""


def takeover(cluster: Cluster, *, tasks: int = 500, kill_runs: int = 10, action: str = "noop") -> Figures:
    """TASKS every second; the leader is killed again and again: the time to the first start that the next one decided.

    Each start must be of a nominal time that has no other.
    """
    began = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    every = timedelta(seconds=1)
    firsts = (began + every * number / tasks for number in range(tasks))
    with cluster.client() as client:
        create(
            client,
            (new_task(f"takeover-{n:04}", action, every=every, anchor=at, start=began) for n, at in enumerate(firsts)),
        )
        time.sleep(_SETTLE_S)
        kills = [_kill(cluster, client) for _ in range(kill_runs)]
        first_starts_ms = sorted(first_start_ms for first_start_ms, _ in kills)
        armed_late_ms = sorted(late_ms for _, late in kills for late_ms in late)
        decided = Counter(
            (each.task, each.nominal_time.ToMicroseconds())
            for each in client.list_executions(start=began, end=datetime.now(UTC) - every)
            if each.trigger == execution_pb2.TRIGGER_SCHEDULE
        )
    return {
        "kills": kill_runs,
        "kill_to_first_start_median_ms": round(quantile(first_starts_ms, 0.5)),
        "kill_to_first_start_lowest_ms": round(first_starts_ms[0]),
        "kill_to_first_start_highest_ms": round(first_starts_ms[-1]),
        "armed_when_the_leader_died": len(armed_late_ms),
        "their_start_delay_p99_ms": round(quantile(armed_late_ms, 0.99), 1) if armed_late_ms else None,
        "their_start_delay_max_ms": round(armed_late_ms[-1], 1) if armed_late_ms else None,
        "executions": sum(decided.values()),
        "nominal_times_started_twice": sum(count > 1 for count in decided.values()),
    }


def _kill(cluster: Cluster, client: Client) -> tuple[float, list[float]]:
    """From the signal to the first start that another term decided, and how late what the one before had armed for
    later started on executors that live, all in milliseconds.
    """
    cluster.wait_ready(_WITHIN_S)
    leader = cluster.leader_number()
    term = max(node.term for node in client.get_status().nodes)
    killed = datetime.now(UTC)
    os.kill(cluster.pid(f"n{leader}"), signal.SIGKILL)
    cluster.script("start", str(leader))
    cluster.wait_ready(_WITHIN_S)
    time.sleep(_SETTLE_S)
    # What the outage made late has nominal times from before the signal on.
    executions = list(client.list_executions(start=killed - timedelta(seconds=2), end=datetime.now(UTC)))
    starts_us = [_start_us(each) for each in executions if each.term > term and each.HasField("start_time")]
    armed = [
        each
        for each in executions
        if each.term == term
        and each.nominal_time.ToDatetime(UTC) > killed
        and each.attempt == 1
        and not each.executor_id.startswith(f"n{leader}-")
        and each.HasField("start_time")
    ]
    late_ms = [(_start_us(each) - each.nominal_time.ToMicroseconds()) / 1000 for each in armed]
    return min(starts_us) / 1000 - killed.timestamp() * 1000, late_ms


def _start_us(execution: execution_pb2.Execution) -> int:
    return execution.start_time.ToMicroseconds()
