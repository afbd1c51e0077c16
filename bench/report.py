"""Figures of several runs as tables: for the terminal, and for docs/benchmarks.md."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Figures, machine

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- written by scripts/bench all -->", "<!-- end -->"


def print_table(results: Sequence[Figures]) -> None:
    """The median, lowest and highest of each figure."""
    print(f"\n{'figure':42} {'median':>12} {'lowest':>12} {'highest':>12}")
    for key, first in results[0].items():
        if isinstance(first, str):
            print(f"{key:42} {first:>12}")
            continue
        values = [float(result[key]) for result in results]
        print(f"{key:42} {statistics.median(values):>12g} {min(values):>12g} {max(values):>12g}")


def write_document(measured: Sequence[tuple[str, dict[str, object], Sequence[Figures]]], day: str) -> None:
    """Replace the tables of docs/benchmarks.md; what stands around them stays."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    where = ", ".join(f"{key} {value}" for key, value in machine().items())
    tables = "\n\n".join(_section(*each) for each in measured)
    DOCUMENT.write_text(
        f"{before}{_BEGIN}\n\nMeasured on {day}: {where}.\n\n{tables}\n\n{_END}{after}", encoding="utf-8"
    )


def _section(name: str, options: dict[str, object], results: Sequence[Figures]) -> str:
    flags = "".join(f" --{key.replace('_', '-')} {value}" for key, value in options.items())
    lines = [f"### `scripts/bench {name}{flags}`", "", "| figure | median | lowest | highest |", "|---|---|---|---|"]
    for key, first in results[0].items():
        if isinstance(first, str) or key in options:
            continue
        values = [float(result[key]) for result in results]
        lines.append(f"| {key.replace('_', ' ')} | {statistics.median(values):g} | {min(values):g} | {max(values):g} |")
    return "\n".join([*lines, "", f"Runs: {len(results)}."])
