"""Names fields of the API as the command line does: ``--cron`` for ``task.schedule.cron.expression``."""

from __future__ import annotations

import re
from collections.abc import Collection

from raftsched.definitions.task_fields import TASK_FIELDS

_ALIASES: dict[str, tuple[str, ...]] = {
    "name": ("NAME", "TASK", "GROUP", "CALENDAR"),
    "id": ("EXECUTION",),
    "task": ("--task", "TASK"),
    "argv": ("PROGRAM",),
    "command": ("PROGRAM",),
    "expression": ("--cron",),
    "time_zone": ("--zone",),
    "lines": ("--rrule",),
    "interval": ("--every",),
    "start_time": ("--start", "--from", "--since"),
    "end_time": ("--end", "--to", "--until"),
    "resume_time": ("--until",),
    "exclusions": ("--exclude",),
    "calendars": ("--calendar",),
    "labels": ("--label",),
    "executor_labels": ("--executor-label",),
    "max_attempts": ("--attempts",),
    "initial_backoff": ("--backoff",),
    "multiplier": ("--backoff-multiplier",),
    "states": ("--retry-on", "--state"),
    "exit_codes": ("--retry-exit-code", "--exit-code"),
    "http_statuses": ("--retry-status",),
    "notifications": ("--notify",),
    "callable": ("--python",),
    "kwargs_json": ("--kwargs",),
    "aws_lambda": ("--lambda",),
    "payload_json": ("--payload",),
    "parameters_json": ("--parameters",),
    "headers": ("--header",),
    "expected_statuses": ("--expect",),
    "working_directory": ("--workdir",),
    "environment": ("--env",),
    "page_size": ("--limit",),
    "max_executions": ("--max",),
}
_ALIASES |= {field.name: (f"--{field.flag.replace('_', '-')}",) for field in TASK_FIELDS if field.flag}
_INDEX = re.compile(r"\[[^]]*\]")
_SNAKE = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


def flag_of(path: str, known: Collection[str]) -> str:
    """The option or argument among ``known`` that sets the field of that path; the path when there is none.

    What is deepest in the path says it best.
    """
    for component in reversed(_INDEX.sub("", path).split(".")):
        for name in (*_ALIASES.get(component, ()), "--" + component.replace("_", "-")):
            if name in known:
                return name
    return path


def in_flags(text: str, known: Collection[str]) -> str:
    """The text with the names of fields that options of ``known`` set replaced by those."""
    return _SNAKE.sub(lambda match: flag_of(match[0], known), text)
