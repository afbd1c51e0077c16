"""Prints the simple fields of a task as the form of the web interface has them, in TypeScript."""

import json
import re
from typing import Any

from raftsched_proto.v1 import task_pb2

from raftsched.definitions.task_fields import TASK_FIELDS, TaskField

_KINDS = {"enum": "choice", "integer": "integer", "span": "duration", "time": "instant", "boolean": "boolean"}
_HEAD = """// Made by scripts/generate-ui-types of the options in proto/raftsched/v1/task.proto.
import type { Field } from './fields.ts';

/** Simple fields of a task in the order of the protocol, and the part of the form that each is in. */
export const TASK_FIELDS: readonly (Field & { section: string })[] = """


def main() -> None:
    """Do what the module says."""
    fields = [_form_field(field) for field in TASK_FIELDS if field.section]
    print(f"{_HEAD}{json.dumps(fields, indent=2, ensure_ascii=False)};")


def _form_field(field: TaskField) -> dict[str, Any]:
    form: dict[str, Any] = {
        "section": field.section,
        "path": _camel(field.name),
        "kind": field.input or _KINDS.get(field.kind, "area" if field.multiline else "text"),
        "label": field.title[:1].upper() + field.title[1:],
        "description": field.hint or field.help,
        "placeholder": field.placeholder,
    }
    if field.values:
        prefix = _prefix(field.name)
        form["options"] = [{"value": prefix + name, "label": title} for name, title in field.values]
    if field.multiline or field.kind == "boolean":
        form["wide"] = True
    if field.only:
        of, values = field.only
        form["only"] = {"path": _camel(of), "values": [each == "true" or _prefix(of) + each for each in values]}
    return {key: value for key, value in form.items() if value}


def _prefix(name: str) -> str:
    """What the values of an enum have in common in front; "" for a field of another kind."""
    enum = task_pb2.Task.DESCRIPTOR.fields_by_name[name].enum_type
    return enum.values[0].name.removesuffix("UNSPECIFIED") if enum else ""


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda match: match[1].upper(), name)


if __name__ == "__main__":
    main()
