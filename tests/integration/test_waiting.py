"""Executions that nobody can take, on a real node: what is said of them, and where."""

import json
import re
import urllib.request
from collections.abc import Iterator
from datetime import timedelta

import pytest
from raftsched_client import (
    AlreadyExistsError,
    Client,
    Execution,
    InvalidArgumentError,
    TaskCondition,
    WaitingReason,
    task,
)
from raftsched_proto.v1 import execution_pb2, task_pb2

from tests.integration.test_cli_cluster import done, run
from tests.support.cluster import Cluster, eventually

NO_MATCH = WaitingReason.Value("WAITING_REASON_NO_MATCHING_EXECUTOR")
WAITING = TaskCondition.Value("TASK_CONDITION_WAITING")
FAILING = TaskCondition.Value("TASK_CONDITION_FAILING")
DETAIL = "no connected executor carries zone=c"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    options = ("--label", "zone=a")
    with Cluster(tmp_path_factory.mktemp("cluster"), nodes=1, options=options, http=True) as running:
        with running.client() as client:
            # A leader warns of nothing before executors had the time to connect to it.
            eventually(lambda: client.create_task(stuck("probe"), validate_only=True).warnings, what="a warning")
            client.create_task(stuck("stuck"))
            client.create_task(task("fails", every=timedelta(seconds=1), command=["false"]))
            client.create_task(task("fine", every=timedelta(seconds=1), noop=True))
            eventually(lambda: client.get_task("stuck").waiting, what="ten seconds of waiting")
        yield running


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with cluster.client() as connected:
        yield connected


def stuck(name: str) -> task_pb2.Task:
    return task(name, every=timedelta(seconds=1), noop=True, executor_labels={"zone": "c"})


def oldest(client: Client) -> Execution:
    return list(client.list_executions(task="stuck"))[-1]


def test_each_execution_says_why_it_waits(client: Client) -> None:
    execution = client.get_execution(oldest(client).id)
    assert (execution.waiting_reason, execution.waiting_detail) == (NO_MATCH, DETAIL)
    listed = list(client.list_executions(waiting_reasons=[NO_MATCH]))
    assert {each.task for each in listed} == {"stuck"}
    assert all(each.waiting_detail == DETAIL for each in listed)
    assert not list(client.list_executions(waiting_reasons=[WaitingReason.Value("WAITING_REASON_GROUP_LIMIT")]))


def test_the_task_and_the_status_count_what_waits(client: Client) -> None:
    (wait,) = client.get_task("stuck").waiting
    assert (wait.reason, wait.detail) == (NO_MATCH, DETAIL)
    assert wait.count >= 1
    assert wait.oldest_nominal_time == oldest(client).nominal_time
    (of_all,) = eventually(lambda: client.get_status().waiting)
    assert (of_all.reason, list(of_all.tasks)) == (NO_MATCH, ["stuck"])
    assert not client.get_task("fine").waiting


def test_tasks_that_wait_or_fail_are_found(client: Client) -> None:
    assert [each.name for each in client.list_tasks(condition=WAITING)] == ["stuck"]
    assert [each.name for each in client.list_tasks(condition=FAILING)] == ["fails"]
    assert [each.name for each in client.list_tasks(condition=FAILING, name_prefix="f", page_size=1)] == ["fails"]


def test_the_ledger_tells_what_was_decided_from_what_has_started(client: Client) -> None:
    decided = next(iter(client.list_ledger("stuck")))
    assert decided.execution_state == execution_pb2.EXECUTION_STATE_PENDING
    assert not decided.HasField("start_time")
    ran = next(each for each in client.list_ledger("fine"))
    assert ran.execution_state == execution_pb2.EXECUTION_STATE_SUCCEEDED
    assert ran.start_time.ToNanoseconds() >= ran.nominal_time.ToNanoseconds()


def test_what_has_not_started_in_time_counts_as_late(cluster: Cluster, client: Client) -> None:
    late = eventually(lambda: client.count_logs(task="stuck").late_count, what="the history's look at it")
    assert late <= len(list(client.list_executions(task="stuck")))
    assert client.count_logs(task="fine").late_count == 0
    days = list(client.count_days("stuck"))
    assert sum(day.late_count for day in days) >= late
    assert re.search(r"PENDING=\d+ +[1-9]", done(cluster, "logs", "count", "--task", "stuck"))


