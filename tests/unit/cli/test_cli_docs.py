"""The examples of the documentation and of the help texts are command lines that work."""

import io
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from raftsched_proto.v1.execution_pb2 import (
    DECISION_RAN,
    EXECUTION_STATE_PENDING,
    EXECUTION_STATE_SUCCEEDED,
    Execution,
    LedgerEntry,
)

from raftsched.cli.failures import ExitCode
from raftsched.cli.main import run
from tests.unit.cli.test_cli_settings import COMMANDS

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
HOLIDAYS = (
    "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261224\n"
    "SUMMARY:Christmas\nEND:VEVENT\nEND:VCALENDAR"
)
EXECUTION = "01JD9ZK3M0V6X8QH2T4B5N7R9C"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


PAGE_EXAMPLES = [line for block in blocks("sh") for line in block.splitlines()]


def help_examples(text: str) -> list[str]:
    """Lines behind ``Examples:``; a line that was folded to the width of the terminal is joined again."""
    lines = text.partition("Examples:")[2].partition("╭")[0].splitlines()
    joined: list[str] = []
    for line in (each.strip() for each in lines):
        if line.startswith(("raftsched ", "crontab ")):
            joined.append(line)
        elif line:
            joined[-1] += " " + line
    return [each.replace("\\ ", "") for each in joined]


@pytest.fixture
def place(cluster, tmp_path, monkeypatch):
    """A cluster, and files, in which the examples make sense."""
    cluster.end_runs_as = Execution(state=EXECUTION_STATE_SUCCEEDED, exit_code=0)
    cluster.executions[EXECUTION] = Execution(id=EXECUTION, task="report", state=EXECUTION_STATE_PENDING, attempt=1)
    entry = LedgerEntry(task="report", count=1, decision=DECISION_RAN, execution_id=EXECUTION)
    entry.nominal_time.FromSeconds(1_772_953_200)
    cluster.ledger.append(entry)
    (tmp_path / "tasks.yaml").write_text(blocks("yaml")[0])
    (tmp_path / "holidays.ics").write_text(HOLIDAYS)
    (tmp_path / "crontab").write_text("17 * * * * root cd / && run-parts --report /etc/cron.hourly\n")
    (tmp_path / "raftsched.toml").write_text('id = "n1"\nlisten = "127.0.0.1:7101"\ndata_dir = "data"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"@daily /usr/bin/true\n")))
    return cluster


def works(example: str, place) -> None:
    arguments = shlex.split(example.rpartition("| ")[2].partition(" > ")[0].replace("/etc/", ""))
    assert arguments.pop(0) == "raftsched"
    if "--watch" in arguments:
        arguments.remove("--watch")
    if arguments[0] in ("node", "executor") and "--print-config" not in arguments:
        arguments.append("--print-config")
    if arguments[0] == "--endpoints":
        arguments[1] = place.endpoints
    # diff(1) ends with 1 when there are differences.
    assert run(arguments) in ((0, 1) if arguments[0] == "diff" else (0,)), arguments


def test_examples_of_the_page_work_one_after_the_other(place, capsys):
    assert len(PAGE_EXAMPLES) > 15
    for example in PAGE_EXAMPLES:
        works(example, place)


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_the_help_work(place, capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "500")
    run(["task", "create", "report", "--cron", "@daily", "--noop"])
    if command != "group create":
        run(["group", "create", "db", "--max-running", "2"])
    if command != "calendar create":
        for calendar in ("freeze", "bavaria"):
            run(["calendar", "create", calendar, "--exclude", "2026-12-24"])
    if command.startswith("certs ") and command != "certs init":
        run(["certs", "init"])
    capsys.readouterr()
    run([*command.split(), "--help"])
    examples = help_examples(capsys.readouterr().out)
    assert examples
    for example in examples:
        if example.startswith("raftsched task create report"):
            run(["task", "delete", "report"])
        works(example, place)


def test_exit_codes_of_the_page_are_those_of_the_code():
    table = PAGE.read_text().partition("## Exit codes")[2].partition("##")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == [
        *(code.value for code in ExitCode),
        128 + signal.SIGPIPE,
    ]


def documented(cell: str) -> Iterator[str]:
    """The commands that a cell names: of several, those behind the first are in its group unless they name theirs."""
    group = ""
    for words in (name.split() for name in re.findall(r"`(.*?)`", cell)):
        group = words[0] if len(words) > 1 else group
        yield " ".join(words[:2] if len(words) > 1 or not group else [group, *words])


def test_every_command_that_prints_json_is_on_the_page():
    silent = {
        *("diff", "simulate", "execution output", "node", "executor"),
        *("task delete", "calendar delete", "group delete"),
        *(f"certs {name}" for name in ("init", "node", "executor", "client", "rotate", "show")),
    }
    table = PAGE.read_text().partition("## Output")[2].partition("## Times")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {command for cell in cells for command in documented(cell)} == set(COMMANDS) - silent
