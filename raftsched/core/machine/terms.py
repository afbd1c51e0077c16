"""The terms that a task fires on, from its row: as a leader stamps them into a Fire, where no leader did."""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.machine.wellformed import MAX_US
from raftsched.core.policy import overlap
from raftsched.core.state.model import HIGHEST_PRIORITY, Delivery, MisfirePolicy, OverlapPolicy
from raftsched.core.state.rows import timestamp_us


def terms_of(row: pb.TaskRow) -> pb.Fire.Item:
    """Policies, limits and identity of a task as it stands; whatever the row holds, they are within their ranges."""
    task = row.task
    return pb.Fire.Item(
        task=task.name,
        uid=row.uid,
        generation=task.generation,
        delivery=_among(task.delivery, Delivery),
        misfire_policy=_among(task.misfire_policy, MisfirePolicy),
        overlap_policy=_among(task.overlap_policy, OverlapPolicy),
        max_running=min(max(0, task.max_running), overlap.LARGEST_LIMIT),
        max_queued=min(max(0, task.max_queued), overlap.LARGEST_LIMIT),
        start_deadline_us=_time(timestamp_us(task.start_deadline)),
        group=task.group,
        priority=min(max(-HIGHEST_PRIORITY, task.priority), HIGHEST_PRIORITY),
        notifies=task.HasField("notifications"),
    )


def due_us(task: task_pb2.Task, next_us: int) -> int:
    """When a task whose cursor stands at ``next_us`` is to be looked at: then, or when its pause ends; 0: never."""
    return _time(timestamp_us(task.resume_time)) if task.paused else next_us


def _among(value: int, known: type[Delivery] | type[MisfirePolicy] | type[OverlapPolicy]) -> int:
    return value if 0 <= value <= max(known) else 0


def _time(value_us: int) -> int:
    return value_us if 0 < value_us <= MAX_US else 0