def test_the_command_line_says_so(cluster: Cluster, client: Client) -> None:
    shown = done(cluster, "execution", "show", oldest(client).id)
    assert f"{DETAIL} (NO_MATCHING_EXECUTOR)" in shown
    assert DETAIL in done(cluster, "execution", "list", "--task", "stuck", "--limit", "3")
    ledger = done(cluster, "ledger", "stuck", "--limit", "2")
    assert "DECIDED" in ledger
    assert "waiting for an executor" in ledger
    assert "RAN" not in ledger
    explained = done(cluster, "explain", "stuck")
    assert "DECIDED" in explained
    assert DETAIL in explained
    assert "RAN" not in explained
    assert DETAIL in done(cluster, "task", "show", "stuck")
    status = done(cluster, "status")
    assert "waiting for more than 10 s: " in status
    assert "NO_MATCHING_EXECUTOR" in status
    assert done(cluster, "task", "list", "--condition", "waiting").split("\n")[1].startswith("stuck ")


def test_who_creates_such_a_task_is_warned(cluster: Cluster, client: Client) -> None:
    created = run(cluster, "task", "create", "warned", "--every", "1h", "--executor-label", "zone=c", "--noop")
    assert created.returncode == 0
    assert f"warning: warned: executor_labels: {DETAIL}: executions wait until one does" in created.stderr
    (warning,) = client.get_task("warned").warnings
    assert warning.field == "executor_labels"
    (result,) = client.create_tasks([stuck("warned-too")])
    assert [each.field for each in result.warnings] == ["executor_labels"]
    client.delete_task("warned-too")
    mended = task_pb2.Task(name="warned", executor_labels={"zone": "a"})
    assert not client.update_task(mended, ["executor_labels"]).warnings


def test_a_callable_that_nobody_allows_is_warned_of(client: Client) -> None:
    wanted = task("callable", every=timedelta(hours=1), python="no_such_module:run")
    (warning,) = client.create_task(wanted, validate_only=True).warnings
    assert warning.field == "action.python.callable"
    assert "executor.python_allow" in warning.description


def test_what_is_only_validated_is_not_created(client: Client) -> None:
    shown = client.create_task(stuck("only-looked-at"), validate_only=True)
    assert shown.HasField("next_fire_time")
    assert (shown.uid, shown.etag) == ("", "")
    with pytest.raises(InvalidArgumentError):
        client.create_task(task("bad", every=timedelta(milliseconds=1), noop=True), validate_only=True)
    with pytest.raises(AlreadyExistsError):
        client.create_task(stuck("stuck"), validate_only=True)
    assert "only-looked-at" not in {each.name for each in client.list_tasks()}


def test_the_same_over_http(cluster: Cluster) -> None:
    base = f"http://{cluster.http_addresses['n1']}/v1"

    def get(path: str) -> dict:
        with urllib.request.urlopen(base + path, timeout=20) as answer:
            return json.load(answer)

    found = get("/executions?task=stuck&states=EXECUTION_STATE_PENDING&pageSize=1")["executions"][0]
    assert (found["waitingReason"], found["waitingDetail"]) == ("WAITING_REASON_NO_MATCHING_EXECUTOR", DETAIL)
    assert get("/tasks?condition=TASK_CONDITION_WAITING")["tasks"][0]["name"] == "stuck"
    assert get("/tasks/stuck")["warnings"][0]["field"] == "executor_labels"
    assert get("/cluster")["waiting"][0]["tasks"] == ["stuck"]
    body = json.dumps(
        {
            "name": "x",
            "schedule": {"interval": {"every": "5s"}},
            "executorLabels": {"zone": "c"},
            "action": {"noop": {}},
        }
    )
    request = urllib.request.Request(
        f"{base}/tasks?validateOnly=true",
        data=body.encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200, "nothing was created"
        assert json.load(answer)["warnings"][0]["field"] == "executor_labels"
