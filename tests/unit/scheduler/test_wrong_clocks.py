"""What the leader does while clocks disagree, after the agreed time has jumped, and when it comes back."""

from collections.abc import Callable

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import policy_pb2, task_pb2

from raftsched.core.machine import REQUEST_MEMORY_US
from raftsched.core.machine.repair import EARLY
from raftsched.core.state.model import Decision, ExecutionState
from raftsched.core.state.rows import TIME_KEY, be64, decode_cursor
from raftsched.ports import Table
from raftsched.scheduler.repair import SETTLE_S
from raftsched.scheduler.retention import PACE
from tests.unit.scheduler.test_groups import propose
from tests.unit.scheduler.test_retention import DAY_S, count
from tests.unit.scheduler.test_scheduler import SECOND_US, START_US, ManualClock, World

HOUR_S = 3600


class JumpingClock(ManualClock):
    """An agreed time that may jump, as it does when a majority of the clocks does."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_us = 0

    def now_us(self) -> int:
        return self.us + self.ahead_us

    def jump(self, seconds: float) -> None:
        self.ahead_us += round(seconds * SECOND_US)
        self.stepped_at_s = self.monotonic()


class JumpingWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.clock: JumpingClock = JumpingClock()
        self.lead(1)

    def cursor_s(self, name: str) -> float:
        with self.store.read() as reader:
            found = reader.get(Table.CURSORS, name.encode())
        assert found is not None
        return (decode_cursor(found).next_us - START_US) / SECOND_US

    def noted_s(self) -> float:
        with self.store.read() as reader:
            found = reader.get(Table.META, TIME_KEY)
        assert found is not None
        return (int.from_bytes(found, "big") - START_US) / SECOND_US


@pytest.fixture
def world() -> JumpingWorld:
    return JumpingWorld()


def test_nothing_is_decided_until_a_majority_agrees_on_the_time(world: JumpingWorld) -> None:
    link = world.connect("e1")
    world.register("tick")
    world.clock.certain = False
    world.run(3.0)
    assert world.ledger("tick") == []
    world.clock.certain = True
    world.run()
    assert [at for at, _ in world.ledger("tick")] == [1, 2, 3]
    assert len(link.take_assignments()) == 3


def test_what_runs_is_reported_and_given_out_while_nothing_is_decided(world: JumpingWorld) -> None:
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    world.clock.certain = False
    world.report("e1", item, ExecutionState.SUCCEEDED)
    assert world.execution(item.key.execution_id).state == ExecutionState.SUCCEEDED


def test_a_leader_that_has_never_known_the_time_waits_for_it(world: JumpingWorld) -> None:
    world.connect("e1")
    world.register("tick")
    world.clock.known = world.clock.certain = False
    world.run(3.0)
    assert world.ledger("tick") == []


def test_a_leader_whose_own_clock_is_wrong_hands_over_to_each_better_node_in_turn(world: JumpingWorld) -> None:
    asked: list[str] = []

    def transfer(node_id: str, done: Callable[[str], None]) -> None:
        asked.append(node_id)
        done("it has not caught up")

    world.log.transfer_leadership = transfer
    world.register("tick")
    world.run(1.0)
    assert asked == []
    world.clock.better = ("n2", "n3")
    world.pass_time(20)
    assert asked == ["n2", "n3", "n2", "n3"]
    # Its time is that of the majority, so that nothing has to wait for the others.
    assert len(world.ledger("tick")) == 21


def test_retention_waits_after_a_jump_and_then_goes_no_faster_than_its_pace(world: JumpingWorld) -> None:
    world.lead(1, keep_ledger_s=DAY_S, retention_interval_s=0, retention_settle_s=60)
    world.register("t", paused=True)
    for _ in range(50):
        propose(world, pb.Command(run_task=pb.RunTask(name="t")))
        world.run(60)
    world.run(60)
    world.clock.jump(40 * DAY_S)
    world.pass_time(59)
    assert count(world, Table.LEDGER) == 50
    world.clock.jump(-40 * DAY_S)
    world.pass_time(200)
    assert count(world, Table.LEDGER) == 50
    world.clock.jump(40 * DAY_S)
    world.pass_time(59)
    world.pass_time(10 * 60)
    # Ten minutes of another time cost the oldest hundred minutes of a day's records, and none are that old.
    assert count(world, Table.LEDGER) == 50
    world.run(DAY_S / PACE)
    world.run(1)
    assert count(world, Table.LEDGER) == 0


def test_a_new_leader_goes_on_with_the_time_of_retention_of_the_one_before(world: JumpingWorld) -> None:
    settings = {"keep_ledger_s": DAY_S, "retention_interval_s": 0, "retention_settle_s": 60}
    world.lead(1, **settings)
    world.register("t", paused=True)
    propose(world, pb.Command(run_task=pb.RunTask(name="t")))
    world.pass_time(700)
    world.clock.jump(40 * DAY_S)
    world.lead(2, **settings)
    world.pass_time(600)
    assert count(world, Table.LEDGER) == 1


def test_a_request_id_outlives_a_time_that_was_ahead_for_a_while(world: JumpingWorld) -> None:
    world.lead(1, retention_interval_s=0, retention_settle_s=60)
    world.register("t", paused=True)
    world.pass_time(120)
    propose(world, pb.Command(run_task=pb.RunTask(name="t"), request_id="r"))
    world.clock.jump(2 * HOUR_S)
    world.pass_time(120)
    world.clock.jump(-2 * HOUR_S)
    world.pass_time(120)
    assert count(world, Table.REQUESTS) == 1
    world.run(REQUEST_MEMORY_US / SECOND_US)
    world.pass_time(2)
    assert count(world, Table.REQUESTS) == 0


@pytest.mark.parametrize(
    "policy", [policy_pb2.MISFIRE_POLICY_ONE, policy_pb2.MISFIRE_POLICY_SKIP, policy_pb2.MISFIRE_POLICY_ALL]
)
def test_a_task_that_a_clock_has_carried_ahead_fires_again_when_time_comes_back(
    world: JumpingWorld, policy: policy_pb2.MisfirePolicy.ValueType
) -> None:
    link = world.connect("e1", slots=1000)
    world.register("tick", misfire_policy=policy)
    world.pass_time(3)
    link.take_assignments()
    world.clock.jump(600)
    world.pass_time(2)
    assert world.cursor_s("tick") > 600
    world.clock.jump(-600)
    world.pass_time(round(SETTLE_S) + 1)
    assert 60 < world.cursor_s("tick") < 70
    early = [row for at, row in world.ledger("tick") if row.early]
    assert early
    assert all(row.reason.endswith(EARLY) for row in early)
    link = world.connect("e2", slots=1000)
    world.settle()
    link.take_assignments()
    world.pass_time(4)
    assert len(link.take_assignments()) == 4
    anew = [at for at, row in world.ledger("tick") if not row.early and row.decision == Decision.RAN]
    assert len(anew) == len(set(anew))
    assert world.noted_s() < 100


def test_no_repair_before_the_time_has_settled_and_none_twice(world: JumpingWorld) -> None:
    world.register("tick")
    world.clock.jump(600)
    world.pass_time(2)
    world.clock.jump(-600)
    world.pass_time(round(SETTLE_S) - 2)
    assert world.cursor_s("tick") > 600
    world.pass_time(4)
    assert world.cursor_s("tick") < 70
    world.pass_time(20)
    with world.store.read() as reader:
        found = reader.get(Table.TASKS, b"tick")
    assert found is not None
    assert pb.TaskRow.FromString(found).task.generation == 2


def test_a_task_that_was_registered_while_time_was_ahead_is_repaired_too(world: JumpingWorld) -> None:
    world.clock.jump(HOUR_S)
    task = task_pb2.Task(name="late")
    task.schedule.interval.every.FromSeconds(1)
    task.schedule.interval.anchor.FromMicroseconds(START_US)
    task.action.noop.SetInParent()
    command = pb.Command()
    command.register_tasks.items.add(task=task, next_us=world.clock.now_us() + SECOND_US)
    propose(world, command)
    world.clock.jump(-HOUR_S)
    world.pass_time(round(SETTLE_S) + 2)
    assert world.cursor_s("late") < 70


def test_the_pause_of_a_task_outlives_the_repair_of_its_cursor(world: JumpingWorld) -> None:
    world.register("tick")
    world.clock.jump(600)
    world.pass_time(2)
    with world.store.read() as reader:
        found = reader.get(Table.TASKS, b"tick")
    assert found is not None
    row = pb.TaskRow.FromString(found)
    row.task.paused = True
    propose(world, pb.Command(replace_task=pb.ReplaceTask(task=row.task, expected_revision=row.revision)))
    decided = len(world.ledger("tick"))
    world.clock.jump(-600)
    world.pass_time(round(SETTLE_S) + 10)
    assert world.cursor_s("tick") < 70
    assert len(world.ledger("tick")) == decided


def test_what_may_start_at_most_once_is_not_decided_again(world: JumpingWorld) -> None:
    link = world.connect("e1")
    for name, delivery in (("once", policy_pb2.DELIVERY_AT_MOST_ONCE), ("again", policy_pb2.DELIVERY_AT_LEAST_ONCE)):
        schedule = task_pb2.Schedule()
        schedule.at.FromMicroseconds(START_US + HOUR_S * SECOND_US)
        world.register(name, schedule=schedule, delivery=delivery)
    world.clock.jump(HOUR_S)
    world.pass_time(2)
    assert len(link.take_assignments()) == 2
    world.clock.jump(-HOUR_S)
    world.pass_time(round(SETTLE_S) + 2)
    assert world.cursor_s("again") == HOUR_S
    assert world.cursor_s("once") < 0


def test_tables_without_a_time_in_the_future_are_not_walked_through(world: JumpingWorld) -> None:
    world.register("tick")
    world.pass_time(5)
    batch = world.store.batch()
    # A cursor that nothing explains is no business of the repair while no command was ahead.
    batch.put(Table.META, TIME_KEY, be64(world.clock.now_us()))
    world.store.commit()
    world.pass_time(round(SETTLE_S) + 5)
    with world.store.read() as reader:
        found = reader.get(Table.TASKS, b"tick")
    assert found is not None
    assert pb.TaskRow.FromString(found).task.generation == 1
