"""What a node and an executor keep is for their owner alone."""

import os
import stat
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, Process, eventually


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_data_directory_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    cluster = Cluster(tmp_path, 1)
    directory = tmp_path / "executor"
    executor = Process(
        ["executor", "--join", cluster.endpoints[0], "--data-dir", str(directory)], tmp_path / "executor.log"
    )
    before = os.umask(mask)
    try:
        with cluster:
            executor.start()
            eventually((directory / "journal").exists, what="the executor's journal")
            for each in (tmp_path / "n1", directory):
                assert stat.S_IMODE(each.stat().st_mode) == 0o700
    finally:
        os.umask(before)
        executor.kill()
