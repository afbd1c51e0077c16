"""Reads files of tasks: YAML, TOML or JSON, in the form of ``taskform``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from raftsched.cli.failures import usage
from raftsched.cli.files.taskform import FieldPath, FormError, from_document
from raftsched.cli.files.text import at_line, read_text
from raftsched.cli.files.toml_reader import read_toml
from raftsched.cli.files.values import Scalar, line_of
from raftsched.definitions.task_fields import TASK_FIELDS
from raftsched.toml_text import line_of_key

if TYPE_CHECKING:
    from raftsched_client import Task

OUTPUT_ONLY: Final = tuple(field.name for field in TASK_FIELDS if field.output)
"""Fields of a task that only the cluster sets."""
SUFFIXES: Final = (".yaml", ".yml", ".toml", ".json")


@dataclass(frozen=True)
class Written:
    """A task as a file has it."""

    task: Task
    stated: frozenset[str]
    """Names of the fields that the file says something about."""
    file: str


def read_tasks(file: str) -> list[Task]:
    """The tasks of a file, or of standard input (``-``).

    The file holds one task, a list, a mapping with ``tasks``, or several YAML documents of these. Fields that only the
    cluster sets are left out, so that what ``task show`` and ``task list`` print can be read.
    Raises Failure, with the line: the file cannot be read, or has what is none of a task.
    """
    return [written.task for written in read_file(file)]


def read_file(file: str) -> list[Written]:
    """As ``read_tasks``, with what the file states."""
    text = read_text(file)
    items = _items(file, documents(file, text))
    found = [_task(file, text, number, path, item) for number, (path, item) in enumerate(items, 1)]
    if not found:
        raise usage(f"{file}: holds no task")
    return found


def read_all(places: Iterable[str]) -> list[Written]:
    """The tasks of files, of all files in directories and below, and of standard input. Raises Failure.

    A task that is there twice is refused.
    """
    found: dict[str, Written] = {}
    for file in _files(places):
        for written in read_file(file):
            name = written.task.name
            if name in found:
                raise usage(f"{file}: the task {name!r} is in {found[name].file} already")
            found[name] = written
    return list(found.values())


def definition(task: Task) -> Task:
    """The task without what only the cluster sets."""
    copied = type(task)()
    copied.CopyFrom(task)
    for field in OUTPUT_ONLY:
        copied.ClearField(field)  # type: ignore[arg-type]  # the stub wants a literal
    return copied


def _files(places: Iterable[str]) -> Iterator[str]:
    for place in places:
        if place == "-" or not Path(place).is_dir():
            yield place
            continue
        within = sorted(path for path in Path(place).rglob("*") if path.suffix in SUFFIXES and path.is_file())
        if not within:
            raise usage(f"{place}: no file of this directory ends in {', '.join(SUFFIXES)}")
        yield from map(str, within)


def documents(file: str, text: str) -> list[Any]:
    """What the text of the file says, by the ending of its name. Raises Failure, with the line."""
    from raftsched.cli.files.json_reader import parse_json, read_json
    from raftsched.cli.files.yaml_reader import read_yaml

    if file.endswith(".toml"):
        return [read_toml(file, text)]
    if file.endswith(".json"):
        return [read_json(file, text)]
    # JSON is YAML, but for tabs between its parts and halves of characters.
    if text.lstrip()[:1] in ("{", "["):
        try:
            return [parse_json(text)]
        except (ValueError, RecursionError):
            pass
    return read_yaml(file, text)


def _items(file: str, written: list[Any]) -> Iterator[tuple[FieldPath, Any]]:
    """What is written for each task, and where it stands in its document."""
    for document in written:
        if isinstance(document, dict) and "tasks" in document:
            if unknown := [key for key in document if key != "tasks"]:
                line = getattr(document, "lines", {}).get(unknown[0])
                raise usage(f"{at_line(file, line)}: there is no key {unknown[0]!r} beside tasks")
            tasks = document["tasks"]
            if isinstance(tasks, Scalar) and tasks.is_null:
                tasks = []
            if not isinstance(tasks or [], list):
                line = getattr(document, "lines", {}).get("tasks")
                raise usage(f"{at_line(file, line)}: tasks must be a list")
            yield from ((("tasks", at), task) for at, task in enumerate(tasks or []))
        elif isinstance(document, list):
            yield from (((at,), task) for at, task in enumerate(document))
        elif document is not None and not (isinstance(document, Scalar) and document.is_null):
            yield (), document


def _task(file: str, text: str, number: int, path: FieldPath, item: Any) -> Written:
    from raftsched_client import Task

    if not isinstance(item, dict):
        raise usage(f"{at_line(file, line_of(item))}: task {number} is not a mapping with the fields of a task")
    task = Task()
    try:
        from_document(item, task, Path() if file == "-" else Path(file).parent)
    except FormError as error:
        name = item.get("name", "no name")
        line = error.line or line_of(item)
        if file.endswith(".toml"):
            line = line_of_key(text, path + error.path + ((error.key,) if error.key else ()))
        raise usage(f"{at_line(file, line)}: task {number} ({name}): {error}") from error
    fields = {name: field.name for field in task.DESCRIPTOR.fields for name in (field.name, field.json_name)}
    return Written(definition(task), frozenset(fields[key] for key in item), file)
