"""What the leader decides ahead of its time, and for whom."""

from itertools import chain

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.v1 import policy_pb2, task_pb2

from raftsched.commands.gate import Gate
from raftsched.core.machine import COMMAND_VERSION
from raftsched.core.state.model import ExecutionState
from raftsched.ports import Table
from raftsched.scheduler import arming
from tests.unit.scheduler.test_dispatcher import proposed, step
from tests.unit.scheduler.test_scheduler import SECOND_US, START_US, Link, World, connect

_COMMAND = task_pb2.Action(command=task_pb2.CommandAction(argv=["sleep", "9"]))


class ArmingWorld(World):
    """Executors that hold what is to start later."""

    def connect_armed(
        self, executor_id: str, *, slots: int = 8, armed: tuple[tuple[bytes, int], ...] = (), **labels: str
    ) -> Link:
        link = Link()
        hello = xpb.Hello(executor_id=executor_id, incarnation="i", slots=slots, labels=labels, arms=True)
        for execution_id, attempt in armed:
            hello.armed.add(execution_id=execution_id, attempt=attempt)
        self.sessions[executor_id] = connect(self.scheduler, hello, link)
        return link

    def once(self, name: str, in_s: float, **fields: object) -> None:
        task = task_pb2.Task()
        task.schedule.at.FromMicroseconds(START_US + round(in_s * SECOND_US))
        self.register(name, schedule=task.schedule, **fields)

    def next_look_s(self) -> float | None:
        """When the leader looks for what to arm next, in seconds since the start; None: what is under way wakes it."""
        with self.store.read() as reader:
            due_us = self.scheduler._armer.next_due_us(reader)
        return (due_us - START_US) / SECOND_US if due_us else None

    def states(self) -> dict[str, str]:
        with self.store.read() as reader:
            rows = [pb.ExecutionRow.FromString(value) for _, value in reader.scan(Table.EXECUTIONS)]
        return {row.task: ExecutionState(row.state).name for row in rows}

    def give_back(self, executor_id: str, item: xpb.Assignment) -> None:
        message = xpb.ConnectRequest()
        message.reports.items.add(key=item.key, state=ExecutionState.PENDING, fencing_token=item.fencing_token)
        self.scheduler.receive(self.sessions[executor_id], message)
        self.settle()

    def pause(self, name: str) -> pb.Outcome:
        with self.store.read() as reader:
            row = pb.TaskRow.FromString(reader.get(Table.TASKS, name.encode()) or b"")
        command = pb.Command(version=COMMAND_VERSION, now_us=self.clock.now_us())
        command.replace_task.task.CopyFrom(row.task)
        command.replace_task.task.paused = True
        command.replace_task.expected_revision = row.revision
        outcomes: list[pb.Outcome] = []
        self.log.propose(
            command.SerializeToString(), lambda _, outcome: outcomes.append(pb.Outcome.FromString(outcome))
        )
        self.log.pump()
        return outcomes[0]


@pytest.fixture
def world() -> ArmingWorld:
    return ArmingWorld()


