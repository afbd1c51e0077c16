"""The pinned pysyncobj still has what the engine uses of it."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.transport import Transport

from raftsched.consensus import engine


class _Clock:
    def monotonic(self) -> float:
        return 0.0


class _NoTransport(Transport):
    def send(self, node: object, message: object) -> bool:
        return True


@pytest.fixture
def stock() -> SyncObj:
    engine._clock.set(_Clock())
    return SyncObj("a:1", ["b:1"], conf=SyncObjConf(autoTick=False), transport=_NoTransport(None, None, []))


def test_pysyncobj_is_the_pinned_version() -> None:
    assert version("pysyncobj") == "0.3.17"


@pytest.mark.parametrize("name", engine.PRIVATE_NAMES)
def test_private_name_exists(stock: SyncObj, name: str) -> None:
    assert hasattr(stock, name)


def test_all_private_names_are_listed() -> None:
    used = set(re.findall(r"_SyncObj__\w+", Path(engine.__file__).read_text()))
    assert used == set(engine.PRIVATE_NAMES)


def test_no_other_module_knows_a_private_name() -> None:
    modules = Path(engine.__file__).parents[1].rglob("*.py")
    assert [path.name for path in modules if "_SyncObj__" in path.read_text()] == ["engine.py"]
