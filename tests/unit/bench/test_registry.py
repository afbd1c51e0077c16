"""The command line of the benchmark follows from its table of workloads."""

from pathlib import Path

import pytest

from bench import report
from bench.__main__ import _parser
from bench.compare import COMPARISONS
from bench.measure import quantile
from bench.peers import NotInstalled
from bench.registry import EVERYTHING, WORKLOADS


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
    for name, options, runs in EVERYTHING:
        assert options.keys() <= WORKLOADS[name].options.keys()
        assert runs >= 1


def test_the_document_keeps_what_stands_around_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "benchmarks.md"
    text = report.DOCUMENT.read_text(encoding="utf-8")
    document.write_text(text, encoding="utf-8")
    monkeypatch.setattr(report, "DOCUMENT", document)
    for _ in range(2):
        report.write_document([("herd", {"count": 7}, [{"tasks": 7, "cpu_s_per_1000": 0.5}])], "2000-01-01")
    written = document.read_text(encoding="utf-8")
    assert written.startswith(text.partition("<!--")[0])
    assert written.count("scripts/bench herd --count 7") == 1
    assert "| cpu s per 1000 | 0.5 | 0.5 | 0.5 |" in written


def test_a_peer_that_is_missing_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_PEERS", str(tmp_path))
    for (peer, _), comparison in COMPARISONS.items():
        with pytest.raises(NotInstalled, match=r"install|nodejs\.org"):
            comparison.run()
        assert comparison.differs, peer
