"""Containers, through a real socket and the docker library, on an engine that keeps state and runs processes."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from raftsched_client.v1 import task_pb2

from raftsched.core import ids
from raftsched.core.model import ExecutionState
from raftsched.executor.actions.base import AttemptContext, Result
from raftsched.executor.actions.container import ContainerRunner
from raftsched.executor.output import Output
from tests.support.action_bench import EXECUTION_ID, EXECUTOR_ID, Stopper, new_context, perform
from tests.support.container_engine import Engine, serving

PULL = task_pb2.PullPolicy


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[str, Engine]]:
    with serving(tmp_path) as served:
        yield served


def container(
    socket: str, *command: str, stopper: Stopper | None = None, grace_s: float = 5.0, **fields: object
) -> tuple[Result, Output]:
    values = {"image": "local/tool:1", "command": command, **fields}
    action = task_pb2.Action(container=task_pb2.ContainerAction(**values))
    return perform(ContainerRunner(socket, grace_s), action, stopper)


def after_output(text: bytes, *, force: bool = False) -> Stopper:
    async def stop(context: AttemptContext) -> None:
        while text not in context.output.tail():  # noqa: ASYNC110 - what is awaited happens elsewhere
            await asyncio.sleep(0.005)
        if force:
            context.stop.force(ExecutionState.CANCELLED, "stopped")
        else:
            context.stop.request(ExecutionState.TIMED_OUT, "stopped")

    return stop


def test_container_runs_with_its_limits_is_told_its_attempt_and_removed(engine: tuple[str, Engine]) -> None:
    socket, state = engine
    result, output = container(
        socket,
        "sh", "-c", 'echo "$MINE $RAFTSCHED_TASK $RAFTSCHED_ATTEMPT $RAFTSCHED_FENCING_TOKEN"; pwd; echo oops >&2',
        env={"MINE": "yes", "RAFTSCHED_TASK": "forged"},
        working_directory="/tmp",
        user="1000:1000",
        memory_limit_bytes=64 << 20,
        cpu_limit_millis=1500,
        network="jobs",
    )  # fmt: skip
    assert result == Result(ExecutionState.SUCCEEDED, exit_code=0)
    assert output.tail() == b"yes nightly 3 42\n/tmp\noops\n"
    [created] = state.created
    assert created.name == f"raftsched-{ids.to_text(EXECUTION_ID)}-3"
    assert created.config["User"] == "1000:1000"
    assert created.config["Labels"]["raftsched.executor-id"] == EXECUTOR_ID
    host = created.config["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (64 << 20, 64 << 20, 1_500_000_000)
    assert host["NetworkMode"] == "jobs"
    assert state.containers == {}
    assert state.pulls == []


def test_exit_code_decides(engine: tuple[str, Engine]) -> None:
    socket, state = engine
    assert container(socket, "sh", "-c", "exit 7")[0] == Result(ExecutionState.FAILED, exit_code=7, error="exit code 7")
    result, _ = container(socket, entrypoint=["sh", "-c", "kill -SEGV $$"])
    assert result == Result(ExecutionState.FAILED, exit_code=139, error="exit code 139 (killed by signal 11)")
    assert state.containers == {}


def test_container_over_its_memory_limit_says_so(engine: tuple[str, Engine]) -> None:
    socket, state = engine

    async def run_out(context: AttemptContext) -> None:
        while b"up" not in context.output.tail():  # noqa: ASYNC110 - what is awaited happens elsewhere
            await asyncio.sleep(0.005)
        state.created[0].out_of_memory = True
        state.created[0].signal(9)

    result, _ = container(socket, "sh", "-c", "echo up; sleep 100", stopper=run_out)
    assert result.exit_code == 137
    assert result.error == "killed: it needed more memory than its limit"


@pytest.mark.parametrize(
    ("image", "policy", "pulls", "error"),
    [
        ("local/tool:1", PULL.PULL_POLICY_IF_NOT_PRESENT, [], ""),
        ("local/tool:1", PULL.PULL_POLICY_NEVER, [], ""),
        ("hub/tool:2", PULL.PULL_POLICY_IF_NOT_PRESENT, ["hub/tool:2"], ""),
        ("hub/tool:2", PULL.PULL_POLICY_ALWAYS, ["hub/tool:2"], ""),
        ("hub/tool:2", PULL.PULL_POLICY_NEVER, [], "No such image: hub/tool:2"),
        ("no/such:3", PULL.PULL_POLICY_IF_NOT_PRESENT, ["no/such:3"], "pull access denied for no/such"),
    ],
)
def test_pull_policy(
    engine: tuple[str, Engine], image: str, policy: task_pb2.PullPolicy.ValueType, pulls: list[str], error: str
) -> None:
    socket, state = engine
    result, _ = container(socket, "true", image=image, pull_policy=policy)
    assert state.pulls == pulls
    assert result.state == (ExecutionState.FAILED if error else ExecutionState.SUCCEEDED)
    assert error in result.error
    assert result.error.startswith("not started: ") == bool(error)


def test_program_that_is_not_in_the_image_is_named(engine: tuple[str, Engine]) -> None:
    socket, state = engine
    result, _ = container(socket, "no-such-program")
    assert result.state == ExecutionState.FAILED
    assert "no-such-program" in result.error
    assert state.containers == {}


def test_stopped_container_ends_by_term_within_its_grace(engine: tuple[str, Engine]) -> None:
    socket, state = engine
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done"
    result, output = container(socket, "sh", "-c", script, stopper=after_output(b"up"), grace_s=7)
    assert result == Result(ExecutionState.TIMED_OUT, exit_code=3, error="stopped")
    assert output.tail().endswith(b"bye\n")
    assert state.stops == [7]
    assert state.containers == {}


def test_container_that_ignores_term_is_killed(engine: tuple[str, Engine]) -> None:
    socket, state = engine
    script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    result, _ = container(socket, "sh", "-c", script, stopper=after_output(b"up"), grace_s=1)
    assert result == Result(ExecutionState.TIMED_OUT, exit_code=137, error="stopped")
    result, _ = container(socket, "sh", "-c", script, stopper=after_output(b"up", force=True), grace_s=1000)
    assert result == Result(ExecutionState.CANCELLED, exit_code=137, error="stopped")
    assert state.containers == {}


def test_containers_of_an_executor_that_was_killed_are_removed_by_its_next_attempt(engine: tuple[str, Engine]) -> None:
    socket, state = engine

    async def main() -> None:
        runner = ContainerRunner(socket, 5.0)
        client = runner.client(5)
        for owner in (EXECUTOR_ID, "another"):
            labels = {"raftsched.executor-id": owner}
            client.containers.create("local/tool:1", ["sleep", "100"], name=owner, labels=labels).start()
        client.close()
        action = task_pb2.Action(container=task_pb2.ContainerAction(image="local/tool:1", command=["true"]))
        result = await runner.run(action, new_context())
        assert result.state == ExecutionState.SUCCEEDED

    asyncio.run(main())
    assert [each.name for each in state.containers.values()] == ["another"]


def test_engine_that_is_not_there_is_named() -> None:
    result, _ = container("tcp://127.0.0.1:1", "true")
    assert result.state == ExecutionState.FAILED
    assert result.error.startswith("not started: the container engine cannot be reached")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker.errors", None)
    result, _ = container("unix:///nowhere", "true")
    assert result.error == "not started: this executor lacks the docker library: install raftsched[container] there"
