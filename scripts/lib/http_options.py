"""Takes the options of google.api, and our own, out of a descriptor set: generated code must not need them at run time.

    http_options.py IN OUT TABLE

Reads the FileDescriptorSet IN (with imports and source info), writes it without the options to OUT, and writes what
they said, with the comments of the public protocol, as JSON to TABLE:

    routes    {method: {"http": "GET /v1/tasks", "body": field or "*", "response_body": field}}
    outputs   [full name of each field that is output only]
    comments  {full name: comment}
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from google.api import annotations_pb2, field_behavior_pb2, http_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

PUBLIC = "raftsched.v1"
_OPTIONS = ("google/api/", "raftsched/options/")
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _VALUES, _METHODS = 2, 2, 2
_NESTED_MESSAGES, _NESTED_ENUMS = 3, 4

Named = tuple[tuple[int, ...], str]
"""The path of a declaration in its file, and its full name."""


def main(source: str, stripped: str, table: str) -> None:
    """Do what the module says."""
    files = FileDescriptorSet.FromString(Path(source).read_bytes())
    public = [file for file in files.file if file.package == PUBLIC]
    content = {
        "routes": {name: rule for file in public for name, rule in _routes(file)},
        "outputs": [name for file in public for message in file.message_type for name in _outputs(file, message)],
        "comments": {name: comment for file in public for name, comment in comments(file)},
    }
    Path(table).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    kept = FileDescriptorSet(file=[_stripped(file) for file in files.file if not file.name.startswith(_OPTIONS)])
    Path(stripped).write_bytes(kept.SerializeToString())


def _routes(file: FileDescriptorProto) -> Iterator[tuple[str, dict[str, str]]]:
    for service in file.service:
        for method in service.method:
            name = f"{file.package}.{service.name}.{method.name}"
            if not method.options.HasExtension(annotations_pb2.http):
                sys.exit(f"{name} has no route: give it an option google.api.http")
            yield name, _rule(name, method.options.Extensions[annotations_pb2.http])


def _rule(name: str, rule: http_pb2.HttpRule) -> dict[str, str]:
    verb = rule.WhichOneof("pattern")
    if verb not in ("get", "post", "patch", "put", "delete") or rule.additional_bindings:
        sys.exit(f"{name}: one plain route is expected")
    route = {"http": f"{verb.upper()} {getattr(rule, verb)}", "body": rule.body, "response_body": rule.response_body}
    return {key: value for key, value in route.items() if value}


def _outputs(file: FileDescriptorProto, message: DescriptorProto) -> Iterator[str]:
    for field in message.field:
        behaviours = field.options.Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.OUTPUT_ONLY in behaviours:
            yield f"{file.package}.{message.name}.{field.name}"


def comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """The full name of each declaration that has a comment, and the comment on one line."""
    said = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    for path, name in _named(file):
        text = " ".join(line.strip() for line in said.get(path, "").strip().splitlines())
        if text:
            yield f"{file.package}.{name}", text


def _named(file: FileDescriptorProto) -> Iterator[Named]:
    for number, message in enumerate(file.message_type):
        yield from _of_message((_MESSAGES, number), message.name, message)
    for number, enum in enumerate(file.enum_type):
        yield from _of_enum((_ENUMS, number), enum.name, enum)
    for number, service in enumerate(file.service):
        yield from _of_service((_SERVICES, number), service.name, service)


def _of_message(path: tuple[int, ...], name: str, message: DescriptorProto) -> Iterator[Named]:
    yield path, name
    for number, field in enumerate(message.field):
        yield (*path, _FIELDS, number), f"{name}.{field.name}"
    for number, nested in enumerate(message.nested_type):
        yield from _of_message((*path, _NESTED_MESSAGES, number), f"{name}.{nested.name}", nested)
    for number, enum in enumerate(message.enum_type):
        yield from _of_enum((*path, _NESTED_ENUMS, number), f"{name}.{enum.name}", enum)


def _of_enum(path: tuple[int, ...], name: str, enum: EnumDescriptorProto) -> Iterator[Named]:
    yield path, name
    for number, value in enumerate(enum.value):
        yield (*path, _VALUES, number), f"{name}.{value.name}"


def _of_service(path: tuple[int, ...], name: str, service: ServiceDescriptorProto) -> Iterator[Named]:
    yield path, name
    for number, method in enumerate(service.method):
        yield (*path, _METHODS, number), f"{name}.{method.name}"


def _stripped(file: FileDescriptorProto) -> FileDescriptorProto:
    kept = [name for name in file.dependency if not name.startswith(_OPTIONS)]
    del file.dependency[:]
    file.dependency.extend(kept)
    # Nothing here knows the file that declares ours.
    file.DiscardUnknownFields()
    for service in file.service:
        for method in service.method:
            method.options.ClearExtension(annotations_pb2.http)
            if not method.options.ByteSize():
                method.ClearField("options")
    for message in file.message_type:
        _strip_message(message)
    for enum in file.enum_type:
        for value in enum.value:
            if not value.options.ByteSize():
                value.ClearField("options")
    return file


def _strip_message(message: DescriptorProto) -> None:
    for field in message.field:
        # The compiler wrote the default out, and would take it for a name of its own.
        field.ClearField("json_name")
        field.options.ClearExtension(field_behavior_pb2.field_behavior)
        if not field.options.ByteSize():
            field.ClearField("options")
    for nested in message.nested_type:
        _strip_message(nested)


if __name__ == "__main__":
    main(*sys.argv[1:])
