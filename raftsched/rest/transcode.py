"""From an HTTP request to the request of an rpc, and from its response to JSON."""

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from raftsched.api.door.errors import MAX_VIOLATIONS
from raftsched.definitions.violations import Violation
from raftsched.rest.problem import malformed, refused
from raftsched.rest.routes import Route, message_of
from raftsched.rest.values import check_message, field_of, is_map

MAX_QUERY_FIELDS = 1_000
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BodyBounds:
    """What a body may hold. To make a message of a JSON object takes some 20 microseconds, of another value one."""

    objects: int
    commas: int
    """In texts, too, where a definition has room for a quarter of a million."""


_OF_ONE, _OF_MANY = BodyBounds(10_000, 400_000), BodyBounds(100_000, 1_000_000)
_MAP_KEY = re.compile(r"([A-Za-z_]+)\[([^\[\]]*)\]")
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_NUMBERS = (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64)
_IDENTITY = ("name", "etag")


def build_request(
    route: Route,
    variables: Mapping[str, str],
    query: bytes,
    body: bytes,
    headers: Mapping[str, str],
    outputs: frozenset[str],
) -> Message:
    """The request of the rpc. Raises Problem (400) when any part cannot be used; ``headers`` have lower-case names."""
    value = _body_value(route, body)
    _merge_query(route, value, query)
    if route.verb == "PATCH" and "update_mask" in route.request.fields_by_name:
        _default_mask(route, value, outputs)
    for path, text in variables.items():
        _set(value, tuple(path.split(".")), text, "the path")
    _merge_headers(route, value, headers)
    violations = _violations(route, value)
    if violations:
        prefix = f"{route.body}."
        raise refused(Violation(each.field.removeprefix(prefix), each.description) for each in violations)
    return _parsed(route, value)


def _violations(route: Route, value: Json) -> list[Violation]:
    """Some of what is wrong, if anything is."""
    try:
        return list(islice(check_message(route.request, value), MAX_VIOLATIONS))
    except RecursionError:
        raise malformed("the body is nested too deeply") from None


def _parsed(route: Route, value: Json) -> Message:
    try:
        return json_format.ParseDict(value, route.new_request())
    except (json_format.ParseError, ValueError, OverflowError, TypeError) as error:
        raise malformed(f"the request cannot be read: {error}"[:300]) from None


def _body_value(route: Route, body: bytes) -> Json:
    """The request with what the body holds."""
    if route.body == "*":
        value = parse_json(body, _bounds(route)) if body.strip() else {}
        if not isinstance(value, dict):
            raise malformed("the body must be a JSON object")
        named = {_json_name(route, key): item for key, item in value.items()}
        if len(named) < len(value):
            raise malformed("the body gives the same field under two names")
        return named
    return {route.body: parse_json(body, _bounds(route))} if route.body else {}


def _json_name(route: Route, key: str) -> str:
    field = field_of(route.request, key)
    return field.json_name if field is not None else key


def _bounds(route: Route) -> BodyBounds:
    return _OF_MANY if route.method.name.startswith("Batch") else _OF_ONE


