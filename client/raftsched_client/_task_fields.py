"""Arguments of ``task`` that stand for simple fields. Made by scripts/generate-proto."""

from datetime import timedelta
from typing import Literal, TypedDict

FIELD_OF = {
    "description": "description",
    "owner": "owner",
    "time_limit": "time_limit",
    "placement": "placement",
    "misfire": "misfire_policy",
    "misfire_threshold": "misfire_threshold",
    "misfire_window": "misfire_window",
    "misfire_max_runs": "misfire_max_runs",
    "delivery": "delivery",
    "overlap": "overlap_policy",
    "max_running": "max_running",
    "max_queued": "max_queued",
    "start_deadline": "start_deadline",
    "priority": "priority",
    "jitter": "jitter",
    "group": "group",
}
"""The field of the task that each argument stands for."""


class TaskFields(TypedDict, total=False):
    """What the fields of a task say, by the names of the arguments."""

    description: str | None
    """What it is for and what to do when it fails, in Markdown. Up to 4096 bytes; no control characters but tabs
    and line ends."""

    owner: str | None
    """Who answers for it: a person or a team. Up to 200 printable characters."""

    time_limit: timedelta | None
    """How long one attempt may run, at most 366 days. Unset: no limit."""

    placement: Literal["any", "every"] | None
    """Whether a nominal time runs on one executor, or on every connected one that carries the labels and is not
    draining. Default ANY. EVERY goes with overlap policies ALLOW and SKIP, and neither with `after` nor with tasks
    that run after it."""

    misfire: Literal["one", "skip", "all"] | None
    """What happens to nominal times that lie further back than `misfire_threshold`. Default ONE."""

    misfire_threshold: timedelta | None
    """How late a nominal time may be decided and still run; one that is later is misfired. Default 10 s. 1 s to 366
    days."""

    misfire_window: timedelta | None
    """How late a nominal time may be and still be made up under ONE and ALL; an older one is skipped. At least
    `misfire_threshold`, at most 366 days. Unset: however late."""

    misfire_max_runs: int | None
    """How many misfired nominal times are made up at most under ALL, the latest of them, 1 to 10,000; the others
    are skipped. Unset: all."""

    delivery: Literal["at_least_once", "at_most_once"] | None
    """What happens when the executor of an attempt vanishes. Default AT_LEAST_ONCE."""

    overlap: Literal["allow", "skip", "queue", "cancel_running"] | None
    """What happens to a nominal time that comes while `max_running` executions of the task are open. Default ALLOW."""

    max_running: int | None
    """How many executions of the task may be open at once, 1 to 100. Default 1. Not with ALLOW."""

    max_queued: int | None
    """How many executions may wait under QUEUE, 1 to 100. Default 10. Only with QUEUE."""

    start_deadline: timedelta | None
    """How long after its nominal time the first attempt may still be given to an executor, 1 s to 366 days. What
    could not be by then is recorded as skipped. Unset: for ever."""

    priority: int | None
    """Which pending executions are given to executors first: higher before lower, and of the same, the older
    nominal time. From -9 to 9."""

    jitter: timedelta | None
    """Up to how long after its nominal time an execution starts: a random time, drawn when it is decided, but never
    after the next nominal time. 10 ms to 366 days. Unset: it starts at once."""

    group: str | None
    """The group whose limits hold for this task. It must exist. Unset: no limits."""
