"""What a task can find out about the process that runs it, and is of the same user."""

import os
from collections.abc import Iterator

import pytest
from raftsched_client import Client, task
from raftsched_proto.v1 import execution_pb2

from tests.support.cluster import Cluster, Process, eventually

LIMIT_S = 100
SECRET = "marked-secret-of-the-executor"


class Unprivileged(Process):
    """Root without the rights by which root may look at everything; any other user has none of them."""

    prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--") if os.geteuid() == 0 else ()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = tmp_path_factory.mktemp("memory")
    cluster = Cluster(directory, 1, ("--slots", "0"))
    where = ["--join", cluster.endpoints[0], "--data-dir", str(directory / "executor")]
    executor = Unprivileged(["executor", *where], directory / "executor.log", {"RAFTSCHED_SECRET_PASSWORD": SECRET})
    try:
        cluster.nodes["n1"].start()
        executor.start()
        with cluster.client() as found:
            eventually(lambda: found.get_status().executors, what="an executor")
            yield found
    finally:
        executor.kill()
        cluster.nodes["n1"].kill()


def ran(client: Client, name: str, script: str) -> execution_pb2.Execution:
    client.create_task(task(name, cron="@yearly", shell=script))
    execution = client.run_task(name)
    *_, last = client.watch_executions(execution_id=execution.id)
    return last


@pytest.mark.timeout(LIMIT_S)
def test_a_task_reads_neither_environment_nor_memory_of_its_executor(client: Client) -> None:
    for name in ("environ", "mem", "maps", "auxv"):
        script = f"cat /proc/$PPID/{name} > /dev/null && echo could read"
        output = ran(client, name, script).output_tail
        assert b"ermission denied" in output, output
        assert b"could" not in output, output


@pytest.mark.timeout(LIMIT_S)
def test_a_task_is_given_no_secret_that_it_did_not_ask_for(client: Client) -> None:
    output = ran(client, "env", "env; cat /proc/self/environ").output_tail
    assert b"RAFTSCHED_EXECUTION_ID=" in output
    assert SECRET.encode() not in output


@pytest.mark.timeout(LIMIT_S)
def test_a_program_can_be_looked_at_by_its_own_user_as_always(client: Client) -> None:
    output = ran(client, "own", "cat /proc/$$/environ > /dev/null && echo could read").output_tail
    assert b"could read" in output
