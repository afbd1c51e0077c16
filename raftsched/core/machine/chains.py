"""Tasks that run after other tasks: what the end of an execution makes fire.

Everything follows from the entry that ends the parent, so that no leader can forget a child or run it twice. A *round*
is one execution that no chain made, the root, and all that runs after it, directly or indirectly. In a round each task
that the root's task reaches is decided exactly once: it runs, or is skipped and its children are told so.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import policy_pb2, task_pb2

from raftsched.core.machine.admission import admit
from raftsched.core.machine.context import INVALID_ARGUMENT, Context, rejected
from raftsched.core.machine.ledger import write_ledger
from raftsched.core.machine.placement import find_execution, new_execution
from raftsched.core.machine.terms import terms_of
from raftsched.core.policy.chain import Arrival, Parent, unmet
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, Trigger
from raftsched.core.state.rows import ExecutionRow, child_key, round_key
from raftsched.ports import Table

MAX_PARENTS = 32
MAX_ANCESTORS = 1_000
"""Of one task: registering it and deciding its rounds walks them."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a task's children learn in one round."""

    root_id: bytes
    arrival: Arrival


def follow_ends(context: Context) -> None:
    """Decide what runs after the executions that the command ended."""
    ended, context.ended = context.ended, []
    if not ended or not context.batch.count(Table.CHILDREN):
        return
    work = [_told(execution_id, row) for execution_id, row in ended if _is_current(context, row)]
    _spread(context, work)


def check_parents(context: Context, task: task_pb2.Task) -> pb.Outcome | None:
    """Why a task cannot run after the parents that it names; None when it can."""
    names = [parent.task for parent in task.after]
    if task.placement == policy_pb2.PLACEMENT_EVERY and (children := children_of(context, task.name)):
        message = f"must be ANY: {children[0]} runs after this task, and EVERY has no one end to run after"
        return rejected(INVALID_ARGUMENT, message, "task.placement")
    if not names:
        return None
    if len(names) > MAX_PARENTS or len(set(names)) < len(names):
        return rejected(INVALID_ARGUMENT, f"names at most {MAX_PARENTS} tasks, each once", "task.after")
    lines: list[set[str]] = []
    for name in names:
        if name == task.name:
            return rejected(INVALID_ARGUMENT, f"{name} cannot run after itself", "task.after")
        parent = _task(context, name)
        if parent is not None and parent.task.placement == policy_pb2.PLACEMENT_EVERY:
            message = f"{name} runs on every executor (placement EVERY), and has no one end to run after"
            return rejected(INVALID_ARGUMENT, message, "task.after")
        if parent is None:
            return rejected(INVALID_ARGUMENT, f"there is no task named {name!r}", "task.after")
        came_from = _ancestors(context, name)
        if task.name in came_from:
            path = " -> ".join(_path(came_from, task.name))
            return rejected(INVALID_ARGUMENT, f"is a cycle: {path} -> {task.name}", "task.after")
        if len(came_from) > MAX_ANCESTORS:
            return rejected(INVALID_ARGUMENT, f"more than {MAX_ANCESTORS} tasks come before it", "task.after")
        lines.append(set(came_from))
    if not set.intersection(*lines):
        message = (
            f"no task comes before all of {', '.join(names)}, so that they never end in one round: let them run after "
            "a common task, which may do nothing"
        )
        return rejected(INVALID_ARGUMENT, message, "task.after")
    return None


def link(context: Context, task: task_pb2.Task) -> None:
    """Enter a task among the children of its parents."""
    for parent in task.after:
        context.batch.put(Table.CHILDREN, child_key(parent.task, task.name), b"")


def unlink(context: Context, task: task_pb2.Task) -> None:
    """Take a task out from among the children of its parents."""
    for parent in task.after:
        context.batch.delete(Table.CHILDREN, child_key(parent.task, task.name))


def children_of(context: Context, name: str) -> list[str]:
    """The tasks that run after this one, by name."""
    start = child_key(name, "")
    return [key[len(start) :].decode() for key, _ in context.batch.scan(Table.CHILDREN, start, name.encode() + b"\1")]


def give_up_rounds(context: Context, row: pb.TaskRow, reason: str) -> None:
    """Skip the rounds in which a task waits for further parents, and tell its children."""
    work: list[_Told] = []
    for key in [
        key for key, _ in context.batch.scan(Table.ROUNDS, round_key(row.uid, b""), round_key(row.uid + 1, b""))
    ]:
        found = context.batch.get(Table.ROUNDS, key)
        context.batch.delete(Table.ROUNDS, key)
        arrivals = pb.RoundRow.FromString(found or b"").arrivals
        work += _decide(context, row, key[8:], [_arrival(each) for each in arrivals], reason)
    _spread(context, work)


