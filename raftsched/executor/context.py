"""What a Python callable can learn of the attempt that it runs for."""

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RunContext:
    """The attempt that the calling code runs for."""

    task: str
    execution_id: str
    """A ULID; the same for all attempts of the execution."""
    nominal_time: datetime
    """Aware, in UTC."""
    attempt: int
    """From 1."""
    fencing_token: int
    """Higher than that of every earlier attempt: let what you write to refuse lower ones than it has seen."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the attempt is cancelled or its time limit has passed. A synchronous callable cannot be killed: one that
    runs for long should look at this and return."""


raftsched_context: ContextVar[RunContext] = ContextVar("raftsched_context")


def current() -> RunContext:
    """The attempt that the caller runs for. Raises LookupError outside of one."""
    return raftsched_context.get()
