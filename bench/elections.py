"""What a dead, a frozen and a returning node cost those who write."""

import contextlib
import os
import queue
import signal
import threading
import time

from raftsched_client import Client, RaftschedError, task

from bench.cluster import Cluster
from bench.measure import Figures, Stopwatch, quantile
from bench.tasks import FAR

_CALL_S = 2.0
_BETWEEN_CALLS_S = 0.03
_WITHIN_S = 60.0


def elections(cluster: Cluster, *, kill_runs: int = 15, stop_runs: int = 15, rejoin_runs: int = 5) -> Figures:
    """The leader is killed (SIGKILL), then frozen (SIGSTOP): the time to the next acknowledged write.

    Then a follower is frozen for longer than any election timeout, and must come back without an election.
    """
    killed_ms = [_outage_ms(cluster, signal.SIGKILL) for _ in range(kill_runs)]
    stopped_ms = [_outage_ms(cluster, signal.SIGSTOP) for _ in range(stop_runs)]
    caused = sum(_rejoin(cluster) for _ in range(rejoin_runs))
    return {
        **_spread("killed", killed_ms),
        **_spread("stopped", stopped_ms),
        "rejoins": rejoin_runs,
        "elections_by_rejoins": caused,
    }


def _outage_ms(cluster: Cluster, number: signal.Signals) -> float:
    """From the signal to the first write that a surviving node acknowledges after it."""
    cluster.wait_ready(_WITHIN_S)
    leader = cluster.leader_number()
    pid = cluster.pid(f"n{leader}")
    others = [endpoint for node, endpoint in enumerate(cluster.endpoints, start=1) if node != leader]
    with Client(others, timeout=_CALL_S) as client:
        _write(client)
        outage = Stopwatch()
        os.kill(pid, number)
        outage_ms = _first_write_s(client, outage) * 1000
    if number is signal.SIGSTOP:
        os.kill(pid, signal.SIGCONT)
    else:
        cluster.script("start", str(leader))
    time.sleep(1.0)
    return outage_ms


def _first_write_s(client: Client, outage: Stopwatch) -> float:
    """When the first of many calls is acknowledged; one begins every 30 ms, whatever became of those before."""
    acknowledged: queue.SimpleQueue[float] = queue.SimpleQueue()

    def call() -> None:
        if _write(client):
            acknowledged.put(outage.seconds)

    while outage.seconds < _WITHIN_S:
        threading.Thread(target=call, daemon=True).start()
        with contextlib.suppress(queue.Empty):
            return acknowledged.get(timeout=_BETWEEN_CALLS_S)
    raise SystemExit(f"no write within {_WITHIN_S:.0f} s of the signal")


def _write(client: Client) -> bool:
    try:
        client.create_task(task(f"write-{time.monotonic_ns()}", at=FAR, noop=True))
    except RaftschedError:
        return False
    return True


def _rejoin(cluster: Cluster) -> int:
    """Elections that a follower causes which was away."""
    cluster.wait_ready(_WITHIN_S)
    leader = cluster.leader_number()
    pid = cluster.pid(f"n{leader % cluster.nodes + 1}")
    with cluster.client() as client:
        before = max(node.term for node in client.get_status().nodes)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(4.0)
        os.kill(pid, signal.SIGCONT)
        time.sleep(4.0)
        return max(node.term for node in client.get_status().nodes) - before


def _spread(what: str, values_ms: list[float]) -> Figures:
    if not values_ms:
        return {}
    return {
        f"{what}_runs": len(values_ms),
        f"{what}_median_ms": round(quantile(values_ms, 0.5)),
        f"{what}_lowest_ms": round(min(values_ms)),
        f"{what}_highest_ms": round(max(values_ms)),
    }
