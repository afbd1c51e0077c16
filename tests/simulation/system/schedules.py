"""Schedules made by hand, for what random faults meet too seldom; each passes, and fails without its guard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from raftsched_client.v1 import policy_pb2, task_pb2

from raftsched.core import ids
from raftsched.ports import Role
from tests.simulation.consensus.world import Violation
from tests.simulation.system.executor import Executor
from tests.simulation.system.ledger import SUCCEEDED
from tests.simulation.system.node import Node
from tests.simulation.system.run import SystemSimulation

FAR_S = 10 * 365 * 86_400


class Stage(SystemSimulation):
    """Three nodes and one executor of its own, which do only what the schedule says."""

    def __init__(self, seed: int = 7) -> None:
        super().__init__(seed, "system-calm", 3)
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
    with stage() as play:
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
    with stage() as play:
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


SCHEDULES = [leader_that_slept, leader_that_slept_through_the_end, leader_that_slept_too_long]


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage with a leader and a connected executor, whose processes end with it, and log nothing."""
    play = Stage()
    with structlog.testing.capture_logs():
        try:
            play.begin()
            yield play
        finally:
            play.close()
