"""What the leader removes beside executions and their ledger: request ids, earlier definitions, rounds of chains."""

from raftsched_client.v1 import task_pb2

from raftsched.core.machine import REQUEST_MEMORY_US
from raftsched.core.model import Decision, ExecutionState
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Table
from tests.unit.scheduler.test_groups import propose
from tests.unit.scheduler.test_scheduler import SECOND_US, World

DAY_S = 86_400


def count(world: World, table: Table) -> int:
    with world.store.read() as reader:
        return reader.count(table)


def test_a_request_id_is_forgotten_when_its_time_is_over_and_not_before() -> None:
    world = World()
    world.lead(1, retention_interval_s=0)
    world.register("t", paused=True)
    propose(world, pb.Command(run_task=pb.RunTask(name="t"), request_id="r"))
    world.run(REQUEST_MEMORY_US / SECOND_US - 1)
    assert count(world, Table.REQUESTS) == 1
    world.run(2)
    assert count(world, Table.REQUESTS) == count(world, Table.REQUEST_EXPIRY) == 0


def test_an_earlier_definition_is_kept_as_long_as_the_ledger() -> None:
    world = World()
    world.lead(1, keep_ledger_s=DAY_S, retention_interval_s=0)
    world.register("t", paused=True)
    propose(world, pb.Command(delete_task=pb.DeleteTask(name="t")))
    world.run(DAY_S - 1)
    assert count(world, Table.TASK_CHANGES) > 0
    world.run(2)
    assert count(world, Table.TASK_CHANGES) == 0


def test_a_round_of_a_chain_that_does_not_end_is_recorded_as_skipped() -> None:
    world = World()
    world.lead(1, keep_executions_s=DAY_S, retention_interval_s=0)
    link = world.connect("e1")
    command = pb.Command()
    for name, parents in (("a", ""), ("b", "a"), ("c", "a"), ("d", "bc")):
        after = [task_pb2.ChainParent(task=parent) for parent in parents]
        action = task_pb2.Action(noop=task_pb2.NoopAction())
        command.register_tasks.items.add(task=task_pb2.Task(name=name, after=after, action=action))
    propose(world, command)
    propose(world, pb.Command(run_task=pb.RunTask(name="a")))
    world.settle()
    (first,) = link.take_assignments()
    world.report("e1", first, ExecutionState.SUCCEEDED)
    parents = {item.task: item for item in link.take_assignments()}
    assert sorted(parents) == ["b", "c"]
    world.report("e1", parents["b"], ExecutionState.SUCCEEDED)
    world.run(DAY_S - 1)
    assert (count(world, Table.ROUNDS), world.ledger("d")) == (1, [])
    world.run(2)
    ((_, entry),) = world.ledger("d")
    assert (entry.decision, entry.reason) == (Decision.SKIPPED, "the tasks it runs after did not all end in time")