def retire_rounds(context: Context, keys: Iterator[bytes]) -> None:
    """Skip what waits in rounds that retention names."""
    for key in keys:
        found = context.batch.get(Table.ROUNDS, key)
        if found is None:
            continue
        context.batch.delete(Table.ROUNDS, key)
        row = pb.RoundRow.FromString(found)
        task = _task(context, row.task)
        if task is not None and task.uid == int.from_bytes(key[:8], "big"):
            reason = "the tasks it runs after did not all end in time"
            _spread(context, _decide(context, task, key[8:], [_arrival(each) for each in row.arrivals], reason))


def _spread(context: Context, work: list[_Told]) -> None:
    """Tell the children, and theirs where one is skipped. The graph has no cycle, so that this ends."""
    while work:
        told = work.pop(0)
        for name in children_of(context, told.arrival.task):
            child = _task(context, name)
            if child is not None:
                work += _arrive(context, child, told)


def _arrive(context: Context, child: pb.TaskRow, told: _Told) -> list[_Told]:
    """A parent has ended in a round: decide the child when it was the last one awaited."""
    if len(child.task.after) == 1:
        return _decide(context, child, told.root_id, [told.arrival])
    key = round_key(child.uid, told.root_id)
    found = context.batch.get(Table.ROUNDS, key)
    row = pb.RoundRow.FromString(found) if found else _new_round(context, child, told.root_id)
    row.arrivals.add(task=told.arrival.task, execution_id=told.arrival.execution_id, state=told.arrival.state)
    arrived = {arrival.task for arrival in row.arrivals}
    if not arrived.issuperset(row.awaited):
        context.batch.put(Table.ROUNDS, key, row.SerializeToString())
        return []
    context.batch.delete(Table.ROUNDS, key)
    return _decide(context, child, told.root_id, [_arrival(each) for each in row.arrivals])


def _new_round(context: Context, child: pb.TaskRow, root_id: bytes) -> pb.RoundRow:
    """Awaits those of the parents that the round reaches."""
    root = find_execution(context, root_id)
    awaited = [
        parent.task for parent in child.task.after if root is None or root.task in _ancestors(context, parent.task)
    ]
    return pb.RoundRow(task=child.task.name, awaited=awaited, begin_us=context.command.now_us)


def _decide(
    context: Context, child: pb.TaskRow, root_id: bytes, arrivals: list[Arrival], reason: str = ""
) -> list[_Told]:
    """Run the child, or skip it (for ``reason``, if there is one); returns what its children are to be told at once."""
    item = terms_of(child)
    now_us = context.command.now_us
    execution_id = ids.execution_id(item.uid, item.generation, now_us, root_id)
    parents = [Parent(parent.task, parent.on) for parent in child.task.after]
    reason = reason or unmet(parents, arrivals) or ("the task was paused" if child.task.paused else "")
    decided = pb.Fire.Decided(nominal_us=now_us, last_nominal_us=now_us, count=1, decision=Decision.RAN)
    parent_ids = [arrival.execution_id for arrival in arrivals if arrival.execution_id]
    if reason:
        decided.decision, decided.reason = Decision.SKIPPED, reason
    else:
        row = new_execution(context, item, Trigger.CHAIN, now_us)
        row.parent_execution_ids.extend(parent_ids)
        row.root_execution_id = root_id
        admit(context, item, decided, execution_id, row)
    item.misfire_policy = 0
    write_ledger(context, item, execution_id, decided, Trigger.CHAIN, parent_ids)
    if decided.decision == Decision.RAN:
        return []
    return [_Told(root_id, Arrival(child.task.name))]


def _told(execution_id: bytes, row: ExecutionRow) -> _Told:
    return _Told(row.root_execution_id or execution_id, Arrival(row.task, execution_id, row.state))


def _arrival(row: pb.RoundRow.Arrival) -> Arrival:
    return Arrival(row.task, row.execution_id, row.state)


def _is_current(context: Context, row: ExecutionRow) -> bool:
    """Whether the task of an execution is still there: another of its name has nothing to do with it."""
    task = _task(context, row.task)
    return task is not None and task.uid == row.uid


def _task(context: Context, name: str) -> pb.TaskRow | None:
    found = context.batch.get(Table.TASKS, name.encode())
    return None if found is None else pb.TaskRow.FromString(found)


def _ancestors(context: Context, name: str) -> dict[str, str]:
    """The task and all that come before it, each with the one that was reached from it ("" for the task itself)."""
    found = {name: ""}
    waiting = [name]
    while waiting and len(found) <= MAX_ANCESTORS:
        at = waiting.pop()
        row = _task(context, at)
        for parent in row.task.after if row else ():
            if parent.task not in found:
                found[parent.task] = at
                waiting.append(parent.task)
    return found


def _path(came_from: dict[str, str], start: str) -> Iterator[str]:
    while start:
        yield start
        start = came_from[start]
