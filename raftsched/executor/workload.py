"""What an executor does with the attempts it is given, whether a leader is connected or not."""

import asyncio
from collections.abc import Callable, Collection, Coroutine

from raftsched.executor.attempt_journal import AttemptJournal
from raftsched.executor.inbox import Inbox
from raftsched.executor.keys import AttemptKey
from raftsched.executor.leader_time import LeaderTime
from raftsched.executor.machine import Machine
from raftsched.executor.outbox import Outbox
from raftsched.executor.output import Outputs
from raftsched.executor.pool import RunnerSource
from raftsched.executor.runs import Runs
from raftsched.executor.settings import ExecutorSettings
from raftsched.outputs.files import OutputFiles
from raftsched.ports import Clock

_HOUSEKEEPING_S = 1.0


class Workload:
    """The attempts of one data directory: what comes in, runs and goes out.

    What was accepted is in the journal before it runs; how it ended is in the journal before it is reported.
    """

    def __init__(
        self,
        settings: ExecutorSettings,
        clock: Clock,
        runners: RunnerSource,
        wake: Callable[[], None],
        machine: Machine,
    ) -> None:
        """``wake`` is called when there is something to send. Raises StoreRefused."""
        self.time = LeaderTime(clock)
        """What is reported is by this time."""
        self._journal = AttemptJournal(
            settings.data_dir,
            settings.name,
            clock,
            settings.remembered,
            settings.journal_rewrite_bytes,
            machine.open_file,
        )
        self.files = OutputFiles(
            settings.data_dir / "outputs",
            keep_s=settings.output_keep_s,
            max_bytes=settings.output_max_bytes,
            now_us=self.time.known_us,
            monotonic=clock.monotonic,
        )
        """Outputs that are longer than what the log holds."""
        outputs = Outputs(settings.kept_output_bytes, self.files, settings.output_limit_bytes)
        self.outbox = Outbox(settings, clock, self.time, self._journal, outputs, wake)
        self.runs = Runs(
            settings, clock, self.time, runners, self._journal, outputs, self.outbox, machine.end_leftovers
        )
        self.inbox = Inbox(self._journal, self.runs, self.outbox, self.time, clock, settings)

    @property
    def executor_id(self) -> str:
        """Kept in the data directory."""
        return self._journal.executor_id

    @property
    def held(self) -> Collection[AttemptKey]:
        """All that was accepted and not acknowledged."""
        return self._journal.held

    def jobs(self) -> list[Coroutine[None, None, None]]:
        """What is to run until it is stopped; a job that raises is the end of the executor."""
        armed = self.inbox.armed.run()
        return [self.outbox.keep_flushed(), self.runs.sync_starts(), self._keep_house(), self.runs.bury(), armed]

    async def _keep_house(self) -> None:
        """Write the journal anew whenever it has grown. Ends only by cancellation or StoreFailed."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            self.files.sweep()
            if self._journal.rewrite_due:
                await self._journal.rewrite()

    async def stop(self) -> None:
        """Kill what runs. It is recorded as lost. Raises StoreFailed."""
        await self.runs.stop()
        self.outbox.flush()

    def close(self) -> None:
        """Release the data directory."""
        self._journal.close()
