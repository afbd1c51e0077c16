"""Which executor is given what, and what one is told that comes back."""

import pytest
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2
from raftsched_proto.v1.cluster_pb2 import EXECUTOR_STATE_DRAINING, EXECUTOR_STATE_READY, Capabilities

from raftsched.core.state.model import Interval, Schedule, Task
from raftsched.scheduler import executors
from raftsched.scheduler.executors import ArmedAttempts, AttemptKey, Executors, ExecutorSession
from tests.unit.scheduler.test_groups import propose
from tests.unit.scheduler.test_scheduler import Link, World


def test_the_executor_with_the_most_room_is_given_the_next() -> None:
    world = World()
    small, large = world.connect("small", slots=2), world.connect("large", slots=6)
    for number in range(4):
        world.register(f"t{number}")
    world.run(1.0)
    assert (len(small.take_assignments()), len(large.take_assignments())) == (0, 4)


def test_a_new_stream_of_an_executor_replaces_the_old_one_whose_end_then_means_nothing() -> None:
    world = World()
    old_link = world.connect("e1")
    old = world.sessions["e1"]
    link = world.connect("e1")
    assert (old_link.closed, link.closed) == (True, False)
    world.scheduler.disconnect(old)
    world.register("tick")
    world.run(1.0)
    assert len(link.take_assignments()) == 1


def test_an_executor_that_was_away_when_its_attempt_was_cancelled_is_told_when_it_is_back() -> None:
    world = World()
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    world.scheduler.disconnect(world.sessions["e1"])
    propose(world, pb.Command(cancel_execution=pb.CancelExecution(id=item.key.execution_id)))
    again = world.connect("e1", held=[(item.key.execution_id, 1)])
    assert [key for message in again.sent for key in message.cancel.keys] == [item.key]


def test_what_an_executor_held_is_taken_back_once_however_long_the_log_takes() -> None:
    world = World()
    world.connect("e1")
    world.register("tick")
    world.run(1.0)
    world.scheduler.disconnect(world.sessions["e1"])
    world.pass_time(3)
    for _ in range(3):
        world.clock.advance(1.5)
        world.scheduler.step()
    commands = [pb.Command.FromString(command) for command, _ in world.log.queue]
    assert [command.WhichOneof("kind") for command in commands].count("expire") == 1


START_US = 1_800_000_000_000_000
EVERY_HOUR = Schedule(Interval(3_600_000_000, START_US))


def session(executor_id: str = "e1", *, slots: int = 2, **fields: object) -> ExecutorSession:
    return ExecutorSession(
        **{
            "executor_id": executor_id,
            "incarnation": "i",
            "labels": {},
            "slots": slots,
            "node_id": "",
            "version": "",
            "link": Link(),
            "draining": False,
            "arms": True,
            **fields,
        }
    )


def some(*sessions: ExecutorSession) -> Executors:
    made = Executors("n1")
    for each in sessions:
        made.add(each)
    return made


def key(number: int) -> AttemptKey:
    return number.to_bytes(16, "big"), 1


def task_of(**action: object) -> Task:
    return Task("t", EVERY_HOUR, action=task_pb2.Action(**action).SerializeToString())


COMMAND = task_of(command=task_pb2.CommandAction(argv=["true"]))
NOOP = task_of(noop=task_pb2.NoopAction())
REMOTE = task_of(aws_lambda=task_pb2.AwsLambdaAction(function="f"))


