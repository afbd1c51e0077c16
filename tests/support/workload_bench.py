"""The attempts of an executor without a stream: a test assigns, and reads what would be sent."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from raftsched_proto.internal.v1 import executor_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.clock import SystemClock
from raftsched.core.state.model import ExecutionState
from raftsched.executor.keys import AttemptKey
from raftsched.executor.leftovers import Marks
from raftsched.executor.machine import Machine
from raftsched.executor.settings import ExecutorSettings
from raftsched.executor.workload import Workload
from tests.support.fake_leader import assignment, noop, script
from tests.support.held_runner import SUCCEEDED, HeldRunner


def key(number: int, attempt: int = 1) -> AttemptKey:
    return number.to_bytes(16, "big"), attempt


class MovedClock(SystemClock):
    """Monotonic time goes on by what a test says, too."""

    def __init__(self) -> None:
        super().__init__()
        self.moved_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.moved_s


class WorkloadBench:
    """A workload with a real journal, and commands that the test holds by their numbers."""

    def __init__(self, directory: Path, **fields: object) -> None:
        self.runner = HeldRunner()
        self.clock = MovedClock()
        self.woken = 0
        self.buried: list[AttemptKey] = []
        self.kinds = ["command"]
        settings = ExecutorSettings(directory, **{"slots": 100, "gather_s": 0.0, **fields})
        machine = Machine(end_leftovers=self._end_leftovers)
        self.workload = Workload(settings, self.clock, self, self._wake, machine)
        self.inbox, self.runs, self.outbox = self.workload.inbox, self.workload.runs, self.workload.outbox
        self.jobs = [asyncio.ensure_future(job) for job in self.workload.jobs()]

    def get(self, kind: str) -> HeldRunner | None:
        return self.runner if kind in self.kinds else None

    def why_not(self, kind: str) -> str:
        return f"no {kind} here"

    def _wake(self) -> None:
        self.woken += 1

    async def _end_leftovers(self, _marks: Marks, attempts: Collection[AttemptKey], _grace_s: float) -> None:
        self.buried += attempts

    async def assign(self, *keys: AttemptKey, token: int = 0, **fields: object) -> None:
        """Assign commands whose fencing token rises with the attempt, or is ``token``."""
        await self.inbox.take([self.item(each, token=token, **fields) for each in keys])

    async def assign_noops(self, *keys: AttemptKey) -> None:
        await self.inbox.take([self.item(each, noop()) for each in keys])

    @staticmethod
    def item(
        each: AttemptKey, action: task_pb2.Action | None = None, *, token: int = 0, **fields: object
    ) -> pb.Assignment:
        """An assignment whose nominal time is the number of its execution."""
        return assignment(
            each,
            script("held") if action is None else action,
            nominal_us=int.from_bytes(each[0], "big"),
            fencing_token=token or 10 * each[1],
            **fields,
        )

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is awaited happens elsewhere
                await asyncio.sleep(0.001)

    async def release(self, number: int) -> None:
        """Let a command succeed, and wait until its end is in the journal."""
        await self.until(lambda: number in self.runner.gates)
        self.let_go(number)
        await self.turn()

    def let_go(self, number: int) -> None:
        """Let a command succeed, unless it is over."""
        gate = self.runner.gates.pop(number)
        if not gate.done():
            gate.set_result(SUCCEEDED)

    async def turn(self) -> None:
        """Let what is under way come to rest."""
        for _ in range(20):
            await asyncio.sleep(0)

    def told(self) -> list[tuple[AttemptKey, ExecutionState]]:
        """What would be sent now."""
        reports = []
        while (message := self.outbox.next_reports()) is not None:
            reports += message.items
        return [((each.key.execution_id, each.key.attempt), ExecutionState(each.state)) for each in reports]

    def unended(self) -> set[AttemptKey]:
        """What the journal holds and has not ended."""
        return {each for each, held in self.workload.held.items() if held.report is None}

    async def close(self) -> None:
        """As a crash would, but for the file lock and what runs."""
        for job in self.jobs:
            job.cancel()
        await asyncio.gather(*self.jobs, return_exceptions=True)
        self.workload.close()
        await self.runs.stop()


@asynccontextmanager
async def bench(directory: Path, **fields: object) -> AsyncIterator[WorkloadBench]:
    made = WorkloadBench(directory, **fields)
    try:
        yield made
    finally:
        await made.close()
