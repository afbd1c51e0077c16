"""What a node and an executor keep is for their owner alone."""

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from raftsched_client import task

from tests.support.cluster import Cluster, Process, eventually

LINES = 3_000
"""Of output, which is more than the log holds: it goes to a file, and to copies."""


@pytest.fixture(params=[0o000, 0o022])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def wide(*roots: Path) -> list[str]:
    """What somebody else has any right to, links aside."""
    found = []
    for path in (each for root in roots for each in (root, *root.rglob("*"))):
        # Files come and go.
        with contextlib.suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
                found.append(f"{stat.S_IMODE(mode):o} {path}")
    return found


@pytest.mark.timeout(120)
def test_all_that_they_keep_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    sink = tmp_path / "shipped.jsonl"
    config = tmp_path / "n1.toml"
    config.write_text(f'[history.sinks.file]\nkind = "jsonl"\ntarget = "{sink}"\n')
    cluster = Cluster(tmp_path, 1, ("--slots", "0", "--config", str(config)))
    directory, node = tmp_path / "executor", tmp_path / "n1"
    executor = Process(
        ["executor", "--join", cluster.endpoints[0], "--data-dir", str(directory)], tmp_path / "executor.log"
    )
    made = tmp_path / "made-by-the-task"
    try:
        cluster.nodes["n1"].start()
        executor.start()
        with cluster.client() as client:
            command = ["sh", "-c", f"seq {LINES}; umask; : > {made}"]
            definition = task("t", every=timedelta(seconds=1), command=command)
            eventually(lambda: client.create_task(definition), what="a leader that takes the task")
        kept = [
            node / "history" / "index.sqlite",
            sink,
            made,
            directory / "outputs",
            node / "outputs",
            node / "clock.json",
        ]
        eventually(lambda: all(each.exists() for each in kept), what=f"all of {kept}")
        eventually(lambda: any((node / "outputs").iterdir()), what="a copy of an output")
        assert wide(node, directory, sink) == []
        assert stat.S_IMODE(made.stat().st_mode) == 0o666 & ~mask, "programs have the umask that the executor was given"
    finally:
        executor.kill()
        cluster.nodes["n1"].kill()


@pytest.mark.timeout(120)
def test_a_directory_of_an_older_version_is_closed_at_the_start(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    with cluster:
        pass
    node = tmp_path / "n1"
    outside = tmp_path / "outside"
    outside.write_text("of somebody else")
    (node / "outputs").mkdir(exist_ok=True)
    (node / "outputs" / "link").symlink_to(outside)
    for each in (node, *node.rglob("*")):
        if not each.is_symlink():
            each.chmod(0o777 if each.is_dir() else 0o666)
    outside.chmod(0o644)
    with cluster:
        assert wide(node) == []
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644, "no link is followed"
    told = [line for line in cluster.log_lines("n1") if "closed to them" in str(line["event"])]
    assert len(told) == 1
    assert told[0]["path"] == str(node)
