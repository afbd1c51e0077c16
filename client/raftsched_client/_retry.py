"""What follows a failed attempt. Pure: the caller reads the clock and sleeps."""

from collections.abc import Callable

from raftsched_client.errors import (
    Applied,
    DeadlineExceededError,
    RaftschedError,
    ResourceExhaustedError,
    UnavailableError,
)

BACKOFF_START_S = 0.05
BACKOFF_MAX_S = 1.0
ATTEMPT_SHARE = 3
"""With several endpoints one attempt gets this part of the deadline, so that a node that hangs does not use it up."""
ATTEMPT_MIN_S = 1.0
LEAST_ATTEMPT_S = 0.5
"""With less time left than this no further attempt is begun."""


def backoff_s(failures: int) -> float:
    """The wait after so many failures in a row, before a random part of up to a half comes on top."""
    return min(BACKOFF_START_S * 2 ** min(failures - 1, 16), BACKOFF_MAX_S) if failures > 0 else 0.0


class Attempts:
    """The attempts of one call, from ``now`` until ``timeout_s`` later.

    ``repeatable`` says that a request may be repeated although it may have been applied: it reads, or carries a request
    id. ``changes`` says that it changes something at all. ``jitter`` returns a random number in [0, 1).
    """

    def __init__(
        self,
        now: float,
        timeout_s: float,
        *,
        endpoints: int,
        changes: bool,
        repeatable: bool,
        request_id: str,
        jitter: Callable[[], float],
    ) -> None:
        self._timeout_s = timeout_s
        self._deadline = now + timeout_s
        # An attempt that is cut short on the way to a node says less than the failure before it.
        self._least_attempt_s = min(timeout_s / 4, LEAST_ATTEMPT_S)
        self._endpoints = endpoints
        self._changes = changes
        self._repeatable = repeatable
        self._request_id = request_id
        self._jitter = jitter
        self._failures = 0
        self._applied: Applied = "no"
        self._seen: dict[str, str] = {}

    def attempt_timeout_s(self, now: float) -> float:
        """How long the next attempt may take. At least a millisecond, for gRPC takes no less."""
        remaining = max(self._deadline - now, 0.001)
        if self._endpoints == 1 or not self._repeatable:
            return remaining
        return min(remaining, max(self._timeout_s / ATTEMPT_SHARE, ATTEMPT_MIN_S))

    def failed(self, endpoint: str, error: RaftschedError, now: float, least_s: float = 0.0) -> float:
        """Seconds to wait before the next attempt, ``least_s`` at least. Raises the final error when there is none."""
        self._failures += 1
        self._seen[endpoint] = str(error)
        if not self._changes:
            error.applied = "no"
        elif error.applied == "unknown":
            self._applied = "unknown"
        if not self._may_repeat(error):
            raise self._completed(error)
        delay = self._delay(error, least_s)
        if now + delay + self._least_attempt_s >= self._deadline:
            raise self._out_of_time(error)
        return delay

    def _may_repeat(self, error: RaftschedError) -> bool:
        if error.applied == "unknown" and not self._repeatable:
            return False
        if isinstance(error, ResourceExhaustedError):
            return error.retry_after is not None
        if isinstance(error, UnavailableError | DeadlineExceededError) or error.reason == "NOT_LEADER":
            return True
        return error.metadata.get("applied") == "unknown"

    def _delay(self, error: RaftschedError, least_s: float) -> float:
        asked = error.retry_after.total_seconds() if error.retry_after else 0.0
        # The first round over the endpoints loses no time: one of them may well be up.
        rounds = self._failures // self._endpoints
        return max(asked, least_s, backoff_s(rounds)) * (1.0 + self._jitter() / 2)

    def _out_of_time(self, error: RaftschedError) -> RaftschedError:
        if isinstance(error, ResourceExhaustedError):
            return self._completed(error)
        kind = DeadlineExceededError if isinstance(error, DeadlineExceededError) else UnavailableError
        heard = "; ".join(f"{endpoint}: {message}" for endpoint, message in self._seen.items())
        final = kind(
            f"no node served the call within {self._timeout_s:g} s ({heard})",
            reason=error.reason,
            metadata=error.metadata,
            retry_after=error.retry_after,
        )
        return self._completed(final)

    def _completed(self, error: RaftschedError) -> RaftschedError:
        # An earlier attempt without an answer may be on its way yet, whatever this one ended with.
        error.applied = self._applied
        error.request_id = self._request_id
        return error


class Reconnects:
    """The attempts to keep one stream going: each time it breaks after it worked, the deadline starts anew.

    Not so the waits: streams that break right after their first message would follow each other without a pause.
    """

    def __init__(self, start: Callable[[float], Attempts], timeout_s: float) -> None:
        self._start = start
        self.timeout_s = timeout_s
        self._attempts: Attempts | None = None
        self._opened = 0.0
        self._brief = 0
        """Streams in a row that worked, but not for as long as the longest wait."""

    def opened(self, now: float) -> None:
        """A stream was opened."""
        self._opened = now

    def progressed(self) -> None:
        """A message came."""
        self._attempts = None

    def failed(self, endpoint: str, error: RaftschedError, now: float) -> float:
        """Seconds to wait before the next stream. Raises the final error when there is none."""
        worked = self._attempts is None
        if self._attempts is None or now - self._opened > self.timeout_s:
            self._attempts = self._start(now)
        self._brief = self._brief + worked if now - self._opened < BACKOFF_MAX_S else 0
        return self._attempts.failed(endpoint, error, now, backoff_s(self._brief - 1))
