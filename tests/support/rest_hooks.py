"""What schemathesis is told of this API beyond its description: what exists, how streams end, and our own check."""

import os
import re
from urllib.parse import quote

import httpx
import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

TASKS = ("alpha", "beta")
MADE = "made"
_EXECUTIONS = tuple(filter(None, os.environ.get("RAFTSCHED_TEST_EXECUTIONS", "").split(",")))
KNOWN = {"name": (*TASKS, MADE), "task": (*TASKS, MADE), "id": _EXECUTIONS}
_OTHER_TYPE = re.compile(r"none|null|true|false|-?[0-9.]+(e[+-]?[0-9]+)?", re.IGNORECASE)
_WORKING = {"name": MADE, "schedule": {"cron": {"expression": "@yearly"}}, "action": {"noop": {}}}


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: dict[str, str] | None) -> dict[str, str] | None:
    """Every other path names what exists, or else nearly all calls would end as not found."""
    for key, value in (path_parameters or {}).items():
        if path_parameters is not None and KNOWN.get(key) and len(str(value)) % 2:
            path_parameters[key] = KNOWN[key][len(str(value)) // 2 % len(KNOWN[key])]
    return path_parameters


@schemathesis.hook
def filter_case(context: HookContext, case: Case) -> bool:
    """A query knows no types: ``labels[a]=null`` is the text null, which is a value of a label, and no violation."""
    for key, value in dict(case.query or {}).items():
        values = value.values() if isinstance(value, dict) else (value,)
        if key.startswith("labels") and any(_OTHER_TYPE.fullmatch(str(each)) for each in values):
            return False
    return True


@schemathesis.hook
def map_body(context: HookContext, body: object) -> object:
    """Every other valid task has a schedule that fires, which no schema can ask for."""
    operation = context.operation.definition.raw.get("operationId") if context.operation else ""
    if operation == "CreateTask" and isinstance(body, dict) and len(body) % 2:
        return {**body, **_WORKING}
    return body


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, object]) -> None:
    """Let streams end: the watch of a client that has seen the end, and the output of an execution that has ended."""
    operation = case.operation.definition.raw.get("operationId")
    if operation == "WatchExecutions":
        case.headers["Last-Event-ID"] = "end"
    elif operation == "GetOutput" and case.path_parameters:
        execution = quote(str(case.path_parameters.get("id", "")), safe="")
        httpx.post(f"{str(case.operation.base_url).rstrip('/')}/v1/executions/{execution}:cancel", timeout=30)


@schemathesis.check
def errors_are_problem_documents(ctx: CheckContext, response: Response, case: Case) -> None:
    """Whatever fails says so in the same form, and names the fields where fields were refused."""
    if response.status_code < 400 or case.method == "HEAD":
        return
    assert response.headers["content-type"] == ["application/problem+json"], response.headers
    problem = response.json()
    assert problem["status"] == response.status_code < 500
    assert problem["applied"] == "no"
    assert problem.get("violations") or problem["reason"] != "INVALID_FIELDS"
