"""Checks of what a task does: command, HTTP request, Python callable, and references to secrets in any action."""

import re
from urllib.parse import urlsplit

from raftsched_proto.v1 import task_pb2

from raftsched.definitions import references
from raftsched.definitions.fields import quoted
from raftsched.definitions.remote_actions import (
    check_container,
    check_environment,
    check_extension,
    check_grpc,
    check_json,
    check_lambda,
    filled,
)
from raftsched.definitions.violations import Violations

MAX_INPUT_BYTES = 128 << 10
"""Of a command's standard input and of an HTTP body."""
MAX_STATUSES = 100

_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}", re.ASCII)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}", re.ASCII)
_HEADER_VALUE = re.compile(r"(?![ \t])[^\x00-\x08\x0a-\x1f\x7f]*(?<![ \t])")
_URL = re.compile(r"[!-~]{1,8000}", re.ASCII)
_IDENTIFIERS = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
_CALLABLE = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,199}}|{_IDENTIFIERS}:{_IDENTIFIERS}", re.ASCII)


def check_action(violations: Violations, field: str, action: task_pb2.Action) -> None:
    """Note what is wrong with the action, and write its defaults out."""
    match kind := action.WhichOneof("kind"):
        case "command":
            _check_command(violations, f"{field}.command", action.command)
        case "http":
            _check_http(violations, f"{field}.http", action.http)
        case "python":
            _check_python(violations, f"{field}.python", action.python)
        case "grpc":
            check_grpc(violations, f"{field}.grpc", action.grpc)
        case "aws_lambda":
            check_lambda(violations, f"{field}.aws_lambda", action.aws_lambda)
        case "container":
            check_container(violations, f"{field}.container", action.container)
        case "extension":
            check_extension(violations, f"{field}.extension", action.extension)
        case None:
            violations.add(field, f"is required: one of {', '.join(each.name for each in action.DESCRIPTOR.fields)}")
    _check_references(violations, f"{field}.{kind}", action)


def _check_references(violations: Violations, field: str, action: task_pb2.Action) -> None:
    for path, text in references.texts(action):
        if wrong := references.malformed(text):
            violations.add(
                f"{field}.{path.partition('.')[2]}",
                f"{quoted(wrong)} names no secret: write ${{secret:NAME}} with 1 to 128 of [A-Za-z0-9._-], "
                "or $${secret:... for the text itself",
            )


def _check_command(violations: Violations, field: str, command: task_pb2.CommandAction) -> None:
    if not command.argv or not command.argv[0]:
        violations.add(f"{field}.argv", "must begin with the program to run" if not command.shell else "needs a script")
    if any("\0" in argument for argument in command.argv):
        violations.add(f"{field}.argv", "must not contain NUL characters")
    for name, value in command.env.items():
        check_environment(violations, f"{field}.env", name, value)
    directory = command.working_directory
    if directory and (not directory.startswith("/") or "\0" in directory):
        violations.add(f"{field}.working_directory", "must be an absolute path")
    _check_input(violations, f"{field}.stdin", command.stdin)


def _check_input(violations: Violations, field: str, value: bytes) -> None:
    if len(value) > MAX_INPUT_BYTES:
        violations.add(field, f"has {len(value)} bytes; at most {MAX_INPUT_BYTES} are allowed")


def _check_http(violations: Violations, field: str, http: task_pb2.HttpAction) -> None:
    http.method = http.method or "GET"
    if not _METHOD.fullmatch(http.method):
        violations.add(f"{field}.method", f"{quoted(http.method)} is not a method in capital letters")
    if problem := url_problem(http.url):
        violations.add(f"{field}.url", problem)
    for name, value in http.headers.items():
        if problem := header_problem(name, value):
            violations.add(f"{field}.headers", problem)
    if len(http.expected_statuses) > MAX_STATUSES or not all(100 <= status <= 599 for status in http.expected_statuses):
        violations.add(f"{field}.expected_statuses", f"must be at most {MAX_STATUSES} numbers from 100 to 599")
    _check_input(violations, f"{field}.body", http.body)


def header_problem(name: str, value: str) -> str:
    """Why HTTP cannot carry this header, or ""."""
    fine = _HEADER.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
    return (
        "" if fine else f"{quoted(name)} is no header that HTTP can carry: no control characters, no blanks at the ends"
    )


def url_problem(url: str) -> str:
    """Why this is not the URL of an HTTP request, or ""."""
    url = filled(url)
    if not _URL.fullmatch(url):
        return "must be 1 to 8000 printable ASCII characters without spaces"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    return "" if parts.hostname and port != 0 else "must name a host"


def _check_python(violations: Violations, field: str, python: task_pb2.PythonAction) -> None:
    if not _CALLABLE.fullmatch(python.callable):
        violations.add(
            f"{field}.callable",
            f"{quoted(python.callable)} is neither the name of an entry point nor package.module:function",
        )
    check_json(violations, f"{field}.kwargs_json", python.kwargs_json)
