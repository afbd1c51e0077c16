"""Executions, the ledger, status and leadership."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from raftsched_client.v1 import cluster_pb2, execution_pb2
from raftsched_client.v1.execution_pb2 import Execution, GetOutputResponse, LedgerEntry

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
    assert "SUCCEEDED (exit code 0)" in lines[3]
    assert "0.5s" in lines[3]
    assert "2.2s" in lines[3]


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
