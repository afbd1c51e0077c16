"""Which cluster the CLI talks to, and how it says that there is none."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from raftsched.cli.main import app
from tests.support.peer_cluster import Fault, refusal
from tests.support.ports import free_ports


def unused_address() -> str:
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


def test_flag_wins_over_variable_over_file_over_default(cli, cluster, monkeypatch, tmp_path):
    cluster.status.leader_id = "n1"
    dead = unused_address()
    file = tmp_path / "raftsched" / "config.toml"
    file.parent.mkdir()

    monkeypatch.setenv("RAFTSCHED_ENDPOINTS", dead)
    assert cli("status", "--endpoints", cluster.endpoints).code == 0
    assert cli("--endpoints", cluster.endpoints, "status").code == 0
    assert cli("--endpoints", cluster.endpoints, "status", "--endpoints", dead, "--timeout", "2s").code == 5

    file.write_text(f'endpoints = ["{dead}"]')
    monkeypatch.setenv("RAFTSCHED_ENDPOINTS", cluster.endpoints)
    assert cli("status").code == 0

    monkeypatch.delenv("RAFTSCHED_ENDPOINTS")
    ended = cli("status", "--timeout", "2s")
    assert (ended.code, dead in ended.err) == (5, True)
    file.write_text(f"endpoints = {cluster.addresses}".replace("'", '"'))
    assert cli("status").code == 0
    monkeypatch.setenv("RAFTSCHED_CONFIG", str(tmp_path / "other.toml"))
    assert cli("status").code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("endpoint = []", "unknown key 'endpoint'"),
        ("endpoints = 7", "endpoints must be a list"),
        ("tls_ca = 7", "tls_ca must be the name of a file"),
        ('tls_cert = "a.crt"', "want --tls-ca"),
        ('tls_ca = "nowhere.crt"', "tls: cannot read nowhere.crt"),
        ("endpoints = [", "is not TOML"),
        ('endpoints = ["nowhere"]', "'nowhere' is not host:port"),
    ],
)
def test_bad_config_file_is_named(cli, tmp_path, text, message):
    file = tmp_path / "raftsched" / "config.toml"
    file.parent.mkdir()
    file.write_text(text)
    ended = cli("status")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1


def test_an_unreachable_cluster_is_told_at_once_and_in_the_end_with_code_5(cli):
    address = unused_address()
    ended = cli("task", "create", "t", "--every", "1m", "--noop", "--endpoints", address, "--timeout", "2s")
    assert ended.code == 5
    assert ended.err == (
        f"no node serves the call yet ({address}: cannot connect: Connection refused); trying for 2 s\n"
        f"error: no node served the call within 2 s ({address}: cannot connect: Connection refused)\n"
    )


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (refusal("INVALID_ARGUMENT", "must be a name", applied="no", field_name="task.name"), 2, "must be a name"),
        (refusal("NOT_FOUND", "no task", applied="no"), 3, "no task"),
        (refusal("ALREADY_EXISTS", "there already", applied="no"), 4, "there already"),
        (refusal("ABORTED", "changed", applied="no"), 4, "changed"),
        (refusal("FAILED_PRECONDITION", "has ended", applied="no"), 4, "has ended"),
        (refusal("RESOURCE_EXHAUSTED", "too large", applied="no"), 7, "too large"),
        (refusal("INTERNAL", "a defect", applied="no"), 1, "a defect"),
        (Fault(refusal("INTERNAL", "a defect"), applied=True), 6, "may have been applied"),
    ],
)
def test_every_error_has_its_exit_code(cli, cluster, fault, code, words):
    cluster.fail("RunTask", fault)
    cli("task", "create", "t", "--every", "1m", "--noop")
    ended = cli("task", "run", "t")
    assert ended.code == code
    assert ended.err.startswith("error: ")
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_no_answer_in_time_is_code_6(cli, cluster):
    cluster.fail("CreateTask", *[Fault(hang=True)] * 9)
    ended = cli("task", "create", "t", "--every", "1m", "--noop", "--timeout", "300ms")
    assert ended.code == 6
    assert "may have been applied" in ended.err


def test_field_violations_are_listed(cli, cluster):
    cluster.fail("RunTask", refusal("INVALID_ARGUMENT", "bad request", applied="no", field_name="request_id"))
    ended = cli("task", "run", "t")
    assert ended.err == "error: bad request\n"
    sent = refusal("INVALID_ARGUMENT", "too long", applied="no", field_name="request_id")
    sent.message = "the request was refused"
    cluster.fail("RunTask", sent)
    assert cli("task", "run", "t").err == "error: the request was refused\n  request_id: too long\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["task", "create"],
        ["task", "explode"],
        ["--frobnicate"],
        ["task", "list", "-o", "xml"],
        ["status", "--timeout", "soon"],
        ["task", "list", "--label", "=x"],
        ["status", "--endpoints", "nowhere"],
        ["execution", "list", "--since", "2026-01-01T00:00:00"],
    ],
)
def test_bad_usage_is_one_line_and_code_2(cli, arguments):
    ended = cli(*arguments)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1


def test_help_and_version(cli):
    ended = cli("--help")
    assert ended.code == 0
    assert "Exit codes" in ended.out
    assert cli("--version").out.startswith("raftsched ")


def commands(of: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The commands below a group of the command line, by their full names."""
    for name, command in of.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name))


