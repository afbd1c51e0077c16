"""The history index: how quickly lists and searches answer over a large state, and what it takes off the fire rate."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from raftsched_client import Client, ExecutionState, RaftschedError, TaskState, task
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from bench.cluster import Cluster
from bench.herd import herd
from bench.measure import Figures, Stopwatch, usage
from raftsched.core.state import ids
from raftsched.core.state.model import SECOND_US
from raftsched.core.state.model import ExecutionState as State
from raftsched.core.state.rows import (
    ExecutionRow,
    LedgerRow,
    due_key,
    due_value,
    encode_cursor,
    failure_key,
    ledger_key,
)
from raftsched.ports import Table
from raftsched.store.lmdb_store import LmdbStore

_FAR_US = 4_102_444_800 * SECOND_US
_SPAN_S = 6 * 24 * 3600
"""Within what the leader's retention keeps."""
_WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar".split()  # noqa: SIM905 - words read better in a line
_BATCH = 20_000


def history(
    *,
    tasks: int = 100_000,
    executions: int = 1_000_000,
    queries: int = 30,
    herds: int = 5,
    herd_of: int = 10_000,
    first_port: int = 7651,
) -> Figures:
    """Lists and searches over 100,000 tasks and 1,000,000 executions; the fire rate with the index and without it."""
    figures: Figures = {"tasks": tasks, "executions": executions}
    if executions:
        with tempfile.TemporaryDirectory(prefix="raftsched-bench-") as directory:
            figures |= _queries(Path(directory), tasks, executions, queries, first_port)
    if herds:
        figures |= _fire_rates(herds, herd_of, first_port)
    return figures


def _queries(directory: Path, tasks: int, executions: int, queries: int, port: int) -> Figures:
    with _node(directory, port) as client:
        _eventually(lambda: client.get_status(timeout=2).leader_id)
    _fill(directory / "state", tasks, executions)
    # The index of the empty node stands where the log does, and would not look for rows that no entry wrote.
    shutil.rmtree(directory / "history")
    with _node(directory, port) as client:
        _eventually(lambda: client.get_status(timeout=2).leader_id)
        watch = Stopwatch()
        _eventually(lambda: _is_complete(client, executions), within_s=1800)
        status = client.get_history_status()
        figures: Figures = {
            "rebuild_s": round(watch.seconds),
            "index_mib": round(status.size_bytes / (1 << 20)),
        }
        for name, question in _questions(client, tasks).items():
            took_ms = []
            for _ in range(queries):
                call = Stopwatch()
                question()
                took_ms.append(call.seconds * 1000)
            figures[f"{name}_p50_ms"] = round(statistics.median(took_ms), 1)
            figures[f"{name}_max_ms"] = round(max(took_ms), 1)
    return figures


