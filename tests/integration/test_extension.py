"""The kind of action of docs/actions.md, built, installed as a distribution of its own, and run by an executor."""

import importlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from raftsched_proto.v1 import task_pb2

from raftsched.clock import SystemClock
from raftsched.core.state.model import ExecutionState
from raftsched.executor.agent import ExecutorAgent
from raftsched.executor.settings import ExecutorSettings
from tests.support.fake_leader import FakeLeader, assignment, key_of, run, task_state

PAGE = (Path(__file__).parents[2] / "docs" / "actions.md").read_text()


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "raftsched_sqlite.py").write_text(block("python"))
    (source / "pyproject.toml").write_text(block("toml"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--target", target, source],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.syspath_prepend(str(target))
    importlib.invalidate_caches()


def test_example_has_under_forty_lines_of_code() -> None:
    assert len([line for line in block("python").splitlines() if line.strip()]) < 40


def sqlite(database: Path, statement: str) -> task_pb2.Action:
    parameters = f'{{"database": "{database}", "statement": "{statement}"}}'
    return task_pb2.Action(extension=task_pb2.ExtensionAction(kind="sqlite", parameters_json=parameters))


def test_kind_of_another_distribution_is_run(installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "app.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE t (n)")
        connection.execute("INSERT INTO t VALUES (7)")
    connection.close()
    monkeypatch.setenv("RAFTSCHED_SECRET_WORD", "very secret word")
    forever = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT max(n) FROM c"

    async def test() -> None:
        async with FakeLeader() as leader:
            agent = ExecutorAgent(ExecutorSettings(tmp_path / "e"), [leader.address], SystemClock())
            await agent.start()
            await leader.connected()
            leader.assign(
                assignment(key_of(1), sqlite(database, "SELECT n, '${secret:word}' FROM t")),
                assignment(key_of(2), sqlite(database, "SELECT nonsense FROM t")),
                assignment(key_of(3), sqlite(database, forever), time_limit_us=200_000),
                assignment(key_of(4), sqlite(database, "SELECT '${secret:absent}'")),
                assignment(key_of(5), task_pb2.Action(extension=task_pb2.ExtensionAction(kind="absent"))),
            )
            ends = [await leader.end_of(key_of(number)) for number in (1, 2, 3, 4, 5)]
            await agent.stop()
        assert ends[0].result.output_tail == b'[[7, "***"]]'
        assert ends[1].result.error == "no such column: nonsense"
        assert ends[2].state == task_state("TIMED_OUT")
        assert ends[3].result.error == "not started: the secret 'absent' is unknown on this executor"
        assert "does not know the kind of action 'absent'; it knows" in ends[4].result.error
        assert "sqlite" in ends[4].result.error
        assert [each.state for each in ends].count(ExecutionState.FAILED) == 3

    run(test)
