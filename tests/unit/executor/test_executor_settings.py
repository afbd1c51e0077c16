from pathlib import Path

import pytest

from raftsched.executor.settings import ExecutorSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [("slots", 0), ("slots", 100_000), ("kill_grace_s", -1), ("max_held", 0), ("backoff_high_s", 0.0001)],
)
def test_value_out_of_range_is_refused_with_the_name_of_the_field(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field} is "):
        ExecutorSettings(Path("x"), **{field: value})


@pytest.mark.parametrize("pattern", ["module", "module:", ":function", "", "*"])
def test_malformed_allow_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="python_allow"):
        ExecutorSettings(Path("x"), python_allow=(pattern,))
