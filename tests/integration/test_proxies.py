"""What the environment of a node says of proxies, and a .netrc in its home, change no connection that it makes."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from raftsched_client import notifications, task
from raftsched_proto.v1 import execution_pb2, task_pb2

from tests.support.cluster import Cluster, Process, eventually
from tests.support.proxies import Trap
from tests.support.sinks import Receiver, sinks


def test_the_trap_catches_who_obeys_the_environment(tmp_path: Path) -> None:
    with Trap().serving() as trap:
        subprocess.run(
            [sys.executable, "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:1')"],
            env=trap.variables(tmp_path),
            capture_output=True,
        )
        assert trap.connections == 1


def test_nodes_executors_and_the_command_line_use_no_proxy_and_no_netrc(tmp_path: Path) -> None:
    receiver = Receiver()
    with Trap().serving() as trap, receiver.serving():
        environment = trap.variables(tmp_path)
        shipping = sinks(es=("elasticsearch", receiver.url), otel=("otlp", f"{receiver.url}/v1/logs"))
        with Cluster(tmp_path, 3, http=True, **environment, **shipping) as cluster, cluster.client() as client:
            executor = Process(
                [
                    "executor",
                    "--join",
                    cluster.endpoints[0],
                    "--data-dir",
                    str(tmp_path / "e"),
                    "--label",
                    "pool=apart",
                ],
                tmp_path / "e.log",
                environment,
            )
            executor.start()
            try:
                created = _tasks(receiver.url, cluster.endpoints[0])
                for each in created:
                    client.create_task(each)
                for each in created:
                    execution_id = client.run_task(each.name).id
                    list(client.watch_executions(execution_id=execution_id))
                    ended = client.get_execution(execution_id)
                    wanted_state = (
                        execution_pb2.EXECUTION_STATE_FAILED
                        if each.name == "failing"
                        else execution_pb2.EXECUTION_STATE_SUCCEEDED
                    )
                    assert (each.name, ended.state, ended.error) == (each.name, wanted_state, ended.error)
                wanted = {"/http", "/notice", "/_bulk", "/v1/logs"}
                eventually(lambda: wanted <= receiver.paths, within_s=60, what="a request of each kind")
                told = subprocess.run(
                    [Path(sys.executable).parent / "raftsched", "--endpoints", cluster.endpoints[0], "status"],
                    env=environment,
                    capture_output=True,
                    check=True,
                )
                assert b"n1" in told.stdout
            finally:
                executor.kill()
        assert receiver.authorizations == []
        assert trap.connections == 0


def _tasks(url: str, node: str) -> list[task_pb2.Task]:
    never = timedelta(days=300)
    told = notifications(f"{url}/notice")
    failing = task("failing", every=never, command=["false"], notifications=told)
    apart = task("apart", every=never, command=["true"])
    apart.executor_labels["pool"] = "apart"
    rpc = task("rpc", every=never, noop=True)
    rpc.action.grpc.target = node
    rpc.action.grpc.method = "raftsched.v1.ClusterService/GetStatus"
    request = task("request", every=never, noop=True)
    request.action.http.url = f"{url}/http"
    request.action.http.method = "POST"
    request.action.http.headers["content-length"] = "0"
    return [failing, apart, rpc, request]
