"""Makes what the protocol's options say of the fields of a task into tables for the programs.

    field_options.py IN TABLE CLIENT PAGE

Reads the FileDescriptorSet IN (with imports and source info), and writes

    TABLE     JSON: a list of the fields of Task, in order; ``raftsched/definitions/task_fields.py`` says what is in it
    CLIENT    Python: the arguments of the client library's ``task`` that stand for fields with a ``help``
    PAGE      Markdown: the fields, their options of the command line and what they mean
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.json_format import MessageToDict
from http_options import comments

_OPTIONS = "raftsched.options.v1"
_TASK = "raftsched.v1.Task"
_DURATION, _TIMESTAMP = ".google.protobuf.Duration", ".google.protobuf.Timestamp"
_SPANS_US = {"ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}
_KINDS = {
    FieldDescriptorProto.TYPE_BOOL: "boolean",
    FieldDescriptorProto.TYPE_INT32: "integer",
    FieldDescriptorProto.TYPE_INT64: "integer",
    FieldDescriptorProto.TYPE_STRING: "text",
    FieldDescriptorProto.TYPE_ENUM: "enum",
}
_MESSAGES = {_DURATION: "span", _TIMESTAMP: "time"}
_METAVARS = {"integer": "N", "text": "TEXT", "span": "SPAN", "time": "TIME"}
_PYTHON = {"boolean": "bool", "integer": "int", "text": "str", "span": "timedelta", "time": "datetime"}

Entry = dict[str, Any]


def main(source: str, table: str, client: str, page: str) -> None:
    """Do what the module says."""
    files = _with_options(Path(source).read_bytes())
    entries = list(_entries(files))
    said = {name: text for file in files.file for name, text in comments(file)}
    Path(table).write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    Path(client).write_text(_client(entries, said), encoding="utf-8")
    Path(page).write_text(_page(entries, said), encoding="utf-8")


def _with_options(content: bytes) -> FileDescriptorSet:
    """The files, with our options as extensions: these are known once their own file is in the pool."""
    pool = descriptor_pool.Default()
    for file in FileDescriptorSet.FromString(content).file:
        if file.package == _OPTIONS:
            pool.Add(file)
    return FileDescriptorSet.FromString(content)


def _extension(name: str) -> Any:
    return descriptor_pool.Default().FindExtensionByName(f"{_OPTIONS}.{name}")


def _entries(files: FileDescriptorSet) -> Iterator[Entry]:
    enums = {f".{file.package}.{enum.name}": enum for file in files.file for enum in file.enum_type}
    for field in _message(files, _TASK).field:
        yield _entry(field, enums)


def _message(files: FileDescriptorSet, name: str) -> DescriptorProto:
    found = [each for file in files.file for each in file.message_type if f"{file.package}.{each.name}" == name]
    return found[0]


def _entry(field: FieldDescriptorProto, enums: dict[str, EnumDescriptorProto]) -> Entry:
    behaviours = field.options.Extensions[field_behavior_pb2.field_behavior]
    entry: Entry = {"name": field.name, "kind": _kind(field)}
    if field_behavior_pb2.OUTPUT_ONLY in behaviours:
        return {**entry, "output": True}
    if field_behavior_pb2.IMMUTABLE in behaviours:
        entry["immutable"] = True
    if not field.options.HasExtension(_extension("field")):
        return entry
    said = MessageToDict(field.options.Extensions[_extension("field")], preserving_proto_field_name=True)
    for bound in ("min", "max"):
        if bound in said:
            said[bound] = _span_us(said[bound]) if entry["kind"] == "span" else int(said[bound])
    if entry["kind"] == "enum":
        said["values"] = list(_values(enums[field.type_name], said.get("default", "")))
    elif said.get("help"):
        said.setdefault("metavar", "TEXT|@FILE" if said.get("multiline") else _METAVARS[entry["kind"]])
    if entry["kind"] == "span" and "default" in said:
        said["default"] = _span_us(said["default"])
    if only := said.get("only"):
        said["only"] = [only["field"], only["values"]]
    if said.get("help"):
        said.setdefault("flag", field.name)
        said.setdefault("panel", "How it runs")
    said.setdefault("title", field.name.replace("_", " "))
    return {**entry, **dict(sorted(said.items()))}


def _kind(field: FieldDescriptorProto) -> str:
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return "many"
    return _KINDS.get(field.type, _MESSAGES.get(field.type_name, "message"))


def _span_us(text: str) -> int:
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text)
    assert match, f"{text!r} is no time span such as 10ms"
    return int(match[1]) * _SPANS_US[match[2]]


def _values(enum: EnumDescriptorProto, default: str) -> Iterator[list[str]]:
    """Short names and titles; the default one comes first."""
    prefix = re.sub("([a-z0-9])([A-Z])", r"\1_\2", enum.name).upper() + "_"
    named = [(value.name.removeprefix(prefix), value) for value in enum.value if value.number]
    for name, value in sorted(named, key=lambda each: each[0] != default):
        title = value.options.Extensions[_extension("value")].title
        yield [name, title or name.replace("_", " ").capitalize()]


def _client(entries: list[Entry], said: dict[str, str]) -> str:
    lines = [
        '"""Arguments of ``task`` that stand for simple fields. Made by scripts/generate-proto."""',
        "",
        "from datetime import timedelta",
        "from typing import Literal, TypedDict",
        "",
        "FIELD_OF = {",
        *(f'    "{each["flag"]}": "{each["name"]}",' for each in _of_client(entries)),
        "}",
        '"""The field of the task that each argument stands for."""',
        "",
        "",
        "class TaskFields(TypedDict, total=False):",
        '    """What the fields of a task say, by the names of the arguments."""',
    ]
    for each in _of_client(entries):
        lines += ["", f"    {each['flag']}: {_annotation(each)} | None", *_docstring(said[f"{_TASK}.{each['name']}"])]
    return "\n".join(lines) + "\n"


def _of_client(entries: list[Entry]) -> list[Entry]:
    return [each for each in entries if each.get("help")]


def _annotation(entry: Entry) -> str:
    if entry["kind"] == "enum":
        return f"Literal[{', '.join(json.dumps(name.lower()) for name, _ in entry['values'])}]"
    return _PYTHON[entry["kind"]]


def _docstring(text: str) -> list[str]:
    words, lines = text.split(), ['    """']
    for word in words:
        if len(lines[-1]) + 1 + len(word) > 116:
            lines.append("    ")
        lines[-1] += word if lines[-1].endswith('"""') or not lines[-1].strip() else f" {word}"
    lines[-1] += '"""'
    return lines