def parse_json(text: bytes, bounds: BodyBounds = _OF_MANY) -> object:
    """The JSON value. Raises Problem (400) for what RFC 8259 does not know, repeated names of an object included."""
    if text.count(b",") > bounds.commas:
        raise malformed(f"the body has more than {bounds.commas:,} commas, which no valid request needs")
    left = itertools.count(bounds.objects, -1)

    def counted(pairs: list[tuple[str, object]]) -> Json:
        if not next(left):
            raise ValueError(f"it has more than {bounds.objects:,} objects")
        return _object(pairs)

    try:
        return json.loads(text.decode(), object_pairs_hook=counted, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise malformed("the body is not UTF-8") from None
    except RecursionError:
        raise malformed("the body is nested too deeply") from None
    except ValueError as error:
        raise malformed(f"the body is not JSON: {error}"[:300]) from None


def _object(pairs: list[tuple[str, object]]) -> Json:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("an object has the same name twice")
    # No answer that quotes the name could be written.
    if any("\ud800" <= character <= "\udfff" for name in value if not name.isascii() for character in name):
        raise ValueError("a name holds half of a surrogate pair, which is no character")
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _merge_query(route: Route, value: Json, query: bytes) -> None:
    for key, text in query_pairs(query):
        name, map_key = _split_map_key(key)
        field = field_of(route.request, name)
        if field is None or field.json_name not in route.query_fields or is_map(field) != (map_key is not None):
            known = ", ".join(_shown(field) for field in route.query_fields.values()) or "none"
            raise refused([Violation(key[:120], f"there is no such query parameter; there are: {known}")])
        typed = _typed(field, text)
        if map_key is not None:
            _set(value, (field.json_name, map_key), typed, "the query")
        elif field.is_repeated:
            value.setdefault(field.json_name, []).append(typed)
        elif field.json_name in value:
            raise refused([Violation(name, "is given more than once")])
        else:
            value[field.json_name] = typed


def query_pairs(query: bytes) -> list[tuple[str, str]]:
    """Names and values of a query string. Raises Problem (400)."""
    try:
        return parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_FIELDS,
            separator="&",
        )
    except ValueError as error:
        raise malformed(f"the query string cannot be read: {error}"[:300]) from None


def _split_map_key(key: str) -> tuple[str, str | None]:
    found = _MAP_KEY.fullmatch(key)
    return (found.group(1), found.group(2)) if found else (key, None)


def _shown(field: FieldDescriptor) -> str:
    return f"{field.json_name}[...]" if is_map(field) else field.json_name


def _typed(field: FieldDescriptor, text: str) -> object:
    """The JSON value that a parameter stands for; the text itself where it is none, for the check to refuse."""
    if field.type in _NUMBERS and _INTEGER.fullmatch(text):
        return int(text)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "false": False}.get(text, text)
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.FieldMask":
        return _camel_paths(text)
    return text


def _camel_paths(mask: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found.group(1).upper(), mask)


def _default_mask(route: Route, value: Json, outputs: frozenset[str]) -> None:
    """Without a mask a PATCH replaces the fields that its body holds."""
    fields = value.get(route.body)
    if "updateMask" in value or not isinstance(fields, dict):
        return
    message = message_of(route.request.fields_by_name[route.body])
    found = (field_of(message, key) for key in fields)
    value["updateMask"] = ",".join(
        field.json_name
        for field in found
        if field is not None and field.name not in _IDENTITY and field.full_name not in outputs
    )


def _merge_headers(route: Route, value: Json, headers: Mapping[str, str]) -> None:
    key = headers.get("idempotency-key")
    if key is not None and route.has_request_id:
        _set(value, ("requestId",), _unquoted(key), "Idempotency-Key")
    condition = headers.get("if-match")
    if condition is None:
        return
    if not route.etag_path:
        raise malformed("If-Match has no meaning for this call; it is understood by PATCH and DELETE of a task")
    if condition.strip() != "*":
        _set(value, route.etag_path, _one_etag(condition), "If-Match")


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


def _one_etag(text: str) -> str:
    """The etag in If-Match. One of a list cannot be asked for; a weak one never matches (RFC 9110 section 13.1.1)."""
    text = text.strip()
    if not re.fullmatch(r'(W/)?"[!#-~]*"', text, re.ASCII):
        raise malformed('If-Match must be "*" or one etag in double quotes, as the header ETag gave it')
    return text[1:-1] if text.startswith('"') else text


def _set(value: Json, path: tuple[str, ...], item: object, source: str) -> None:
    """Put a value where the path says. Raises Problem (400) when another source said something else."""
    for part in path[:-1]:
        inner = value.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        value = inner
    if value.setdefault(path[-1], item) != item:
        raise refused([Violation(path[-1], f"differs from what {source} says")])


def to_json(route: Route, response: Message) -> Json:
    """The response as the body shows it. Fields without presence are always there."""
    shown = getattr(response, route.response_body) if route.response_body else response
    return message_json(shown)


def message_json(message: Message) -> Json:
    """A message by protobuf's JSON mapping."""
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def dump(value: object) -> bytes:
    """JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
