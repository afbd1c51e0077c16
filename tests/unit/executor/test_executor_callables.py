import os.path
from pathlib import Path

import pytest

from raftsched.executor.actions.callables import CallableRefused, Callables, arguments, is_async

MODULE = """
from os.path import join
limit = 3
def visible(): return "seen"
def _hidden(): return "unseen"
async def later(): return "late"
class Caller:
    async def __call__(self): return 1
caller = Caller()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "exposed_here.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "exposed_here"


def test_listed_function_is_found(module: str) -> None:
    callables = Callables([f"{module}:visible"])
    assert callables.known(f"{module}:visible") is None
    found = callables.find(f"{module}:visible")
    assert found() == "seen"
    assert callables.known(f"{module}:visible") is found


def test_wildcard_exposes_public_functions_of_the_module(module: str) -> None:
    assert Callables([f"{module}:*"]).find(f"{module}:visible")() == "seen"


@pytest.mark.parametrize(
    ("allow", "name", "reason"),
    [
        ([], "{m}:visible", "not in python_allow"),
        (["{m}:later"], "{m}:visible", "not in python_allow"),
        (["{m}:*"], "{m}:_hidden", "not in python_allow"),
        (["{m}:*"], "{m}:join", "defined elsewhere"),
        (["{m}:*"], "{m}:absent", "has no 'absent'"),
        (["{m}:limit"], "{m}:limit", "not callable"),
        (["{m}:*"], "{m}.sub:visible", "not in python_allow"),
        (["os:*"], "os:system.__call__", "has no"),
        ([], "system", "no entry point"),
        (["{m}:visible"], "visible", "no entry point"),
        ([], "", "no entry point"),
    ],
)
def test_anything_else_is_refused(module: str, allow: list[str], name: str, reason: str) -> None:
    callables = Callables([pattern.format(m=module) for pattern in allow])
    with pytest.raises(CallableRefused, match=reason):
        callables.find(name.format(m=module))


def test_imported_function_may_be_listed_by_name(module: str) -> None:
    assert Callables([f"{module}:join"]).find(f"{module}:join") is os.path.join


def test_entry_points_are_exposed_by_name(tmp_path: Path, module: str) -> None:
    info = tmp_path / "exposing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: exposing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[raftsched.callables]\nclean-up = {module}:visible\n")
    assert Callables([]).find("clean-up")() == "seen"


def test_asynchronous_callables_are_told_apart(module: str) -> None:
    callables = Callables([f"{module}:*", f"{module}:caller"])
    assert is_async(callables.find(f"{module}:later"))
    assert is_async(callables.find(f"{module}:caller"))
    assert not is_async(callables.find(f"{module}:visible"))


def test_arguments_are_a_json_object() -> None:
    assert arguments("") == {}
    assert arguments('{"a": [1]}') == {"a": [1]}
    for text in ("[1]", "nonsense", "1"):
        with pytest.raises(CallableRefused, match="JSON"):
            arguments(text)
