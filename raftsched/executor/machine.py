"""What an executor needs of the machine that it runs on, so that it can also run on one that is simulated."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from raftsched.executor import leftovers
from raftsched.executor.actions.base import Surroundings
from raftsched.executor.actions.registry import Runners
from raftsched.executor.journal_file import DiskFile, JournalFile
from raftsched.executor.pool import RunnerSource


class RunnerSet(RunnerSource, Protocol):
    """Runners, until they are closed."""

    @property
    def kinds(self) -> list[str]:
        """The kinds of action that there are runners of."""

    async def close(self) -> None:
        """Close all of them."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The disk and the processes of a machine."""

    open_file: Callable[[Path], JournalFile] = DiskFile
    """Opens the journal's file in a data directory."""
    runners: Callable[[Surroundings], RunnerSet] = Runners
    end_leftovers: leftovers.EndLeftovers = leftovers.end_left
