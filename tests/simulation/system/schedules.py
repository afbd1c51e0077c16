"""Schedules made by hand, for what random faults meet too seldom; each passes, and fails without its guard."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import structlog
from raftsched_proto.v1 import policy_pb2, task_pb2

from raftsched.core.state import ids
from raftsched.ports import Role
from tests.simulation.consensus.world import Violation
from tests.simulation.system.executor import Executor
from tests.simulation.system.ledger import ARMED, SUCCEEDED
from tests.simulation.system.node import Node
from tests.simulation.system.run import SystemSimulation

FAR_S = 10 * 365 * 86_400
StageKind = TypeVar("StageKind", bound="Stage")


class Stage(SystemSimulation):
    """Three nodes and one executor of its own, which do only what the schedule says."""

    profile = "system-calm"

    def __init__(self, seed: int = 9) -> None:
        super().__init__(seed, self.profile, 3)
        self.network.has_spikes = False

    def make_executors(self) -> list[Executor]:
        return [self.executor_apart("x")]

    @property
    def executor(self) -> Executor:
        return self.executors[0]

    @property
    def leader(self) -> Node:
        return next(node for node in self.nodes.values() if node.role is Role.LEADER and not node.paused)

    def begin(self) -> None:
        for node in self.nodes.values():
            node.start()
        self.executor.start()
        self.wait_for(lambda: self.is_connected_to(self.leader) if self.leads() else False)

    def leads(self) -> bool:
        return any(node.role is Role.LEADER and not node.paused for node in self.nodes.values())

    def is_connected_to(self, node: Node) -> bool:
        agent = self.executor.agent
        return agent is not None and agent.leader_address == node.id

    def wait(self, seconds: float) -> None:
        self.world.run_until(self.world.now + seconds)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = self.world.now + 30.0
        while not condition():
            assert self.world.now < end, "the schedule does not come to pass"
            self.wait(0.01)

    def create(self, name: str, seconds: float, *, at_most_once: bool = False) -> None:
        task = task_pb2.Task(name=name)
        task.schedule.at.FromSeconds(1_700_000_000 + FAR_S)
        task.action.command.argv.extend(["sleep", f"{seconds}", "0"])
        if at_most_once:
            task.delivery = policy_pb2.DELIVERY_AT_MOST_ONCE
        self.clients.create(task, lambda _: None)
        self.wait_for(lambda: not self.clients.under_way)

    def run_task(self, name: str) -> bytes:
        """Fire it, and wait until it runs."""
        told: list[str] = []
        self.clients.run(name, lambda operation: told.append(operation.value.execution.id))
        self.wait_for(lambda: bool(told))
        key = ids.from_text(told[0])
        self.wait_for(lambda: any(process.execution_id == key for process in self.ground.processes))
        return key

    def dial_sleeping(self, node: Node) -> None:
        """Let the executor dial this node, which wakes, and whose streams move before its group learns of anything."""
        self.executor.prefers = node.id
        self.executor.break_streams(0.0)
        self.wait_for(lambda: any(connection.machines[1] == node.id for connection in self.executor.connections))
        self.wait(0.1)
        assert node.loop is not None
        node.loop.resume()
        self.wait(0.2)
        node.resume()
        self.executor.prefers = ""


def leader_that_slept() -> None:
    """A leader that was asleep knows nothing of what the next one started, and must not have it stopped."""
    with stage(1) as play:
        play.create("long", 4.0, at_most_once=True)
        first = play.leader
        first.pause()
        play.wait_for(lambda: play.leads() and play.is_connected_to(play.leader))
        key = play.run_task("long")
        play.dial_sleeping(first)
        play.come_to_rest()
        if (state := play.log.state.executions[key].state) != SUCCEEDED:
            raise Violation(f"deposed: a leader that was deposed had the execution end as {state}")


def leader_that_slept_through_the_end() -> None:
    """It still has an attempt assigned that ended since, which the executor was told to forget."""
    with stage() as play:
        play.create("short", 3.0, at_most_once=True)
        first = play.leader
        key = play.run_task("short")
        first.pause()
        play.wait_for(lambda: play.log.state.executions[key].state == SUCCEEDED)
        play.wait(0.5)
        play.dial_sleeping(first)
        play.come_to_rest()


def leader_that_slept_too_long() -> None:
    """It still has an attempt assigned that the executor has seen the successor of."""
    with stage(22) as play:
        play.create("long", 12.0)
        first = play.leader
        key = play.run_task("long")
        first.pause()
        play.wait_for(play.leads)
        play.executor.lose_line(play.leader)
        play.wait_for(lambda: play.log.state.executions[key].attempt == 2)
        play.lines.heal()
        play.wait_for(lambda: any(process.attempt == 2 for process in play.ground.processes))
        play.dial_sleeping(first)
        play.come_to_rest()


class ArmedStage(Stage):
    """A task that recurs, armed on the executor for a moment that is about to come."""

    def begin(self) -> None:
        super().begin()
        task = task_pb2.Task(name="armed")
        task.schedule.interval.every.FromSeconds(3)
        task.action.command.argv.extend(["sleep", "0.1", "0"])
        self.clients.create(task, lambda _: None)
        self.wait_for(lambda: any(row.state == ARMED for row in self.log.state.executions.values()))

    def pause_task(self) -> None:
        self.clients.pause("armed", paused=True)

    def is_paused(self) -> bool:
        return self.witness.paused > 0

    def end(self) -> None:
        """Nothing has started since, and nothing does."""
        self.wait(6.0)
        self.clients.delete("armed")
        self.come_to_rest()


def a_pause_just_before_the_time() -> None:
    """The executor gives back what it holds, and the pause is answered at once."""
    with playing(ArmedStage()) as play:
        play.pause_task()
        play.wait_for(play.is_paused)
        play.end()


def a_pause_that_does_not_reach_the_executor() -> None:
    """It starts what it holds, as nobody tells it otherwise: so the pause is not answered before its lease is over."""
    with playing(ArmedStage()) as play:
        play.executor.lose_line(play.leader)
        play.pause_task()
        play.wait_for(play.is_paused)
        play.wait(2.0)
        play.lines.heal()
        play.end()


def an_executor_that_slept_through_its_lease() -> None:
    """It wakes with something to start whose lease is over, and whose task is paused."""
    with playing(ArmedStage()) as play:
        play.executor.lose_line(play.leader)
        play.executor.pause()
        play.pause_task()
        play.wait_for(play.is_paused)
        play.executor.resume()
        play.wait(2.0)
        play.lines.heal()
        play.end()


class ClockStage(Stage):
    """Its clocks are wrong for longer than a majority is doubted: decisions follow them, and must come back."""

    profile = "clocks-together"

    def __init__(self, seed: int = 7) -> None:
        super().__init__(seed)
        assert self.truth is not None
        self.truth.decides, self.truth.quiet_from_s = False, float("inf")

    def recur(self, name: str, misfire: int) -> None:
        task = task_pb2.Task(name=name, misfire_policy=misfire, overlap_policy=policy_pb2.OVERLAP_POLICY_ALLOW)
        task.schedule.interval.every.FromSeconds(5)
        task.action.command.argv.extend(["sleep", "0.1", "0"])
        self.clients.create(task, lambda _: None)
        self.wait_for(lambda: not self.clients.under_way)

    def set_clocks(self, off_by_s: float) -> None:
        for node in self.nodes.values():
            node.set_wall_error(int(off_by_s * 1e6))

    def started(self, name: str, since_s: float) -> bool:
        return any(process.task == name and process.began >= since_s for process in self.ground.processes)


def clocks_that_were_all_an_hour_ahead() -> None:
    """What recurs has fired for the hour to come, and goes on all the same when the clocks are right again."""
    with playing(ClockStage()) as play:
        names = {"one": 2, "skip": 1}
        for name, misfire in names.items():
            play.recur(name, misfire)
        play.wait(20)
        play.set_clocks(3600)
        play.wait(30)
        play.set_clocks(0)
        # Until the majority is believed, until nothing more is feared, and the period of the tasks.
        play.wait(10 + 60 + 10)
        since_s = play.world.now
        play.wait(15)
        for name in names:
            if not play.started(name, since_s):
                raise Violation(f"silent: {name} does not fire though all clocks have been right for {since_s:.0f} s")
            play.clients.delete(name)
        play.come_to_rest()


def clocks_that_were_all_weeks_ahead() -> None:
    """Nothing has grown old meanwhile."""
    with playing(ClockStage()) as play:
        play.create("some", 0.1)
        for _ in range(3):
            play.run_task("some")
        play.wait(5)
        play.set_clocks(40 * 86_400)
        play.wait(100)
        play.set_clocks(0)
        play.wait(20)
        play.come_to_rest()


SCHEDULES = [
    a_pause_just_before_the_time,
    a_pause_that_does_not_reach_the_executor,
    an_executor_that_slept_through_its_lease,
    leader_that_slept,
    leader_that_slept_through_the_end,
    leader_that_slept_too_long,
    clocks_that_were_all_an_hour_ahead,
    clocks_that_were_all_weeks_ahead,
]


def stage(seed: int = 9) -> AbstractContextManager[Stage]:
    """A stage with a leader and a connected executor, whose processes end with it, and log nothing.

    With the seed it comes to what the schedule is about, and to a violation when the guard is off.
    """
    return playing(Stage(seed))


@contextmanager
def playing(play: StageKind) -> Iterator[StageKind]:
    """As ``stage`` has it."""
    with structlog.testing.capture_logs():
        try:
            play.begin()
            yield play
        finally:
            play.close()
