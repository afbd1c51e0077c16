"""Judges what clients were told, what the ledger says and what really ran. Shares no code with the scheduler."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import lmdb
from raftsched_client import Client, NotFoundError
from raftsched_proto.v1 import execution_pb2

from tests.chaos.workload import AT_MOST_ONCE, PAUSED, Observed
from tests.support.cluster import eventually
from tests.support.history import (
    assert_each_decided_once,
    assert_one_execution_per_nominal_time,
    interval_times,
    nominal,
    start_delay_s,
)
from tests.support.linearizable import BudgetExceeded, describe, is_linearizable

ENDED = execution_pb2.EXECUTION_STATE_SUCCEEDED
EARLY_S = 0.5
"""What docs/consensus.md promises: no clock that is wrong has anything start earlier before its time."""
_LEDGER_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Ran:
    """One start of a command, as it wrote it down itself."""

    task: str
    execution_id: str
    attempt: int
    token: int
    executor_id: str
    time_s: float


@dataclass
class Verdict:
    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fires: int = 0
    starts: int = 0
    delays_s: list[float] = field(default_factory=list)


def read_ground_truth(file: Path) -> list[Ran]:
    """The lines that commands appended, in the order of their starts."""
    lines = file.read_text().splitlines() if file.exists() else []
    fields = [line.split() for line in lines]
    return [Ran(task, id_, int(attempt), int(token), by, float(at)) for task, id_, attempt, token, by, at in fields]


def judge(client: Client, observed: Observed, ground_truth: Path) -> Verdict:
    """All checks on a cluster whose recurring tasks are paused and whose executions have ended."""
    verdict = Verdict(violations=list(observed.problems))
    executions = list(client.list_executions(page_size=1_000))
    runs = read_ground_truth(ground_truth)
    verdict.fires, verdict.starts = len(executions), len(runs)
    verdict.delays_s = sorted(start_delay_s(each) for each in executions if each.HasField("start_time"))
    checks: list[Callable[[], Iterable[str]]] = [
        lambda: check_registrations(client, observed),
        lambda: check_registers(observed, verdict.notes),
        lambda: check_recurring(client, observed),
        lambda: check_one_time(client, observed),
        lambda: check_executions(executions),
        lambda: check_runs(runs, executions),
        lambda: check_starts(runs, executions, observed),
    ]
    for check in checks:
        verdict.violations += check()
    return verdict


def check_registrations(client: Client, observed: Observed) -> Iterable[str]:
    """No acknowledged registration is lost."""
    there = {each.name for each in client.list_tasks(name_prefix="kept-", page_size=1_000)}
    lost = sorted(observed.acknowledged - there)
    if lost:
        yield f"{len(lost)} of {len(observed.acknowledged)} acknowledged registrations are lost: {lost[:5]}"


def check_registers(observed: Observed, notes: list[str]) -> Iterable[str]:
    """The calls to each task are linearizable."""
    for name, calls in observed.registers.items():
        try:
            if not is_linearizable(calls):
                yield f"the history of {name} is not linearizable:\n{describe(calls)}"
        except BudgetExceeded as error:
            notes.append(f"{name} was not judged: {error}")


def check_recurring(client: Client, observed: Observed) -> Iterable[str]:
    """Every nominal time up to now is decided exactly once."""
    for name, (first, every_s) in observed.recurring.items():
        until = datetime.now(UTC)
        entries = list(client.list_ledger(name, page_size=10_000))
        try:
            assert_each_decided_once(name, entries, interval_times(first, _last_decided(entries, until), every_s))
        except AssertionError as error:
            yield str(error)


def _last_decided(entries: list[execution_pb2.LedgerEntry], until: datetime) -> datetime:
    """The task is paused: what comes after the last entry is decided when it is resumed."""
    last = max((entry.last_nominal_time.ToDatetime(UTC) for entry in entries), default=until)
    return min(last, until)


def check_progress(client: Client, observed: Observed, until: datetime) -> Iterable[str]:
    """Every nominal time up to then has an entry soon, before anything is paused."""
    for name, (first, every_s) in observed.recurring.items():
        wanted = interval_times(first, until, every_s)
        if wanted:
            try:
                eventually(
                    lambda name=name, last=wanted[-1]: _decided_up_to(client, name) >= last,
                    within_s=_LEDGER_WITHIN_S,
                    what=f"{name} decided up to {wanted[-1]}",
                )
            except AssertionError as error:
                yield str(error)


def _decided_up_to(client: Client, name: str) -> datetime:
    moment = client.get_task(name).last_fire_time
    return moment.ToDatetime(UTC)


def check_one_time(client: Client, observed: Observed) -> Iterable[str]:
    """Each acknowledged one-time task was decided once, at its nominal time."""
    for name, at in observed.one_time.items():
        try:
            entries = list(client.list_ledger(name))
        except NotFoundError:
            yield f"{name} was acknowledged and is gone"
            continue
        times = [nominal(entry) for entry in entries if entry.trigger == execution_pb2.TRIGGER_SCHEDULE]
        if times != [at]:
            yield f"{name} was due at {at} and decided at {times}"


def check_executions(executions: list[execution_pb2.Execution]) -> Iterable[str]:
    """One execution for each nominal time, and all of them have ended."""
    try:
        assert_one_execution_per_nominal_time(executions)
    except AssertionError as error:
        yield str(error)
    open_ = [each for each in executions if each.state < ENDED or not each.HasField("end_time")]
    if open_:
        yield f"{len(open_)} executions have not ended: {[(each.task, each.id, each.state) for each in open_[:5]]}"


def check_runs(runs: list[Ran], executions: list[execution_pb2.Execution]) -> Iterable[str]:
    """What really ran: nothing twice that may run once, no attempt twice, tokens that rise, no run without a record."""
    starts: dict[str, list[Ran]] = defaultdict(list)
    for run in runs:
        starts[run.execution_id].append(run)
    for id_, those in starts.items():
        if those[0].task.startswith(AT_MOST_ONCE) and len(those) > 1:
            yield f"at-most-once execution {id_} ran {len(those)} times: {those}"
        twice = [attempt for attempt, count in Counter(run.attempt for run in those).items() if count > 1]
        if twice:
            yield f"attempts {twice} of {id_} ran more than once: {those}"
        tokens = [run.token for run in sorted(those, key=lambda run: run.attempt)]
        if any(later <= earlier for earlier, later in pairwise(tokens)):
            yield f"the fencing tokens of {id_} do not rise: {those}"
    known = {each.id: each for each in executions}
    ghosts = sorted(starts.keys() - known.keys())
    if ghosts:
        yield f"{len(ghosts)} executions ran and have no record: {[starts[id_] for id_ in ghosts[:3]]}"
    for id_, execution in known.items():
        commanded = execution.task.startswith(("cmd-", AT_MOST_ONCE, PAUSED, "single-"))
        ran = any(run.attempt == execution.attempt for run in starts[id_])
        if commanded and execution.state == ENDED and not ran:
            yield f"{execution.task} {id_} attempt {execution.attempt} succeeded and never ran: {starts[id_]}"


def check_starts(runs: list[Ran], executions: list[execution_pb2.Execution], observed: Observed) -> Iterable[str]:
    """What started noted itself when: nothing before its time, nothing for a later time after an answered pause."""
    known = {each.id: each for each in executions}
    pauses: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for task, since_s, until_s in observed.pauses:
        pauses[task].append((since_s, until_s))
    first_s: dict[str, float] = {}
    for run in sorted(runs, key=lambda run: run.time_s):
        execution = known.get(run.execution_id)
        if first_s.setdefault(run.execution_id, run.time_s) < run.time_s:
            # What had started may be tried again.
            continue
        if execution is None or execution.trigger != execution_pb2.TRIGGER_SCHEDULE:
            continue
        nominal_s = execution.nominal_time.ToMicroseconds() / 1e6
        if run.time_s < nominal_s - EARLY_S:
            yield f"{run.task} {run.execution_id} started {nominal_s - run.time_s:.3f} s before its time"
        for since_s, until_s in pauses[run.task]:
            if since_s < run.time_s < until_s and nominal_s > since_s + EARLY_S:
                late_s = run.time_s - since_s
                yield f"{run.task} {run.execution_id} started {late_s:.3f} s after a pause of the task was answered"


def compare_tables(directories: Iterable[Path]) -> list[str]:
    """The state tables of stopped nodes must be the same, byte for byte. Reads the files without the node's code.

    But for the index of the last entry that each applied: one may be stopped before the last entries, which then, as a
    comparison of the states among the nodes, wrote nothing.
    """
    dumps = {directory.name: _dump(directory / "state" / "data.mdb") for directory in directories}
    (first, reference), *others = dumps.items()
    return [
        f"{first} and {name} differ in table {table}: {_difference(reference.get(table, {}), dump.get(table, {}))}"
        for name, dump in others
        for table in sorted(reference.keys() | dump.keys())
        if dump.get(table) != reference.get(table)
    ]


def _dump(file: Path) -> dict[str, dict[bytes, bytes]]:
    options = {"subdir": False, "readonly": True, "lock": False, "max_dbs": 64, "map_size": 64 << 30, "lib_version": 0}
    with lmdb.open(str(file), **options) as env, env.begin() as txn:
        # Behind the value is the checksum of the row.
        live = bytes(txn.get(b"live", db=env.open_db(b"store", txn, create=False)))[:1]
        names = [bytes(name) for name, _ in txn.cursor() if bytes(name).endswith(b"." + live)]
        dump = {}
        for name in names:
            rows = txn.cursor(env.open_db(name, txn, create=False))
            dump[name[:-2].decode()] = {bytes(key): bytes(value) for key, value in rows if key != b"applied_index"}
        assert dump, f"{file} holds no state tables"
        return dump


def _difference(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> str:
    only_one, only_other = sorted(one.keys() - other.keys()), sorted(other.keys() - one.keys())
    changed = sorted(key for key in one.keys() & other.keys() if one[key] != other[key])
    shown = [(key, one[key][:80], other[key][:80]) for key in changed[:2]]
    return f"{len(only_one)}/{len(only_other)} rows on one side only {only_one[:2]} {only_other[:2]}, changed {shown}"
