"""Registers many tasks and says what became of each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from raftsched.cli import tables
from raftsched.cli.failures import ExitCode, Failure
from raftsched.cli.output import Format, print_message
from raftsched.cli.session import Session

if TYPE_CHECKING:
    from raftsched_client import BatchCreateTaskResult, Task

# google.rpc.Code, as far as a batch uses it.
INVALID_ARGUMENT = 3
ALREADY_EXISTS = 6
RESOURCE_EXHAUSTED = 8

_EXIT_CODES = {
    INVALID_ARGUMENT: ExitCode.USAGE,
    ALREADY_EXISTS: ExitCode.CONFLICT,
    RESOURCE_EXHAUSTED: ExitCode.EXHAUSTED,
}


def register(session: Session, tasks: list[Task]) -> None:
    """Register tasks in batches, with a progress bar on a terminal. Raises Failure: some were refused."""
    results = list(progress(session.client.create_tasks(tasks), len(tasks), "registering"))
    refused = [result for result in results if result.code]
    if session.form is Format.TABLE:
        print(f"created {len(results) - len(refused):,} of {tables.counted(len(results), 'task')}")
    else:
        from raftsched_client.v1.task_pb2 import BatchCreateTasksResponse

        print_message(BatchCreateTasksResponse(results=results), session.form)
    if refused:
        raise Failure(
            f"{len(refused):,} of {tables.counted(len(results), 'task')} refused",
            exit_code_of(result.code for result in refused),
            map(explain, refused),
        )


def explain(result: BatchCreateTaskResult) -> str:
    """Why a task was refused, on one line."""
    where = f" {result.field}:" if result.field and result.field not in result.message else ""
    return f"{result.name or '(no name)'}:{where} {result.message}"


def exit_code_of(codes: Iterable[int]) -> ExitCode:
    """That of the refusals when they are all of one kind, else FAILURE."""
    kinds = {_EXIT_CODES.get(code, ExitCode.FAILURE) for code in codes}
    return kinds.pop() if len(kinds) == 1 else ExitCode.FAILURE


def progress(results: Iterator[BatchCreateTaskResult], total: int, title: str) -> Iterator[BatchCreateTaskResult]:
    """The same results; on a terminal a bar on standard error shows how many have come."""
    if not sys.stderr.isatty():
        yield from results
        return
    from rich.progress import track

    yield from track(results, description=title, total=total, console=tables.console(stderr=True), transient=True)
