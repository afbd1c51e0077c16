"""Every function, class and constant of the server and the client library is used by one of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = [
    path
    for directory in (ROOT / "raftsched", ROOT / "client" / "raftsched_client")
    for path in directory.rglob("*.py")
    if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))
]
CALLED_BY_OTHERS = {
    "pysyncobj": {
        *("checkSerializing", "getTransmissionData", "cancelTransmisstion", "_SyncObj__generateRaftTimeout"),
        *("getRaftCommitIndex", "setCurrentTerm", "getCurrentTerm", "getVotedForNodeId", "onOneSecondTimer"),
        *("_destroy", "monotonicTime"),
    },
    "grpc": {"intercept_service"},
    "uvicorn": {"capture_signals"},
    "datetime": {"fromutc", "dst", "tzname"},
    "pydantic": {"model_config"},
    "users of the client library": {"TaskGatherer", "retry_policy", "to_timedelta"},
    "tests, which hold what pysyncobj names its parts": {"PRIVATE_NAMES"},
    "tests, which change the members of a cluster as the node itself does": {"change_members"},
    "proposers, once there is a field that not every version knows": {"allows"},
    "tests, which write commands of today": {"COMMAND_VERSION"},
    "tests, which compare them with the options of the protocol": {"LARGEST_MAX_RUNS", "INPUT_FIELDS"},
    "tests, whose twin of the store it is": {"MemoryStore", "crash"},
}
DECORATED = ("command(", "callback(", "validator", "serializer")
"""Functions that a decorator hands to typer or pydantic."""


def used_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Store):
            yield node.attr


def is_rpc(node: ast.AST) -> bool:
    """A method of a gRPC servicer is called by its name."""
    return isinstance(node, ast.AsyncFunctionDef) and node.name[0].isupper()


def defined_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or is_rpc(node):
            continue
        if not any(mark in ast.unparse(each) for each in node.decorator_list for mark in DECORATED):
            yield node.name, node.lineno
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        for target in [*targets, statement.target] if isinstance(statement, ast.AnnAssign) else targets:
            yield from ((each.id, each.lineno) for each in ast.walk(target) if isinstance(each, ast.Name))


def test_nothing_is_defined_that_nobody_uses() -> None:
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    used = {name for tree in trees.values() for name in used_names(tree)} | set.union(*CALLED_BY_OTHERS.values())
    dead = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, tree in trees.items()
        for name, line in defined_names(tree)
        if name not in used and not (name.startswith("__") and name.endswith("__"))
    ]
    assert not dead, "\n".join(dead)
