"""Why executions that have not started wait, as the leader says it."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import execution_pb2, policy_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import Table
from raftsched.scheduler.waiting import NOTHING, Survey, Wait, overdue
from tests.unit.scheduler.test_groups import propose, put_group
from tests.unit.scheduler.test_scheduler import World

LEASE_S = 5


@pytest.fixture
def world() -> World:
    """A leader that is not new."""
    world = World()
    world.pass_time(LEASE_S + 1)
    return world


def rows(world: World, task: str) -> list[ExecutionRow]:
    """Executions of a task, oldest first."""
    with world.store.read() as reader:
        found = [ExecutionRow.FromString(value) for _, value in reader.scan(Table.EXECUTIONS)]
    return [row for row in found if row.task == task]


def why(world: World, task: str, number: int = 0) -> tuple[str, str]:
    """Name of the reason, and the words, for one of a task's executions."""
    row = rows(world, task)[number]
    with world.store.read() as reader:
        reason, detail = world.scheduler.explainer(reader).why(row)
    return execution_pb2.WaitingReason.Name(reason).removeprefix("WAITING_REASON_"), detail


def survey(world: World) -> Survey:
    found = Survey()
    with world.store.read() as reader:
        explainer = world.scheduler.explainer(reader)
        for _, row in overdue(reader, world.clock.us):
            if row is not None:
                found.add(row, explainer.why(row))
    return found


def pass_time(world: World, seconds: int) -> None:
    """With executors that stay connected."""
    for _ in range(seconds):
        for executor_id in world.sessions:
            world.heartbeat(executor_id)
        world.run(1.0)


def fire(world: World, name: str, **fields: object) -> None:
    """Register a task, and let its first nominal time be decided."""
    world.register(name, **fields)
    world.run(1.0)


def test_nobody_is_connected(world: World) -> None:
    fire(world, "t")
    assert why(world, "t") == ("NO_EXECUTOR", "no executor is connected")


def test_executors_that_drain_take_no_work(world: World) -> None:
    world.connect("e1")
    world.sessions["e1"].draining = True
    fire(world, "t")
    assert why(world, "t") == ("NO_EXECUTOR", "no executor takes work: 1 connected, draining")


def test_a_label_that_nobody_carries_is_named(world: World) -> None:
    world.connect("e1", zone="a")
    fire(world, "t", executor_labels={"zone": "c", "gpu": "yes"})
    assert why(world, "t") == ("NO_MATCHING_EXECUTOR", "no connected executor carries gpu=yes, zone=c")


def test_a_new_leader_does_not_blame_labels_before_executors_could_connect() -> None:
    world = World()
    world.connect("e1")
    fire(world, "t", executor_labels={"zone": "c"})
    assert why(world, "t")[0] == "LEADER_CHANGE"
    pass_time(world, LEASE_S)
    assert why(world, "t")[0] == "NO_MATCHING_EXECUTOR"


def test_taken_slots_are_counted(world: World) -> None:
    world.connect("e1", slots=1)
    fire(world, "t")
    world.run(1.0)
    assert why(world, "t") == ("UNSPECIFIED", ""), "it was given to an executor"
    assert why(world, "t", 1) == ("NO_FREE_SLOT", "the slot of 1 connected executor is taken")


def test_only_slots_of_executors_with_the_labels_count(world: World) -> None:
    world.connect("e1", slots=2, zone="c")
    world.connect("e2", slots=50)
    fire(world, "t", executor_labels={"zone": "c"})
    world.pass_time(3)
    assert why(world, "t", -1) == ("NO_FREE_SLOT", "all 2 slots of 1 connected executor carrying zone=c are taken")


def test_a_full_group_is_named(world: World) -> None:
    world.connect("e1", slots=100)
    put_group(world, "db", max_running=1)
    put_group(world, "api", max_starts=1, period_s=60)
    for name in ("db", "api"):
        world.register(name, group=name)
    world.pass_time(2)
    assert why(world, "db", -1) == ("GROUP_LIMIT", "1 of the group db run: 1 may at once")
    assert why(world, "api", -1) == ("GROUP_LIMIT", "1 of the group api were started within the last 1 min: 1 may be")


def test_labels_that_nobody_carries_weigh_more_than_a_full_group(world: World) -> None:
    world.connect("e1", slots=100)
    put_group(world, "db", max_running=1)
    fire(world, "fine", group="db")
    fire(world, "stuck", group="db", executor_labels={"zone": "mars"})
    assert why(world, "stuck")[0] == "NO_MATCHING_EXECUTOR"


def test_what_is_queued_waits_for_its_turn(world: World) -> None:
    world.connect("e1")
    queue = {"overlap_policy": policy_pb2.OVERLAP_POLICY_QUEUE, "max_running": 1, "max_queued": 10}
    fire(world, "t", **queue)
    world.run(1.0)
    assert why(world, "t", 1) == (
        "OVERLAP",
        "it is queued until another execution of its task ends: 1 may be open at once",
    )