_PAGE = """# Fields of a task

Made by `scripts/generate-proto` from [task.proto](../proto/raftsched/v1/task.proto). [Schedules](schedules.md),
[actions](actions.md), [policies](policies.md) and [notifications](notifications.md) say more.

| Field | Option of `raftsched task` | What it says |
|---|---|---|
{given}

What the cluster says of a task, and ignores where it is sent:

| Field | What it says |
|---|---|
{told}
"""


def _page(entries: list[Entry], said: dict[str, str]) -> str:
    def meaning(entry: Entry) -> str:
        return said.get(f"{_TASK}.{entry['name']}", "").removeprefix("Output only.").strip()

    given = [f"| `{each['name']}` | {_option(each)} | {meaning(each)} |" for each in entries if not each.get("output")]
    told = [f"| `{each['name']}` | {meaning(each)} |" for each in entries if each.get("output")]
    return _PAGE.format(given="\n".join(given), told="\n".join(told))


def _option(entry: Entry) -> str:
    if not entry.get("help"):
        return ""
    choices = "|".join(name.lower().replace("_", "-") for name, _ in entry.get("values", ()))
    value = (choices or entry["metavar"]).replace("|", "\\|")
    return f"`--{entry['flag'].replace('_', '-')} {value}`"


if __name__ == "__main__":
    main(*sys.argv[1:])
