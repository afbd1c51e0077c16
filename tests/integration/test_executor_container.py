"""Containers, through a real socket and the docker library, on an engine that keeps state and runs processes."""

import asyncio
import hmac
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from raftsched_proto.v1 import task_pb2

from raftsched.core.state import ids
from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.base import AttemptContext, Result
from raftsched.executor.actions.container import ContainerRunner
from raftsched.executor.leftovers import Marks
from raftsched.executor.output import Output
from tests.support.action_bench import EXECUTION_ID, EXECUTOR_ID, SECRET, Stopper, new_context, perform
from tests.support.container_engine import Container, Engine, serving
from tests.support.proxies import Trap

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


def test_no_failure_has_the_exit_code_of_success(engine: tuple[str, Engine]) -> None:
    socket, state = engine

    def at_up(change: Callable[[Container], None]) -> Stopper:
        async def stop(context: AttemptContext) -> None:
            while b"up" not in context.output.tail():  # noqa: ASYNC110 - what is awaited happens elsewhere
                await asyncio.sleep(0.005)
            change(state.created[-1])
            state.created[-1].signal(signal.SIGUSR1)

        return stop

    ends_well = "trap 'exit 0' USR1 TERM; echo up; while :; do sleep 0.01; done"
    killed_in_it, _ = container(
        socket, "sh", "-c", ends_well, stopper=at_up(lambda each: setattr(each, "out_of_memory", True))
    )
    lost, _ = container(
        socket, "sh", "-c", ends_well, stopper=at_up(lambda each: setattr(each, "trouble", "it is gone"))
    )
    late, _ = container(socket, "sh", "-c", ends_well, stopper=after_output(b"up"))
    assert killed_in_it == Result(
        ExecutionState.FAILED, error="a process in it was killed: it needed more memory than its limit"
    )
    assert lost == Result(ExecutionState.FAILED, error="the container engine failed: it is gone")
    assert late == Result(ExecutionState.TIMED_OUT, error="stopped")


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


def made_by(pid: int, started: int, secret: bytes = SECRET) -> str:
    """The mark of a container that a process with this pid and start time made."""
    boot, namespace = Marks(EXECUTOR_ID, secret).of((EXECUTION_ID, 3)).split(".")[:2]
    said = f"{boot}.{namespace}.{pid}.{started}.{ids.to_text(EXECUTION_ID)}.1"
    proof = hmac.digest(secret, f"{said} {EXECUTOR_ID}".encode(), "sha256").hex()[:32]
    return f"{said}.{proof}"


def test_only_containers_of_an_executor_that_is_gone_are_removed_by_the_next_attempt(
    engine: tuple[str, Engine],
) -> None:
    socket, state = engine
    living = int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[19])
    marks = {
        "left": made_by(1, 4_000_000_000),
        "of a process that lives, whose directory ours is a copy of": made_by(os.getppid(), living),
        "with a proof that is none": made_by(1, 4_000_000_000, b"of another directory"),
        "without a mark": "",
    }

    async def main() -> None:
        runner = ContainerRunner(socket, 5.0)
        client = runner.client(5)
        for name, mark in marks.items():
            labels = {"raftsched.executor-id": EXECUTOR_ID, "raftsched.process-mark": mark}
            client.containers.create("local/tool:1", ["sleep", "100"], name=name, labels=labels).start()
        other = {"raftsched.executor-id": "another", "raftsched.process-mark": marks["left"]}
        client.containers.create("local/tool:1", ["sleep", "100"], name="of another executor", labels=other).start()
        client.close()
        action = task_pb2.Action(container=task_pb2.ContainerAction(image="local/tool:1", command=["true"]))
        result = await runner.run(action, new_context())
        assert result.state == ExecutionState.SUCCEEDED

    asyncio.run(main())
    kept = {each.name for each in state.containers.values()}
    assert kept == {*marks, "of another executor"} - {"left"}


@pytest.mark.parametrize("tcp", [False, True])
def test_no_proxy_and_no_netrc_of_the_environment_is_used(
    tmp_path: Path, tcp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, tcp=tcp) as (socket, state), Trap().serving() as trap:
        for name, value in trap.variables(tmp_path).items():
            monkeypatch.setenv(name, value)
        (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": {"httpProxy": trap.url}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        result, output = container(socket, "env")
        assert result.state == ExecutionState.SUCCEEDED
        assert b"proxy" not in output.tail().lower()
        assert state.authorizations == []
        assert trap.connections == 0


def test_engine_that_is_not_there_is_named() -> None:
    result, _ = container("tcp://127.0.0.1:1", "true")
    assert result.state == ExecutionState.FAILED
    assert result.error.startswith("not started: the container engine cannot be reached")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker.errors", None)
    result, _ = container("unix:///nowhere", "true")
    assert result.error == "not started: this executor lacks the docker library: install raftsched[container] there"
