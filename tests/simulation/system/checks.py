"""What must hold when all is over: of the tables, of what really ran, and of what clients were told."""

from collections import Counter, defaultdict
from itertools import pairwise

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.state import ids
from raftsched.ports import Reader, Table
from tests.simulation.consensus.world import Violation
from tests.simulation.system.clients import Observed
from tests.simulation.system.ground import Ground, Process
from tests.simulation.system.ledger import (
    AT_MOST_ONCE,
    CANCELLED,
    DECIDED_LOST,
    EXPIRED,
    LOST,
    RAN,
    SCHEDULE,
    SKIPPED,
    SUCCEEDED,
    Decided,
    LogChecks,
    open_executions,
)
from tests.support.linearizable import BudgetExceeded, describe, is_linearizable

START_WITHIN_S = 10.0
"""What the README promises, of nominal times after the last fault."""
_TRANSIENT = (Table.PENDING, Table.RANKED, Table.HELD, Table.OPEN, Table.TIMERS, Table.ACTIVE)


def check_end(reader: Reader, log: LogChecks, ground: Ground, observed: Observed) -> None:
    """All checks on a cluster that is at rest."""
    check_tables(reader, log)
    check_runs(ground, log)
    check_told(reader, log, observed)
    check_registers(observed)


def check_tables(reader: Reader, log: LogChecks) -> None:
    """What the log was seen to do is what the tables hold, every execution has ended, and no index names one."""
    state = log.state
    rows = {key: pb.ExecutionRow.FromString(value) for key, value in reader.scan(Table.EXECUTIONS)}
    still_open = open_executions(rows.items())
    if still_open:
        shown = [(rows[key].task, key.hex(), rows[key].state, rows[key].attempt) for key in still_open[:5]]
        raise Violation(f"end: {len(still_open)} executions have not ended: {shown}")
    for table in _TRANSIENT:
        left = list(reader.scan(table))
        if left:
            raise Violation(f"end: all executions have ended, and {table.name} still names {left[:3]}")
    for _, value in reader.scan(Table.GROUPS):
        group = pb.GroupRow.FromString(value)
        if group.running:
            raise Violation(f"end: all executions have ended, and the group {group.group.name} counts {group.running}")
    _check_attempts_kept(reader, rows)
    expected = {key for key in state.executions if key not in state.retired}
    if rows.keys() != expected:
        raise Violation(f"end: {len(rows.keys() ^ expected)} executions are missing or nobody's")
    for name, task in state.tasks.items():
        row = pb.CursorRow.FromString(reader.get(Table.CURSORS, name.encode()) or b"")
        if row.next_us != task.cursor:
            raise Violation(f"end: the cursor of {name} is at {row.next_us}, it should be at {task.cursor}")
    names = {key.decode() for key, _ in reader.scan(Table.TASKS)}
    if names != state.tasks.keys():
        raise Violation(f"end: tasks on one side only: {sorted(names ^ state.tasks.keys())[:5]}")
    _check_decisions(log)


def _check_attempts_kept(reader: Reader, rows: dict[bytes, pb.ExecutionRow]) -> None:
    """Of each execution every attempt but the last, and of none that is gone."""
    kept = Counter(key[:16] for key, _ in reader.scan(Table.ATTEMPTS))
    expected = Counter({key: row.attempt - 1 for key, row in rows.items() if row.attempt > 1})
    if kept != expected:
        differing = [key.hex() for key in kept.keys() | expected.keys() if kept[key] != expected[key]]
        raise Violation(f"attempts: those of {len(differing)} executions are missing or nobody's: {differing[:3]}")


def _check_decisions(log: LogChecks) -> None:
    """Each decision to run has one execution, and none other has any that started."""
    state = log.state
    parts: dict[bytes, list[pb.ExecutionRow]] = defaultdict(list)
    for row in state.executions.values():
        if row.nominal_id:
            parts[row.nominal_id].append(row)
    for key, entry in state.decided.items():
        if entry.executor_ids:
            _check_parts(key, entry, parts.pop(key, []))
            continue
        row = state.executions.get(key)
        if entry.decision == RAN and row is None:
            raise Violation(f"ledger: {entry.task} ran at {entry.nominal}, and there is no execution")
        if row is not None and (entry.decision == DECIDED_LOST) != (row.state == LOST):
            raise Violation(f"ledger: {key.hex()} ended as {row.state}, and its entry says {entry.decision}")
        withdrawn = row is not None and row.state == CANCELLED and not row.result.start_us
        if row is not None and entry.decision == SKIPPED and row.state != EXPIRED and not withdrawn:
            raise Violation(f"ledger: {entry.task} did not run at {entry.nominal}, and {key.hex()} is {row.state}")
        if row is not None and row.state == EXPIRED and not entry.expired and entry.trigger == SCHEDULE:
            raise Violation(f"ledger: {key.hex()} expired, and the entry does not say so")
    lonely = [key for key, row in state.executions.items() if not row.nominal_id and key not in state.decided]
    if lonely or parts:
        raise Violation(f"ledger: {len(lonely)} executions have no entry, nor have the parts of {len(parts)}")


def _check_parts(key: bytes, entry: Decided, rows: list[pb.ExecutionRow]) -> None:
    """One execution on each executor that the entry names."""
    what = f"{entry.task} at {entry.nominal}"
    if sorted(row.pinned_executor_id for row in rows) != sorted(entry.executor_ids):
        raise Violation(f"ledger: {what} should run on {entry.executor_ids}, and has {len(rows)} executions")
    if (entry.decision == DECIDED_LOST) != any(row.state == LOST for row in rows):
        raise Violation(f"ledger: of {what} ({key.hex()}) {entry.decision} is said, {[row.state for row in rows]} are")
    elsewhere = [row.executor_id for row in rows if row.executor_id not in ("", row.pinned_executor_id)]
    if elsewhere:
        raise Violation(f"placement: {what} was given to {elsewhere}, and is not theirs")