COMMANDS = sorted(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(cli, command):
    ended = cli(*command.split(), "--help")
    assert ended.code == 0
    assert "Examples:" in ended.out
    assert f"raftsched {command}" in ended.out.partition("Examples:")[2]


def test_help_loads_neither_grpc_nor_protobuf():
    check = (
        "import sys; from raftsched.cli.main import run; assert run(['task', 'create', '--help']) == 0; "
        "heavy = {'grpc', 'google.protobuf', 'yaml', 'asyncio', 'lmdb'} & sys.modules.keys(); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


def test_console_script_ends_with_the_exit_code():
    environment = {**os.environ, "RAFTSCHED_ENDPOINTS": unused_address()}
    ended = subprocess.run(
        [sys.executable, "-m", "raftsched.cli.main", "status", "--timeout", "2s"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 5
    assert len(ended.stderr.splitlines()) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_completion(shell):
    environment = {**os.environ, "_RAFTSCHED_COMPLETE": f"source_{shell}"}
    ended = subprocess.run(
        [sys.executable, "-m", "raftsched.cli.main"], env=environment, capture_output=True, text=True, check=True
    )
    assert "_RAFTSCHED_COMPLETE" in ended.stdout


def test_task_names_are_completed(cli, cluster):
    for name in ("alpha", "alto", "beta"):
        cli("task", "create", name, "--every", "1m", "--noop")
    environment = {
        **os.environ,
        "_RAFTSCHED_COMPLETE": "complete_bash",
        "COMP_WORDS": "raftsched task show al",
        "COMP_CWORD": "3",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "raftsched.cli.main"], env=environment, capture_output=True, text=True
    )
    assert ended.stdout.split() == ["alpha", "alto"]


def test_settings_of_a_node_are_printed_as_the_file_that_gives_them(cli, tmp_path):
    flags = [
        "--id",
        "n1",
        "--listen",
        "127.0.0.1:7999",
        "--data-dir",
        str(tmp_path),
        "--label",
        "a=1",
        "--label",
        "b=2",
    ]
    more = ["--slots", "3", "--log-format", "json", "--log-level", "debug"]
    first = cli("node", *flags, *more, "--print-config")
    assert (first.code, first.err) == (0, "")
    file = tmp_path / "node.toml"
    file.write_text(first.out)
    assert cli("node", "--config", str(file), "--print-config").out == first.out
    assert 'level = "debug"' in first.out
    assert "slots = 3" in first.out


def test_settings_of_an_executor_are_printed(cli, tmp_path):
    ended = cli("executor", "--join", "127.0.0.1:7999,127.0.0.1:7998", "--data-dir", str(tmp_path), "--print-config")
    assert ended.code == 0
    assert '"127.0.0.1:7998"' in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["node"], "id: "),
        (["node", "--id", "n1", "--listen", "nowhere", "--data-dir", "/tmp/x"], "listen: "),
        (["node", "--config", "/nowhere.toml"], "cannot read the configuration file /nowhere.toml"),
        (["executor", "--data-dir", "/tmp/x"], "join: "),
    ],
)
def test_bad_settings_are_named(cli, arguments, message):
    ended = cli(*arguments, "--print-config")
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
