"""What the mutation pass changes, and what it leaves alone."""

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[3] / "scripts" / "lib" / "mutate.py"


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutate", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = module
    spec.loader.exec_module(module)
    return module


def variants(mutate: ModuleType, source: str) -> set[str]:
    tree = ast.parse(source)
    return {ast.unparse(mutate.mutated(tree, each)) for each in mutate.mutants(tree)}


@pytest.mark.parametrize(
    ("statement", "changed"),
    [
        ("return a < b", {"return a <= b"}),
        ("return a == b and c", {"return a != b and c", "return a == b or c"}),
        ("return not a", {"return a"}),
        ("return a + 1", {"return a - 1", "return a + 2"}),
        ("return min(a, b)", {"return max(a, b)"}),
        ("return True", {"return False"}),
        ("self.a = b", {"pass"}),
        ("self.call(a)", {"pass"}),
        ("a += b", {"a -= b", "pass"}),
        ("return a if b else c", {"return a if not b else c"}),
    ],
)
def test_one_thing_is_changed_at_a_time(mutate: ModuleType, statement: str, changed: set[str]) -> None:
    assert variants(mutate, f"def f():\n    {statement}") == {f"def f():\n    {each}" for each in changed}


@pytest.mark.parametrize(
    "source",
    [
        "LIMIT = 5",
        "LIMIT_S: float = 5.0",
        "def f():\n    assert a < b",
        "def f():\n    _log.warning('text', count=3)",
        "def f(a: 'int' = b) -> None:\n    'Text.'",
        "def f():\n    return f'{a + 1}'",
    ],
)
def test_some_things_are_left_alone(mutate: ModuleType, source: str) -> None:
    assert variants(mutate, source) == set()


def test_tests_of_a_line_come_fastest_first_and_all_where_the_import_runs_it(mutate: ModuleType) -> None:
    baseline = mutate.Baseline(seconds={"slow": 2.0, "fast": 0.1, "other": 0.0})
    baseline.tests_by_line.update({1: {""}, 3: {"slow", "fast"}, 5: {"other"}})
    assert baseline.tests_of(range(3, 4)) == ["fast", "slow"]
    assert baseline.tests_of(range(3, 6)) == ["other", "fast", "slow"]
    assert baseline.tests_of(range(1, 2)) == ["other", "fast", "slow"]
