"""Executions, the ledger, status and leadership."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from raftsched_proto.v1 import cluster_pb2, execution_pb2, notification_pb2
from raftsched_proto.v1.execution_pb2 import Execution, GetOutputResponse, LedgerEntry

from raftsched.cli.await_end import where
from raftsched.cli.main import run

NOMINAL = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def executions(cluster):
    states = (
        execution_pb2.EXECUTION_STATE_SUCCEEDED,
        execution_pb2.EXECUTION_STATE_TIMED_OUT,
        execution_pb2.EXECUTION_STATE_RUNNING,
    )
    for number, state in enumerate(states):
        execution = Execution(id=f"E{number}", task="t", state=state, attempt=1, executor_id="n1")
        nominal = NOMINAL + timedelta(hours=number)
        execution.nominal_time.FromDatetime(nominal)
        execution.start_time.FromDatetime(nominal + timedelta(seconds=0.5))
        if state != execution_pb2.EXECUTION_STATE_RUNNING:
            execution.end_time.FromDatetime(nominal + timedelta(seconds=2.75))
        cluster.executions[execution.id] = execution
    cluster.executions["E0"].exit_code = 0
    cluster.executions["E1"].error = "ran longer\nthan 2s"
    return cluster.executions


def ids(out: str) -> list[str]:
    return [execution["id"] for execution in json.loads(out)["executions"]]


def test_executions_are_listed_newest_first(cli, executions):
    lines = cli("execution", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "E2", "E1", "E0"]
    assert lines[1].split()[:5] == ["E2", "t", "2026-03-01", "14:00:00+00:00", "RUNNING"]
    assert lines[2].rstrip().endswith("n1        ran longer than 2s")
    assert "SUCCEEDED  exit code 0" in lines[3]
    assert "0.5s" in lines[3]
    assert "2.2s" in lines[3]


def test_what_is_armed_says_when_it_starts(cli, executions):
    armed = executions["E2"]
    armed.state = execution_pb2.EXECUTION_STATE_ARMED
    armed.ClearField("start_time")
    assert ids(cli("execution", "list", "--state", "armed", "-o", "json").out) == ["E2"]
    assert where(armed) == "ARMED on n1, starts at 2026-03-01 14:00:00+00:00"


def test_executions_are_filtered(cli, executions):
    assert ids(cli("execution", "list", "--task", "t", "-o", "json").out) == ["E2", "E1", "E0"]
    assert ids(cli("execution", "list", "--task", "other", "-o", "json").out) == []
    both = cli("execution", "list", "--state", "running", "--state", "timed-out", "-o", "json")
    assert ids(both.out) == ["E2", "E1"]
    since = cli(
        "execution", "list", "--since", "2026-03-01T13:00:00Z", "--until", "2026-03-01T15:00:00+01:00", "-o", "json"
    )
    assert ids(since.out) == ["E1"]


def test_limit_says_that_there_are_more(cli, executions):
    ended = cli("execution", "list", "--limit", "2", "-o", "json")
    assert ids(ended.out) == ["E2", "E1"]
    assert "more than 2" in ended.err
    assert cli("execution", "list", "--limit", "3").err == ""
    assert cli("execution", "list", "--limit", "0").err == ""


def test_execution_is_shown(cli, executions):
    out = cli("execution", "show", "E1").out
    assert "TIMED_OUT" in out
    assert "2026-03-01 13:00:00+00:00" in out
    shown = json.loads(cli("execution", "show", "E0", "-o", "json").out)
    assert (shown["state"], shown["exitCode"], shown["fencingToken"]) == ("EXECUTION_STATE_SUCCEEDED", 0, "0")
    assert cli("execution", "show", "nobody").code == 3


@pytest.fixture
def retried(executions):
    """E0, whose first attempt failed."""
    execution = executions["E0"]
    execution.attempt = 2
    execution.first_start_time.FromDatetime(NOMINAL + timedelta(seconds=0.1))
    past = execution.past_attempts.add(attempt=1, state=execution_pb2.EXECUTION_STATE_FAILED, executor_id="n2")
    past.exit_code = 7
    past.error = "exit code 7"
    past.start_time.FromDatetime(NOMINAL + timedelta(seconds=0.1))
    past.end_time.FromDatetime(NOMINAL + timedelta(seconds=0.3))
    past.output_tail = b"\x1b[31mno route\x1b[0m to host\nbell\a\n"
    past.output_size_bytes = len(past.output_tail)
    execution.output_tail, execution.output_size_bytes = b"delivered\n", 10
    return execution


def test_each_attempt_is_shown_with_what_it_wrote(cli, retried):
    lines = cli("execution", "show", "E0").out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("ATTEMPT"))
    words = lines[start + 1].split()
    assert words[:5] == ["1", "FAILED", "(exit", "code", "7)"]
    assert words[-5:] == ["0.2s", "n2", "exit", "code", "7"]
    assert lines[start + 2].split()[:5] == ["2", "SUCCEEDED", "(exit", "code", "0)"]
    assert lines[start + 3 :] == [
        "",
        f"attempt 1 wrote {retried.past_attempts[0].output_size_bytes} bytes:",
        "  no route to host",
        "  bell",
        "",
        "attempt 2 wrote 10 bytes:",
        "  delivered",
    ]


def test_the_delay_is_that_of_the_first_start(cli, retried):
    out = cli("execution", "show", "E0").out
    assert next(line.split()[1] for line in out.splitlines() if line.startswith("delay")) == "0.1s"
    row = cli("execution", "list").out.splitlines()[-1]
    assert "0.1s" in row
    assert row.split()[-4] == "2", "how many attempts it took is not in the table"


def test_long_output_of_an_attempt_is_cut_and_says_where_the_rest_is(cli, retried):
    retried.past_attempts[0].output_tail = b"".join(b"line %d\n" % number for number in range(30))
    retried.past_attempts[0].output_size_bytes = 5_000
    out = cli("execution", "show", "E0").out
    assert "attempt 1 wrote 5,000 bytes, last (raftsched execution output E0 --attempt 1 prints more):" in out
    assert "  line 20\n" in out
    assert "  line 19\n" not in out
    retried.past_attempts[0].output_tail = b""
    assert "attempt 1 wrote 5,000 bytes, which are no longer kept" in cli("execution", "show", "E0").out


def test_attempts_are_there_for_programs(cli, retried):
    shown = json.loads(cli("execution", "show", "E0", "-o", "json").out)
    assert [(each["attempt"], each["state"]) for each in shown["attempts"]] == [
        (1, "EXECUTION_STATE_FAILED"),
        (2, "EXECUTION_STATE_SUCCEEDED"),
    ]
    assert shown["attempts"][0]["error"] == "exit code 7"
    assert shown["attempts"][0]["outputTail"]


def test_output_of_one_attempt_is_asked_for_by_its_number(cluster, retried, capfdbinary):
    cluster.outputs["E0"] = [
        GetOutputResponse(data=b"no route", attempt=1),
        GetOutputResponse(data=b"delivered", attempt=2),
    ]
    assert run(["execution", "output", "E0", "--attempt", "1"]) == 0
    assert capfdbinary.readouterr().out == b"no route"


def test_output_is_printed_as_it_is(cluster, executions, capfdbinary):
    cluster.outputs["E0"] = [
        GetOutputResponse(data=b"\xffone ", attempt=1, offset=1234),
        GetOutputResponse(data=b"two", attempt=1, offset=1239),
    ]
    assert run(["execution", "output", "E0", "--follow"]) == 0
    captured = capfdbinary.readouterr()
    assert captured.out == b"\xffone two"
    assert captured.err == b"[1,234 bytes before this are not kept]\n"
    assert run(["execution", "output", "nobody"]) == 3


STEERS = "\x1b[2J\u202e caf\u00e9\ttab\r\n"


@pytest.mark.parametrize(("flags", "shown"), [([], "\\x1b[2J\\u202e caf\u00e9\ttab\n\\xff"), (["--raw"], None)])
def test_a_terminal_is_shown_control_characters_as_escapes_unless_it_is_to_have_them(
    cluster, executions, capfdbinary, monkeypatch, flags, shown
):
    written = STEERS.encode() + b"\xff"
    middle = written.index(b"\xc3") + 1
    cluster.outputs["E0"] = [
        GetOutputResponse(data=written[:middle], attempt=1),
        GetOutputResponse(data=written[middle:], attempt=1, offset=middle),
    ]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["execution", "output", "E0", *flags]) == 0
    assert capfdbinary.readouterr().out == (written if shown is None else shown.encode())


def test_cancel_ends_an_execution_once(cli, executions):
    assert cli("execution", "cancel", "E2").out == "cancelled E2\n"
    ended = cli("execution", "cancel", "E2")
    assert (ended.code, ended.err) == (4, "error: execution E2 has ended\n")


def test_ledger_shows_single_and_combined_decisions(cli, cluster):
    one = LedgerEntry(task="t", count=1, decision=execution_pb2.DECISION_RAN, execution_id="E0", trigger=1)
    one.nominal_time.FromDatetime(NOMINAL)
    many = LedgerEntry(task="t", count=1200, decision=execution_pb2.DECISION_SKIPPED, reason="paused", trigger=1)
    many.nominal_time.FromDatetime(NOMINAL + timedelta(minutes=1))
    many.last_nominal_time.FromDatetime(NOMINAL + timedelta(hours=20))
    cluster.ledger = [one, many]
    lines = cli("ledger", "t").out.splitlines()
    assert lines[1].split() == ["2026-03-01", "12:00:00+00:00", "1", "RAN", "SCHEDULE", "E0"]
    assert lines[2].split()[:6] == ["2026-03-01", "12:01:00+00:00", "to", "2026-03-02", "08:00:00+00:00", "1,200"]
    assert lines[2].split()[6:] == ["SKIPPED", "SCHEDULE", "paused"]
    entries = json.loads(cli("ledger", "t", "-o", "json").out)["entries"]
    assert [entry["count"] for entry in entries] == ["1", "1200"]
    ended = cli("ledger", "t", "--limit", "1", "-o", "json")
    assert len(json.loads(ended.out)["entries"]) == 1
    assert "more than 1" in ended.err


@pytest.fixture
def status(cluster):
    cluster.status = cluster_pb2.GetStatusResponse(
        cluster_id="prod",
        leader_id="n1",
        nodes=[
            cluster_pb2.NodeStatus(
                id="n1",
                address="127.0.0.1:7101",
                role=cluster_pb2.LEADER,
                term=3,
                commit_index=120,
                applied_index=120,
                log_size_bytes=3_500_000,
                links=[
                    cluster_pb2.LinkStatus(peer_id="n2", connected=True),
                    cluster_pb2.LinkStatus(peer_id="n3", connected=False),
                ],
                version="0.1.0",
                tzdata_version="2026a",
            ),
            cluster_pb2.NodeStatus(
                id="n2", address="127.0.0.1:7102", role=cluster_pb2.FOLLOWER, tzdata_version="2025b"
            ),
            cluster_pb2.NodeStatus(
                id="n3", address="127.0.0.1:7103", role=cluster_pb2.UNREACHABLE, problem="no answer"
            ),
        ],
        executors=[
            cluster_pb2.ExecutorStatus(
                id="n1", labels={"disk": "ssd"}, slots=16, slots_used=2, state=cluster_pb2.EXECUTOR_STATE_READY
            )
        ],
        counts=cluster_pb2.TableCounts(tasks=1200, executions=5, pending_executions=2),
    )
    cluster.status.nodes[0].uptime.FromSeconds(90_061)
    return cluster.status


def test_status_says_who_knows_which_versions_while_they_differ(cli, status):
    assert "cluster version" not in cli("status").out
    status.cluster_version = 1
    for node, newest in zip(status.nodes[:2], (2, 1), strict=True):
        node.oldest_known_version, node.newest_known_version = 1, newest
    assert "cluster version 1: n1 knows 1 to 2, n2 knows 1 to 1" in cli("status").out
    status.nodes[0].newest_known_version = 1
    assert "cluster version" not in cli("status").out


def test_status_is_a_table_that_names_what_is_wrong(cli, status):
    out = cli("status").out
    assert out.startswith("cluster prod: leader n1, 1,200 tasks, 5 executions (2 pending)\n")
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["n2"][:3] == ["n2", "127.0.0.1:7102", "FOLLOWER"]
    assert rows["n3"] == ["n3", "127.0.0.1:7103", "UNREACHABLE"]
    assert "3.3 MiB" in out
    assert "1/2" in out
    assert "1d 1h" in out
    assert "disk=ssd" in out
    assert "n3: no answer" in out
    assert "different time zone databases: 2025b, 2026a" in out


def test_status_tells_the_last_notice_that_nobody_was_told(cli, status):
    assert "last notice dropped" not in cli("status").out
    last = status.counts.last_dropped_notice
    last.task, last.execution_id, last.occasion, last.error = "way", "E1", notification_pb2.OCCASION_LATE, "status 500"
    last.drop_time.FromDatetime(NOMINAL)
    out = " ".join(cli("status").out.split())
    assert "last notice dropped: late of way, execution E1, 2026-03-01 12:00:00+00:00: status 500" in out


def test_status_as_json_has_every_field(cli, status):
    answer = json.loads(cli("status", "-o", "json").out)
    assert answer["leaderId"] == "n1"
    assert [(n["id"], n["address"], n["role"]) for n in answer["nodes"]] == [
        ("n1", "127.0.0.1:7101", "LEADER"),
        ("n2", "127.0.0.1:7102", "FOLLOWER"),
        ("n3", "127.0.0.1:7103", "UNREACHABLE"),
    ]
    assert answer["nodes"][1]["commitIndex"] == "0"
    assert answer["nodes"][0]["problem"] == ""
    assert answer["nodes"][0]["links"][1]["connected"] is False


def test_status_without_a_leader_says_so(cli, status, cluster):
    cluster.status.leader_id = ""
    ended = cli("status")
    assert (ended.code, ended.out.startswith("cluster prod: NO LEADER")) == (0, True)


def test_status_watch_repeats_until_no_node_answers(cli, cluster, status):
    def stop_after_three() -> None:
        deadline = time.monotonic() + 30
        while cluster.methods().count("GetStatus") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        for number in range(3):
            cluster.stop(number)

    stopper = threading.Thread(target=stop_after_three)
    stopper.start()
    ended = cli("status", "--watch", "--interval", "20ms", "--timeout", "2s", "-o", "json")
    stopper.join()
    assert ended.code == 5
    assert ended.out.count('"clusterId": "prod"') >= 3


def test_transfer_says_who_leads(cli, cluster):
    assert cli("cluster", "transfer").out == "n2 leads\n"
    assert json.loads(cli("cluster", "transfer", "n3", "-o", "json").out) == {"leaderId": "n3"}


def test_status_shows_how_far_each_clock_is_off(cli, status):
    first, second = status.nodes[0].clock, status.nodes[1].clock
    first.offset.FromMilliseconds(-3_600_000)
    second.offset.FromMicroseconds(1_400)
    rows = {line.split()[0]: line for line in cli("status").out.splitlines() if "127.0.0.1" in line}
    shown = [rows[node.id] for node in status.nodes[:2]]
    assert [offset in row for offset, row in zip(("-3600.0s", "+1ms"), shown, strict=True)] == [True, True]


def test_a_confirmed_clock_says_by_how_much_time_moved(cli, cluster):
    assert "moved by +0.000 s" in cli("cluster", "confirm-clock").out
    assert json.loads(cli("cluster", "confirm-clock", "-o", "json").out) == {"movedS": 0.0}


def test_repaired_cursors_are_listed_and_counted(cli, cluster):
    assert cli("repair", "cursors").out == "no cursor is ahead of its time\n"
    repair = cluster_pb2.CursorRepair(task="report")
    repair.old_next_time.FromJsonString("2030-01-01T01:00:00Z")
    repair.new_next_time.FromJsonString("2030-01-01T00:00:00Z")
    cluster.repairs.append(repair)
    out = cli("repair", "cursors", "--dry-run").out
    assert "report" in out
    assert "1 cursor would be moved back" in out
    assert "1 cursor was moved back" in cli("repair", "cursors").out
    answer = json.loads(cli("repair", "cursors", "-o", "json").out)
    assert answer["repairs"][0]["newNextTime"] == "2030-01-01T00:00:00Z"
