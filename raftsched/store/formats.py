"""Formats of a data directory, and how an older one becomes the newest, step by step.

A step changes how things lie on the disk, never what the state tables say: those are the replicated state, which all
nodes have alike and only commands change. The number stands in the data too, written in the transaction of the step,
and in the file FORMAT before: so an older version refuses a directory on its way, and a newer one goes on.
"""

from collections.abc import Callable
from pathlib import Path

from raftsched.ports import NodeOutdated, StoreRefused
from raftsched.store.lmdb_batch import LmdbBatch

FORMAT_VERSION = 3
"""2: every row has a checksum. 3: the data say which format they have."""
STEPS: dict[int, Callable[[LmdbBatch], None]] = {2: lambda _batch: None}
"""By the format that a step begins with; it ends with the next one."""


def check_format(path: Path, number: int) -> None:
    """Whether this version can go on from the format.

    Raises NodeOutdated: it is newer. StoreRefused: it is older than the first that a step begins with.
    """
    reads = f"this version of raftsched reads formats {min(STEPS)} to {FORMAT_VERSION}; nothing was changed"
    if number > FORMAT_VERSION:
        raise NodeOutdated(
            f"{path} has store format {number}, {reads}. Upgrade this node: start the version of raftsched that wrote "
            "it, or a later one."
        )
    if number < min(STEPS):
        raise StoreRefused(
            f"{path} has store format {number}, {reads}. Start a version of raftsched that reads both first, or choose "
            "a new data directory."
        )


def migrate(number: int, batch: LmdbBatch) -> None:
    """All steps from the format to the newest, in the caller's transaction."""
    for step in range(number, FORMAT_VERSION):
        STEPS[step](batch)
