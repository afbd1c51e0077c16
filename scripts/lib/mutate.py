"""Changes one thing at a time in a file, runs the unit tests that come by it, and prints what no test notices.

    scripts/mutate raftsched/core/machine/tasks.py --tests tests/unit/core tests/unit/scheduler
    scripts/mutate raftsched/consensus/elections.py --tests tests/unit/consensus --seeds 3

What is changed: comparisons and their bounds, ``and`` and ``or``, conditions, numbers, truth values, arithmetic, min
and max, and statements that are left out. Not changed: logging, asserts, texts, type annotations, and the constants of
a module, which the pages of bounds and periods are compared with.

A first run without a change notes which tests come by which line. Each mutant then runs in a forked child, with the
tests of its line alone, the fastest first. What the tests import is imported before, and the child gives the functions
of the file their changed code; what is outside of functions is imported anew. One that runs into its time limit counts
as noticed. ``--seeds``: what the tests do not notice runs through so many seeds of the simulation.
"""

import argparse
import ast
import contextlib
import copy
import gc
import importlib.abc
import importlib.util
import inspect
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
COMPARED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
RECKONED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
SURVIVED, SILENT = 0, ("_log", "log", "logging")
PRELOADED = (
    "grpc.aio",
    "google.protobuf.message",
    "pydantic",
    "structlog",
    "lmdb",
    "httpx",
    "starlette",
    "xdist.scheduler",
    "_pytest.pastebin",
)
"""What takes long to import and does not import a module of ours."""


Change = Callable[[Any], ast.AST | None]
"""Makes of a copy of the node what stands in its place; None: it stays, changed in itself."""


@dataclass(frozen=True)
class Mutant:
    """One change."""

    number: int
    """Of its node, in the order of ``ast.walk``."""
    line: int
    what: str
    change: Change
    in_function: bool


@dataclass
class Baseline:
    """What the tests do without a change."""

    tests_by_line: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    seconds: dict[str, float] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    """Ours, in the order in which they were imported."""

    def tests_of(self, lines: range) -> list[str]:
        """Those that come by one of the lines, or by any line of the file when the lines are run by its import."""
        found = {test for line in lines for test in self.tests_by_line.get(line, ())}
        if "" in found or not found:
            found = {test for tests in self.tests_by_line.values() for test in tests}
        return sorted(found - {""}, key=lambda test: self.seconds.get(test, 0.0))


# What can be changed


def mutants(tree: ast.Module) -> list[Mutant]:
    """All changes of a module."""
    skipped = _skipped(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(each) for function in functions for part in function.body for each in ast.walk(part)}
    return [
        Mutant(number, node.lineno, what, change, id(node) in inside)
        for number, node in enumerate(ast.walk(tree))
        if id(node) not in skipped and hasattr(node, "lineno")
        for what, change in _changes(node)
    ]


def _skipped(tree: ast.Module) -> set[int]:
    """Nodes in which nothing is changed."""
    roots: list[ast.AST | None] = [each for each in tree.body if isinstance(each, ast.Assign | ast.AnnAssign)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom) or _is_silent(node) or _is_text(node):
            roots.append(node)
        elif isinstance(node, ast.AnnAssign | ast.arg):
            roots.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            roots += [node.returns, *node.decorator_list]
        elif isinstance(node, ast.ClassDef):
            roots += node.decorator_list
        elif isinstance(node, ast.Raise):
            roots += list(ast.iter_child_nodes(node))
        elif isinstance(node, ast.JoinedStr):
            roots.append(node)
    return {id(each) for root in roots if root is not None for each in ast.walk(root)}