def check_runs(ground: Ground, log: LogChecks) -> None:
    """What really ran: nothing twice that may run once, no attempt twice, tokens that rise, no run without a record."""
    starts: dict[bytes, list[Process]] = defaultdict(list)
    for process in ground.processes:
        starts[process.execution_id].append(process)
    for key, those in starts.items():
        what = f"{those[0].task} {key.hex()}"
        row = log.state.executions.get(key)
        if row is None:
            raise Violation(f"ghost: {what} ran and has no record")
        if log.state.delivery[key] == AT_MOST_ONCE and len(those) > 1:
            raise Violation(f"at most once: {what} started {len(those)} times: {_shown(those)}")
        if row.state == EXPIRED:
            raise Violation(f"start deadline: {what} expired and ran: {_shown(those)}")
        _check_attempts(what, those)
        if any(row.pinned_executor_id not in ("", process.executor_id) for process in those):
            raise Violation(f"placement: {what} is of {row.pinned_executor_id}: {_shown(those)}")
        tokens = [process.token for process in sorted(those, key=lambda each: (each.attempt, each.began))]
        if any(later < earlier for earlier, later in pairwise(tokens)):
            raise Violation(f"fencing: the tokens of {what} do not rise: {_shown(those)}")
        by_attempt = {process.attempt: process.token for process in those}
        if len(set(by_attempt.values())) != len(by_attempt):
            raise Violation(f"fencing: two attempts of {what} have one token: {_shown(those)}")
    for key, row in log.state.executions.items():
        is_command = row.state == SUCCEEDED and row.result.HasField("exit_code")
        if is_command and not any(_succeeded(each, row.attempt) for each in starts[key]):
            raise Violation(f"report: {row.task} {key.hex()} succeeded, and never ran to its end")


def _succeeded(process: Process, attempt: int) -> bool:
    return process.attempt == attempt and process.is_done and not process.exit_code


def _check_attempts(what: str, those: list[Process]) -> None:
    """An attempt starts once. Only a loss of power may make an executor forget one that may run again."""
    counted = Counter((each.attempt, each.executor_id, each.power_losses) for each in those)
    twice = [key for key, count in counted.items() if count > 1]
    places = Counter(attempt for attempt, _ in {(each.attempt, each.executor_id) for each in those})
    if twice or any(count > 1 for count in places.values()):
        raise Violation(f"attempt: one of {what} started twice: {_shown(those)}")


def _shown(processes: list[Process]) -> str:
    return "; ".join(f"#{each.attempt} at {each.began:.3f} on {each.machine}, token {each.token}" for each in processes)


def check_prompt(ground: Ground, log: LogChecks, epoch_us: int, since_s: float, until_s: float, slots: int) -> None:
    """After the last fault every execution of a task without limits starts within the promised time.

    Of its waiting counts that while not all slots are taken: no scheduler can start more than the executors have room
    for.
    """
    first: dict[bytes, float] = {}
    for process in ground.processes:
        first.setdefault(process.execution_id, process.began)
    for key, row in log.state.executions.items():
        due_s = (row.nominal_us - epoch_us) / 1e6
        limited = row.max_running or row.state == CANCELLED or row.start_by_us or row.group
        if row.trigger != SCHEDULE or limited or not since_s <= due_s <= until_s or key not in first:
            continue
        late = first[key] > due_s + START_WITHIN_S
        if late and _with_room_s(ground, slots, due_s, first[key]) > START_WITHIN_S:
            raise Violation(f"late: {row.task} was due at {due_s:.3f} and started at {first[key]:.3f}")


def _with_room_s(ground: Ground, slots: int, begin_s: float, end_s: float) -> float:
    """How much of a span of time had fewer processes than slots."""
    changes = [(begin_s, 0), (end_s, 0)]
    for process in ground.processes:
        ended_s = end_s if process.ended is None else process.ended
        if process.began < end_s and ended_s > begin_s:
            changes += [(max(begin_s, process.began), 1), (min(end_s, ended_s), -1)]
    changes.sort()
    room_s, running = 0.0, 0
    for (at_s, change), (next_s, _) in pairwise(changes):
        running += change
        room_s += next_s - at_s if running < slots else 0.0
    return room_s


def check_told(reader: Reader, log: LogChecks, observed: Observed) -> None:
    """What clients were told has happened."""
    there = {key.decode(): pb.TaskRow.FromString(value).uid for key, value in reader.scan(Table.TASKS)}
    for name, uid in observed.acknowledged.items():
        if there.get(name) != int(uid, 16):
            raise Violation(f"lost: the registration of {name} was acknowledged as {uid}, there is {there.get(name)}")
    for text in observed.runs:
        if ids.from_text(text) not in log.state.executions:
            raise Violation(f"lost: the manual run {text} was acknowledged")
    if len(set(observed.runs)) != len(observed.runs):
        raise Violation("request id: two manual runs were told the same execution")
    for text in observed.cancelled:
        row = log.state.executions[ids.from_text(text)]
        if not row.cancel_requested and row.state != CANCELLED:
            raise Violation(f"lost: the cancellation of {text} was acknowledged, and it is {row.state}")


def check_registers(observed: Observed) -> None:
    """The calls to each task are linearizable."""
    for name, calls in observed.registers.items():
        try:
            if not is_linearizable(calls):
                raise Violation(f"not linearizable: {name}\n{describe(calls)}")
        except BudgetExceeded:
            observed.ends["not judged"] = observed.ends.get("not judged", 0) + 1
