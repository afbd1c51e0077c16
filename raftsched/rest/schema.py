"""JSON schemas (2020-12, as OpenAPI 3.1 takes them) of the messages of the protocol."""

from itertools import combinations
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from raftsched.rest.routes import RouteTable, message_of
from raftsched.rest.values import DURATION, FIELD_MASK, is_map

Schema = dict[str, Any]
PREFIX = "#/components/schemas/"

_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "format": "byte", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": r"^-?[0-9]{1,19}$"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
}
_INT64_GIVEN: Schema = {
    "type": ["string", "integer"],
    "format": "int64",
    "pattern": _SCALARS[FieldDescriptor.TYPE_INT64]["pattern"],
    "minimum": -(2**63),
    "maximum": 2**63 - 1,
}
"""Of a request: protobuf's JSON mapping writes 64-bit integers as strings, and reads numbers too."""
_TEXTS: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time", "examples": ["2030-01-31T12:00:00Z"]},
    "google.protobuf.Duration": {"type": "string", "pattern": DURATION, "examples": ["90s"]},
    "google.protobuf.FieldMask": {"type": "string", "pattern": FIELD_MASK, "examples": ["labels,timeLimit"]},
}


class Schemas:
    """The components of the document, gathered as they are referred to."""

    def __init__(self, table: RouteTable) -> None:
        self._comments = table.comments
        self._outputs = table.outputs
        bodies = (message_of(route.request.fields_by_name[route.body]) for route in table.routes if route.body > "*")
        wholes = (route.request for route in table.routes if route.body == "*")
        self._inputs: set[str] = set()
        for message in (*bodies, *wholes):
            self._note_input(message)
        self.components: dict[str, Schema] = {}

    def _note_input(self, message: Descriptor) -> None:
        if message.full_name not in self._inputs:
            self._inputs.add(message.full_name)
            for field in message.fields:
                if field.message_type is not None:
                    self._note_input(field.message_type)

    def message(self, message: Descriptor, without: tuple[str, ...] = ()) -> Schema:
        """A reference to the schema of a message, or the schema itself when some of its fields are left out."""
        if message.full_name in _TEXTS:
            return dict(_TEXTS[message.full_name])
        if without:
            return self._object(message, without)
        if message.name not in self.components:
            self.components[message.name] = {}
            self.components[message.name] = self._object(message, ())
        return {"$ref": PREFIX + message.name}

    def _object(self, message: Descriptor, without: tuple[str, ...]) -> Schema:
        fields = [field for field in message.fields if field.name not in without]
        schema: Schema = {"type": "object", "description": self._described(message)}
        schema["properties"] = {field.json_name: self.field(field) for field in fields}
        schema["additionalProperties"] = False
        pairs = [
            {"required": [one.json_name, other.json_name]}
            for oneof in message.oneofs
            for one, other in combinations(oneof.fields, 2)
        ]
        if pairs:
            schema["not"] = {"anyOf": pairs}
        always = [field.json_name for field in fields if not field.has_presence]
        if message.full_name not in self._inputs and always:
            schema["required"] = always
        return schema

    def _described(self, message: Descriptor) -> str:
        groups = [
            f"At most one of {', '.join(field.json_name for field in oneof.fields)} is given."
            for oneof in message.oneofs
            if len(oneof.fields) > 1
        ]
        return " ".join([self.comment(message.full_name), *groups]).strip()

    def comment(self, name: str) -> str:
        """What the protocol says of a name."""
        return self._comments.get(name, "")

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a field's value."""
        if is_map(field):
            schema: Schema = {"type": "object"}
            schema["additionalProperties"] = self._value(message_of(field).fields_by_name["value"])
        elif field.is_repeated:
            schema = {"type": "array", "items": self._value(field)}
        else:
            schema = self._value(field)
        comment = self.comment(field.full_name)
        if comment:
            schema["description"] = comment
        if field.full_name in self._outputs:
            schema["readOnly"] = True
        return schema

    def _value(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.type == FieldDescriptor.TYPE_INT64 and self._is_given(field):
            return dict(_INT64_GIVEN)
        return dict(_SCALARS[field.type])

    def _is_given(self, field: FieldDescriptor) -> bool:
        message = field.full_name.rpartition(".")[0]
        return message in self._inputs and field.full_name not in self._outputs

    def _enum(self, enum: EnumDescriptor) -> Schema:
        if enum.name not in self.components:
            said = ((value.name, self.comment(f"{enum.full_name}.{value.name}")) for value in enum.values)
            lines = [self.comment(enum.full_name), *(f"- `{name}`: {text}" for name, text in said if text)]
            self.components[enum.name] = {
                "type": "string",
                "enum": [value.name for value in enum.values],
                "description": "\n".join(line for line in lines if line),
            }
        return {"$ref": PREFIX + enum.name}