def _is_silent(node: ast.AST) -> bool:
    """A call of the log."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] in SILENT


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    text = ast.unparse(node).partition("\n")[0][:70]
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                other = COMPARED[type(operator)]
                yield f"{text}: {type(operator).__name__} -> {other.__name__}", _other_comparison(place, other)
        case ast.BoolOp():
            other_bool = ast.And if isinstance(node.op, ast.Or) else ast.Or
            yield f"{text}: -> {other_bool.__name__}", _other_operator(other_bool)
        case ast.UnaryOp(op=ast.Not()):
            yield f"{text}: without not", lambda node: node.operand
        case ast.BinOp() if type(node.op) in RECKONED and not _of_text(node):
            other_op = RECKONED[type(node.op)]
            yield f"{text}: -> {other_op.__name__}", _other_operator(other_op)
        case ast.AugAssign() if type(node.op) in RECKONED:
            yield f"{text}: -> {RECKONED[type(node.op)].__name__}", _other_operator(RECKONED[type(node.op)])
            yield f"left out: {text}", lambda _node: ast.Pass()
        case ast.Constant(value=bool(value)):
            yield f"{text} -> {not value}", lambda node: ast.Constant(not node.value)
        case ast.Constant(value=int(value)):
            yield f"{text} -> {value + 1}", lambda node: ast.Constant(node.value + 1)
        case ast.Constant(value=float(value)):
            yield f"{text} -> {2 * value + 1}", lambda node: ast.Constant(2 * node.value + 1)
        case ast.Call(func=ast.Name(id="min" | "max" as name)):
            yield f"{text}: other of min and max", _other_name("max" if name == "min" else "min")
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield f"{text}: not", _negated
        case ast.Expr(value=ast.Call() | ast.Await()) if not _is_silent(node.value):
            yield f"left out: {text}", lambda _node: ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield f"left out: {text}", lambda _node: ast.Pass()
        case ast.Delete() | ast.Raise():
            yield f"left out: {text}", lambda _node: ast.Pass()
        case ast.Continue():
            yield "continue -> break", lambda _node: ast.Break()
        case ast.Break():
            yield "break -> continue", lambda _node: ast.Continue()


def _of_text(node: ast.BinOp) -> bool:
    """Text and types are joined too."""
    return any(isinstance(each, ast.Constant) and isinstance(each.value, str | bytes | None) for each in ast.walk(node))


def _other_comparison(place: int, other: type[ast.cmpop]) -> Change:
    def change(node: ast.Compare) -> None:
        node.ops[place] = other()

    return change


def _other_operator(other: type[ast.AST]) -> Change:
    def change(node: Any) -> None:
        node.op = other()

    return change


def _other_name(name: str) -> Change:
    def change(node: ast.Call) -> None:
        node.func = ast.Name(name, ast.Load())

    return change


def _negated(node: Any) -> None:
    node.test = ast.UnaryOp(ast.Not(), node.test)


def mutated(tree: ast.Module, mutant: Mutant) -> ast.Module:
    """A copy of the module with the change."""
    changed = copy.deepcopy(tree)
    target = list(ast.walk(changed))[mutant.number]

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if node is not target:
                return self.generic_visit(node)
            return ast.copy_location(mutant.change(node) or node, node)

    Replace().visit(changed)
    return ast.fix_missing_locations(changed)


# Running tests in a child


class _Loader(importlib.abc.InspectLoader):
    """Loads one module from other code."""

    def __init__(self, code: CodeType, path: Path) -> None:
        self._code = code
        self._path = path

    def get_code(self, _name: str) -> CodeType:
        return self._code

    def get_source(self, _name: str) -> str:
        return self._path.read_text()

    def get_filename(self, _name: str) -> str:
        return str(self._path)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, code: CodeType, path: Path) -> None:
        self._name, self._loader, self._path = name, _Loader(code, path), path

    def find_spec(self, name: str, _path: Any, _target: ModuleType | None = None) -> Any:
        if name != self._name:
            return None
        places = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, self._path, loader=self._loader, submodule_search_locations=places
        )


def module_name(path: Path) -> str:
    """As it is imported."""
    inside = path.resolve().relative_to(ROOT)
    if inside.parts[0] == "client":
        inside = inside.relative_to("client")
    return ".".join(inside.with_suffix("").parts).removesuffix(".__init__")


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == "raftsched" or name.startswith(("raftsched_client", "tests.support"))


def put_in_place(path: Path, before: CodeType, after: CodeType, *, in_function: bool) -> None:
    """Let the module be that of the changed code."""
    if in_function and module_name(path) in sys.modules and _give_code(path, before, after):
        return
    for name in list(sys.modules):
        if _is_ours(name):
            del sys.modules[name]
    sys.meta_path.insert(0, _Finder(module_name(path), after, path.resolve()))


def _give_code(path: Path, before: CodeType, after: CodeType) -> bool:
    """Give the functions whose code has changed the new one; False when that cannot be."""
    old, new = dict(_function_codes(before)), dict(_function_codes(after))
    wanted = {key: new[key] for key in old if key in new and old[key] != new[key]}
    given = 0
    for function in (each for each in gc.get_objects() if isinstance(each, FunctionType)):
        code = function.__code__
        other = wanted.get((code.co_qualname, code.co_firstlineno))
        if code.co_filename == str(path.resolve()) and other is not None:
            if code.co_freevars != other.co_freevars:
                return False
            function.__code__ = other
            given += 1
    return given > 0


def _function_codes(body: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    """Of the functions of a module and of its classes."""
    for code in body.co_consts:
        if not isinstance(code, CodeType):
            continue
        if code.co_flags & inspect.CO_OPTIMIZED:
            yield (code.co_qualname, code.co_firstlineno), code
        else:
            yield from _function_codes(code)


def run_tests(tests: list[str], plugins: list[object]) -> int:
    """Run them in this process; 0: all passed."""
    import pytest

    # To load plugins takes longer than most tests.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "pytest_timeout"]
    return int(pytest.main([*options, *tests], plugins=plugins))


class _Noting:
    """A plugin that notes which test comes by which line of a file."""

    def __init__(self, path: Path) -> None:
        self._path = str(path.resolve())
        self._test = ""
        self.baseline = Baseline()
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def _trace(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._line if frame.f_code.co_filename == self._path else None

    def _line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self.baseline.tests_by_line[frame.f_lineno].add(self._test)
        return self._line

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._test, self._began = nodeid, time.monotonic()
        sys.settrace(self._trace)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.baseline.seconds[nodeid] = time.monotonic() - self._began
        self._test = ""


def in_child(work: Callable[[], int], limit_s: float, log: Path | None = None) -> int:
    """The exit code of the work in a forked child; -1 when it runs into its limit."""
    pid = os.fork()
    if not pid:
        os.setsid()
        out = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        try:
            code = work()
        except BaseException:  # noqa: BLE001 - a change may raise whatever it likes
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _end_group(pid)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    _end_group(pid)
    os.waitpid(pid, 0)
    return -1


def _end_group(pid: int) -> None:
    """The child leads a group of its own, with whatever its tests started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def note_baseline(path: Path, tests: list[str]) -> Baseline:
    """Run the tests without a change. Exits when they fail."""
    with tempfile.TemporaryDirectory() as directory:
        notes, log = Path(directory) / "notes", Path(directory) / "log"

        def work() -> int:
            noting = _Noting(path)
            code = run_tests(tests, [noting])
            found = noting.baseline
            lines = {str(line): sorted(by) for line, by in found.tests_by_line.items()}
            modules = [name for name in sys.modules if _is_ours(name)]
            notes.write_text(json.dumps([lines, found.seconds, modules]))
            return code

        if in_child(work, 1800, log):
            sys.exit(f"the tests fail without a change:\n{log.read_text()[-3000:]}")
        lines, seconds, modules = json.loads(notes.read_text())
    baseline = Baseline(seconds=seconds, modules=modules)
    for line, by in lines.items():
        baseline.tests_by_line[int(line)] = set(by)
    return baseline


