"""Containers on a real Docker engine: what an engine made for tests cannot show, such as limits that are enforced."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.base import AttemptContext, Result
from raftsched.executor.actions.container import ContainerRunner
from raftsched.executor.output import Output
from tests.integration.test_executor_container import made_by
from tests.support.action_bench import EXECUTOR_ID, Stopper, new_context, perform
from tests.support.docker_engine import IMAGE, real_engine

MEMORY = 16 << 20
KILLED = "killed: it needed more memory than its limit"
KILLED_IN_IT = "a process in it was killed: it needed more memory than its limit"


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_engine(tmp_path_factory.mktemp("engine")) as address:
        yield address


def container(socket: str, script: str, stopper: Stopper | None = None, **fields: object) -> tuple[Result, Output]:
    values = {"image": IMAGE, "command": ["/bin/sh", "-c", script], "network": "host", **fields}
    action = task_pb2.Action(container=task_pb2.ContainerAction(**values))
    return perform(ContainerRunner(socket, 2.0), action, stopper)


def test_exit_code_decides(socket: str) -> None:
    result, output = container(socket, "echo hello")
    assert (result, output.tail()) == (Result(ExecutionState.SUCCEEDED, exit_code=0), b"hello\n")
    assert container(socket, "exit 7")[0] == Result(ExecutionState.FAILED, exit_code=7, error="exit code 7")


@pytest.mark.parametrize(
    ("script", "code", "error"),
    [
        ("x=a; while :; do x=$x$x; done", 137, KILLED),
        # The engine learns of it by an event of its own, and does not wait for that at the end.
        ("/bin/tail -c 100000000 /dev/zero & wait; sleep 2; exit 0", None, KILLED_IN_IT),
    ],
    ids=["its first process", "another one, and the first ends well"],
)
def test_what_is_killed_for_memory_shows_no_exit_code_of_success(
    socket: str, script: str, code: int | None, error: str
) -> None:
    result, _ = container(socket, script, memory_limit_bytes=MEMORY)
    assert result == Result(ExecutionState.FAILED, exit_code=code, error=error)


def test_container_that_ends_well_at_its_time_limit_shows_no_exit_code_of_success(socket: str) -> None:
    async def stop(context: AttemptContext) -> None:
        while b"up" not in context.output.tail():  # noqa: ASYNC110 - what is awaited happens elsewhere
            await asyncio.sleep(0.01)
        context.stop.request(ExecutionState.TIMED_OUT, "stopped")

    result, _ = container(socket, "trap 'exit 0' TERM; echo up; while :; do /bin/sleep 0.05; done", stop)
    assert result == Result(ExecutionState.TIMED_OUT, error="stopped")


def test_only_containers_that_are_proven_to_be_left_are_removed(socket: str) -> None:
    async def main() -> set[str]:
        runner = ContainerRunner(socket, 2.0)
        client = runner.client(60)
        for name, mark in (("left", made_by(1, 4_000_000_000)), ("unproven", "")):
            labels = {"raftsched.executor-id": EXECUTOR_ID, "raftsched.process-mark": mark}
            client.containers.create(IMAGE, ["/bin/sleep", "100"], name=name, labels=labels, network="host").start()
        action = task_pb2.ContainerAction(image=IMAGE, command=["/bin/echo"], network="host")
        result = await runner.run(task_pb2.Action(container=action), new_context())
        assert result.state == ExecutionState.SUCCEEDED
        names = {each.name for each in client.containers.list(all=True)}
        for each in client.containers.list(all=True):
            each.remove(force=True)
        client.close()
        return names

    assert asyncio.run(main()) == {"unproven"}


def test_the_environment_is_what_the_task_and_the_image_say(socket: str, tmp_path: Path) -> None:
    _, output = container(socket, "/bin/env", env={"MINE": "yes"})
    seen = {line.partition(b"=")[0] for line in output.tail().splitlines()}
    assert {b"MINE", b"RAFTSCHED_TASK", b"TRACEPARENT"} <= seen
    assert not {name for name in seen if b"proxy" in name.lower()}
