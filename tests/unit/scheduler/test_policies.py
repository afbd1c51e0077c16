"""What the leader does about waiting executions, and cancellations of what it has just given away."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import Decision, ExecutionState
from tests.unit.scheduler.test_scheduler import SECOND_US, START_US, World


def fail(world: World, executor_id: str, link) -> bytes:
    [item] = link.take_assignments()
    world.report(executor_id, item, ExecutionState.FAILED)
    return item.key.execution_id


def retried(world: World, seconds: int) -> None:
    policy = task_pb2.RetryPolicy(max_attempts=2)
    policy.initial_backoff.FromSeconds(seconds)
    policy.max_backoff.FromSeconds(seconds)
    task = task_pb2.Task(retry=policy)
    task.schedule.at.FromMicroseconds(world.clock.us + 1_000_000)
    world.register("t", retry=policy, schedule=task.schedule)


def test_the_next_attempt_comes_when_its_time_has_come_and_not_before() -> None:
    world = World()
    link = world.connect("e1")
    retried(world, 4)
    world.run(1)
    fail(world, "e1", link)
    world.run(1.9)
    assert link.take_assignments() == []
    world.run(0.2)
    [again] = link.take_assignments()
    assert again.key.attempt == 2


def test_a_wait_is_drawn_between_half_of_it_and_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(world.clock, "uniform", lambda low, high: high)
    link = world.connect("e1")
    retried(world, 4)
    world.run(1)
    fail(world, "e1", link)
    world.run(3.9)
    assert link.take_assignments() == []
    world.run(0.2)
    assert len(link.take_assignments()) == 1


def test_the_next_leader_goes_on_with_a_wait() -> None:
    world = World()
    link = world.connect("e1")
    retried(world, 4)
    world.run(1)
    execution_id = fail(world, "e1", link)
    world.lead(2)
    link = world.connect("e1")
    world.run(2.1)
    [again] = link.take_assignments()
    assert (again.key.execution_id, again.key.attempt) == (execution_id, 2)


def test_a_step_ends_when_a_wait_does() -> None:
    world = World()
    link = world.connect("e1")
    retried(world, 2)
    world.run(1)
    fail(world, "e1", link)
    world.clock.advance(0.95)
    assert 0 < world.scheduler.step() <= 0.051


def test_the_higher_priority_goes_first_and_then_the_older_nominal_time() -> None:
    world = World()
    for name, priority in (("low", -1), ("middle", 0), ("high", 9), ("higher-than-middle", 1)):
        world.register(name, priority=priority)
    world.run(1)
    world.clock.advance(1)
    world.settle()
    link = world.connect("e1", slots=1)
    order = []
    for _ in range(8):
        world.settle()
        [item] = link.take_assignments()
        order.append((item.task, (item.nominal_us - START_US) // SECOND_US))
        world.report("e1", item, ExecutionState.SUCCEEDED)
    assert [name for name, _ in order] == ["high"] * 2 + ["higher-than-middle"] * 2 + ["middle"] * 2 + ["low"] * 2
    assert [second for _, second in order] == [1, 2] * 4


def test_those_that_are_due_together_are_given_room_by_priority() -> None:
    world = World()
    link = world.connect("e1", slots=1)
    for name, priority in (("a-low", 0), ("z-high", 5)):
        world.register(name, priority=priority)
    world.run(1)
    [item] = link.take_assignments()
    assert item.task == "z-high"


def test_jitter_is_drawn_between_the_nominal_time_and_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    asked: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        asked.append((low - START_US, high - START_US))
        return (low + high) / 2

    monkeypatch.setattr(world.clock, "uniform", draw)
    link = world.connect("e1")
    jitter = task_pb2.Task()
    jitter.jitter.FromSeconds(60)
    world.register("t", jitter=jitter.jitter)
    world.run(1)
    assert asked == [(SECOND_US, 2 * SECOND_US)]
    assert link.take_assignments() == []
    world.run(0.6)
    [item] = link.take_assignments()
    assert item.nominal_us == START_US + SECOND_US


def test_what_no_executor_took_in_time_expires() -> None:
    world = World()
    deadline = task_pb2.Task()
    deadline.start_deadline.FromSeconds(2)
    deadline.schedule.at.FromMicroseconds(world.clock.us + SECOND_US)
    world.register("t", start_deadline=deadline.start_deadline, schedule=deadline.schedule)
    world.run(1)
    world.run(1.9)
    [(_, entry)] = world.ledger("t")
    assert entry.decision == Decision.RAN
    world.run(0.2)
    [(_, entry)] = world.ledger("t")
    assert entry.decision == Decision.SKIPPED
    assert "start deadline of 2 s" in entry.reason


def test_what_is_cancelled_in_the_commit_that_assigns_it_reaches_the_executor_before_its_cancellation() -> None:
    world = World()
    link = world.connect("e1")
    world.register("t")
    world.settle()
    world.clock.advance(1)
    changes: list[tuple[bytes, pb.ExecutionRow]] = []
    world.log.on_applied = lambda applied: changes.extend(applied.executions)
    world.scheduler.step()
    world.log.pump()
    [(execution_id, _)] = changes
    command = pb.Command(version=1, now_us=world.clock.us)
    command.cancel_execution.id = execution_id
    world.log.propose(command.SerializeToString(), lambda fate, outcome: None)
    world.log.pump()
    link.sent.clear()
    world.scheduler.applied(changes, [])
    assert [message.WhichOneof("kind") for message in link.sent] == ["assignments", "cancel"]
