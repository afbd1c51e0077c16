"""``raftsched apply``, ``diff`` and ``export``: tasks as files in a repository."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import ExitCode, Failure, usage
from raftsched.cli.files.plan import SET_LABEL, Refused, TaskChange, plan
from raftsched.cli.files.taskfile import Written, definition, read_all
from raftsched.cli.files.taskform import to_document
from raftsched.cli.flags.options import parse_pairs
from raftsched.cli.register import exit_code_of, explain, warn
from raftsched.cli.session import Session
from raftsched.cli.show.output import Format, note_warnings, print_document, yaml_text
from raftsched.cli.times import now

if TYPE_CHECKING:
    from raftsched_client import Task

_MANY = 200
"""Up to so many tasks are asked for one by one; for more, all are read."""

Files = Annotated[
    list[str],
    typer.Option(
        "-f",
        "--file",
        metavar="FILE|DIR",
        help="YAML, TOML or JSON; of a directory, all such files in it and below; - is standard input. Repeatable.",
    ),
]
SetName = Annotated[
    str,
    typer.Option("--set", metavar="NAME", help=f"Name of this set of files: the tasks get the label {SET_LABEL}=NAME."),
]
Prune = Annotated[bool, typer.Option("--prune", help="Remove tasks of the same --set that are in no file any more.")]


def apply(
    session: Session,
    file: Files,
    set_name: SetName = "",
    prune: Prune = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Make the tasks of the cluster those of the files: register what is missing, change what differs.

    What is the same is left alone, so it can be repeated. Files that cannot be read or that say what is not valid are
    refused before anything is done. A task is not resumed or paused unless its file says so.

    \b
    Examples:
      raftsched apply -f tasks.yaml --dry-run
      raftsched apply -f tasks.yaml --set web --prune
    """
    changes = _changes(session, file, set_name, prune)
    if not dry_run:
        _carry_out(session, changes)
    if session.form is Format.TABLE:
        for change in changes:
            print(_line(change, dry_run))
    else:
        print_document({"tasks": [_as_json(change) for change in changes]}, session.form)


def diff(session: Session, file: Files, set_name: SetName = "", prune: Prune = False) -> None:
    """Show what apply would change, as a unified diff. Ends with 1 when that is anything, as diff(1) does.

    \b
    Examples:
      raftsched diff -f tasks.yaml --set web --prune
    """
    changes = [change for change in _changes(session, file, set_name, prune) if change.verb != "keep"]
    for change in changes:
        sys.stdout.writelines(_difference(change))
    if changes:
        raise typer.Exit(ExitCode.FAILURE)


def export(
    session: Session,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Names that begin with this.")] = "",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY[=VALUE]", help="Tasks that carry this label. Repeatable."),
    ] = None,
) -> None:
    """Print tasks as a file that apply takes and that changes nothing; YAML, or JSON with -o json.

    \b
    Examples:
      raftsched export --label team=data > tasks.yaml
    """
    labels = parse_pairs("--label", [each if "=" in each else f"{each}=" for each in label or []])
    tasks = session.client.list_tasks(name_prefix=prefix, labels=labels)
    form = Format.YAML if session.form is Format.TABLE else session.form
    print_document({"tasks": [to_document(definition(task)) for task in tasks]}, form)


def _changes(session: Session, places: list[str], set_name: str, prune: bool) -> list[TaskChange]:
    from raftsched.definitions.violations import Invalid

    if prune and not set_name:
        raise usage("--prune goes with --set NAME: only tasks of that set are removed")
    wanted = read_all(places)
    owned = list(session.client.list_tasks(labels={SET_LABEL: set_name})) if prune else []
    try:
        return plan(wanted, _there(session, wanted), owned, set_name, int(now().timestamp() * 1e6))
    except Refused as error:
        raise Failure(str(error), ExitCode.CONFLICT) from error
    except Invalid as error:
        details = [f"{each.field}: {each.description}" for each in error.violations]
        raise Failure("a task is not valid; nothing was done", ExitCode.USAGE, details) from error


def _there(session: Session, wanted: list[Written]) -> dict[str, Task]:
    from raftsched_client import NotFoundError

    names = {written.task.name for written in wanted}
    if len(names) > _MANY:
        return {task.name: task for task in session.client.list_tasks() if task.name in names}
    found = {}
    for name in names:
        try:
            found[name] = session.client.get_task(name)
        except NotFoundError:
            continue
    return found


def _carry_out(session: Session, changes: list[TaskChange]) -> None:
    """Create, then update, then prune: what is removed last is what others may have depended on."""
    client = session.client
    new = [change.after for change in changes if change.verb == "create" and change.after]
    results = list(client.create_tasks(new)) if new else []
    warn((result.name, result.warnings) for result in results)
    refused = [result for result in results if result.code]
    if refused:
        raise Failure(
            f"{len(refused)} of {len(new)} new tasks were refused; the others were created, nothing else was changed",
            exit_code_of(result.code for result in refused),
            map(explain, refused),
        )
    for change in changes:
        if change.verb == "update" and change.before and change.after:
            change.after.etag = change.before.etag
            note_warnings(change.name, client.update_task(change.after, change.fields).warnings)
    for change in changes:
        if change.verb == "prune" and change.before:
            client.delete_task(change.name, etag=change.before.etag)


_DONE = {"create": "created", "update": "updated", "prune": "pruned", "keep": "unchanged"}


def _line(change: TaskChange, dry_run: bool) -> str:
    verb = f"would {change.verb}" if dry_run and change.verb != "keep" else _DONE[change.verb]
    fields = f" ({', '.join(change.fields)})" if change.fields else ""
    return f"{verb} {change.name}{fields}"


def _as_json(change: TaskChange) -> dict[str, object]:
    return {"name": change.name, "result": _DONE[change.verb], "fields": list(change.fields)}


def _difference(change: TaskChange) -> Iterator[str]:
    before = _text(definition(change.before)) if change.before else []
    after = _text(definition(change.after)) if change.after else []
    return difflib.unified_diff(before, after, f"cluster/{change.name}", f"files/{change.name}")


def _text(task: Task) -> list[str]:
    return yaml_text(to_document(task)).splitlines(keepends=True)
