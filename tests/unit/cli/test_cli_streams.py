"""What the command line makes of its standard streams and of the environment, as processes of their own."""

import json
import os
import signal
import subprocess
import sys

import pytest
from raftsched_proto.v1 import task_pb2

LIMIT_S = 60
CLI = f"{sys.executable} -m raftsched.cli.main"


def shell(command: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which $CLI is the command; None takes a variable away."""
    environment = {**os.environ, "CLI": CLI, **variables}
    kept = {name: value for name, value in environment.items() if value is not None}
    return subprocess.run(
        ["bash", "-c", command],
        env=kept,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LIMIT_S,
        check=False,
    )


@pytest.fixture
def tasks(cluster):
    for number in range(3000):
        task = task_pb2.Task(name=f"t{number:04}", labels={"city": "Köln"})
        task.schedule.interval.every.FromSeconds(60)
        task.action.command.argv[:] = ["echo", "grüß dich"]
        cluster.tasks[task.name] = task
    return cluster


@pytest.mark.parametrize("command", ["task list", "task list -o json", "task list -o yaml", "--help", "export"])
def test_a_reader_that_has_enough_ends_it_in_silence(tasks, command):
    ended = shell(f"$CLI {command} | head -1; exit ${{PIPESTATUS[0]}}")
    assert ended.returncode in (0, 128 + signal.SIGPIPE)
    assert ended.stderr == ""
    assert ended.stdout.count("\n") == 1


@pytest.mark.parametrize("command", ["task list", "task list -o json", "--help", "--version"])
def test_a_full_disk_is_an_error(tasks, command):
    ended = shell(f"$CLI {command} > /dev/full")
    assert ended.returncode == 1
    assert ended.stderr.endswith("error: cannot write to standard output: No space left on device\n")


def test_a_closed_output_is_an_error_and_no_other_file_comes_to_stand_there(tasks):
    ended = shell("$CLI task list >&-")
    assert (ended.returncode, ended.stderr) == (1, "error: cannot write to standard output: Bad file descriptor\n")


def test_closed_input_and_errors_harm_nothing(tasks):
    assert shell("$CLI task list --limit 1 <&- 2>&- | grep -c t0000").stdout == "1\n"
    assert shell("$CLI nonsense 2>&-").returncode == 2


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "xx_YY.none", "LANG": "none"},
        {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_no_locale_makes_it_fail_on_text(tasks, variables):
    assert shell("$CLI task list --limit 1 2>/dev/null", **variables).returncode == 0
    shown = shell("$CLI task show t0000 -o json", **variables)
    assert json.loads(shown.stdout)["labels"] == {"city": "Köln"}


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": None, "XDG_CONFIG_HOME": None},
        {"COLUMNS": "wide"},
        {"COLUMNS": "-3"},
        {"COLUMNS": "0"},
        {"TERM": None},
        {"TERM": "dumb"},
        {"TZ": "No/Where"},
        {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "grpc_proxy": "http://127.0.0.1:9"},
        {"ALL_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1"},
    ],
)
def test_no_variable_makes_a_listing_fail_or_cuts_it(tasks, variables):
    ended = shell("$CLI task list --limit 1 2>/dev/null", **variables)
    assert ended.returncode == 0
    assert "grüß dich" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_an_argument_that_is_not_utf_8_is_refused(tasks):
    ended = shell("$CLI task create t --every 1s --shell $'echo \\xff'")
    assert (ended.returncode, "is not UTF-8; nothing was done" in ended.stderr) == (2, True)
    assert "Traceback" not in ended.stderr
