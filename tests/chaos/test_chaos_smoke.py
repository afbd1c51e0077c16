"""A short chaos run with faults of each kind that the machine can do; `python -m tests.chaos` goes on for longer."""

from pathlib import Path

import pytest

from tests.chaos.run import run

SEED = 1
FAULTS = ["kill-leader", "pause-leader", "split-leader", "one-way", "executor", "clock", "disk"]


@pytest.mark.timeout(480)
def test_a_short_chaos_run_breaks_no_promise(tmp_path: Path) -> None:
    report = run(SEED, nodes=3, seconds=50, names=FAULTS, directory=tmp_path)
    print(report.summary(), *report.verdict.notes, sep="\n")
    assert not report.verdict.violations, "\n".join([*report.verdict.violations, f"seed {SEED}"])
    assert report.calls > 200
    assert report.verdict.fires > 200
    assert report.verdict.starts > 50
    assert sum(report.count.values()) >= 3
