"""What keeps a valid task from doing what it says."""

from collections.abc import Iterator, Sequence

from raftsched_proto.v1 import cluster_pb2, policy_pb2, task_pb2

from raftsched.api.context import ApiContext
from raftsched.definitions.fields import quoted
from raftsched.definitions.remarks import as_warnings, schedule_notes
from raftsched.scheduler.waiting import none_carries

_WITHOUT_EXECUTOR = "noop"
"""Every executor runs it, without a runner."""


class Warner:
    """Looks tasks over, by the executors that are connected as it is made."""

    def __init__(self, api: ApiContext) -> None:
        known = api.executors() if api.knows_executors() else None
        self._ready = (
            None if known is None else [each for each in known if each.state == cluster_pb2.EXECUTOR_STATE_READY]
        )

    def of(self, task: task_pb2.Task) -> list[task_pb2.TaskWarning]:
        """What the caller may not have meant; of executors only where this node knows them."""
        of_executors = () if self._ready is None else found(task, self._ready)
        return as_warnings([*schedule_notes(task.schedule), *of_executors])


def found(task: task_pb2.Task, ready: Sequence[cluster_pb2.ExecutorStatus]) -> Iterator[tuple[str, str]]:
    """Field and description of each warning. ``ready``: the executors that take work."""
    wanted = task.executor_labels.items()
    matching = [executor for executor in ready if wanted <= executor.labels.items()] if wanted else ready
    if not matching:
        what = none_carries(task.executor_labels) if ready else "no executor is connected"
        yield "executor_labels", f"{what}: {_fate(task)} until one does"
        return
    kind = task.action.extension.kind if task.action.HasField("extension") else task.action.WhichOneof("kind") or ""
    where = "that carries the labels " if wanted else ""
    if kind != _WITHOUT_EXECUTOR and not _any_runs(matching, kind):
        field = "action.extension.kind" if task.action.HasField("extension") else f"action.{kind}"
        yield field, f"no connected executor {where}can run actions of kind {quoted(kind)}: executions will fail"
    elif kind == "python" and not any(_allows(executor, task.action.python.callable) for executor in matching):
        yield (
            "action.python.callable",
            f"no connected executor {where}allows {quoted(task.action.python.callable)}: executions will fail. "
            "Executors allow callables by the setting executor.python_allow and by entry points of raftsched.callables",
        )


def _fate(task: task_pb2.Task) -> str:
    return "nominal times are skipped" if task.placement == policy_pb2.PLACEMENT_EVERY else "executions wait"


def _any_runs(executors: Sequence[cluster_pb2.ExecutorStatus], kind: str) -> bool:
    return any(not each.HasField("capabilities") or kind in each.capabilities.action_kinds for each in executors)


def _allows(executor: cluster_pb2.ExecutorStatus, name: str) -> bool:
    if not executor.HasField("capabilities"):
        return True
    module, colon, function = name.partition(":")
    allowed = executor.capabilities.callables
    return name in allowed or bool(colon and not function.startswith("_") and f"{module}:*" in allowed)
