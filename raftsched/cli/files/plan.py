"""What has to change in a cluster so that its tasks are those of files. Pure: nothing is asked or changed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, TypeVar

from raftsched.cli.files.taskfile import Written, definition

if TYPE_CHECKING:
    from raftsched_client import Task

_Item = TypeVar("_Item")
SET_LABEL = "raftsched/set"
"""Says which set of files a task belongs to, and so which ``apply --prune`` may remove it."""
_LEFT_ALONE = ("paused", "resume_time")
"""What operators change by hand: a file that does not state it leaves it as it is."""


@dataclass(frozen=True)
class TaskChange:
    """What becomes of one task."""

    name: str
    verb: str
    """create, update, prune, or keep."""
    before: Task | None = None
    """As the cluster has it."""
    after: Task | None = None
    """As it shall be."""
    fields: tuple[str, ...] = ()
    """Those that differ, of an update."""


class Refused(Exception):
    """The files cannot be applied; the text says why."""


def plan(
    wanted: Iterable[Written], there: Mapping[str, Task], owned: Iterable[Task], set_name: str, now_us: int
) -> list[TaskChange]:
    """The changes, in the order of the files, then what is pruned. Raises Refused, Invalid (not valid).

    A task comes behind those that it runs after, and is pruned before them, for the cluster lets none be without them.
    ``there`` are the tasks of these names, ``owned`` those of the set, to be pruned when no file has them.
    """
    ordered = parents_first({written.task.name: written for written in wanted}, lambda written: written.task)
    changes = [_change(written, there.get(written.task.name), set_name, now_us) for written in ordered]
    names = {change.name for change in changes}
    gone = parents_first({task.name: task for task in owned if task.name not in names}, lambda task: task)
    return changes + [TaskChange(task.name, "prune", before=task) for task in reversed(gone)]


def parents_first(items: Mapping[str, _Item], task_of: Callable[[_Item], Task]) -> list[_Item]:
    """Items by name of their task, so that each comes behind those it runs after. Raises Refused: there is a cycle."""
    order = {name: [parent.task for parent in task_of(item).after] for name, item in items.items()}
    try:
        return [items[name] for name in TopologicalSorter(order).static_order() if name in items]
    except CycleError as error:
        # It names each task before those that run after it.
        raise Refused(f"tasks run after each other in a circle: {' -> '.join(error.args[1])}") from None


def _change(written: Written, there: Task | None, set_name: str, now_us: int) -> TaskChange:
    task = definition(written.task)
    if set_name:
        task.labels[SET_LABEL] = set_name
    if there is None:
        return TaskChange(task.name, "create", after=_normal(task, None, now_us))
    owner = there.labels.get(SET_LABEL, "")
    if set_name and owner not in ("", set_name):
        raise Refused(f"{written.file}: the task {task.name!r} belongs to the set {owner!r}")
    before = definition(there)
    for field in _LEFT_ALONE:
        if field not in written.stated:
            _copy(before, task, field)
    after = _normal(task, there, now_us)
    differing = tuple(
        field.name
        for field in after.DESCRIPTOR.fields
        if field.name != "name" and _only(after, field.name) != _only(before, field.name)
    )
    return TaskChange(task.name, "update" if differing else "keep", there, after, differing)


def _normal(task: Task, there: Task | None, now_us: int) -> Task:
    """With the defaults that the cluster writes out. Raises Invalid."""
    from raftsched.definitions.task import check_definition

    if there is not None and task.schedule.HasField("interval") and not task.schedule.interval.HasField("anchor"):
        # The default is the time of registration, which a change of the interval keeps.
        before = there.schedule
        registered = before.interval.anchor if before.HasField("interval") else there.create_time
        task.schedule.interval.anchor.CopyFrom(registered)
    check_definition(task, now_us)
    return task


def _only(task: Task, field: str) -> Task:
    """A task with nothing but this field."""
    found = type(task)()
    _copy(task, found, field)
    return found


def _copy(source: Task, target: Task, field: str) -> None:
    target.ClearField(field)  # type: ignore[arg-type]  # the stub wants a literal
    part = type(source)()
    part.CopyFrom(source)
    for other, _ in source.ListFields():
        if other.name != field:
            part.ClearField(other.name)  # type: ignore[arg-type]  # the stub wants a literal
    target.MergeFrom(part)
