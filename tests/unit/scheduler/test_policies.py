"""What the leader does about waiting executions, and cancellations of what it has just given away."""

from raftsched_client.v1 import task_pb2

from raftsched.core.model import ExecutionState
from raftsched.internal.v1 import command_pb2 as pb
from tests.unit.scheduler.test_scheduler import World


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
