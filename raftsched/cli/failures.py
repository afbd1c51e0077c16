"""How a command fails: one clear line on standard error, and an exit code that scripts can rely on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

from raftsched.cli.flags.names import flag_of, in_flags

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
    OUTDATED = 8
    INTERRUPTED = 130


VERIFY_FOUND = 16
"""Exit code of ``verify`` that found something, to which ``VERIFY_CODES`` of what it found are added."""
VERIFY_CODES = {"early": 2, "late": 1, "missing": 4, "twice": 8}


class Failure(Exception):
    """The command ends with this message and exit code; ``details`` are further lines."""

    def __init__(self, message: str, exit_code: int = ExitCode.FAILURE, details: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.details = tuple(details)

    def with_details(self, details: Iterable[str]) -> Failure:
        """The same with further lines."""
        return Failure(str(self), self.exit_code, [*self.details, *details])


def usage(message: str) -> Failure:
    """The command line, or a file that it names, cannot be used. Nothing was done."""
    return Failure(message, ExitCode.USAGE)


def report(failure: Failure) -> int:
    """Print the failure; return its exit code. What it quotes does not steer a terminal."""
    from raftsched.cli.show.tables import visible

    print(visible(f"error: {failure}"), file=sys.stderr)
    for line in failure.details:
        print(visible(f"  {line}"), file=sys.stderr)
    return failure.exit_code


@contextmanager
def client_errors(failure: Callable[[RaftschedError], Failure]) -> Iterator[None]:
    """Turn errors of the client library into failures."""
    from raftsched_client import RaftschedError

    try:
        yield
    except RaftschedError as error:
        raise failure(error) from error


def from_client(error: RaftschedError, flags: Collection[str] = ()) -> Failure:
    """The failure for an error of the client library; fields that options of ``flags`` set are named as these."""
    from raftsched_client import DeadlineExceededError

    message, details = _in_words_of(flags, error)
    if error.applied == "unknown":
        details.append("The request may have been applied: look before you repeat it.")
        return Failure(message, ExitCode.UNCERTAIN, details)
    if isinstance(error, DeadlineExceededError):
        return Failure(message, ExitCode.UNCERTAIN, details)
    return Failure(message, _exit_code(error), details)


def _in_words_of(flags: Collection[str], error: RaftschedError) -> tuple[str, list[str]]:
    """Message and further lines, in which fields are named as the options that set them."""
    message, refused = str(error), error.field_violations
    named = [(flag_of(each.field, flags), in_flags(each.description, flags)) for each in refused]
    lines = [f"{name}: {description}" for name, description in named]
    said = all(f"{each.field}: {each.description}" in message for each in refused)
    renamed = len(refused) == 1 and message == refused[0].description and named[0][0] != refused[0].field
    if lines and (said or renamed):
        return lines[0], lines[1:]
    return message, [line for line, each in zip(lines, refused, strict=True) if each.description not in message]


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
