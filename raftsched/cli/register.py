"""Registers many tasks and says what became of each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from raftsched.cli.failures import ExitCode, Failure
from raftsched.cli.session import Session
from raftsched.cli.show import tables
from raftsched.cli.show.output import Format, note, note_warnings, print_message

if TYPE_CHECKING:
    from raftsched_client import BatchCreateTaskResult, Task, TaskWarning

# google.rpc.Code, as far as a batch uses it.
INVALID_ARGUMENT = 3
ALREADY_EXISTS = 6
RESOURCE_EXHAUSTED = 8

_EXIT_CODES = {
    INVALID_ARGUMENT: ExitCode.USAGE,
    ALREADY_EXISTS: ExitCode.CONFLICT,
    RESOURCE_EXHAUSTED: ExitCode.EXHAUSTED,
}


_SHOWN_WARNINGS = 10


def register(session: Session, tasks: list[Task]) -> None:
    """Register tasks in batches, with a progress bar on a terminal. Raises Failure: some were refused."""
    results = list(progress(session.client.create_tasks(tasks), len(tasks), "registering"))
    refused = [result for result in results if result.code]
    if session.form is Format.TABLE:
        print(f"created {len(results) - len(refused):,} of {tables.counted(len(results), 'task')}")
    else:
        from raftsched_proto.v1.task_pb2 import BatchCreateTasksResponse

        print_message(BatchCreateTasksResponse(results=results), session.form)
    if session.form is Format.TABLE:
        warn((result.name, result.warnings) for result in results)
    if refused:
        raise Failure(
            f"{len(refused):,} of {tables.counted(len(results), 'task')} refused",
            exit_code_of(result.code for result in refused),
            map(explain, refused),
        )


def warn(found: Iterable[tuple[str, Sequence[TaskWarning]]]) -> None:
    """Say, of the first of many tasks, what may not be meant."""
    warned = [(name, warnings) for name, warnings in found if warnings]
    for name, warnings in warned[:_SHOWN_WARNINGS]:
        note_warnings(name, warnings)
    if len(warned) > _SHOWN_WARNINGS:
        more = tables.counted(len(warned) - _SHOWN_WARNINGS, "more task")
        note(f"warnings about {more}: `raftsched task show` tells those of each")


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
