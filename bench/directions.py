"""Which direction of a figure is better, by its name."""

import re
from typing import Literal

Direction = Literal["higher", "lower", ""]

_GIVEN = (
    r"tasks|fires|fires_per_s|seconds|nominal_times|kills|rejoins|\w+_runs|pairs|herds_of|executions|log_entries_forgotten"
    r"|fires_(before|meanwhile)"
)
"""What a workload was told to do, or what follows from it: more is not better."""
_COSTS = (
    r"cpu|mib|percent|missed|missing|without_record|several_records|twice|elections_by|elections$|late$|pauses_over"
)
_GAINS = r"_per_s(_|$)|^started(_within_\w+)?$|one_record|still_there|acknowledged"
_TAKES = r"_(us|ms|s)(_|$)"
_RULES: tuple[tuple[str, Direction], ...] = (
    (rf"^({_GIVEN})$", ""),
    (_COSTS, "lower"),
    (_GAINS, "higher"),
    (_TAKES, "lower"),
)
"""The first that is found in the name holds. Costs come first: ``cpu_ms_per_fire_at_20_per_s`` is none of the gains."""


def better(name: str) -> Direction:
    """Whether "higher" or "lower" is better; "" when neither is, or the name does not say."""
    return next((direction for pattern, direction in _RULES if re.search(pattern, name)), "")
