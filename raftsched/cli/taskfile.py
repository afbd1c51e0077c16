"""Reads files of tasks: JSON or YAML in protobuf's JSON mapping."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from raftsched.cli.failures import usage

if TYPE_CHECKING:
    from raftsched_client import Task

OUTPUT_ONLY: Final = (
    "uid",
    "etag",
    "generation",
    "state",
    "create_time",
    "update_time",
    "next_fire_time",
    "last_fire_time",
)
"""Fields of a task that only the cluster sets."""


def read_tasks(file: str) -> list[Task]:
    """The tasks of a file, or of standard input (``-``).

    The file holds one task, a list, a mapping with ``tasks``, or several YAML documents of these.

    Fields that only the cluster sets are left out, so that what ``task show`` and ``task list`` print can be read.
    Raises Failure, naming the task: the file cannot be read, is not JSON or YAML, or a field is not one of a task.
    """
    text = _read(file)
    documents = _parse(file, text)
    tasks = [_task(file, number, item) for number, item in enumerate(_items(documents), 1)]
    if not tasks:
        raise usage(f"{file}: holds no task")
    return tasks


def definition(task: Task) -> Task:
    """The task without what only the cluster sets."""
    copied = type(task)()
    copied.CopyFrom(task)
    for field in OUTPUT_ONLY:
        copied.ClearField(field)
    return copied


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except OSError as error:
        raise usage(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise usage(f"{file} is not text in UTF-8: {error}") from error


def _parse(file: str, text: str) -> list[Any]:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return [json.loads(text)]
        except json.JSONDecodeError as error:
            # YAML's flow style begins in the same way.
            if file.endswith(".json"):
                raise usage(f"{file} is not JSON: {error}") from error
    import yaml

    try:
        return list(yaml.load_all(text, Loader=_loader()))
    except yaml.YAMLError as error:
        raise usage(f"{file} is neither JSON nor YAML: {' '.join(str(error).split())}") from error


def _loader() -> type[Any]:
    """YAML's safe loader, but times stay text, for protobuf to read."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar = {
            key: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
            for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return Loader


def _items(documents: list[Any]) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, dict) and "tasks" in document:
            yield from document["tasks"] or []
        elif isinstance(document, list):
            yield from document
        elif document is not None:
            yield document


def _task(file: str, number: int, item: Any) -> Task:
    from google.protobuf.json_format import ParseDict, ParseError
    from raftsched_client import Task

    if not isinstance(item, dict):
        raise usage(f"{file}: task {number} is not a mapping with the fields of a task")
    try:
        return definition(ParseDict(item, Task()))
    except ParseError as error:
        raise usage(f"{file}: task {number} ({item.get('name', 'no name')}): {error}") from error