def test_an_executor_that_went_with_what_it_was_given_is_named(world: World) -> None:
    world.connect("e1")
    fire(world, "t")
    world.scheduler.disconnect(world.sessions["e1"])
    reason, detail = why(world, "t")
    assert reason == "EXECUTOR_DISCONNECTED"
    assert detail.startswith("it was given to e1, which is not connected")


def test_what_may_run_on_one_executor_alone_waits_for_that(world: World) -> None:
    world.connect("e1", slots=1)
    fire(world, "t", placement=policy_pb2.PLACEMENT_EVERY, overlap_policy=policy_pb2.OVERLAP_POLICY_ALLOW)
    world.run(1.0)
    assert why(world, "t", -1) == ("NO_FREE_SLOT", "the slot of e1, the only one that it may run on is taken")


def test_a_put_off_start_says_until_when(world: World) -> None:
    row = ExecutionRow(task="t", state=ExecutionState.PENDING, attempt=2, not_before_us=world.clock.us + 60_000_000)
    with world.store.read() as reader:
        explain = world.scheduler.explainer(reader).why
        assert explain(row)[1] == "attempt 2 comes at 2027-01-15T08:01:06Z"
        row.attempt = 1
        assert explain(row) == (
            execution_pb2.WAITING_REASON_JITTER,
            "jitter has put off its start to 2027-01-15T08:01:06Z",
        )


@pytest.mark.parametrize("state", [state for state in ExecutionState if state.ended or state is ExecutionState.RUNNING])
def test_what_runs_or_has_ended_waits_for_nothing(world: World, state: ExecutionState) -> None:
    with world.store.read() as reader:
        assert world.scheduler.explainer(reader).why(ExecutionRow(task="t", state=state, executor_id="gone")) == NOTHING


def test_a_survey_counts_what_has_waited_for_more_than_ten_seconds_by_reason_and_task(world: World) -> None:
    world.connect("e1", slots=1)
    for name in ("stuck", "stuck-too"):
        world.register(name, executor_labels={"zone": "c"})
    pass_time(world, 13)
    found = survey(world)
    (wait,) = found.waits()
    late = [row for row in rows(world, "stuck") if world.clock.us - max(row.nominal_us, row.fire_us) > 10_000_000]
    assert 0 < len(late) < len(rows(world, "stuck"))
    assert (wait.reason, wait.count) == (execution_pb2.WAITING_REASON_NO_MATCHING_EXECUTOR, 2 * len(late))
    assert wait.tasks == found.tasks() == {"stuck", "stuck-too"}
    assert wait.oldest_us == late[0].nominal_us
    assert [each.count for each in found.of_task("stuck", late[0].uid)] == [len(late)]
    assert found.of_task("stuck", late[0].uid + 100) == []


def test_what_waits_for_its_own_time_is_not_late(world: World) -> None:
    world.connect("e1")
    late_us = world.clock.us
    row = ExecutionRow(task="t", state=ExecutionState.PENDING, nominal_us=late_us, not_before_us=late_us + 60_000_000)
    with world.store.read() as reader:
        reader_rows = list(overdue(reader, late_us + 30_000_000))
    assert reader_rows == []
    batch = world.store.batch()
    batch.put(Table.EXECUTIONS, bytes(16), row.SerializeToString())
    batch.put(Table.HELD, bytes(16), b"")
    world.store.commit()
    with world.store.read() as reader:
        assert [found for _, found in overdue(reader, late_us + 30_000_000)] == [None]
        assert [found for _, found in overdue(reader, late_us + 71_000_000)] == [row]


def test_a_group_with_room_and_without_a_limit_of_starts_is_not_what_it_waits_for(world: World) -> None:
    put_group(world, "db", max_running=5)
    fire(world, "t", group="db")
    assert why(world, "t")[0] == "NO_EXECUTOR"
    world.connect("e1", slots=0)
    assert why(world, "t")[0] == "NO_FREE_SLOT"


def test_an_execution_of_an_earlier_task_of_the_name_is_about_to_be_cancelled(world: World) -> None:
    fire(world, "t")
    propose(world, pb.Command(delete_task=pb.DeleteTask(name="t")))
    world.register("t")
    assert why(world, "t") == ("DISPATCH", "its task was deleted: it is about to be cancelled")


def test_a_wait_names_no_more_tasks_than_are_shown_and_counts_all() -> None:
    wait = Wait(execution_pb2.WAITING_REASON_NO_EXECUTOR, "nobody")
    for number in range(3):
        wait.add(ExecutionRow(task=f"t{number}", nominal_us=number + 1), shown=2)
    assert (wait.count, wait.tasks, wait.oldest_us) == (3, {"t0", "t1"}, 1)


def test_a_survey_is_complete_until_it_is_said_not_to_be() -> None:
    assert not Survey().incomplete
