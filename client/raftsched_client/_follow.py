"""What has been seen of a stream, so that it can go on after a reconnect. Pure."""

from datetime import datetime, timedelta

from raftsched_proto.v1.execution_pb2 import (
    EXECUTION_STATE_ARMED,
    EXECUTION_STATE_ASSIGNED,
    EXECUTION_STATE_PENDING,
    EXECUTION_STATE_RUNNING,
    Execution,
    GetOutputResponse,
)

from raftsched_client.times import to_datetime

MAX_SEEN = 10_000
"""Executions that a watch remembers; beyond it the one that was seen first is forgotten."""
LATENESS = timedelta(minutes=1)
"""How long after its nominal time an execution may be decided and still be found by a re-read."""
_OPEN = (EXECUTION_STATE_ARMED, EXECUTION_STATE_PENDING, EXECUTION_STATE_ASSIGNED, EXECUTION_STATE_RUNNING)
"""In the order in which an attempt goes through them. What is armed and given back waits; it is not armed again."""


def ended(execution: Execution) -> bool:
    """Whether no further change can come."""
    return execution.state not in (0, *_OPEN)


def _step(state: int) -> int:
    """How far an attempt in this state has got; a state that is not known here is an end."""
    return _OPEN.index(state) if state in _OPEN else len(_OPEN) + state


class Watch:
    """Which changes of executions have been seen."""

    def __init__(self, now: datetime) -> None:
        self._seen: dict[str, tuple[int, int]] = {}
        self._open: dict[str, None] = {}
        self._heard = now
        self._heard_anything = False

    def is_news(self, execution: Execution) -> bool:
        """Whether it is later than what was seen of the same execution. Remembers it."""
        version = (execution.attempt, _step(execution.state))
        if version <= self._seen.get(execution.id, (0, 0)):
            return False
        self._seen.pop(execution.id, None)
        self._seen[execution.id] = version
        if ended(execution):
            self._open.pop(execution.id, None)
        else:
            self._open[execution.id] = None
        while len(self._seen) > MAX_SEEN:
            oldest = next(iter(self._seen))
            del self._seen[oldest]
            self._open.pop(oldest, None)
        self.hear(execution)
        return True

    def reread_from(self) -> datetime:
        """The nominal time from which a list shows what may have been missed."""
        return self._heard - LATENESS

    def still_open(self) -> list[str]:
        """Ids of the executions that had not ended when they were last seen."""
        return list(self._open)

    def hear(self, execution: Execution) -> None:
        """Note how far the clock of the cluster has come; until something is heard, ours stands in for it."""
        stamps = (execution.fire_time, execution.start_time, execution.end_time)
        latest = max((to_datetime(stamp) for stamp in stamps if stamp.seconds), default=None)
        if latest is not None and (latest > self._heard or not self._heard_anything):
            self._heard = latest
            self._heard_anything = True


class Output:
    """How far the output of an execution has been read."""

    def __init__(self, offset: int = 0) -> None:
        """``offset``: bytes of the attempt that comes first that are not wanted."""
        self._position = self._start = offset
        self._attempt = 0

    @property
    def offset(self) -> int:
        """From where on a new stream is to be read.

        Once an attempt is known, from its beginning: another may run by now, of which all is wanted.
        """
        return 0 if self._attempt else self._start

    def take(self, response: GetOutputResponse) -> GetOutputResponse | None:
        """What is new in the next message of a stream, with the number of bytes that are missing before it."""
        if self._attempt and response.attempt != self._attempt:
            self._position = 0
        self._attempt = response.attempt
        missing = max(response.offset - self._position, 0)
        skipped = max(self._position - response.offset, 0)
        fresh = response.data[skipped:]
        self._position = max(self._position, response.offset + len(response.data))
        if not fresh and not missing:
            return None
        return GetOutputResponse(
            data=fresh, truncated_bytes=missing, attempt=response.attempt, offset=response.offset + skipped
        )
