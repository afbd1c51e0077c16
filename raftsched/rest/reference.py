"""The reference of the API as one HTML page that loads nothing."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from raftsched.rest.problem import REASONS
from raftsched.rest.schema import PREFIX

Part = dict[str, Any]

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}
code,pre{font:14px/1.45 ui-monospace,monospace}
pre{overflow-x:auto;padding:.5rem;border:1px solid #8886}
details{border-top:1px solid #8886;padding:.4rem 0}
summary{cursor:pointer}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #8883;padding:.25rem .5rem .25rem 0;text-align:left;vertical-align:top}
.verb{display:inline-block;min-width:4.5rem;font-weight:600}
"""


def page(document: Part) -> str:
    """The page of an OpenAPI document."""
    return "".join(_page(document))


def _page(document: Part) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>raftsched REST API</title><style>{_STYLE}</style></head><body><main>"
    yield f"<h1>raftsched REST API <small>{escape(info['version'])}</small></h1>{_prose(info['description'])}"
    yield '<p>For programs: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>'
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>{_prose(tag['description'])}"
        for path, operations in document["paths"].items():
            for verb, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(path, verb, operation)
    yield "<h2>Messages</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield from _message(name, schema)
    yield "<h2>Problems</h2><dl>"
    for reason, text in REASONS.items():
        yield f'<dt id="problem-{reason}"><code>{reason}</code></dt><dd>{_inline(text)}</dd>'
    yield "</dl></main></body></html>"


def _operation(path: str, verb: str, operation: Part) -> Iterator[str]:
    name = operation["operationId"]
    yield f'<details id="{name}"><summary><code><span class="verb">{verb.upper()}</span>{escape(path)}</code> {name}'
    yield f"</summary>{_prose(operation['description'])}"
    if operation["parameters"]:
        rows = (
            (each["name"], f"{each['in']}, ", each["schema"], each["description"]) for each in operation["parameters"]
        )
        yield _table("Parameter", rows)
    body = operation.get("requestBody")
    if body:
        yield f"<p>Body: {_kind(body['content']['application/json']['schema'])}</p>"
    for status, answer in operation["responses"].items():
        if status != "default":
            kinds = " or ".join(_content(media, part["schema"]) for media, part in answer.get("content", {}).items())
            yield f"<p>{status}: {kinds} {_inline(answer['description'])}</p>"
    yield "</details>"


def _content(media: str, schema: Part) -> str:
    return _kind(schema) if "$ref" in schema else f"<code>{escape(media)}</code>."


def _message(name: str, schema: Part) -> Iterator[str]:
    yield f'<details id="message-{name}"><summary><code>{name}</code></summary>{_prose(schema.get("description", ""))}'
    if "enum" in schema:
        yield f"<p>One of {', '.join(f'<code>{escape(value)}</code>' for value in schema['enum'])}.</p>"
    if schema.get("properties"):
        properties = schema["properties"].items()
        yield _table("Field", ((key, "", value, value.get("description", "")) for key, value in properties))
    yield "</details>"


def _table(first: str, rows: Iterator[tuple[str, str, Part, str]]) -> str:
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{where}{_kind(schema)}</td><td>{_inline(text)}</td></tr>"
        for name, where, schema, text in rows
    )
    return f"<table><tr><th>{first}</th><th>Type</th><th></th></tr>{lines}</table>"


def _kind(schema: Part) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(PREFIX)
        return f'<a href="#message-{name}">{name}</a>'
    if schema["type"] == "array":
        return f"array of {_kind(schema['items'])}"
    if schema["type"] == "object" and schema.get("properties"):
        return f"<pre>{escape(json.dumps(_outline(schema), indent=2))}</pre>"
    if schema["type"] == "object":
        values = schema.get("additionalProperties")
        return f"object of {_kind(values)}" if values else "object"
    return escape(f"{schema['type']} ({schema['format']})" if "format" in schema else schema["type"])


def _outline(schema: Part) -> Part:
    return {
        key: value.get("$ref", value.get("type", "")).removeprefix(PREFIX)
        for key, value in schema["properties"].items()
    }


def _prose(text: str) -> str:
    lines = text.split("\n")
    items = "".join(f"<li>{_inline(line[2:])}</li>" for line in lines if line.startswith("- "))
    prose = " ".join(line for line in lines if not line.startswith("- "))
    return f"<p>{_inline(prose)}</p>" + (f"<ul>{items}</ul>" if items else "")


def _inline(text: str) -> str:
    """Text with its code spans."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