def survives(path: Path, tree: ast.Module, mutant: Mutant, baseline: Baseline, seeds: int) -> bool:
    """Whether neither a test nor a seed notices the change."""
    node = list(ast.walk(tree))[mutant.number]
    lines = range(mutant.line, (getattr(node, "end_lineno", None) or mutant.line) + 1)
    tests = baseline.tests_of(lines)
    before, after = (compile(each, str(path.resolve()), "exec") for each in (tree, mutated(tree, mutant)))

    def test() -> int:
        put_in_place(path, before, after, in_function=mutant.in_function)
        return run_tests(tests, [])

    def simulate() -> int:
        put_in_place(path, before, after, in_function=mutant.in_function)
        from tests.simulation.__main__ import run_seed  # type: ignore[import-untyped]  # tests are not a typed package

        return int(any(run_seed(seed, profile=profile, nodes=3).violation for seed, profile in runs))

    runs = [(seed, profile) for seed in range(seeds) for profile in ("consensus", "everything")]
    limit_s = 20 + 5 * sum(baseline.seconds.get(each, 0.0) for each in tests)
    if tests and in_child(test, limit_s) != SURVIVED:
        return False
    return not runs or in_child(simulate, 60 + 30 * len(runs)) == SURVIVED


def main() -> int:
    """Print what survives; 1 when anything does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--tests", nargs="+", required=True, help="files or directories of tests")
    parser.add_argument("--seeds", type=int, default=0, help="of the simulation, for what the tests do not notice")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth change")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which no further change is tried")
    arguments = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "client"), str(ROOT / "proto")]
    os.chdir(ROOT)
    for name in PRELOADED:
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    until_s, found = time.monotonic() + 60 * arguments.minutes, 0
    for path in arguments.files:
        tree = ast.parse(path.read_text())
        baseline = note_baseline(path, arguments.tests)
        for name in baseline.modules:
            importlib.import_module(name)
        chosen = mutants(tree)[:: arguments.every]
        tried, survivors = 0, 0
        for mutant in chosen:
            if time.monotonic() > until_s:
                break
            tried += 1
            if survives(path, tree, mutant, baseline, arguments.seeds):
                survivors += 1
                unseen = "" if baseline.tests_by_line.get(mutant.line) else "  (no test comes by)"
                print(f"{path}:{mutant.line}: {mutant.what}{unseen}", flush=True)
        print(f"{path}: {tried} of {len(chosen)} changes tried, {survivors} not noticed", flush=True)
        found += survivors
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
