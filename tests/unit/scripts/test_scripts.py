"""What the scripts say when something is missing, and what they leave alone."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_ports

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts but no environment."""
    path = tmp_path / "checkout"
    for name in ("scripts/lib", "requirements"):
        shutil.copytree(ROOT / name, path / name)
    for name in ("scripts/cluster", "scripts/setup", "pyproject.toml", "client/pyproject.toml", "proto/pyproject.toml"):
        (path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, path / name)
    return path


def run(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env={"PATH": "/usr/bin:/bin", "HOME": str(checkout), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_setup_without_a_package_index_says_so_and_keeps_what_it_has(checkout: Path) -> None:
    done = run(
        checkout,
        "scripts/setup",
        PIP_CONFIG_FILE="/dev/null",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="0",
    )
    assert done.returncode == 1
    assert "Could not install" in done.stderr
    assert "pip must reach a package index" in done.stderr
    assert (checkout / ".venv" / "bin" / "python").exists()
    assert not (checkout / ".venv" / "raftsched-stamp.json").exists()


def test_setup_leaves_a_directory_alone_that_is_no_environment(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "thesis.txt").write_text("precious")
    done = run(checkout, "scripts/setup")
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert (checkout / ".venv" / "thesis.txt").read_text() == "precious"


def test_setup_without_the_venv_module_names_the_package_to_install(checkout: Path) -> None:
    broken = checkout / "broken"
    broken.mkdir()
    (broken / "venv.py").write_text("raise SystemExit('ensurepip is not available')")
    done = run(checkout, "scripts/setup", PYTHONPATH=str(broken))
    assert done.returncode == 1
    assert "ensurepip is not available" in done.stderr
    assert f"install python3.{sys.version_info.minor}-venv" in done.stderr


def test_unknown_kind_of_environment_is_refused(checkout: Path) -> None:
    assert "usage: ./scripts/setup" in run(checkout, "scripts/setup", "production").stderr


@pytest.mark.parametrize("command", ["kill 1", "start 1", "logs"])
def test_commands_for_nodes_say_that_there_is_no_cluster(checkout: Path, command: str) -> None:
    done = run(checkout, "scripts/cluster", *command.split())
    assert done.returncode == 1
    assert "There is no cluster in" in done.stderr


def test_wipe_removes_nothing_where_there_is_no_cluster(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "n1").mkdir(parents=True)
    done = run(checkout, "scripts/cluster", "wipe", "--data-dir", str(tmp_path / "other"))
    assert done.returncode == 0
    assert "There is no cluster" in done.stdout
    assert (tmp_path / "other" / "n1").exists()


def test_wipe_removes_the_nodes_and_nothing_else(checkout: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("n1", "n2", "n3", "mine"):
        (data / name).mkdir(parents=True)
        (data / f"{name}.log").write_text("")
    (data / "cluster.json").write_text('{"nodes": 3, "base_port": 7101}')
    assert run(checkout, "scripts/cluster", "wipe", "--data-dir", str(data)).returncode == 0
    assert sorted(path.name for path in data.iterdir()) == ["mine", "mine.log"]


def test_cluster_keeps_its_size(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"nodes": 3, "base_port": 7101}')
    done = run(checkout, "scripts/cluster", "up", "--nodes", "5", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "holds a cluster of 3 nodes, not 5" in done.stderr


def test_unknown_node_is_named(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"nodes": 3, "base_port": 7101}')
    done = run(checkout, "scripts/cluster", "kill", "4", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "There is no node 4; the nodes are n1, n2, n3" in done.stderr


@pytest.mark.parametrize("port", ["80", "65535"])
def test_port_out_of_range_is_refused(checkout: Path, port: str) -> None:
    done = run(checkout, "scripts/cluster", "up", "--base-port", port)
    assert done.returncode == 1
    assert "--base-port must be from 1024 to 65532" in done.stderr


class TestWithNodes:
    """Starts with an environment whose `raftsched` is a program of the test."""

    @pytest.fixture
    def port(self) -> int:
        (port,) = free_ports(1)
        return port

    def up(self, checkout: Path, tmp_path: Path, port: int, node: str) -> subprocess.CompletedProcess[str]:
        fake = checkout / "fake.py"
        fake.write_text(
            f"import sys\nsys.path.insert(0, {str(checkout / 'scripts' / 'lib')!r})\n"
            "import cluster, environment\nfrom pathlib import Path\n"
            f"cluster.CLI = Path({str(checkout / 'raftsched')!r})\n"
            "environment.prepare = lambda: None\n"
            "cluster.interface.build = lambda: None\n"
            "cluster.main(sys.argv[1:])\n"
        )
        (checkout / "raftsched").write_text(f"#!{sys.executable}\nimport sys\n{node}\n")
        (checkout / "raftsched").chmod(0o755)
        flags = ["--nodes", "1", "--base-port", str(port), "--data-dir", str(tmp_path / "data")]
        return run(checkout, "fake.py", "up", *flags)

    def test_port_in_use_is_named_and_nothing_is_started(self, checkout: Path, tmp_path: Path) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            done = self.up(checkout, tmp_path, port, "")
        assert done.returncode == 1
        assert f"n1 cannot listen on 127.0.0.1:{port}" in done.stderr
        assert not (tmp_path / "data").exists()

    def test_last_words_of_a_node_that_dies_are_shown(self, checkout: Path, tmp_path: Path, port: int) -> None:
        done = self.up(checkout, tmp_path, port, "sys.exit('the disk is on fire' if sys.argv[1] == 'node' else 1)")
        assert done.returncode == 1
        assert "n1 ended while it started" in done.stderr
        assert "the disk is on fire" in done.stderr
