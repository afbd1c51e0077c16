"""How a command fails: one clear line on standard error, and an exit code that scripts can rely on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftsched_client import RaftschedError


class ExitCode(IntEnum):
    """What became of a command. ``docs/cli.md`` promises these numbers."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    UNCERTAIN = 6
    EXHAUSTED = 7
    INTERRUPTED = 130


class Failure(Exception):
    """The command ends with this message and exit code; ``details`` are further lines."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILURE, details: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.details = tuple(details)


def usage(message: str) -> Failure:
    """The command line, or a file that it names, cannot be used. Nothing was done."""
    return Failure(message, ExitCode.USAGE)


def report(failure: Failure) -> ExitCode:
    """Print the failure; return its exit code."""
    print(f"error: {failure}", file=sys.stderr)
    for line in failure.details:
        print(f"  {line}", file=sys.stderr)
    return failure.exit_code


@contextmanager
def client_errors() -> Iterator[None]:
    """Turn errors of the client library into failures."""
    from raftsched_client import RaftschedError

    try:
        yield
    except RaftschedError as error:
        raise from_client(error) from error


def from_client(error: RaftschedError) -> Failure:
    """The failure for an error of the client library."""
    from raftsched_client import DeadlineExceededError

    message = str(error)
    details = [f"{v.field}: {v.description}" for v in error.field_violations if v.description not in message]
    if error.applied == "unknown":
        details.append("The request may have been applied: look before you repeat it.")
        return Failure(message, ExitCode.UNCERTAIN, details)
    if isinstance(error, DeadlineExceededError):
        return Failure(message, ExitCode.UNCERTAIN, details)
    return Failure(message, _exit_code(error), details)


def _exit_code(error: RaftschedError) -> ExitCode:
    from raftsched_client import errors

    codes: dict[type[RaftschedError], ExitCode] = {
        errors.InvalidArgumentError: ExitCode.USAGE,
        errors.NotFoundError: ExitCode.NOT_FOUND,
        errors.AlreadyExistsError: ExitCode.CONFLICT,
        errors.ConflictError: ExitCode.CONFLICT,
        errors.UnavailableError: ExitCode.UNAVAILABLE,
        errors.ResourceExhaustedError: ExitCode.EXHAUSTED,
    }
    return codes.get(type(error), ExitCode.FAILURE)
