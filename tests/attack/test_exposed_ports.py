"""Ports that others could reach in the clear: none is opened unless somebody has said so."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster import Process, eventually
from tests.support.ports import free_ports

LIMIT_S = 60


class IsolatedProcess(Process):
    """In a network of its own, so that what it opens is open to nobody."""

    prefix = ("unshare", "--net", "--")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "raftsched.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize(("setting", "host"), [("listen", "0.0.0.0"), ("listen", "[::]"), ("http_listen", "0.0.0.0")])
def test_a_node_does_not_start_on_an_address_that_is_not_loopback(tmp_path: Path, setting: str, host: str) -> None:
    grpc, http = free_ports(2)
    addresses = {"listen": f"127.0.0.1:{grpc}", "http_listen": f"127.0.0.1:{http}"}
    addresses[setting] = f"{host}:{addresses[setting].partition(':')[2]}"
    flags = [part for name, each in addresses.items() for part in (f"--{name.replace('_', '-')}", each)]
    told = run("node", "--id", "n1", "--data-dir", str(tmp_path / "n1"), "--found", *flags)
    assert told.returncode == 1
    assert f"{setting} {addresses[setting]}" in told.stderr
    assert "--insecure" in told.stderr
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "n1").exists(), "nothing was done"


@pytest.mark.timeout(LIMIT_S)
def test_an_executor_does_not_join_in_the_clear_beyond_loopback(tmp_path: Path) -> None:
    told = run("executor", "--join", "127.0.0.1:1,192.0.2.1:7101", "--data-dir", str(tmp_path / "e1"))
    assert told.returncode == 1
    assert "192.0.2.1:7101" in told.stderr
    assert "127.0.0.1:1:" not in told.stderr
    assert not (tmp_path / "e1").exists()


def why_no_network_of_its_own() -> str:
    """Empty where this process may give another a network that has loopback and nothing else."""
    if shutil.which("unshare") is None:
        return "needs unshare"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, timeout=LIMIT_S, check=False)
    return "" if tried.returncode == 0 else "a network namespace needs root"


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.skipif(bool(why_no_network_of_its_own()), reason=why_no_network_of_its_own())
def test_with_insecure_it_starts_and_warns(tmp_path: Path) -> None:
    where = ["--id", "n1", "--listen", "0.0.0.0:7101", "--peers", "n1=127.0.0.1:7101"]
    node = IsolatedProcess(["node", *where, "--data-dir", str(tmp_path / "n1"), "--insecure"], tmp_path / "n1.log")
    try:
        node.start()
        eventually((tmp_path / "n1" / "state").exists, within_s=40, what="a node that has begun")
        log = node.log.read_text()
        assert "insecure: without certificates" in log
        assert "listen 0.0.0.0:7101 and http_listen 0.0.0.0:8101" in log
    finally:
        node.kill()