class TestArmed:
    def test_counts_what_is_held_and_what_is_being_given_for_each_tenth_of_a_second(self) -> None:
        armed = ArmedAttempts()
        armed.reserve(START_US)
        armed.add(key(1), START_US + 99_999)
        armed.add(key(2), START_US + 100_000)
        assert (armed.count, armed.of_moment(START_US), armed.of_moment(START_US + 100_000)) == (3, 2, 1)
        armed.release(START_US)
        assert (armed.count, armed.of_moment(START_US)) == (2, 1)
        armed.discard(key(1))
        assert (armed.count, armed.of_moment(START_US), armed.of_moment(START_US + 100_000)) == (1, 0, 1)
        assert armed._moments.keys() == {START_US // 100_000 + 1}, "a moment of which nothing is left is forgotten"

    def test_holds_an_attempt_once_however_often_it_is_given(self) -> None:
        armed = ArmedAttempts()
        for _ in range(2):
            armed.add(key(1), START_US)
        assert (armed.count, armed.of_moment(START_US)) == (1, 1)
        for _ in range(2):
            armed.discard(key(1))
        assert (armed.count, armed.of_moment(START_US)) == (0, 0)

    def test_starts_what_has_come_to_its_time_and_is_still_armed_for_it(self) -> None:
        armed = ArmedAttempts()
        for number, start_us in enumerate((START_US, START_US, START_US + 1)):
            armed.add(key(number), start_us)
        armed.discard(key(0))
        assert armed.start(START_US - 1) == []
        assert armed.start(START_US) == [key(1)]
        assert (list(armed.keys), armed.of_moment(START_US)) == ([key(2)], 1)
        armed.discard(key(2))
        armed.add(key(2), START_US + 5)
        assert armed.start(START_US + 1) == []
        assert armed.start(START_US + 5) == [key(2)]
        assert armed.count == 0


class TestSession:
    def test_what_it_holds_and_is_being_given_takes_slots_unless_it_is_armed_or_done_elsewhere(self) -> None:
        made = session(slots=8, burst=2, remote_slots=3, reserved=1, remote_reserved=1)
        made.give(key(1), 7, slot=True)
        made.give(key(2), 7, slot=False)
        made.give(key(3), 7, slot=True, start_us=START_US)
        assert (made.free, made.remote_free) == (8, 1)
        some(made).start_armed(START_US)
        assert made.free == 7
        for number in (1, 2, 3):
            made.let_go(key(number))
        assert (made.held, made.remote, made.free, made.remote_free) == ({}, set(), 9, 2)

    def test_lets_go_of_what_is_armed(self) -> None:
        made = session()
        made.give(key(1), 7, slot=True, start_us=START_US)
        made.let_go(key(1))
        assert (made.armed.count, made.armed.of_moment(START_US)) == (0, 0)

    def test_that_has_not_said_more_holds_nothing_ahead_and_takes_nothing_that_is_done_elsewhere(self) -> None:
        made = ExecutorSession("e1", "i", {}, 2, "", "", Link(), draining=False)
        assert (made.free, made.remote_free, made.may_arm(NOOP, START_US)) == (2, 0, False)

    def test_gets_nothing_while_it_drains_or_its_link_is_full(self) -> None:
        full = Link()
        full.has_room = False
        for made in (session(draining=True, remote_slots=1), session(link=full, remote_slots=1)):
            assert (made.free, made.remote_free, made.may_arm(NOOP, START_US)) == (0, 0, False)

    def test_shows_what_it_holds_in_its_slots_and_whether_it_drains_as_of_now(self) -> None:
        made = session(labels={"zone": "a"}, capabilities=Capabilities(action_kinds=["command"]), node_id="n1")
        first = made.status()
        assert (first.id, dict(first.labels), first.node_id, first.slots, first.slots_used, first.state) == (
            "e1",
            {"zone": "a"},
            "n1",
            2,
            0,
            EXECUTOR_STATE_READY,
        )
        assert list(first.capabilities.action_kinds) == ["command"]
        made.give(key(1), 7, slot=True)
        made.give(key(2), 8, slot=False)
        made.draining = True
        now = made.status()
        assert (now.slots_used, now.state) == (1, EXECUTOR_STATE_DRAINING)
        assert not session().status().HasField("capabilities")

    def test_carries_labels_if_it_has_all_of_them(self) -> None:
        made = session(labels={"zone": "a", "disk": "fast"})
        assert made.matches({})
        assert made.matches({"zone": "a"})
        assert not made.matches({"zone": "b"})
        assert not made.matches({"zone": "a", "gpu": "yes"})

    def test_arms_for_one_moment_as_many_as_it_has_slots_and_finished_lately(self) -> None:
        made = session(slots=2, burst=1)
        for number in range(3):
            assert made.may_arm(COMMAND, START_US)
            made.give(key(number), 7, slot=True, start_us=START_US)
        assert not made.may_arm(COMMAND, START_US)
        assert made.may_arm(COMMAND, START_US + 100_000)
        assert made.may_arm(NOOP, START_US), "it takes no slot"
        made.reserved = 3
        assert not made.may_arm(COMMAND, START_US + 100_000), "its slots are all taken"

    def test_arms_of_what_is_done_elsewhere_as_much_as_it_may_be_given(self) -> None:
        made = session(remote_slots=2)
        assert made.may_arm(REMOTE, START_US)
        made.armed.reserve(START_US)
        assert made.may_arm(REMOTE, START_US)
        made.armed.reserve(START_US)
        assert not made.may_arm(REMOTE, START_US)

    def test_arms_no_more_than_it_can_hold_and_nothing_if_it_would_start_it_at_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(executors, "MAX_ARMED", 1)
        made = session()
        assert made.may_arm(NOOP, START_US)
        made.armed.reserve(START_US)
        assert not made.may_arm(NOOP, START_US)
        assert not session(arms=False).may_arm(NOOP, START_US)


class TestExecutors:
    def test_those_that_just_left_count_among_everyone_until_their_lease_is_over(self) -> None:
        e1, e2, e3 = session("e1"), session("e2", labels={"zone": "a"}), session("e3", draining=True)
        made = some(e2, e1, e3)
        assert made.everyone({}) == ["e1", "e2"]
        assert made.everyone({"zone": "a"}) == ["e2"]
        assert made.remove(e2)
        assert not made.remove(e2)
        assert made.everyone({}) == ["e1", "e2"]
        made.add(session("e2"))
        assert made.everyone({}) == ["e1", "e2"]
        made.remove(e1)
        made.forget("e1")
        made.forget("e1")
        assert made.everyone({}) == ["e2"]

    def test_room_and_window_are_those_of_all_together(self) -> None:
        # The second was given more than it takes, as one may be that comes back with other settings.
        made = some(session("e1", burst=3), session("e2", reserved=5), session("e3", burst=4, draining=True))
        assert (made.room(), made.window(), made.any_free()) == (5, 3, True)
        assert some(session(slots=1)).any_free()
        assert not some(session(slots=0), session("e2", reserved=2)).any_free()

    def test_what_is_given_to_one_alone_takes_a_slot_of_it_if_there_is_one(self) -> None:
        e1 = session(slots=2, remote_slots=2)
        made = some(e1)
        assert made.reserve_on("e2") == ""
        assert [made.reserve_on("e1") for _ in range(3)] == ["e1", "e1", ""]
        assert [made.reserve_on("e1", slot=False) for _ in range(3)] == ["e1", "e1", ""]
        assert (e1.reserved, e1.remote_reserved) == (2, 2)
        made.release([("gone", True), ("e1", True)])
        assert (e1.reserved, e1.remote_reserved) == (1, 2)
        made.release([("e1", False)])
        assert (e1.reserved, e1.remote_reserved) == (1, 1)
        made.release([("e1", True), ("e1", False)] * 2)
        assert (e1.reserved, e1.remote_reserved) == (0, 0), "a stream that is new owes nothing to the one before"

    def test_the_one_with_the_most_room_is_chosen_and_the_leaders_own_last(self) -> None:
        own, e1, e2 = session("own", slots=9, node_id="n1"), session("e1", slots=2), session("e2", slots=3)
        made = some(own, e1, e2)
        chosen = [made.reserve({}) for _ in range(14)]
        assert chosen == ["e2", "e1", "e2", "e1", "e2", *["own"] * 9]
        assert made.reserve({}) == ""
        assert (e1.reserved, e2.reserved, own.reserved) == (2, 3, 9)

    def test_only_one_that_carries_the_labels_is_chosen(self) -> None:
        made = some(session("e1", slots=9, remote_slots=9), session("e2", labels={"zone": "a"}, remote_slots=1))
        assert made.reserve({"zone": "a"}) == "e2"
        assert made.reserve({"zone": "b"}) == ""
        assert [made.reserve({"zone": "a"}, slot=False) for _ in range(2)] == ["e2", ""]

    def test_of_what_is_done_elsewhere_the_one_that_may_be_given_the_most_gets_the_next(self) -> None:
        made = some(session("e1", remote_slots=1), session("e2", remote_slots=3))
        assert [made.reserve({}, slot=False) for _ in range(5)] == ["e2", "e2", "e1", "e2", ""]

    def test_the_one_that_holds_the_fewest_is_given_what_is_to_start_later_and_the_leaders_own_last(self) -> None:
        own, e1 = session("own", node_id="n1", slots=1), session("e1", slots=1)
        e2 = session("e2", labels={"zone": "a"}, slots=2)
        made = some(own, e1, e2)
        e2.armed.add(key(9), START_US - 500_000)
        labelled = Task("t", EVERY_HOUR, action=COMMAND.action, executor_labels={"zone": "a"})
        assert made.reserve_ahead(labelled, START_US) is e2
        assert [made.reserve_ahead(COMMAND, START_US) for _ in range(4)] == [e1, e2, own, None]
        assert (e1.armed.reserved, e2.armed.reserved, own.armed.reserved) == (1, 2, 1)

    def test_whether_any_holds_what_is_to_start_later(self) -> None:
        assert not some(session(arms=False)).can_arm()
        assert some(session(arms=False), session("e2")).can_arm()

    def test_a_window_is_twice_what_was_finished_since_and_closes_by_halves(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(executors, "MAX_BURST", 100)
        made = some(e1 := session())
        bursts = []
        for now_s, ended in ((0.1, 4), (0.15, 3), (0.25, 0), (2.0, 0), (3.0, 1), (4.0, 0), (5.0, 0), (6.0, 60)):
            e1.ended_since += ended
            made.adapt_bursts(now_s)
            bursts.append(e1.burst)
        assert bursts == [8, 8, 6, 3, 2, 1, 0, 100]
