"""The command line of the benchmark follows from its table of workloads."""

import pytest

from bench.__main__ import _parser
from bench.measure import quantile
from bench.registry import WORKLOADS


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
