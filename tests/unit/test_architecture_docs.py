"""The house in docs/architecture.md: every room has a row, and import-linter holds what each row may import."""

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("scripts_contracts", ROOT / "scripts" / "lib" / "contracts.py")
assert spec is not None
assert spec.loader is not None
contracts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(contracts)

ROWS = contracts.rows()
BY_NAME = contracts.by_name(ROWS)


def test_the_contracts_are_those_of_the_table() -> None:
    assert (ROOT / "pyproject.toml").read_text() == contracts.generated(), "run scripts/generate-contracts"


@pytest.mark.parametrize("position", range(len(ROWS)), ids=[row.modules[0] for row in ROWS])
def test_a_room_may_import_only_rooms_above_it(position: int) -> None:
    above = {module for row in ROWS[:position] for module in row.modules}
    assert {BY_NAME[name] for name in ROWS[position].may_import} <= above


def test_every_room_has_one_row() -> None:
    package = ROOT / "raftsched"
    there = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    expected = {f"raftsched.{name}" for name in there - {"__init__"}} | set(contracts.OUTSIDE.values())
    assert sorted(module for row in ROWS for module in row.modules) == sorted(expected)


def test_a_class_has_its_name_for_itself() -> None:
    places: dict[str, list[str]] = {}
    for path in sorted((ROOT / "raftsched").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
