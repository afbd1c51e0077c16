"""Generated calls, valid and hostile, against a real node: each answer must be what the OpenAPI document says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from raftsched.rest.routes import RouteTable
from tests.support.cluster import Process, eventually
from tests.support.ports import free_ports
from tests.support.rest_hooks import TASKS

ROOT = Path(__file__).parents[2]
SEED = 1
EXAMPLES = 20


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A node that fires and records, and whose executor runs nothing, as the commands of the tasks are random."""
    grpc_port, http_port = free_ports(2)
    variables = {"RAFTSCHED_HTTP_LISTEN": f"127.0.0.1:{http_port}", "RAFTSCHED_EXECUTOR__SLOTS": "0"}
    arguments = ["node", "--id", "n1", "--listen", f"127.0.0.1:{grpc_port}", "--data-dir", str(tmp_path / "n1")]
    arguments.append("--found")
    process = Process(arguments, tmp_path / "n1.log", variables)
    process.start()
    try:
        address = f"http://127.0.0.1:{http_port}"
        eventually(lambda: leads(address), what=f"a leader, see {process.log}")
        yield address
        assert process.running, "the node must outlive all of it"
        assert "a request failed" not in process.log.read_text()
    finally:
        process.kill()


def leads(address: str) -> bool:
    try:
        return bool(httpx.get(f"{address}/v1/cluster").json().get("leaderId"))
    except httpx.TransportError:
        return False


def prepare(url: str) -> list[str]:
    """Tasks that the hooks name, and the ids of an execution of each."""
    with httpx.Client(base_url=url, timeout=30) as http:
        for name in TASKS:
            task = {"name": name, "schedule": {"cron": {"expression": "@yearly"}}, "action": {"noop": {}}}
            assert http.post("/v1/tasks", json=task).status_code == 201
        executions = [http.post(f"/v1/tasks/{name}:run").json()["id"] for name in TASKS]
        # The others end, so that their streams do.
        for execution in executions:
            assert http.post(f"/v1/executions/{execution}:cancel").status_code == 200
    return executions


@pytest.mark.timeout(900)
def test_every_answer_to_generated_calls_is_what_the_description_says(url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAFTSCHED_TEST_EXECUTIONS": ",".join(prepare(url))}
    config = str(ROOT / "tests/support/schemathesis.toml")
    limits = ["--checks", "all", "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--generation-database", "none"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", f"{url}/openapi.json", *limits],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    found = re.search(r"Selected: (\d+)/(\d+)", done.stdout)
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert found
    assert int(found.group(1)) == int(found.group(2)) == len(RouteTable().routes)
    assert cases
    assert cases.group(1) == cases.group(2)
    assert int(cases.group(1)) > 2_000
