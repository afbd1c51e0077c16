"""The routes, as the ``google.api.http`` options of the protocol give them (google/api/http.proto)."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.resources import files
from pkgutil import iter_modules
from typing import cast
from urllib.parse import unquote_to_bytes

import raftsched_proto.v1
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


def _services() -> Iterator[ServiceDescriptor]:
    for module in iter_modules(raftsched_proto.v1.__path__):
        if module.name.endswith("_pb2"):
            loaded = import_module(f"{raftsched_proto.v1.__name__}.{module.name}")
            yield from loaded.DESCRIPTOR.services_by_name.values()


SERVICES = tuple(sorted(_services(), key=lambda service: (service.name != "TaskService", service.name)))
"""All services of the public protocol: that of tasks, then the others by name."""
_VARIABLE = re.compile(r"\{([a-z_.]+)\}")


def message_of(field: FieldDescriptor) -> Descriptor:
    """The type of a field that holds messages."""
    assert field.message_type is not None, f"{field.full_name} holds no messages"
    return field.message_type


@dataclass(frozen=True)
class Route:
    """One rpc and how HTTP reaches it."""

    method: MethodDescriptor
    verb: str
    template: str
    """Such as /v1/tasks/{name}:pause; a variable is the path of a field of the request."""
    body: str
    """The field of the request that the body holds; "*": the request itself; "": no body."""
    response_body: str
    """The field of the response that the body holds; "": the response itself."""

    @property
    def rpc(self) -> str:
        """Full path of the gRPC method."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def streams(self) -> bool:
        """Whether the rpc sends more than one response."""
        return bool(self.method.server_streaming)

    @property
    def is_safe(self) -> bool:
        """Whether HTTP takes it for granted that the call changes nothing."""
        return self.verb == "GET"

    @property
    def request(self) -> Descriptor:
        """The message that the rpc takes."""
        return self.method.input_type

    @property
    def response(self) -> Descriptor:
        """The message that the body of the response is."""
        output = self.method.output_type
        return message_of(output.fields_by_name[self.response_body]) if self.response_body else output

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """The paths of the fields that the template names."""
        return tuple(_VARIABLE.findall(self.template))

    @cached_property
    def query_fields(self) -> dict[str, FieldDescriptor]:
        """Fields of the request that are given in the query, by JSON name."""
        if self.body == "*":
            return {}
        bound = {self.body, *self.variables}
        return {field.json_name: field for field in self.request.fields if field.name not in bound}

    @cached_property
    def has_request_id(self) -> bool:
        """Whether a repeated call can be told from a new one."""
        return "request_id" in self.request.fields_by_name

    @cached_property
    def etag_path(self) -> tuple[str, ...]:
        """The field that makes the call depend on an etag; () when there is none."""
        if "etag" in self.request.fields_by_name:
            return ("etag",)
        body = self.request.fields_by_name.get(self.body)
        conditional = self.verb == "PATCH" and body is not None and "etag" in message_of(body).fields_by_name
        return (self.body, "etag") if conditional else ()

    def new_request(self) -> Message:
        """An empty request."""
        return GetMessageClass(self.request)()

    def new_response(self) -> type[Message]:
        """The class of the rpc's response."""
        return GetMessageClass(self.method.output_type)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        literals = _VARIABLE.split(self.template)
        parts = ["([^/:]+)" if number % 2 else re.escape(text) for number, text in enumerate(literals)]
        return re.compile("".join(parts))

    def match(self, raw_path: str) -> dict[str, str] | None:
        """The variables of a path that this template fits, or None.

        A variable is a whole segment, decoded after the split, so that an escaped slash divides nothing. Raises
        ValueError when it is not UTF-8.
        """
        found = self._pattern.fullmatch(raw_path)
        if found is None:
            return None
        values = (unquote_to_bytes(each).decode() for each in found.groups())
        return dict(zip(self.variables, values, strict=True))


class RouteTable:
    """All routes of the protocol, with what its comments say."""

    def __init__(self) -> None:
        table = json.loads(files("raftsched.rest").joinpath("routes.json").read_text(encoding="utf-8"))
        self.comments = cast(dict[str, str], table["comments"])
        """By the full name of what they describe."""
        self.outputs = frozenset(cast(list[str], table["outputs"]))
        """Full names of the fields that are output only."""
        self.routes = tuple(_routes(cast(dict[str, dict[str, str]], table["routes"])))

    def find(self, raw_path: str) -> list[tuple[Route, dict[str, str]]]:
        """The routes of a path, one for each verb, and the path's variables. Raises ValueError as ``Route.match``."""
        found = ((route, route.match(raw_path)) for route in self.routes)
        return [(route, variables) for route, variables in found if variables is not None]


def _routes(table: dict[str, dict[str, str]]) -> Iterator[Route]:
    pool = descriptor_pool.Default()
    for name, rule in table.items():
        verb, _, template = rule["http"].partition(" ")
        method = pool.FindMethodByName(name)
        yield Route(method, verb, template, rule.get("body", ""), rule.get("response_body", ""))
