"""The OpenAPI 3.1 document, made of the routes, the messages and the comments of the protocol."""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from raftsched.rest.problem import MEDIA_TYPE, REASONS
from raftsched.rest.routes import SERVICES, Route, RouteTable, message_of
from raftsched.rest.schema import PREFIX, Schema, Schemas
from raftsched.rest.values import is_map

_ABOUT = (
    "Registers tasks, shows what ran, what runs and what was decided, and shows the cluster. Any node answers every "
    "call. JSON follows the JSON mapping of Protocol Buffers: 64-bit integers are strings, durations are seconds such "
    'as `"90s"`, times are RFC 3339, bytes are base64. Errors are problem documents (RFC 9457).'
)
_REQUEST_ID = (
    "Makes the call repeatable: the same key with the same call within an hour returns the first outcome instead of "
    "acting again. The same as the field `requestId`."
)
_IF_MATCH = "Act only if the task still has this etag, as the header `ETag` gave it; otherwise 412."
_EVENTS = (
    "Server-sent events. The event `begin` comes first: nothing is missed from then on. Each message without an event "
    "name carries a `{name}` as JSON. `end`: nothing follows. `problem`: the stream cannot go on; connect again."
)
_ID = "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"
_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"
_KEYS = {"Task": "name", "Execution": "id"}
"""The field that identifies what a response holds."""
_PROBLEM: Schema = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail", "reason", "applied"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people: what happened and what to do next."},
        "reason": {
            "type": "string",
            "description": "For programs. More may be added.\n"
            + "\n".join(f"- `{reason}`: {text}" for reason, text in REASONS.items()),
        },
        "applied": {
            "type": "string",
            "enum": ["no", "unknown"],
            "description": "Whether the request may have changed anything.",
        },
        "missingNodes": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Of NO_MAJORITY: ids of the nodes that cannot be reached.",
        },
        "violations": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "description"],
                "properties": {
                    "field": {"type": "string", "description": "Path of the field in the body, or a parameter."},
                    "description": {"type": "string"},
                },
            },
        },
    },
}


def document(table: RouteTable, version: str) -> dict[str, Any]:
    """The document. ``version``: of the program."""
    schemas = Schemas(table)
    paths: dict[str, dict[str, Any]] = {}
    for route in table.routes:
        paths.setdefault(_named_by_leaf(route), {})[route.verb.lower()] = _operation(route, schemas, table.routes)
    return {
        "openapi": "3.1.0",
        "info": {"title": "raftsched", "version": version, "description": _ABOUT},
        "tags": [{"name": each.name, "description": schemas.comment(each.full_name)} for each in SERVICES],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**dict(sorted(schemas.components.items())), "Problem": _PROBLEM},
            "responses": {
                "Problem": {
                    "description": "The request was refused or failed.",
                    "content": {MEDIA_TYPE: {"schema": {"$ref": f"{PREFIX}Problem"}}},
                }
            },
        },
    }


def _named_by_leaf(route: Route) -> str:
    """The template with the last parts of its variables, so that all methods of a path stand together."""
    return re.sub(r"\{[^}]*\.", "{", route.template)


def _operation(route: Route, schemas: Schemas, routes: tuple[Route, ...]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.method.name,
        "tags": [route.method.containing_service.name],
        "description": schemas.comment(route.method.full_name),
        "parameters": [*_path_parameters(route, schemas), *_query_parameters(route, schemas), *_headers(route)],
        "responses": {**_success(route, schemas, routes), "default": {"$ref": "#/components/responses/Problem"}},
    }
    if route.body:
        body = route.request if route.body == "*" else message_of(route.request.fields_by_name[route.body])
        schema = schemas.message(body, without=route.variables if route.body == "*" else ())
        operation["requestBody"] = {
            "required": route.body != "*",
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _path_parameters(route: Route, schemas: Schemas) -> list[Schema]:
    return [
        {
            "name": path.rpartition(".")[2],
            "in": "path",
            "required": True,
            "description": schemas.comment(_field_at(route, path).full_name),
            "schema": {"type": "string", "pattern": _ID if path == "id" else _NAME},
        }
        for path in route.variables
    ]


def _field_at(route: Route, path: str) -> FieldDescriptor:
    *parents, last = path.split(".")
    message = route.request
    for part in parents:
        message = message_of(message.fields_by_name[part])
    return message.fields_by_name[last]


def _query_parameters(route: Route, schemas: Schemas) -> list[Schema]:
    parameters = []
    for name, field in route.query_fields.items():
        schema = schemas.field(field)
        parameter = {"name": name, "in": "query", "description": schema.pop("description", ""), "schema": schema}
        if is_map(field):
            parameter.update(style="deepObject", explode=True)
        parameters.append(parameter)
    return parameters


def _headers(route: Route) -> list[Schema]:
    headers = []
    if route.has_request_id:
        key = {"type": "string", "maxLength": 128, "pattern": "^[!-~]*$"}
        headers.append({"name": "Idempotency-Key", "in": "header", "description": _REQUEST_ID, "schema": key})
    if route.etag_path:
        headers.append({"name": "If-Match", "in": "header", "description": _IF_MATCH, "schema": {"type": "string"}})
    return headers


def _success(route: Route, schemas: Schemas, routes: tuple[Route, ...]) -> dict[str, Any]:
    if route.streams:
        return _streamed(route, schemas)
    if not route.method.output_type.fields:
        return {"204": {"description": "Done."}}
    status = "201" if route.method.name.startswith("Create") else "200"
    answer: dict[str, Any] = {
        "description": "Created." if status == "201" else "Done.",
        "content": {"application/json": {"schema": schemas.message(route.response)}},
    }
    headers = {"Location": "The path of what was created."} if status == "201" else {}
    if "etag" in route.response.fields_by_name:
        headers["ETag"] = "The etag of the task, for If-Match."
    links = dict(_links(route, routes))
    if links:
        answer["links"] = links
    if headers:
        answer["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        }
    if status == "201" and "validate_only" in route.request.fields_by_name:
        checked = {"description": "Checked; nothing was created.", "content": answer["content"]}
        return {"200": checked, status: answer}
    return {status: answer}


def _links(route: Route, routes: tuple[Route, ...]) -> Iterator[tuple[str, Schema]]:
    """Where the id of the task or the execution in a response leads."""
    key = _KEYS.get(route.response.name)
    for other in routes if key else ():
        for path in other.variables:
            field = _field_at(other, path)
            if field.name == key or field.name == route.response.name.lower():
                parameters = {field.name: f"$response.body#/{key}"}
                yield other.method.name, {"operationId": other.method.name, "parameters": parameters}


def _streamed(route: Route, schemas: Schemas) -> dict[str, Any]:
    # The events of a stream cannot be described by the schema of its body; their data has one of its own.
    schemas.message(route.response)
    content: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
    description = _EVENTS.format(name=route.response.name)
    if "data" in route.response.fields_by_name:
        content = {"text/plain": {"schema": {"type": "string"}}, **content}
        description = f"The bytes; or, with `Accept: text/event-stream`: {description}"
    return {
        "200": {"description": description, "content": content},
        "204": {"description": "The header `Last-Event-ID` says that the client has seen the end."},
    }
