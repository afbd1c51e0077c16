"""The calls of ``raftsched import crontab``: in batches and side by side, for a crontab may have thousands of lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from raftsched.cli.files.crontab_plan import ImportPlan, ImportStep, Job, candidates
from raftsched.cli.files.plan import SET_LABEL
from raftsched.cli.register import ALREADY_EXISTS, explain, progress

if TYPE_CHECKING:
    from raftsched_client import Client, Task

T = TypeVar("T")
_MANY = 200
"""Up to so many names are asked for one by one; for more, all tasks are read."""
_CALLS_AT_ONCE = 8


@dataclass(frozen=True)
class Done:
    """What came of a plan."""

    refused: dict[str, tuple[int, str]]
    """By name of the new task: google.rpc.Code and why."""
    pruned: bool


def look_up(client: Client, jobs: Sequence[Job], set_name: str) -> dict[str, Task]:
    """Tasks of the set, and those that have a name that a line may have been given. By name."""
    there = {task.name: task for task in client.list_tasks(labels={SET_LABEL: set_name})}
    names = candidates(jobs) - there.keys()
    if len(names) > _MANY:
        return there | {task.name: task for task in client.list_tasks() if task.name in names}
    return there | {task.name: task for task in _side_by_side(lambda name: _get(client, name), names) if task}


def carry_out(client: Client, plan: ImportPlan, prune: bool) -> Done:
    """Change, then create, then prune. Raises as the client: what was done until then stays done.

    Nothing is pruned when a task was refused, for its line may be another form of what would go.
    """
    _side_by_side(lambda step: _update(client, step), [*plan.of("change"), *plan.of("adopt")])
    new = [step.after for step in plan.of("create") if step.after]
    results = progress(client.create_tasks(new), len(new), "registering") if new else ()
    refused = {}
    for result in results:
        if result.code == ALREADY_EXISTS:
            refused[result.name] = result.code, "somebody registered a task of this name meanwhile; import again"
        elif result.code:
            refused[result.name] = result.code, explain(result)
    pruned = prune and not refused
    if pruned:
        _side_by_side(lambda task: client.delete_task(task.name, etag=task.etag), plan.gone)
    return Done(refused, pruned)


def _get(client: Client, name: str) -> Task | None:
    from raftsched_client import NotFoundError

    try:
        return client.get_task(name)
    except NotFoundError:
        return None


def _update(client: Client, step: ImportStep) -> None:
    assert step.after
    assert step.before
    step.after.etag = step.before.etag
    client.update_task(step.after, step.fields)


def _side_by_side(call: Callable[[T], Task | None], items: Iterable[T]) -> list[Task | None]:
    with ThreadPoolExecutor(_CALLS_AT_ONCE) as pool:
        return list(pool.map(call, items))
