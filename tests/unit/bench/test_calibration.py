"""What the machine can do is measured before a run, and told beside its figures."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import __main__ as command
from bench.calibration import Calibration, Run, calibrate, calibration_line, timed_syncs
from bench.registry import WORKLOADS, Workload
from bench.report import print_table


def test_a_calibration_finds_three_figures_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    figures = calibrate().figures()
    assert list(figures) == ["python_loop_cpu_ms", "fdatasync_ms", "loopback_echo_us"]
    assert all(float(value) > 0 for value in figures.values())
    assert not list(tmp_path.iterdir())


def test_each_timed_sync_appends_one_record(tmp_path: Path) -> None:
    assert len(timed_syncs(tmp_path / "file", 3, b"x" * 4096)) == 3
    assert (tmp_path / "file").stat().st_size == 3 * 4096


def test_the_line_tells_the_median_and_the_spread_of_several_runs() -> None:
    one, two, three = (Run({}, Calibration(value, 2.5, 6.0)) for value in (50.0, 40.0, 70.0))
    assert calibration_line([one]) == (
        "Python loop 50 ms of processor time, fdatasync of 4 KiB 2.5 ms, loopback echo 6 µs"
    )
    assert calibration_line([one, two, three]).startswith("Python loop 50 ms of processor time (40 to 70), fdatasync")


def test_the_line_of_a_run_and_the_table_have_the_calibration_from_before_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    numbers: Iterator[float] = iter((1.0, 2.0))

    def calibration() -> Calibration:
        order.append("calibration")
        return Calibration(next(numbers), 2.5, 6.0)

    def workload() -> dict[str, float | int | str]:
        """Nothing."""
        order.append("workload")
        return {"figure": 7}

    monkeypatch.setattr(command, "calibrate", calibration)
    monkeypatch.setitem(WORKLOADS, "nothing", Workload(workload, needs_cluster=False))
    runs = command.measure("nothing", {}, runs=2, nodes=3, base_port=7601)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert order == ["calibration", "workload"] * 2
    assert [line["calibration"]["python_loop_cpu_ms"] for line in lines] == [1.0, 2.0]
    assert [line["figure"] for line in lines] == [7, 7]
    print_table(runs)
    assert "Calibration: Python loop 1.5 ms of processor time (1 to 2)" in capsys.readouterr().out
