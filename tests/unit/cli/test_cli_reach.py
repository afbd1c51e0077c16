"""What the command line says of clusters that it cannot reach, of names that do not exist, and in which words."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

import pytest
from raftsched_proto.v1 import execution_pb2, task_pb2

from raftsched.cli.flags.names import flag_of, in_flags
from raftsched.cli.suggest import close
from tests.support.peer_cluster import refusal
from tests.support.ports import free_ports

KNOWN = {"NAME", "--cron", "--zone", "--every", "--http", "--label", "--exclude", "--max-running", "--max-starts"}


@pytest.mark.parametrize(
    ("path", "flag"),
    [
        ("task.name", "NAME"),
        ("task.schedule.union.schedules[1].cron.expression", "--cron"),
        ("task.schedule.cron.time_zone", "--zone"),
        ("task.schedule.interval.every", "--every"),
        ("task.action.http.url", "--http"),
        ("task.labels", "--label"),
        ("task.schedule.exclusions[0].date", "--exclude"),
        ("group.max_running", "--max-running"),
        ("task.something.else", "task.something.else"),
    ],
)
def test_a_field_is_named_as_the_option_that_sets_it(path, flag):
    assert flag_of(path, KNOWN) == flag


def test_texts_name_options_that_there_are():
    assert in_flags("give max_running or min_running", KNOWN) == "give --max-running or min_running"


def test_refusals_of_options_name_these_and_refusals_of_files_the_fields(cli, cluster, tmp_path):
    ended = cli("task", "create", "t", "--cron", "nonsense", "--noop")
    assert (ended.code, ended.err) == (2, "error: --cron: 'nonsense' is not a cron expression\n")
    (tmp_path / "t.yaml").write_text("{name: t, schedule: {cron: {expression: nonsense}}, action: {noop: {}}}")
    assert "schedule.cron.expression" in cli("task", "create", "-f", str(tmp_path / "t.yaml")).err


def test_a_name_that_does_not_exist_is_followed_by_those_most_like_it(cli, cluster):
    for name in ("nightly-report", "nightly-reports", "weekly"):
        cluster.tasks[name] = task_pb2.Task(name=name)
    ended = cli("task", "show", "Nightly-reprot")
    assert (ended.code, ended.err.splitlines()[1]) == (3, "  did you mean nightly-report or nightly-reports?")
    assert cli("task", "show", "zzz").err.count("\n") == 1
    assert "did you mean weekly?" in cli("ledger", "wekly").err


def test_names_are_compared_in_any_case():
    assert close("BEAT", ["beat", "x"]) == ["beat"]


def test_dead_ports_are_named_at_once_and_in_the_end(cli):
    first, second = (f"127.0.0.1:{port}" for port in free_ports(2))
    ended = cli("--endpoints", f"{first},{second}", "--timeout", "1s", "status")
    at_once, in_the_end = ended.err.splitlines()
    assert ended.code == 5
    assert at_once.startswith("no node serves the call yet (")
    for line in (at_once, in_the_end):
        for endpoint in (first, second):
            assert f"{endpoint}: cannot connect: Connection refused" in line


@contextlib.contextmanager
def http_port() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"nodes": [{"address": "10.0.0.1:7101"}]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_http_port_is_told_with_the_port_that_is_meant(cli):
    with http_port() as endpoint:
        ended = cli("--endpoints", endpoint, "task", "list")
    assert ended.code == 2
    assert ended.err == (
        f"error: {endpoint} is an HTTP port, for REST and the web interface; give the gRPC port to --endpoints "
        "(the nodes say: 10.0.0.1:7101)\n"
    )


def test_without_a_majority_the_error_says_so_and_what_each_node_said(cli, cluster):
    for number in (0, 1):
        cluster.stop(number)
    text = "there is no majority of nodes, so nobody leads: n3 reaches 1 of 3; stale reads are answered (--stale)"
    cluster.fail("ListTasks", *[refusal("UNAVAILABLE", text, applied="no", reason="NO_MAJORITY")] * 50)
    ended = cli("task", "list", "--timeout", "1s")
    lines = ended.err.splitlines()
    assert ended.code == 5
    assert f"error: {text}" in lines
    assert sum("Connection refused" in line for line in lines if line.startswith("  127.0.0.1:")) == 2


def test_output_is_saved_whole_or_not_at_all(cli, cluster, tmp_path):
    pieces = [execution_pb2.GetOutputResponse(data=data) for data in (b"\x00\xff", b"two\n")]
    pieces[1].offset = 2
    cluster.executions["E1"] = execution_pb2.Execution(id="E1", state=execution_pb2.EXECUTION_STATE_SUCCEEDED)
    cluster.outputs["E1"] = pieces
    target = tmp_path / "out.log"
    ended = cli("execution", "output", "E1", "--save", str(target))
    assert (ended.code, ended.out, target.read_bytes()) == (0, "", b"\x00\xfftwo\n")
    assert ended.err == f"saved 6 bytes to {target}\n"
    assert cli("execution", "output", "E2", "--save", str(tmp_path / "other")).code == 3
    assert cli("execution", "output", "E1", "--save", str(tmp_path / "none" / "x")).code == 1
    assert [each.name for each in tmp_path.iterdir()] == ["out.log"]
