"""Figures of several runs as tables: for the terminal, and for docs/benchmarks.md."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.calibration import Run, calibration_line
from bench.everything import Measured
from bench.measure import machine

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- written by scripts/bench all -->", "<!-- end -->"


def print_table(runs: Sequence[Run]) -> None:
    """The median, lowest and highest of each figure, and what the machine could do before the runs."""
    results = [run.figures for run in runs]
    print(f"\n{'figure':42} {'median':>12} {'lowest':>12} {'highest':>12}")
    for key, first in results[0].items():
        if isinstance(first, str):
            print(f"{key:42} {first:>12}")
            continue
        values = [float(result[key]) for result in results]
        print(f"{key:42} {statistics.median(values):>12g} {min(values):>12g} {max(values):>12g}")
    print(f"\nCalibration: {calibration_line(runs)}.")


def write_document(tables: Sequence[Measured], about: str) -> None:
    """Replace the tables of docs/benchmarks.md; what stands around them stays. ``about``: when, and how busy it was."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    where = ", ".join(f"{key} {value}" for key, value in machine().items())
    sections = "\n\n".join(map(_section, tables))
    DOCUMENT.write_text(
        f"{before}{_BEGIN}\n\nMeasured {about}: {where}.\n\n{sections}\n\n{_END}{after}", encoding="utf-8"
    )


def _section(table: Measured) -> str:
    name, options, results = table.row.name, table.row.options, [run.figures for run in table.results]
    flags = "".join(f" --{key.replace('_', '-')} {value}" for key, value in options.items())
    title = f"### `scripts/bench {name}{flags}`"
    if not results:
        return f"{title}\n\n{table.note}"
    lines = [title, "", "| figure | median | lowest | highest |", "|---|---|---|---|"]
    for key, first in results[0].items():
        if isinstance(first, str) or key in options:
            continue
        values = [float(result[key]) for result in results]
        lines.append(f"| {key.replace('_', ' ')} | {statistics.median(values):g} | {min(values):g} | {max(values):g} |")
    missing = f" of {table.row.runs}. {table.note}" if table.note and len(results) < table.row.runs else "."
    return "\n".join([*lines, "", f"Runs: {len(results)}{missing} Calibration: {calibration_line(table.results)}."])
