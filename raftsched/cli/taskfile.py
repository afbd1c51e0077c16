"""Reads files of tasks: YAML, TOML or JSON, in the form of ``taskform``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from raftsched.cli.failures import usage
from raftsched.cli.taskform import FormError, Lines, from_document

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
    Raises Failure, with the line where it is known: the file cannot be read, or has what is none of a task.
    """
    return [written.task for written in read_file(file)]


def read_file(file: str) -> list[Written]:
    """As ``read_tasks``, with what the file states."""
    text = _read(file)
    parse = _parse_toml if file.endswith(".toml") else _parse
    directory = Path() if file == "-" else Path(file).parent
    found = [_task(file, number, item, directory) for number, item in enumerate(_items(file, parse(file, text)), 1)]
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
        copied.ClearField(field)
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


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except OSError as error:
        raise usage(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise usage(f"{file} is not text in UTF-8: {error}") from error


def _parse_toml(file: str, text: str) -> list[Any]:
    import tomllib

    try:
        return [tomllib.loads(text)]
    except tomllib.TOMLDecodeError as error:
        raise usage(f"{file} is not TOML: {error}") from error


def _parse(file: str, text: str) -> list[Any]:
    if file.endswith(".json"):
        try:
            return [json.loads(text)]
        except json.JSONDecodeError as error:
            raise usage(f"{file} is not JSON: {error}") from error
    import yaml

    # JSON is YAML, but for tabs between its parts.
    try:
        return list(yaml.load_all(text, Loader=_loader()))
    except yaml.YAMLError as error:
        try:
            return [json.loads(text)]
        except json.JSONDecodeError:
            raise usage(f"{file} is neither JSON nor YAML: {' '.join(str(error).split())}") from error


def _loader() -> type[Any]:
    """YAML's safe loader, but times stay text, for protobuf to read, and mappings know their lines."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the base depends on how PyYAML was built
        yaml_implicit_resolvers: ClassVar = {
            key: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
            for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    def mapping(loader: Any, node: Any) -> Iterator[Lines]:
        found = Lines()
        yield found
        for key_node, _ in node.value:
            key = loader.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if key in found.lines and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            found.lines[key] = line
        loader.flatten_mapping(node)
        found.update(loader.construct_mapping(node, deep=True))

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    return Loader


def _items(file: str, documents: list[Any]) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, dict) and "tasks" in document:
            if unknown := [key for key in document if key != "tasks"]:
                line = getattr(document, "lines", {}).get(unknown[0])
                raise usage(f"{_at(file, line)}: there is no key {unknown[0]!r} beside tasks")
            yield from document["tasks"] or []
        elif isinstance(document, list):
            yield from document
        elif document is not None:
            yield document


def _task(file: str, number: int, item: Any, directory: Path) -> Written:
    from raftsched_client import Task

    if not isinstance(item, dict):
        raise usage(f"{file}: task {number} is not a mapping with the fields of a task")
    task = Task()
    try:
        from_document(item, task, directory)
    except FormError as error:
        name = item.get("name", "no name")
        raise usage(f"{_at(file, error.line)}: task {number} ({name}): {error}") from error
    fields = {name: field.name for field in task.DESCRIPTOR.fields for name in (field.name, field.json_name)}
    return Written(definition(task), frozenset(fields[key] for key in item), file)


def _at(file: str, line: int | None) -> str:
    return f"{file}:{line}" if line else file
