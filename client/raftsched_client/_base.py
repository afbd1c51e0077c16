"""What both clients share: settings, and the start of the attempts of a call."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import grpc

from raftsched_client._calls import Call
from raftsched_client._decode import decode_rpc_error
from raftsched_client._endpoints import Endpoints
from raftsched_client._retry import Attempts, Reconnects
from raftsched_client.errors import DeadlineExceededError, RaftschedError, UnavailableError
from raftsched_client.times import Timeout, to_seconds

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
"""Keys (lower case; ending in ``-bin`` for bytes) and values to send along with a call."""

DEFAULT_TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_LEADER_KEY = "raftsched-leader"
"""A node that passed a call on says in the trailing metadata to whom."""
_ELSEWHERE = (UnavailableError, DeadlineExceededError)


class BaseClient:
    """Settings of a client."""

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout: Timeout = DEFAULT_TIMEOUT_S,
        metadata: Callable[[], Metadata] | None = None,
        on_failed_attempt: Callable[[str, RaftschedError], None] | None = None,
    ) -> None:
        self._on_failed_attempt = on_failed_attempt
        self._endpoints = Endpoints(endpoints)
        self._timeout_s = to_seconds(timeout)
        self._metadata = metadata

    @property
    def endpoint(self) -> str:
        """The node that the next call goes to."""
        return self._endpoints.current

    def _call_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
        return tuple(self._metadata()) if self._metadata else None

    def _timeout_of(self, timeout: Timeout | None) -> float:
        return self._timeout_s if timeout is None else to_seconds(timeout)

    def _attempts(self, call: Call[Any, Any, Any], now: float, timeout: Timeout | None) -> Attempts:
        return self._start(now, self._timeout_of(timeout), call.changes, call.repeatable, call.request_id)

    def _reconnects(self, timeout: Timeout | None) -> Reconnects:
        timeout_s = self._timeout_of(timeout)
        return Reconnects(lambda now: self._start(now, timeout_s, False, True, ""), timeout_s)

    def _start(self, now: float, timeout_s: float, changes: bool, repeatable: bool, request_id: str) -> Attempts:
        return Attempts(
            now,
            timeout_s,
            endpoints=len(self._endpoints),
            changes=changes,
            repeatable=repeatable,
            request_id=request_id,
            jitter=random.random,
        )

    def _broken(self, endpoint: str, cause: grpc.RpcError) -> RaftschedError:
        """Decode the error and go to another endpoint if that may help."""
        error = decode_rpc_error(cause)
        if self._on_failed_attempt:
            self._on_failed_attempt(endpoint, error)
        if isinstance(error, _ELSEWHERE) or error.reason == "NOT_LEADER":
            self._endpoints.leave(endpoint, error.metadata.get("leader_address", ""))
        return error

    def _served(self, endpoint: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        """Go to the leader, if the call was passed on to it: the next one then needs no second hop."""
        leader = next((value for key, value in metadata or () if key == _LEADER_KEY), "")
        if isinstance(leader, str) and leader:
            self._endpoints.follow(endpoint, leader)