def _questions(client: Client, tasks: int) -> dict[str, Callable[[], object]]:
    """Each reads one page, as a table of the web interface does."""
    now = datetime.now(UTC)
    failed = [ExecutionState.Value("EXECUTION_STATE_FAILED")]
    paused = TaskState.Value("TASK_STATE_PAUSED")
    names = [f"task-{number:06}" for number in range(0, tasks, max(1, tasks // 100))][:100]

    def search(query: str = "", **wanted: object) -> Callable[[], object]:
        return lambda: next(client.search_logs(query, page_size=100, **wanted), None)

    def listed(**wanted: object) -> Callable[[], object]:
        return lambda: next(client.list_tasks(page_size=100, **wanted), None)

    return {
        "list_tasks": listed(),
        "list_tasks_paused": listed(state=paused),
        "list_tasks_by_label": listed(labels={"team": "t7"}),
        "list_tasks_by_next_fire": listed(order_by="next_fire_time"),
        "search_word_of_few": search("needle"),
        "search_word_of_many": search("alpha"),
        "search_phrase": search('"connection refused"'),
        "search_words": search("connection refused alpha"),
        "search_prefix": search("conn*"),
        "search_word_and_state": search("refused", states=failed),
        "search_word_and_label": search("refused", labels={"team": "t7"}),
        "search_failed": search(states=failed),
        "search_slow": search(min_duration=timedelta(seconds=29)),
        "count_last_hour": lambda: client.count_logs(percentiles=True),
        "count_6_days": lambda: client.count_logs(start=now - timedelta(days=6), bucket=timedelta(hours=3)),
        "count_6_days_percentiles": lambda: client.count_logs(
            start=now - timedelta(days=6), bucket=timedelta(hours=3), percentiles=True
        ),
        "recent_runs_of_100_tasks": lambda: client.list_recent_runs(names),
        "days_of_a_task": lambda: client.count_days(names[0]),
    }


def _is_complete(client: Client, executions: int) -> bool:
    try:
        status = client.get_history_status(timeout=2)
    except RaftschedError:
        return False
    return not status.catching_up and status.executions >= executions


@contextmanager
def _node(directory: Path, port: int) -> Iterator[Client]:
    """A cluster of one, with what is in the directory."""
    where = ["--id", "n1", "--listen", f"127.0.0.1:{port}", "--data-dir", str(directory), "--found"]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "raftsched.cli.main", "node", *where], stdout=log, stderr=log)
    try:
        with Client(f"127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _eventually(probe: Callable[[], object], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if probe():
                return
        except RaftschedError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"not within {within_s:g} s")


def _fill(path: Path, tasks: int, executions: int) -> None:
    """Rows as the state machine would have left them."""
    store = LmdbStore(path)
    now_us = time.time_ns() // 1000
    made = task("x", at=datetime(2100, 1, 1, tzinfo=UTC), noop=True)
    for number in range(tasks):
        row = pb.TaskRow(task=made, uid=number + 1, revision=1)
        name = row.task.name = f"task-{number:06}"
        row.task.labels["team"] = f"t{number % 50}"
        row.task.generation = 1
        row.task.paused = number % 1000 == 0
        row.task.create_time.FromMicroseconds(now_us)
        row.task.update_time.FromMicroseconds(now_us)
        next_us = _FAR_US + number * 7919 % tasks * SECOND_US
        batch, key = store.batch(), name.encode()
        batch.put(Table.TASKS, key, row.SerializeToString(deterministic=True))
        batch.put(Table.CURSORS, key, encode_cursor(next_us, 0))
        if not row.task.paused:
            batch.put(Table.DUE, due_key(next_us, key), due_value(row.uid, 1))
        if number % _BATCH == 0:
            store.commit()
    step_us = _SPAN_S * SECOND_US // max(1, executions)
    for number in range(executions):
        _put_execution(store, number, number * 7919 % tasks, now_us - (executions - number) * step_us)
        if number % _BATCH == 0:
            store.commit()
    store.commit()
    store.close()


def _put_execution(store: LmdbStore, number: int, task_number: int, nominal_us: int) -> None:
    failed = number % 20 == 0
    start_us = nominal_us + 5_000 + number % 50_000
    words = " ".join(_WORDS[number // 7**place % len(_WORDS)] for place in range(6))
    row = ExecutionRow(
        task=f"task-{task_number:06}",
        uid=task_number + 1,
        generation=1,
        trigger=1,
        nominal_us=nominal_us,
        state=State.FAILED if failed else State.SUCCEEDED,
        attempt=1,
        fencing_token=number + 1,
        executor_id=f"n{number % 3 + 1}-0123abcd",
        fire_us=nominal_us + 1_000,
        result=AttemptResult(
            start_us=start_us,
            end_us=start_us + number % 30 * SECOND_US + 12_345,
            exit_code=1 if failed else 0,
            error=f"connection refused by 10.0.{number % 256}.7:80" if failed else "",
            output_tail=f"{words} {'needle' if number % 100_003 == 0 else ''} line {number}\n".encode(),
        ),
        leader_id="n1",
        term=1,
    )
    execution_id = ids.execution_id(row.uid, 1, nominal_us)
    batch = store.batch()
    batch.put(Table.EXECUTIONS, execution_id, row.SerializeToString())
    if failed:
        batch.put(Table.FAILURES, failure_key(row.state, execution_id), b"")
    ledger = LedgerRow(last_nominal_us=nominal_us, count=1, decision=1, trigger=1, decide_us=row.fire_us, uid=row.uid)
    batch.put(Table.LEDGER, ledger_key(row.task, nominal_us, execution_id), ledger.SerializeToString())


@dataclass(frozen=True, slots=True)
class _Run:
    """One herd on a fresh cluster."""

    fires_per_s: float
    cpu_s_per_1000: float
    """Of all nodes, for registering and firing, until the indexes have all of it."""


def _fire_rates(herds: int, count: int, port: int) -> Figures:
    """Herds on fresh clusters, with the index and without, in pairs: what else the machine does meets both alike.

    The first of a pair is one with the index in every second pair. What is compared is the two of a pair: their ratio.
    """
    pairs: list[tuple[_Run, _Run]] = []
    for number in range(herds):
        order = (True, False) if number % 2 else (False, True)
        runs = {with_history: _one_herd(with_history, count, port) for with_history in order}
        pairs.append((runs[True], runs[False]))
    slower = [(off.fires_per_s - on.fires_per_s) / off.fires_per_s * 100 for on, off in pairs]
    dearer = [(on.cpu_s_per_1000 - off.cpu_s_per_1000) / off.cpu_s_per_1000 * 100 for on, off in pairs]
    on, off = ([pair[place] for pair in pairs] for place in (0, 1))
    return {
        "herds_of": count,
        "pairs": herds,
        **_spread("fires_per_s_with_history", [run.fires_per_s for run in on], 0),
        **_spread("fires_per_s_without", [run.fires_per_s for run in off], 0),
        **_spread("history_takes_percent_of_the_rate", slower, 1),
        **_spread("cpu_s_per_1000_with_history", [run.cpu_s_per_1000 for run in on], 2),
        **_spread("cpu_s_per_1000_without", [run.cpu_s_per_1000 for run in off], 2),
        **_spread("history_adds_percent_of_cpu", dearer, 1),
    }


def _one_herd(with_history: bool, count: int, port: int) -> _Run:
    os.environ["RAFTSCHED_HISTORY__ENABLED"] = "true" if with_history else "false"
    try:
        with Cluster(port) as cluster:
            before = usage(cluster.pids())
            figures = herd(cluster, count=count)
            if with_history:
                for endpoint in cluster.endpoints:
                    with Client(endpoint, timeout=30) as client:
                        _eventually(partial(_is_complete, client, count), within_s=300)
            after = usage(cluster.pids())
    finally:
        del os.environ["RAFTSCHED_HISTORY__ENABLED"]
    return _Run(count / float(figures["lateness_max_s"]), (after.cpu_s - before.cpu_s) / count * 1000)


def _spread(name: str, values: list[float], digits: int) -> Figures:
    return {
        name: round(statistics.median(values), digits),
        f"{name}_least": round(min(values), digits),
        f"{name}_most": round(max(values), digits),
    }
