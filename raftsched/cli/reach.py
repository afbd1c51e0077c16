"""What a command says while it tries to reach the cluster, and of a cluster that it cannot reach."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

from raftsched.cli.failures import Failure, usage
from raftsched.cli.show.output import note
from raftsched.clock import SystemClock

if TYPE_CHECKING:
    from raftsched_client import RaftschedError

_PATIENCE_S = 1.0
_LOOK_S = 1.0
_NO_MAJORITY = "NO_MAJORITY"
_NOT_HTTP_2 = "Expected SETTINGS frame"
"""How gRPC's library names what answers in another protocol."""

_HUNG_UP = "Socket closed"
"""How it tells that somebody took the connection and ended it, as a port with TLS does to plain text."""


class Reach:
    """Follows the attempts of the client's calls. Its methods are called by the client, before and after each."""

    def __init__(self, endpoints: Iterable[str], timeout_s: float, *, secure: bool = False) -> None:
        """``secure``: with TLS."""
        self._secure = secure
        self._endpoints = tuple(endpoints)
        self._timeout_s = timeout_s
        self._failures: dict[str, RaftschedError] = {}
        self._begun = self._failed = 0
        self._first_failure: float | None = None
        self._said = False
        self._clock = SystemClock()
        self._timer = threading.Timer(_PATIENCE_S, self._still_waiting)
        self._timer.daemon = True

    def attempt_begins(self) -> None:
        """To one of the endpoints."""
        self._begun += 1
        if self._begun == 1 and sys.stderr is not None and sys.stderr.isatty():
            self._timer.start()

    def attempt_failed(self, endpoint: str, error: RaftschedError) -> None:
        """Say so at once when none can be reached, else after a second of it. Raises Failure: none speaks gRPC."""
        self._failed += 1
        self._failures[endpoint] = error
        now = self._clock.monotonic()
        self._first_failure = self._first_failure or now
        if all(_NOT_HTTP_2 in str(self._failures.get(each)) for each in self._endpoints):
            raise _no_grpc(self._endpoints)
        unreachable = all(_is_unreachable(self._failures.get(each)) for each in self._endpoints)
        if not self._said and (unreachable or now - self._first_failure >= _PATIENCE_S) and _is_of_cluster(error):
            self._said = True
            note(f"no node serves the call yet ({'; '.join(self._heard())}); trying for {self._timeout_s:g} s")

    def close(self) -> None:
        """Say nothing any more."""
        self._timer.cancel()

    def explained(self, error: RaftschedError) -> tuple[str, list[str]]:
        """The message of the error that a call ended with, and further lines."""
        told = next((each for each in self._failures.values() if each.reason == _NO_MAJORITY), None)
        if told is not None and _is_of_cluster(error):
            others = {at: each for at, each in self._failures.items() if each.reason != _NO_MAJORITY}
            return str(told), [f"{endpoint}: {each}" for endpoint, each in others.items()]
        if not self._secure and any(_HUNG_UP in str(each) for each in self._failures.values()):
            return str(error), ["If the nodes have TLS, give --tls-ca, --tls-cert and --tls-key."]
        return str(error), []

    def _heard(self) -> list[str]:
        return [f"{endpoint}: {_short(error)}" for endpoint, error in self._failures.items()]

    def _still_waiting(self) -> None:
        if not self._said and self._begun == self._failed + 1 == len(self._failures) + 1:
            waited = [each for each in self._endpoints if each not in self._failures]
            note(f"waiting for an answer of {waited[0] if waited else self._endpoints[0]}, for {self._timeout_s:g} s")


def _is_of_cluster(error: RaftschedError) -> bool:
    """Whether another attempt may end better: it is no refusal."""
    from raftsched_client.errors import DeadlineExceededError, UnavailableError

    return isinstance(error, UnavailableError | DeadlineExceededError)


def _is_unreachable(error: RaftschedError | None) -> bool:
    return error is not None and _is_of_cluster(error) and not error.reason


def _short(error: RaftschedError) -> str:
    """What a node says of the cluster without the details, which come with the error in the end."""
    return str(error).partition(":" if error.reason else "\n")[0].partition(";")[0]


def _no_grpc(endpoints: tuple[str, ...]) -> Failure:
    """What answers there is no node's gRPC port: mostly it is the port of its REST API."""
    answers = [_rest_answer(each) for each in endpoints]
    which = ", ".join(endpoints)
    if None in answers:
        return usage(f"{which}: what answers there does not speak gRPC; give the gRPC ports of nodes to --endpoints")
    kind = "is an HTTP port" if len(endpoints) == 1 else "are HTTP ports"
    known = next(filter(None, answers), "")
    meant = f"the nodes say: {known}" if known else "unless configured otherwise its number is 1,000 lower"
    return usage(f"{which} {kind}, for REST and the web interface; give the gRPC port to --endpoints ({meant})")


def _rest_answer(endpoint: str) -> str | None:
    """The gRPC addresses of the nodes as REST tells them, empty when it does not; None: what is there is no HTTP."""
    connection = HTTPConnection(endpoint, timeout=_LOOK_S)
    try:
        connection.request("GET", "/v1/cluster")
        answer = connection.getresponse().read(1 << 20)
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    try:
        return ",".join(node["address"] for node in json.loads(answer)["nodes"])
    except (ValueError, KeyError, TypeError):
        return ""
