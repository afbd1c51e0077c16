"""What really ran: the processes that executors start, which live on when their executor dies."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.base import AttemptContext, Result, first_of
from raftsched.executor.keys import AttemptKey
from tests.simulation.consensus.world import World

FAILED_CODE = 3
_KILL_S = 0.05


@dataclass
class Process:
    """One start of a command."""

    task: str
    execution_id: bytes
    attempt: int
    token: int
    executor_id: str
    machine: str
    nominal_us: int
    began: float
    exit_code: int
    power_losses: int
    """That the machine had seen when it started."""
    ended: float | None = None
    killed: bool = False
    on_end: list[Callable[[], None]] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return self.ended is not None and not self.killed


class Ground:
    """All processes of a run, in the order of their starts."""

    def __init__(self, world: World) -> None:
        self.processes: list[Process] = []
        self.power_losses: dict[str, int] = {}
        self.on_start: Callable[[Process], None] = lambda _: None
        self._world = world

    def start(self, context: AttemptContext, action: task_pb2.Action, machine: str) -> Process:
        """Begin what ``sleep SECONDS FAILURES`` asks for: attempts up to that number fail."""
        _, seconds, failures = action.command.argv
        process = Process(
            task=context.task,
            execution_id=context.execution_id,
            attempt=context.attempt,
            token=context.fencing_token,
            executor_id=context.executor_id,
            machine=machine,
            nominal_us=context.nominal_us,
            began=self._world.now,
            exit_code=FAILED_CODE if context.attempt <= int(failures) else 0,
            power_losses=self.power_losses.get(machine, 0),
        )
        self.processes.append(process)
        self.on_start(process)
        self._world.note("runs", machine, context.task, context.execution_id_text, context.attempt)
        self._world.after(float(seconds), lambda: self._end(process))
        return process

    def kill(self, process: Process) -> None:
        if process.ended is None:
            process.killed = True
            self._end(process)

    def lose_power(self, machine: str) -> None:
        """Everything on the machine is gone."""
        self.power_losses[machine] = self.power_losses.get(machine, 0) + 1
        for process in self.processes:
            if process.machine == machine and process.ended is None:
                process.on_end.clear()
                self.kill(process)

    def of(self, machine: str, attempts: Collection[AttemptKey]) -> list[Process]:
        """Those that still run for these attempts."""
        return [
            process
            for process in self.processes
            if process.ended is None
            and process.machine == machine
            and (process.execution_id, process.attempt) in attempts
        ]

    def _end(self, process: Process) -> None:
        if process.ended is not None:
            return
        process.ended = self._world.now
        listeners, process.on_end = process.on_end, []
        for listener in listeners:
            listener()


class Commands:
    """Runs commands on a simulated machine, and nothing else."""

    def __init__(self, ground: Ground, machine: str) -> None:
        self._ground = ground
        self._machine = machine

    async def run(self, action: task_pb2.Action, context: AttemptContext) -> Result:
        """See Runner."""
        process = self._ground.start(context, action, self._machine)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        process.on_end.append(lambda: None if over.done() else over.set_result(None))
        if not await first_of(over, context.stop):
            await asyncio.sleep(_KILL_S)
            self._ground.kill(process)
            return context.stop.requested.result()
        if process.exit_code:
            return Result(ExecutionState.FAILED, exit_code=process.exit_code, error="as it was told")
        return Result(ExecutionState.SUCCEEDED, exit_code=0)

    def get(self, kind: str) -> "Commands | None":
        """See RunnerSource."""
        return self if kind == "command" else None

    @property
    def kinds(self) -> list[str]:
        """See RunnerSet."""
        return ["command"]

    def why_not(self, kind: str) -> str:
        """See RunnerSource."""
        return f"only commands are simulated, not {kind!r}"

    async def close(self) -> None:
        """See Runner."""
