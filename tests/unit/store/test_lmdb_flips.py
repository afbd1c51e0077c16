"""A bit that flips in an LMDB file is refused at the start, met when its row is read, or harmless."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from raftsched.ports import Table
from raftsched.store.lmdb_store import LmdbStore

TRIALS = 25


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("flips") / "store"
    store = LmdbStore(directory, max_size_bytes=1 << 30)
    for commit in range(12):
        for table in Table:
            for row in range(12):
                key = f"{row:03}-{commit:03}".encode()
                # Rows without a value are there too, as in the indexes.
                store.batch().put(table, key, bytes([row]) * (row * 40))
        store.commit()
    store.close()
    return directory


def flipped(store: Path, seed: int, *arguments: str) -> Counter[str]:
    """What became of the trials."""
    command = [sys.executable, "-m", "tests.support.flips", str(store), str(seed), str(TRIALS), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    said = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"seed {seed} ended with {done.returncode} after {said[-1:]}: {done.stderr[-800:]}"
    found = Counter(verdict for _, verdict in said)
    assert found.total() == TRIALS
    assert found["different"] == 0, f"seed {seed}: {[at for at, verdict in said if verdict == 'different']}"
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_flip_in_the_structure_of_a_file_is_refused_or_harmless(store: Path, seed: int) -> None:
    found = flipped(store, seed, "structure")
    assert found["refused"] > TRIALS // 10
    assert found["same"] > 0
    assert found["refused"] + found["same"] + found["failed"] == TRIALS


@pytest.mark.parametrize("seed", range(3))
def test_a_flip_in_a_key_or_value_is_met_when_the_row_is_read(store: Path, seed: int) -> None:
    found = flipped(store, seed, "used")
    assert found["refused"] + found["failed"] > TRIALS // 10
    assert found["refused"] + found["same"] + found["failed"] == TRIALS


@pytest.mark.parametrize("seed", range(2))
def test_a_flip_in_a_large_file_is_met_at_the_start_when_read_or_at_the_start_after_a_crash(
    store: Path, seed: int
) -> None:
    found = flipped(store, seed, "used", "large")
    crashed = sum(count for verdict, count in found.items() if verdict.startswith("crashed"))
    assert found["refused"] + found["same"] + found["failed"] + found["crashed-then-refused"] == TRIALS, crashed
