"""A bit that flips in the structure of an LMDB file is refused at the start, or harmless: no other rows, no crash."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from raftsched.ports import STATE_TABLES
from raftsched.store.lmdb_store import LmdbStore

TRIALS = 25


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("flips") / "store"
    store = LmdbStore(directory, max_size_bytes=1 << 30)
    for commit in range(12):
        for table in STATE_TABLES:
            for row in range(12):
                key = f"{row:03}-{commit:03}".encode()
                store.batch().put(table, key, bytes([row]) * (row * 40))
        store.commit()
    store.close()
    return directory


@pytest.mark.parametrize("seed", range(3))
def test_a_flip_in_the_structure_of_a_file_is_refused_or_harmless(store: Path, seed: int) -> None:
    command = [sys.executable, "-m", "tests.support.flips", str(store), str(seed), str(TRIALS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    said = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"seed {seed} ended with {done.returncode} after {said[-1:]}: {done.stderr[-800:]}"
    found = Counter(verdict for _, verdict in said)
    assert found["different"] == 0, f"seed {seed}: {[at for at, verdict in said if verdict == 'different']}"
    assert found["refused"] > TRIALS // 10
    assert found["same"] > 0
    assert found.total() == TRIALS
