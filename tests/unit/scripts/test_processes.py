"""Nodes that the start script detaches are found again, and nothing else is ever taken for one."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[3] / "scripts" / "lib" / "processes.py"
SLEEP = [sys.executable, "-c", "import time; print('started', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('started', flush=True); time.sleep(600)",
]

spec = importlib.util.spec_from_file_location("scripts_processes", SOURCE)
assert spec is not None
assert spec.loader is not None
processes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(processes)

Start = Callable[[list[str]], Any]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def run(command: list[str]) -> Any:
        process = processes.Detached("n1", tmp_path)
        process.start(command, tmp_path)
        started.append(process)
        deadline = time.monotonic() + 30
        while "started" not in process.last_lines():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process

    yield run
    for process in started:
        process.send(signal.SIGKILL)
        assert process.wait_for_end(30)


def test_process_is_found_again_by_its_directory(start: Start, tmp_path: Path) -> None:
    process = start(SLEEP)
    again = processes.Detached("n1", tmp_path)
    assert again.pid() == process.pid() is not None
    assert processes.Detached("n2", tmp_path).pid() is None


def test_process_has_a_session_of_its_own(start: Start) -> None:
    pid = start(SLEEP).pid()
    assert os.getsid(pid) == pid != os.getsid(0)


def test_killed_process_is_gone_though_nobody_reaped_it(start: Start, tmp_path: Path) -> None:
    start(SLEEP)
    again = processes.Detached("n1", tmp_path)
    assert again.send(signal.SIGKILL)
    assert again.wait_for_end(30)
    assert again.pid() is None
    assert not again.send(signal.SIGKILL)


def test_process_that_ignores_a_signal_is_reported(start: Start) -> None:
    process = start(STUBBORN)
    assert process.send(signal.SIGTERM)
    assert not process.wait_for_end(0.2)
    assert process.pid() is not None


def test_recycled_process_id_is_never_signalled(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (tmp_path / "n1.pid").write_text(json.dumps({"pid": other.pid, "start": "some earlier time"}))
        process = processes.Detached("n1", tmp_path)
        assert process.pid() is None
        assert not process.send(signal.SIGKILL)
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("content", ["", "1234", "[]", '{"pid": "x"}', '{"pid": 1, "start": ""}'])
def test_damaged_pid_file_names_no_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "n1.pid").write_text(content)
    assert processes.Detached("n1", tmp_path).pid() is None


def test_end_of_the_output_is_kept(tmp_path: Path) -> None:
    process = processes.Detached("n1", tmp_path)
    assert process.last_lines() == ""
    process.start([sys.executable, "-c", "for n in range(100): print(n)"], tmp_path)
    assert process.wait_for_end(30)
    assert process.last_lines(3) == "97\n98\n99"
