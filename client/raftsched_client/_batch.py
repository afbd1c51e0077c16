"""Cuts a stream of tasks into requests."""

from collections.abc import Iterable, Iterator

from raftsched_proto.v1.task_pb2 import Task

MAX_BATCH_TASKS = 10_000
DEFAULT_BATCH_TASKS = 1_000
DEFAULT_IN_FLIGHT = 4
MAX_BATCH_BYTES = 3 * 1024 * 1024

# A repeated field adds a tag byte and a length of at most five bytes to each task.
_OVERHEAD_BYTES = 6


def batches(tasks: Iterable[Task], max_tasks: int) -> Iterator[list[Task]]:
    """Lists of at most ``max_tasks`` tasks and 3 MiB, in order.

    A task that is larger goes alone, for the cluster to refuse.
    """
    batch: list[Task] = []
    size = 0
    for task in tasks:
        task_size = task.ByteSize() + _OVERHEAD_BYTES
        if batch and (len(batch) == max_tasks or size + task_size > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(task)
        size += task_size
    if batch:
        yield batch


def check_batch_size(batch_size: int) -> None:
    """Raises ValueError: not from 1 to 10,000."""
    if not 1 <= batch_size <= MAX_BATCH_TASKS:
        raise ValueError(f"batch_size: must be from 1 to {MAX_BATCH_TASKS:,}, not {batch_size}")
