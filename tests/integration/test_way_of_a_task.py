"""The whole way of a task through three real processes: every kind of schedule, every kind of action."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from raftsched_client import AlreadyExistsError, ConflictError, InvalidArgumentError, NotFoundError, task
from raftsched_proto.v1 import execution_pb2, task_pb2

from tests.support.cluster import Cluster, eventually
from tests.support.history import assert_each_decided_once, interval_times, nominal

SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED
FAILED = execution_pb2.EXECUTION_STATE_FAILED
PYTHON_ALLOW = 'python_allow = ["json:dumps"]'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    config = directory / "node.toml"
    config.write_text(f"[executor]\n{PYTHON_ALLOW}\n")
    with Cluster(directory, options=("--config", str(config))) as running:
        yield running


@pytest.fixture(scope="module")
def http_server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append({name.lower(): value for name, value in self.headers.items()} | {"body": body.decode()})
            self.send_response(201)
            self.end_headers()
            self.wfile.write(b"made")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", seen
    server.shutdown()
    server.server_close()


def run_to_end(cluster: Cluster, definition: task_pb2.Task) -> execution_pb2.Execution:
    """Register a task, run it now, and wait for its end."""
    with cluster.client() as client:
        client.create_task(definition)
        started = client.run_task(definition.name)
        return eventually(
            lambda: next((e for e in [client.get_execution(started.id)] if e.HasField("end_time")), None),
            what=f"the end of {definition.name}",
        )


FAR = datetime(2100, 1, 1, tzinfo=UTC)


def test_a_command_gets_its_arguments_environment_stdin_and_directory(cluster: Cluster, tmp_path: Path) -> None:
    script = 'read line; echo "$line $GREETING $1 $PWD $RAFTSCHED_TASK $RAFTSCHED_ATTEMPT"'
    definition = task(
        "command", at=FAR, command=["/bin/sh", "-c", script, "sh", "it's one"], env={"GREETING": "hello"},
        stdin=b"from stdin\n", working_directory=str(tmp_path),
    )  # fmt: skip
    execution = run_to_end(cluster, definition)
    assert execution.state == SUCCEEDED
    assert execution.exit_code == 0
    assert execution.output_tail.decode() == f"from stdin hello it's one {tmp_path} command 1\n"


def test_a_shell_command_that_fails_says_its_exit_code(cluster: Cluster) -> None:
    execution = run_to_end(cluster, task("shell-fails", at=FAR, shell="echo before; exit 7"))
    assert (execution.state, execution.exit_code) == (FAILED, 7)
    assert execution.output_tail == b"before\n"


def test_a_command_over_its_time_limit_is_killed(cluster: Cluster) -> None:
    definition = task("slow", at=FAR, command=["sleep", "60"], time_limit=timedelta(seconds=1))
    assert run_to_end(cluster, definition).state == execution_pb2.EXECUTION_STATE_TIMED_OUT


def test_long_output_is_kept_whole(cluster: Cluster) -> None:
    execution = run_to_end(cluster, task("chatty", at=FAR, shell="yes 0123456789abcde | head -n 10000; echo end"))
    assert execution.output_size_bytes == 160_004
    assert len(execution.output_tail) <= 4096
    with cluster.client() as client:
        pieces = list(client.get_output(execution.id))
    data = b"".join(piece.data for piece in pieces)
    assert data == b"0123456789abcde\n" * 10_000 + b"end\n"
    assert not any(piece.truncated_bytes for piece in pieces)


def test_an_http_request_is_made_once_with_its_idempotency_key(
    cluster: Cluster, http_server: tuple[str, list[dict[str, str]]]
) -> None:
    url, seen = http_server
    definition = task_pb2.Task(name="http")
    definition.schedule.at.FromDatetime(FAR)
    definition.action.http.url = url
    definition.action.http.method = "POST"
    definition.action.http.body = b'{"x":1}'
    definition.action.http.headers["X-Mine"] = "yes"
    definition.action.http.expected_statuses.append(201)
    execution = run_to_end(cluster, definition)
    assert (execution.state, execution.http_status, execution.output_tail) == (SUCCEEDED, 201, b"made")
    (request,) = [headers for headers in seen if headers["idempotency-key"] == execution.id]
    assert (request["x-mine"], request["body"]) == ("yes", '{"x":1}')


def test_a_python_callable_runs_only_when_the_operator_allows_it(cluster: Cluster) -> None:
    allowed = run_to_end(cluster, task("py", at=FAR, python="json:dumps", kwargs={"obj": [1, 2]}))
    assert allowed.state == SUCCEEDED
    refused = run_to_end(cluster, task("py-refused", at=FAR, python="os:getcwd"))
    assert refused.state == FAILED
    assert "python_allow" in refused.error


def test_noop_succeeds(cluster: Cluster) -> None:
    assert run_to_end(cluster, task("noop", at=FAR, noop=True)).state == SUCCEEDED


def test_interval_cron_with_seconds_and_one_time_tasks_fire_at_their_nominal_times(cluster: Cluster) -> None:
    second = timedelta(seconds=1)
    with cluster.client() as client:
        now = datetime.now(UTC)
        client.create_task(task("every-second", every=second, noop=True))
        client.create_task(task("cron-second", cron="* * * * * *", zone="Asia/Kolkata", noop=True))
        client.create_task(task("once", at=now + 2 * second, noop=True))
        for name in ("every-second", "cron-second"):
            entries = eventually(
                lambda name=name: e if len(e := list(client.list_ledger(name))) >= 5 else None,
                what=f"5 fires of {name}",
            )
            times = interval_times(nominal(entries[0]), nominal(entries[-1]), 1)
            assert_each_decided_once(name, entries, times)
        (once,) = eventually(lambda: list(client.list_ledger("once")), what="the one-time fire")
        assert once.nominal_time.ToMicroseconds() == int((now + 2 * second).timestamp() * 1e6)
        assert client.get_task("once").state == task_pb2.TASK_STATE_FINISHED
        for name in ("every-second", "cron-second"):
            client.delete_task(name)


def test_a_paused_task_skips_its_nominal_times_and_says_so(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_task(task("pausable", every=timedelta(seconds=1), noop=True))
        eventually(lambda: list(client.list_ledger("pausable")), what="a first fire")
        client.pause_task("pausable")
        paused = client.get_task("pausable")
        assert paused.state == task_pb2.TASK_STATE_PAUSED
        assert not paused.HasField("next_fire_time")
        paused_at = datetime.now(UTC)
        eventually(lambda: datetime.now(UTC) > paused_at + timedelta(seconds=3), what="three seconds of pause")
        client.resume_task("pausable")
        resumed_at = datetime.now(UTC)
        entries = eventually(
            lambda: e if (e := list(client.list_ledger("pausable"))) and nominal(e[-1]) > resumed_at else None,
            what="a fire after the pause",
        )
        skipped = [e for e in entries if e.decision == execution_pb2.DECISION_SKIPPED]
        # What was armed is in an entry of its own.
        assert {e.reason for e in skipped} == {"the task was paused"}
        assert_each_decided_once("pausable", entries, interval_times(nominal(entries[0]), nominal(entries[-1]), 1))
        client.delete_task("pausable")


def test_bad_input_is_refused_with_the_name_of_its_field(cluster: Cluster) -> None:
    bad = {
        "task.name": task_pb2.Task(name="no spaces"),
        "task.schedule.cron.expression": task("bad-cron", cron="61 * * * *", noop=True),
        "task.schedule.cron.time_zone": task("bad-zone", cron="* * * * *", zone="Mars/Olympus", noop=True),
        "task.action.command.argv": task_pb2.Task(name="no-argv", action={"command": {}}),
    }
    with cluster.client() as client:
        for field, definition in bad.items():
            with pytest.raises(InvalidArgumentError) as refused:
                client.create_task(definition)
            assert field in {violation.field for violation in refused.value.field_violations}
        with pytest.raises(InvalidArgumentError, match="never"):
            client.create_task(task("never", cron="0 0 30 2 *", noop=True))
        client.create_task(task("taken", at=FAR, noop=True))
        with pytest.raises(AlreadyExistsError):
            client.create_task(task("taken", at=FAR, noop=True))
        with pytest.raises(NotFoundError):
            client.get_task("nobody")
        stale = client.get_task("taken").etag
        client.update_task(task_pb2.Task(name="taken", labels={"a": "b"}, etag=stale), ["labels"])
        with pytest.raises(ConflictError):
            client.update_task(task_pb2.Task(name="taken", labels={"a": "c"}, etag=stale), ["labels"])
        assert client.get_task("taken").labels["a"] == "b"


def test_a_repeated_request_id_acts_once(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_task(task("repeat", at=FAR, noop=True), request_id="r-1")
        client.create_task(task("repeat", at=FAR, noop=True), request_id="r-1")
        first = client.run_task("repeat", request_id="r-2")
        assert client.run_task("repeat", request_id="r-2").id == first.id
        assert len(list(client.list_executions(task="repeat"))) == 1


def test_any_node_takes_any_call(cluster: Cluster) -> None:
    for id_ in cluster.nodes:
        with cluster.client(id_) as client:
            name = f"via-{id_}"
            client.create_task(task(name, at=FAR, noop=True))
            assert client.get_task(name).name == name
            assert name in {each.name for each in client.list_tasks(name_prefix="via-")}
            assert len(client.get_status().nodes) == 3


def test_a_batch_reports_each_task_and_registers_the_good_ones(cluster: Cluster) -> None:
    definitions = [task(f"batch-{number:04}", at=FAR, noop=True) for number in range(2_500)]
    definitions[7] = task_pb2.Task(name="bad name")
    with cluster.client() as client:
        results = list(client.create_tasks(definitions))
        assert [number for number, result in enumerate(results) if result.code] == [7]
        assert sum(1 for _ in client.list_tasks(name_prefix="batch-")) == 2_499


def test_a_running_execution_can_be_cancelled_and_followed(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_task(task("long", at=FAR, shell="echo started; sleep 60"))
        execution = client.run_task("long")
        output = client.get_output(execution.id, follow=True)
        assert next(piece.data for piece in output if piece.data) == b"started\n"
        client.cancel_execution(execution.id)
        states = [change.state for change in client.watch_executions(execution_id=execution.id)]
        assert states[-1] == execution_pb2.EXECUTION_STATE_CANCELLED


def test_leadership_can_be_handed_over(cluster: Cluster) -> None:
    before = cluster.leader()
    target = cluster.follower()
    with cluster.client() as client:
        eventually(lambda: client.transfer_leadership(target) == target, what=f"the hand-over to {target}")
        eventually(lambda: client.get_status().leader_id == target, what=f"{target} leads instead of {before}")
