"""Two sides are measured in turn, and set against each other."""

import re
from collections.abc import Callable

import pytest

from bench import compare
from bench.calibration import Calibration, Run
from bench.compare import measure_in_turn, ratio, table, turns
from bench.directions import better
from bench.measure import Figures
from bench.report import DOCUMENT

CALIBRATION = Calibration(50.0, 2.0, 6.0)
NEITHER_IS_BETTER = {"tasks", "fires_per_s", "nominal_times", "executions"}


def test_the_order_turns_with_each_round() -> None:
    assert list(turns(1)) == [0, 1]
    assert list(turns(3)) == [0, 1, 1, 0, 0, 1]


def test_each_run_follows_a_calibration_and_is_kept_with_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def calibrate() -> Calibration:
        done.append("calibration")
        return Calibration(float(len(done)), 2.0, 6.0)

    def side(name: str) -> Callable[[], Figures]:
        def run() -> Figures:
            done.append(name)
            return {"figure": len(done)}

        return run

    monkeypatch.setattr(compare, "calibrate", calibrate)
    theirs, ours = measure_in_turn({"a": side("a"), "b": side("b")}, 2)
    assert done == [step for name in "abba" for step in ("calibration", name)]
    assert [run.figures["figure"] for run in theirs] == [2, 8]
    assert [run.figures["figure"] for run in ours] == [4, 6]
    assert [run.calibration.python_loop_cpu_ms for run in ours] == [3.0, 5.0]


def test_the_ratio_is_that_of_ours_to_theirs_and_there_is_none_to_nothing() -> None:
    assert ratio(4.0, 1.0) == "0.25"
    assert ratio(0.0, 3.0) == "-"


def test_the_table_says_medians_ratios_and_what_is_better() -> None:
    theirs = [Run({"missed": 0, "gets_per_s": value, "p50_ms": 8.0}, CALIBRATION) for value in (100, 200, 400)]
    ours = [Run({"missed": 6, "gets_per_s": value, "p50_ms": 4.0}, CALIBRATION) for value in (150, 100, 600)]
    lines = table(("old", "new"), [(name, name) for name in ours[0].figures], theirs, ours)
    assert [line.split() for line in lines[:4]] == [
        ["figure", "old", "new", "ratio", "of", "rounds", "better"],
        ["missed", "0", "6", "-", "-", "lower"],
        ["gets_per_s", "200", "150", "0.75", "0.50", "to", "1.50", "higher"],
        ["p50_ms", "8", "4", "0.50", "0.50", "to", "0.50", "lower"],
    ]
    assert [line for line in lines[4:] if line.startswith("Calibration before new: Python loop 50 ms")]


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("sequential_per_s", "higher"),
        ("fires_per_s_with_history", "higher"),
        ("started_within_10_s", "higher"),
        ("with_one_record", "higher"),
        ("lateness_p99_ms", "lower"),
        ("kill_of_all_to_ready_s", "lower"),
        ("cpu_ms_per_fire_at_20_per_s", "lower"),
        ("cpu_s_per_1000", "lower"),
        ("started_over_1_s_late", "lower"),
        ("history_takes_percent_of_the_rate", "lower"),
        ("nominal_times_started_twice", "lower"),
        ("killed_median_ms", "lower"),
        ("killed_runs", ""),
        ("fires_per_s", ""),
        ("something_new", ""),
    ],
)
def test_the_name_of_a_figure_says_which_direction_is_better(name: str, direction: str) -> None:
    assert better(name) == direction


def test_each_published_figure_has_a_direction_unless_it_is_what_the_workload_was_told() -> None:
    tables = DOCUMENT.read_text(encoding="utf-8").partition("<!--")[2]
    rows = re.findall(r"^\| ([a-z][a-z0-9 ]*) \| [0-9]", tables, re.MULTILINE)
    names = {row.replace(" ", "_") for row in rows}
    assert len(names) > 40
    assert {name for name in names if not better(name)} == NEITHER_IS_BETTER
