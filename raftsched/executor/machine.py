"""What an executor needs of the machine that it runs on, so that it can also run on one that is simulated."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from raftsched.executor import leftovers
from raftsched.executor.actions.base import Surroundings
from raftsched.executor.actions.registry import Runners
from raftsched.executor.journal_file import DiskFile, JournalFile
from raftsched.executor.keys import AttemptKey
from raftsched.executor.pool import RunnerSource


class RunnerSet(RunnerSource, Protocol):
    """Runners, until they are closed."""

    async def close(self) -> None:
        """Close all of them."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The disk and the processes of a machine."""

    open_file: Callable[[Path], JournalFile] = DiskFile
    """Opens the journal's file in a data directory."""
    runners: Callable[[Surroundings], RunnerSet] = Runners
    end_leftovers: Callable[[str, Collection[AttemptKey], float], Awaitable[None]] = leftovers.end
    """Ends what earlier processes of the executor with this id left running for these attempts, within a grace (s)."""
