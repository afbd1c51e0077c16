"""The command line of the benchmark follows from its table of workloads."""

from pathlib import Path

import pytest

from bench import report
from bench.__main__ import _parser
from bench.calibration import Calibration, Run
from bench.compare import COMPARISONS
from bench.everything import NOT_YET, OUT_OF_TIME, Measured, measure_everything
from bench.measure import quantile
from bench.peers import NotInstalled
from bench.registry import EVERYTHING, WORKLOADS, Row

CALIBRATION = Calibration(50.0, 2.0, 6.0)


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_each_workload_takes_the_options_of_its_function(name: str) -> None:
    given = vars(_parser().parse_args([name]))
    for option, default in WORKLOADS[name].options.items():
        assert given[option] == default


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_each_workload_says_in_a_line_what_it_measures(name: str) -> None:
    assert WORKLOADS[name].help.endswith(".")


def test_the_quantile_of_1_is_the_largest_value() -> None:
    assert quantile([3.0, 1.0, 2.0], 1) == 3.0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0


def test_everything_names_workloads_and_options_that_exist() -> None:
    for row in EVERYTHING:
        assert row.options.keys() <= WORKLOADS[row.name].options.keys()
        assert row.runs >= 1


def test_one_run_of_everything_takes_less_than_half_an_hour() -> None:
    assert sum(row.expected_s for row in EVERYTHING) < 25 * 60


def test_the_document_keeps_what_stands_around_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "benchmarks.md"
    text = report.DOCUMENT.read_text(encoding="utf-8")
    document.write_text(text, encoding="utf-8")
    monkeypatch.setattr(report, "DOCUMENT", document)
    for _ in range(2):
        run = Run({"tasks": 7, "cpu_s_per_1000": 0.5}, CALIBRATION)
        herd = Measured(Row("herd", {"count": 7}, 2, 1.0), [run], note=OUT_OF_TIME)
        report.write_document([herd, Measured(Row("floor", {}, 1, 1.0))], "on 2000-01-01")
    written = document.read_text(encoding="utf-8")
    assert written.startswith(text.partition("<!--")[0])
    assert written.count("scripts/bench herd --count 7") == 1
    assert "| cpu s per 1000 | 0.5 | 0.5 | 0.5 |" in written
    assert f"Runs: 1 of 2. {OUT_OF_TIME} Calibration: Python loop 50 ms of processor time, fdatasync" in written
    assert f"### `scripts/bench floor`\n\n{NOT_YET}" in written


def test_everything_runs_in_rounds_and_begins_nothing_that_would_end_too_late() -> None:
    clock = [0.0]
    begun = []

    def run(row: Row) -> Run:
        begun.append(row.name)
        clock[0] += row.expected_s
        if row.name == "broken":
            raise SystemExit("no leader")
        return Run({"figure": len(begun)}, CALIBRATION)

    rows = [Row("short", {}, 3, 10.0), Row("broken", {}, 2, 1.0), Row("long", {}, 1, 40.0), Row("longest", {}, 1, 99.0)]
    tables: list[Measured] = []
    for seen in measure_everything(rows, 65.0, lambda: clock[0], run):
        tables = seen
    assert begun == ["short", "broken", "long", "short"]
    assert [len(table.results) for table in tables] == [2, 0, 1, 0]
    assert [table.note for table in tables] == [OUT_OF_TIME, "A run failed: no leader", "", OUT_OF_TIME]


def test_a_peer_that_is_missing_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_PEERS", str(tmp_path))
    for (peer, _), comparison in COMPARISONS.items():
        with pytest.raises(NotInstalled, match=r"install|nodejs\.org"):
            comparison.run()
        assert comparison.differs, peer
