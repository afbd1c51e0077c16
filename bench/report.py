"""Figures of several runs as a table."""

import statistics
from collections.abc import Sequence

from bench.measure import Figures


def print_table(results: Sequence[Figures]) -> None:
    """The median, lowest and highest of each figure."""
    print(f"\n{'figure':36} {'median':>12} {'lowest':>12} {'highest':>12}")
    for key, first in results[0].items():
        if isinstance(first, str):
            print(f"{key:36} {first:>12}")
            continue
        values = [float(result[key]) for result in results]
        print(f"{key:36} {statistics.median(values):>12g} {min(values):>12g} {max(values):>12g}")