def test_what_is_due_within_the_span_is_armed_half_a_span_before(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.once("a", 2.0)
    world.once("b", 2.4)
    world.once("c", 3.0)
    world.run(1.4)
    assert world.states() == {}
    world.run(0.1)
    assert world.states() == {"a": "ARMED", "b": "ARMED"}
    sent = link.take_assignments()
    assert [(item.task, item.start_us - START_US) for item in sent] == [("a", 2_000_000), ("b", 2_400_000)]


def test_the_leader_sleeps_until_it_has_something_to_decide(world: ArmingWorld) -> None:
    world.connect_armed("e1")
    world.once("a", 2.0)
    world.run(1.45)
    assert world.scheduler.step() == pytest.approx(0.05)


def test_while_there_is_nothing_to_look_for_nobody_looks(world: ArmingWorld) -> None:
    world.once("t", 10.0)
    assert world.next_look_s() is None, "there is no executor"
    world.connect_armed("e1")
    assert world.next_look_s() == 9.5
    assert world.scheduler.step() > 0
    world.run(9.5)
    assert world.states() == {"t": "ARMED"}
    assert world.next_look_s() is None


def test_while_a_command_is_under_way_its_end_wakes_the_leader(world: ArmingWorld) -> None:
    world.connect_armed("e1")
    world.once("t", 2.0)
    world.once("later", 9.0)
    world.clock.advance(1.5)
    step(world)
    assert world.next_look_s() is None
    world.log.pump()
    assert world.next_look_s() == 8.5


def test_what_was_left_at_the_end_of_a_walk_calls_for_no_other(world: ArmingWorld) -> None:
    world.connect_armed("e1")
    world.once("t", 2.0)
    world.once("left", 2.5, placement=policy_pb2.PLACEMENT_EVERY)
    world.run(1.5)
    assert world.states() == {"t": "ARMED"}
    assert world.next_look_s() is None


def test_no_more_commands_arm_at_a_time_than_may_and_each_as_much_as_it_may_hold(world: ArmingWorld) -> None:
    world.lead(2, fire_batch_items=2)
    world.connect_armed("e1")
    for number in range(11):
        world.once(f"t{number:02}", 2.0)
    world.clock.advance(1.5)
    decided: list[list[str]] = []
    for _ in range(3):
        step(world)
        decided.append([item.task for command in proposed(world, "fire") for item in command.fire.items])
        world.log.pump()
    assert [len(names) for names in decided] == [4, 4, 3]
    assert list(chain(*decided)) == [f"t{number:02}" for number in range(11)]


def test_of_one_task_no_more_is_armed_by_a_command_than_it_may_hold(world: ArmingWorld) -> None:
    world.lead(2, fire_batch_items=2)
    world.connect_armed("e1")
    task = task_pb2.Task()
    task.schedule.interval.every.FromMilliseconds(250)
    task.schedule.interval.anchor.FromMicroseconds(START_US)
    world.register("t", schedule=task.schedule)
    world.clock.advance(0.5)
    world.scheduler.step()
    [command] = proposed(world, "fire")
    assert [len(item.decided) for item in command.fire.items] == [2]


def test_what_is_left_holds_up_nothing_however_much_of_it_there_is(
    world: ArmingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arming, "_TURN_ROWS", 2)
    world.connect_armed("e1")
    for number in range(5):
        world.once(f"left{number}", 2.0, placement=policy_pb2.PLACEMENT_EVERY)
    world.once("t", 2.1)
    world.clock.advance(1.6)
    world.scheduler.step()
    assert world.next_look_s() == 1.6
    assert not proposed(world, "fire")
    for _ in range(4):
        world.scheduler.step()
    assert [item.task for command in proposed(world, "fire") for item in command.fire.items] == ["t"]


def test_what_is_being_armed_when_its_time_comes_is_not_decided_again(world: ArmingWorld) -> None:
    world.connect_armed("e1")
    for name, in_s in (("a", 2.0), ("b", 2.4), ("c", 2.8)):
        world.once(name, in_s)
    world.clock.advance(1.5)
    step(world)
    world.clock.advance(0.8)
    step(world)
    decided = [[item.task for item in command.fire.items] for command in proposed(world, "fire")]
    assert decided == [["a", "b"], ["c"]]


def test_what_the_log_did_not_take_is_decided_when_its_time_comes(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.once("t", 2.0)
    world.clock.advance(1.5)
    step(world)
    assert len(proposed(world, "fire")) == 1
    world.log.refuse = True
    world.log.pump()
    world.log.refuse = False
    assert world.sessions["e1"].armed.reserved == 0
    world.run(0.5)
    assert [item.task for item in link.take_assignments()] == ["t"]


@pytest.mark.parametrize(("count", "begins_s"), [(2, 9.5), (3, 7.0), (8, 2.0)])
def test_a_herd_is_armed_so_early_that_it_is_decided_in_time(world: ArmingWorld, count: int, begins_s: float) -> None:
    world.lead(2, herd_row_us=SECOND_US if count > 2 else SECOND_US // 2, lease_ms=60_000)
    world.connect_armed("e1")
    for number in range(count):
        world.once(f"t{number}", 10.0)
    at_us = START_US + round(begins_s * SECOND_US)
    while (look_s := world.next_look_s()) is not None and look_s < begins_s:
        world.clock.us = START_US + round(look_s * SECOND_US)
        world.settle()
        assert world.states() == {}
    world.clock.us = at_us - 1
    world.settle()
    assert world.states() == {}
    world.clock.us = at_us
    world.settle()
    assert list(world.states().values()) == ["ARMED"] * count


def test_a_herd_behind_others_is_armed_with_them(world: ArmingWorld) -> None:
    world.lead(2, herd_row_us=SECOND_US)
    world.connect_armed("e1")
    world.once("before", 5.0)
    for number in range(4):
        world.once(f"herd{number}", 9.0)
    world.once("after", 30.0)
    world.run(3.999_999)
    assert world.states() == {}
    world.run(0.000_001)
    assert set(world.states()) == {"before", "herd0", "herd1", "herd2", "herd3"}


def test_what_is_due_at_a_rate_that_is_decided_in_passing_is_no_herd(world: ArmingWorld) -> None:
    world.lead(2, herd_row_us=SECOND_US // 2)
    world.connect_armed("e1")
    for number in range(1, 20):
        world.once(f"t{number:02}", 2.0 + number * 0.6)
    for _ in range(200):
        world.run(0.05)
        with world.store.read() as reader:
            rows = [pb.ExecutionRow.FromString(value) for _, value in reader.scan(Table.EXECUTIONS)]
        assert all(row.nominal_us <= row.fire_us + SECOND_US for row in rows)


def test_a_herd_that_is_registered_late_is_noticed_within_a_second(world: ArmingWorld) -> None:
    world.lead(2, herd_row_us=SECOND_US)
    world.connect_armed("e1")
    world.once("t", 18.0)
    world.once("u", 18.0)
    world.run(3.0)
    for number in range(18):
        world.once(f"herd{number}", 18.0)
    world.run(1.0)
    assert len(world.states()) == 20


def test_nothing_is_armed_further_ahead_than_may_be_however_large_a_herd_is(world: ArmingWorld) -> None:
    world.lead(2, herd_row_us=SECOND_US, lease_ms=60_000)
    world.connect_armed("e1")
    for number in range(40):
        world.once(f"herd{number:02}", 40.0)
    for _ in range(9):
        world.run(1.0)
    world.run(0.999_999)
    assert world.states() == {}
    world.run(1.0)
    assert len(world.states()) == 40


def test_without_time_ahead_nothing_is_armed(world: ArmingWorld) -> None:
    world.lead(2, ahead_s=0)
    world.connect_armed("e1")
    world.once("t", 2.0)
    assert world.next_look_s() is None
    world.run(1.999_999)
    assert world.states() == {}


def test_each_nominal_time_of_a_task_is_armed_once(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.register("t")
    for _ in range(40):
        world.run(0.1)
    assert [item.nominal_us - START_US for item in link.take_assignments()] == [s * SECOND_US for s in (1, 2, 3, 4)]


def test_several_nominal_times_of_one_task_are_armed_together(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    task = task_pb2.Task()
    task.schedule.interval.every.FromMilliseconds(250)
    task.schedule.interval.anchor.FromMicroseconds(START_US)
    world.register("t", schedule=task.schedule)
    world.run(0.6)
    first = [item.start_us - START_US for item in link.take_assignments()]
    assert first == [1_000_000, 1_250_000, 1_500_000]


@pytest.mark.parametrize(
    "fields",
    [
        {"overlap_policy": policy_pb2.OVERLAP_POLICY_SKIP, "max_running": 1},
        {"placement": policy_pb2.PLACEMENT_EVERY},
        {"jitter": 5},
        {"delivery": policy_pb2.DELIVERY_AT_MOST_ONCE},
        {"group": "g"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_depends_on_more_than_its_time_is_decided_when_the_time_comes(
    world: ArmingWorld, fields: dict[str, object]
) -> None:
    world.connect_armed("e1")
    if "group" in fields:
        command = pb.Command(version=COMMAND_VERSION, now_us=START_US)
        command.put_group.group.name, command.put_group.create = "g", True
        world.log.propose(command.SerializeToString(), lambda *_: None)
        world.log.pump()
    if "jitter" in fields:
        jitter = task_pb2.Task()
        jitter.jitter.FromMilliseconds(5)
        fields = {"jitter": jitter.jitter}
    # A leader waits for a lease before it believes that it knows every executor.
    world.once("t", 8.0, **fields)
    world.run(7.9)
    assert world.states() == {}
    world.run(0.1)
    assert list(world.states()) == ["t"]


def test_an_executor_that_would_start_it_at_once_is_given_nothing_ahead(world: ArmingWorld) -> None:
    world.connect("e1")
    world.once("t", 2.0)
    world.run(1.9)
    assert world.states() == {}


def test_nothing_is_armed_under_a_cluster_version_that_does_not_know_it(world: ArmingWorld) -> None:
    world.scheduler._armer._gate = Gate(lambda: 1)
    world.connect_armed("e1")
    world.once("t", 2.0)
    world.run(1.9)
    assert world.states() == {}


def test_what_waits_for_a_slot_comes_before_what_is_yet_to_come(world: ArmingWorld) -> None:
    world.connect_armed("e1", slots=1)
    for name in ("runs", "waits"):
        world.once(name, 1.0, action=_COMMAND)
    world.once("t", 2.0, action=_COMMAND)
    world.run(1.9)
    assert world.states() == {"runs": "ASSIGNED", "waits": "PENDING"}


def test_what_no_executor_can_run_holds_up_nothing_else(world: ArmingWorld) -> None:
    world.connect_armed("e1")
    world.once("waits", 1.0, executor_labels={"zone": "nowhere"})
    world.once("t", 2.0, action=_COMMAND)
    world.run(1.5)
    assert world.states() == {"waits": "PENDING", "t": "ARMED"}


def test_an_executor_gets_as_many_for_one_moment_as_it_has_slots(world: ArmingWorld) -> None:
    world.connect_armed("e1", slots=2)
    for number in range(3):
        world.once(f"t{number}", 2.0, action=_COMMAND)
    for number in range(2):
        world.once(f"later{number}", 2.2, action=_COMMAND)
    world.run(1.5)
    assert sorted(world.states()) == ["later0", "later1", "t0", "t1"]
    world.run(0.5)
    assert world.states()["t2"] == "PENDING"


def test_an_executor_whose_slots_are_all_taken_is_given_nothing_ahead(world: ArmingWorld) -> None:
    link = world.connect_armed("e1", slots=1)
    world.once("long", 0.2, action=_COMMAND)
    world.run(0.3)
    assert [item.task for item in link.take_assignments()] == ["long"]
    world.once("t", 2.0, action=_COMMAND)
    world.run(1.5)
    assert "t" not in world.states()


def test_what_is_armed_is_spread(world: ArmingWorld) -> None:
    links = [world.connect_armed(name) for name in ("e1", "e2")]
    for number in range(4):
        world.once(f"t{number}", 2.0)
    world.run(1.5)
    assert [len(link.take_assignments()) for link in links] == [2, 2]


def test_labels_say_which_executor_may_hold_it(world: ArmingWorld) -> None:
    world.connect_armed("e1")
    link = world.connect_armed("e2", zone="x")
    world.once("t", 2.0, executor_labels={"zone": "x"})
    world.run(1.5)
    assert [item.task for item in link.take_assignments()] == ["t"]


def test_what_is_armed_takes_a_slot_from_its_time_on(world: ArmingWorld) -> None:
    world.connect_armed("e1", slots=2)
    world.once("t", 2.0, action=_COMMAND)
    world.run(1.5)
    assert world.sessions["e1"].free == 2
    world.run(0.5)
    assert world.sessions["e1"].free == 1


def test_a_pause_asks_the_executor_to_give_it_back(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.once("t", 2.0)
    world.run(1.5)
    [item] = link.take_assignments()
    assert list(world.pause("t").withdrawn) == [item.key.execution_id]
    [message] = link.sent
    [asked] = message.withdraw.items
    assert (asked.key, asked.fencing_token) == (item.key, item.fencing_token)
    world.give_back("e1", item)
    assert world.states() == {"t": "CANCELLED"}
    assert not world.sessions["e1"].held


def test_an_executor_that_connects_again_is_asked_again(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.once("t", 2.0)
    world.run(1.5)
    [item] = link.take_assignments()
    world.scheduler.disconnect(world.sessions["e1"])
    world.pause("t")
    for armed in ([(item.key.execution_id, 1)], []):
        link = world.connect_armed("e1", armed=tuple(armed))
        world.settle()
        asked = [each.key for message in link.sent for each in message.withdraw.items]
        assert asked == [item.key]
        assert link.take_assignments() == []


def test_what_is_armed_and_got_lost_is_sent_again(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.once("t", 2.0)
    world.run(1.5)
    [item] = link.take_assignments()
    link = world.connect_armed("e1", armed=((item.key.execution_id, 1),))
    world.settle()
    assert link.take_assignments() == []
    link = world.connect_armed("e1")
    world.settle()
    assert link.take_assignments() == [item]


def test_what_got_lost_until_its_time_is_sent_to_start_at_once_since_it_may_have_started(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.once("t", 2.0)
    world.run(1.5)
    [item] = link.take_assignments()
    world.run(0.5)
    link = world.connect_armed("e1")
    world.settle()
    [again] = link.take_assignments()
    assert (again.key, again.fencing_token, again.start_us) == (item.key, item.fencing_token, 0)


def test_what_was_given_back_and_is_not_yet_in_the_log_is_not_sent_again(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.once("t", 2.0)
    world.run(1.5)
    [item] = link.take_assignments()
    message = xpb.ConnectRequest()
    message.reports.items.add(key=item.key, state=ExecutionState.PENDING, fencing_token=item.fencing_token)
    world.scheduler.receive(world.sessions["e1"], message)
    link = world.connect_armed("e1")
    world.scheduler.step()
    assert link.take_assignments() == []
    world.settle()
    assert world.states() == {"t": "PENDING"}


def test_what_is_given_back_may_go_to_the_same_executor_in_the_same_commit(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.once("t", 2.0)
    world.run(1.5)
    [item] = link.take_assignments()
    world.clock.advance(0.5)
    row = world.execution(item.key.execution_id)
    row.state, row.fencing_token = ExecutionState.ASSIGNED, item.fencing_token + 256
    world.scheduler.applied([(item.key.execution_id, row)], [])
    assert [each.fencing_token for each in link.take_assignments()] == [item.fencing_token + 256]


def test_a_leader_that_follows_takes_over_what_is_armed(world: ArmingWorld) -> None:
    link = world.connect_armed("e1")
    world.once("t", 2.0)
    world.run(1.5)
    [item] = link.take_assignments()
    world.lead(2)
    link = world.connect_armed("e1", armed=((item.key.execution_id, 1),))
    world.run(0.6)
    assert link.take_assignments() == []
    world.report("e1", item, ExecutionState.SUCCEEDED)
    assert world.states() == {"t": "SUCCEEDED"}
