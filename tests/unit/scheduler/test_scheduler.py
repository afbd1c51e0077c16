"""The leader's work against real tables, with a log that applies a command when the test says so."""

from collections import deque
from collections.abc import Callable

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult
from raftsched_proto.v1 import execution_pb2, policy_pb2, task_pb2

from raftsched.commands.gate import Gate
from raftsched.consensus.membership import Members
from raftsched.core.machine import COMMAND_VERSION, Applied, apply
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState
from raftsched.core.state.rows import LedgerRow, ledger_key, parse_ledger_key
from raftsched.node.members import KnownMembers
from raftsched.ports import Fate, Peer, Role, ShardStatus, Table
from raftsched.scheduler import firing
from raftsched.scheduler.executors import ExecutorLink, ExecutorSession
from raftsched.scheduler.scheduler import Scheduler
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.store.memory_store import MemoryStore
from tests.support.agreed import AgreedTime

START_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
Held = list[tuple[bytes, int]] | tuple[()]


class ManualClock(AgreedTime):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.us = START_US

    def now_us(self) -> int:
        return self.us

    def monotonic(self) -> float:
        return (self.us - START_US) / SECOND_US

    def uniform(self, low: float, high: float) -> float:
        return low

    def token(self) -> str:
        return "0" * 32

    def advance(self, seconds: float) -> None:
        self.us += int(seconds * SECOND_US)


class StepLog:
    """A log of one node that applies what was proposed at ``pump``."""

    role, term, leader_id = Role.LEADER, 3, "n1"

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.index = 1
        self.queue: deque[tuple[bytes, Callable[[Fate, bytes], None]]] = deque()
        self.on_applied: Callable[[Applied], None] = lambda applied: None
        self.refuse = False

    def propose(self, command: bytes, done: Callable[[Fate, bytes], None], *, early: bool = False) -> None:
        self.queue.append((command, done))

    def read_barrier(self, done: Callable[[Fate], None]) -> None:
        raise AssertionError("the scheduler does not ask for a read barrier")

    def transfer_leadership(self, peer_id: str, done: Callable[[str], None]) -> None:
        raise AssertionError("the scheduler does not transfer the leadership")

    def status(self) -> ShardStatus:
        raise AssertionError("the scheduler does not ask for the status")

    def pump(self) -> int:
        count = 0
        while self.queue:
            command, done = self.queue.popleft()
            count += 1
            if self.refuse:
                done(Fate.NOT_LEADER, b"")
                continue
            self.index += 1
            applied = apply(self.store.batch(), self.index, command)
            self.store.commit()
            self.on_applied(applied)
            done(Fate.DONE, applied.outcome.SerializeToString())
        return count


class Link:
    """The leader's end of an executor's stream, kept for the test to look at."""

    def __init__(self) -> None:
        self.sent: list[xpb.ConnectResponse] = []
        self.closed = False
        self.has_room = True

    def send(self, message: xpb.ConnectResponse) -> None:
        self.sent.append(message)

    def close(self) -> None:
        self.closed = True

    def take_assignments(self) -> list[xpb.Assignment]:
        found = [item for message in self.sent for item in message.assignments.items]
        self.sent.clear()
        return found


def connect(scheduler: Scheduler, hello: xpb.Hello, link: ExecutorLink) -> ExecutorSession:
    """Without a turn in which anything could change."""
    with scheduler.look_up(hello) as held:
        return scheduler.connect(hello, held, link)


class World:
    """One leader, its tables and its clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.log = StepLog(self.store)
        self.sessions: dict[str, ExecutorSession] = {}
        self.members = KnownMembers((Peer("n1", "a:1"), Peer("n2", "b:1")))
        self.scheduler = self.lead(1)

    def lead(self, term: int, **settings: int) -> Scheduler:
        """A new leader over the same tables."""
        self.scheduler = Scheduler(
            log=self.log,
            store=self.store,
            clock=self.clock,
            node_id="n1",
            term=term,
            wake=lambda: None,
            settings=SchedulerSettings(**{"lease_ms": 5_000, "retention_settle_s": 0, **settings}),
            gate=Gate(lambda: COMMAND_VERSION),
            members=self.members,
        )
        self.log.on_applied = lambda applied: self.scheduler.applied(applied.executions, applied.tasks)
        return self.scheduler

    def register(self, name: str, **fields: object) -> None:
        task = task_pb2.Task(name=name, **fields)
        if task.schedule.WhichOneof("kind") is None:
            task.schedule.interval.every.FromSeconds(1)
            task.schedule.interval.anchor.FromMicroseconds(START_US)
        if task.action.WhichOneof("kind") is None:
            task.action.noop.SetInParent()
        command = pb.Command(version=COMMAND_VERSION, now_us=self.clock.now_us())
        at = task.schedule.at
        next_us = at.ToMicroseconds() if task.schedule.HasField("at") else START_US + SECOND_US
        command.register_tasks.items.add(task=task, next_us=next_us)
        self.log.propose(command.SerializeToString(), lambda fate, outcome: None)
        self.log.pump()

    def connect(
        self,
        executor_id: str,
        *,
        slots: int = 8,
        node_id: str = "",
        held: Held = (),
        **labels: str,
    ) -> Link:
        link = Link()
        self.admit(executor_id, link, slots=slots, node_id=node_id, held=held, **labels)
        return link

    def admit(
        self,
        executor_id: str,
        link: ExecutorLink,
        *,
        slots: int = 8,
        node_id: str = "",
        held: Held = (),
        **labels: str,
    ) -> None:
        hello = xpb.Hello(executor_id=executor_id, incarnation="i", slots=slots, labels=labels, node_id=node_id)
        for execution_id, attempt in held:
            hello.held.add(execution_id=execution_id, attempt=attempt)
        self.sessions[executor_id] = connect(self.scheduler, hello, link)

    def run(self, seconds: float = 0.0) -> None:
        """Step until nothing more is proposed, then move the clock, and step again."""
        self.settle()
        self.clock.advance(seconds)
        self.settle()

    def pass_time(self, seconds: int) -> None:
        """Step every second, as a leader does that does not stand still."""
        for _ in range(seconds):
            self.run(1.0)

    def settle(self) -> None:
        for _ in range(100):
            self.scheduler.step()
            if not self.log.pump():
                return
        raise AssertionError("the scheduler does not come to rest")

    def report(self, executor_id: str, item: xpb.Assignment, state: ExecutionState) -> None:
        message = xpb.ConnectRequest()
        message.reports.items.add(
            key=item.key, state=state, result=AttemptResult(start_us=self.clock.us, end_us=self.clock.us, exit_code=0)
        )
        self.scheduler.receive(self.sessions[executor_id], message)
        self.settle()

    def heartbeat(self, executor_id: str) -> None:
        self.scheduler.receive(self.sessions[executor_id], xpb.ConnectRequest(heartbeat=xpb.Heartbeat(sequence=1)))

    def execution(self, execution_id: bytes) -> pb.ExecutionRow:
        with self.store.read() as reader:
            found = reader.get(Table.EXECUTIONS, execution_id)
        assert found is not None
        return pb.ExecutionRow.FromString(found)

    def ledger(self, name: str) -> list[tuple[float, LedgerRow]]:
        """Nominal times in seconds since the start, with their rows."""
        with self.store.read() as reader:
            rows = [(parse_ledger_key(key), LedgerRow.FromString(value)) for key, value in reader.scan(Table.LEDGER)]
        return [((key[1] - START_US) / SECOND_US, row) for key, row in rows if key[0] == name]


@pytest.fixture
def world() -> World:
    return World()


def test_each_nominal_time_fires_once_and_reaches_an_executor(world: World) -> None:
    link = world.connect("e1")
    world.register("tick")
    world.run(3.0)
    items = link.take_assignments()
    assert [item.nominal_us - START_US for item in items] == [SECOND_US, 2 * SECOND_US, 3 * SECOND_US]
    assert [at for at, row in world.ledger("tick")] == [1, 2, 3]
    assert all(row.decision == Decision.RAN for _, row in world.ledger("tick"))


def test_without_an_executor_executions_wait_and_are_assigned_in_order_of_nominal_time(world: World) -> None:
    world.register("tick")
    world.run(3.0)
    with world.store.read() as reader:
        assert reader.count(Table.PENDING) == 3
    link = world.connect("e1")
    world.run()
    items = link.take_assignments()
    assert [item.nominal_us for item in items] == sorted(item.nominal_us for item in items)
    assert len(items) == 3


def test_the_leaders_own_pool_runs_only_what_nobody_else_can_take(world: World) -> None:
    own = world.connect("own", node_id="n1", slots=100)
    other = world.connect("other", node_id="n2", slots=2)
    world.register("tick")
    world.run(3.0)
    assert len(other.take_assignments()) == 2
    assert len(own.take_assignments()) == 1


def test_a_task_runs_only_on_executors_that_carry_its_labels(world: World) -> None:
    plain = world.connect("plain")
    world.register("tick", executor_labels={"zone": "a"})
    world.run(1.0)
    assert plain.take_assignments() == []
    labelled = world.connect("labelled", zone="a")
    world.run()
    assert len(labelled.take_assignments()) == 1


def test_an_execution_that_no_executor_fits_does_not_hold_up_the_others(world: World) -> None:
    world.register("stuck", executor_labels={"zone": "nowhere"})
    world.register("fine")
    world.run(2.0)
    link = world.connect("e1")
    world.run()
    assert {item.task for item in link.take_assignments()} == {"fine"}


def test_a_reported_end_is_acknowledged_once_it_is_in_the_log(world: World) -> None:
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    world.report("e1", item, ExecutionState.SUCCEEDED)
    acknowledged = [key for message in link.sent for key in message.acknowledge.keys]
    assert [key.execution_id for key in acknowledged] == [item.key.execution_id]
    assert world.execution(item.key.execution_id).state == ExecutionState.SUCCEEDED


def test_a_broken_stream_does_not_end_an_attempt(world: World) -> None:
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    world.scheduler.disconnect(world.sessions["e1"])
    world.run(2.0)
    row = world.execution(item.key.execution_id)
    assert (row.state, row.attempt) == (ExecutionState.ASSIGNED, 1)


def test_an_expired_lease_gives_the_execution_to_another_executor_with_a_higher_token(world: World) -> None:
    link = world.connect("e1", slots=1)
    at = START_US + SECOND_US
    schedule = task_pb2.Schedule()
    schedule.at.FromMicroseconds(at)
    world.register("once", schedule=schedule)
    world.run(1.0)
    (first,) = link.take_assignments()
    world.scheduler.disconnect(world.sessions["e1"])
    other = world.connect("e2")
    for _ in range(6):
        world.run(1.0)
        world.heartbeat("e2")
    world.run()
    (second,) = other.take_assignments()
    assert second.key.execution_id == first.key.execution_id
    assert second.key.attempt == 2
    assert second.fencing_token > first.fencing_token


def test_an_at_most_once_execution_is_lost_when_its_executor_vanishes(world: World) -> None:
    link = world.connect("e1")
    schedule = task_pb2.Schedule()
    schedule.at.FromMicroseconds(START_US + SECOND_US)
    world.register("once", schedule=schedule, delivery=policy_pb2.DELIVERY_AT_MOST_ONCE)
    world.run(1.0)
    (item,) = link.take_assignments()
    world.scheduler.disconnect(world.sessions["e1"])
    world.pass_time(7)
    assert world.execution(item.key.execution_id).state == execution_pb2.EXECUTION_STATE_LOST


def test_a_leader_that_stood_still_gives_executors_a_whole_lease_to_be_heard(world: World) -> None:
    link = world.connect("e1")
    schedule = task_pb2.Schedule()
    schedule.at.FromMicroseconds(START_US + SECOND_US)
    world.register("once", schedule=schedule, delivery=policy_pb2.DELIVERY_AT_MOST_ONCE)
    world.run(1.0)
    (item,) = link.take_assignments()
    world.run(60.0)
    world.pass_time(4)
    assert world.execution(item.key.execution_id).state == execution_pb2.EXECUTION_STATE_ASSIGNED
    world.pass_time(2)
    assert world.execution(item.key.execution_id).state == execution_pb2.EXECUTION_STATE_LOST


def test_a_new_leader_goes_on_from_the_cursors_and_gives_executors_a_whole_lease(world: World) -> None:
    link = world.connect("e1")
    world.register("tick")
    world.run(2.0)
    held = [(item.key.execution_id, item.key.attempt) for item in link.take_assignments()]
    world.clock.advance(4.0)
    world.lead(2)
    world.run()
    assert [at for at, _ in world.ledger("tick")] == [1, 2, 3, 4, 5, 6]
    again = world.connect("e1", held=held)
    world.run(1.0)
    welcomed = again.sent[0].welcome
    assert list(welcomed.revoked) == []
    sent = [item.key.execution_id for item in again.take_assignments()]
    assert not {key[0] for key in held} & set(sent)
    assert len(sent) == 5


def test_a_new_leader_resends_what_the_executor_never_got(world: World) -> None:
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (lost,) = link.take_assignments()
    world.lead(2)
    again = world.connect("e1", held=[])
    world.run()
    assert [item.key for item in again.take_assignments()] == [lost.key]


def test_an_executor_that_comes_back_too_late_is_told_to_forget(world: World) -> None:
    link = world.connect("e1", slots=1)
    schedule = task_pb2.Schedule()
    schedule.at.FromMicroseconds(START_US + SECOND_US)
    world.register("once", schedule=schedule)
    world.run(1.0)
    (item,) = link.take_assignments()
    world.scheduler.disconnect(world.sessions["e1"])
    world.pass_time(7)
    again = world.connect("e1", held=[(item.key.execution_id, 1)])
    assert [key.attempt for key in again.sent[0].welcome.revoked] == [1]


def test_misfired_nominal_times_are_coalesced_into_one_run_and_none_is_missing(world: World) -> None:
    world.connect("e1")
    world.register("tick")
    world.clock.advance(60.0)
    world.settle()
    covered = sum(row.count for _, row in world.ledger("tick"))
    assert covered == 60
    ran = [at for at, row in world.ledger("tick") if row.decision == Decision.RAN]
    assert ran == [49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60]


def test_a_refused_fire_is_proposed_again(world: World) -> None:
    link = world.connect("e1")
    world.register("tick")
    world.clock.advance(1.0)
    world.log.refuse = True
    world.scheduler.step()
    world.log.pump()
    assert world.ledger("tick") == []
    world.log.refuse = False
    world.settle()
    assert len(link.take_assignments()) == 1


def test_an_execution_of_a_deleted_task_ends_as_cancelled(world: World) -> None:
    world.register("gone")
    world.run(1.0)
    command = pb.Command(version=COMMAND_VERSION, now_us=world.clock.now_us())
    command.delete_task.name = "gone"
    world.log.propose(command.SerializeToString(), lambda fate, outcome: None)
    world.log.pump()
    world.connect("e1")
    world.run()
    execution_id = ids.execution_id(1, 1, START_US + SECOND_US)
    assert world.execution(execution_id).state == ExecutionState.CANCELLED


def test_a_draining_executor_is_given_nothing(world: World) -> None:
    link = world.connect("e1")
    message = xpb.ConnectRequest(heartbeat=xpb.Heartbeat(sequence=1, draining=True))
    world.scheduler.receive(world.sessions["e1"], message)
    world.register("tick")
    world.run(1.0)
    assert link.take_assignments() == []


def test_short_attempts_widen_the_window_beyond_the_slots(world: World) -> None:
    link = world.connect("e1", slots=2)
    for number in range(40):
        world.register(f"t{number:02}")
    world.run(1.0)
    rounds = 0
    done = 0
    while done < 40:
        rounds += 1
        items = link.take_assignments()
        assert items
        for item in items:
            world.report("e1", item, ExecutionState.SUCCEEDED)
        done += len(items)
        world.scheduler.executors.adapt_bursts(world.clock.monotonic() + rounds)
        world.settle()
    assert rounds < 10


def fired(world: World) -> int:
    with world.store.read() as reader:
        return reader.count(Table.EXECUTIONS)


def with_quick_executor(world: World, count: int) -> Link:
    """A leader that decides ten at a time, and an executor with two slots that ended ten within a moment."""
    world.lead(1, fire_batch_items=10)
    link = world.connect("e1", slots=2)
    at = task_pb2.Schedule()
    at.at.FromMicroseconds(START_US + SECOND_US)
    for number in range(10):
        world.register(f"first{number}", schedule=at)
    at.at.FromMicroseconds(START_US + 2 * SECOND_US)
    for number in range(count):
        world.register(f"herd{number:03}", schedule=at)
    world.run(1.0)
    done = 0
    while done < 10:
        for item in link.take_assignments():
            world.report("e1", item, ExecutionState.SUCCEEDED)
            done += 1
    world.run(0.1)
    return link


def test_a_herd_is_decided_as_fast_as_its_executions_can_be_given_to_quick_executors(world: World) -> None:
    link = with_quick_executor(world, 100)
    world.run(0.9)
    for _ in range(20):
        with world.store.read() as reader:
            # What is decided without room for it waits, and takes another log entry to be given away.
            assert reader.count(Table.PENDING) == 0
        for item in link.take_assignments():
            world.report("e1", item, ExecutionState.SUCCEEDED)
        world.run(0.1)
    assert fired(world) == 110


def test_a_turn_that_takes_long_ends_early_and_the_rest_is_decided_in_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "_LONGEST_TURN_S", -1.0)
    at = task_pb2.Schedule()
    at.at.FromMicroseconds(START_US + SECOND_US)
    for number in range(10):
        world.register(f"t{number}", schedule=at)
    fires: list[int] = []
    propose = world.log.propose

    def counted(command: bytes, done: Callable[[Fate, bytes], None], *, early: bool = False) -> None:
        message = pb.Command.FromString(command)
        if message.HasField("fire"):
            fires.append(len(message.fire.items))
        propose(command, done, early=early)

    world.log.propose = counted  # type: ignore[method-assign]  # counts what is proposed
    world.run(1.0)
    assert fires == [1] * 10
    assert fired(world) == 10


def test_a_herd_is_decided_all_the_same_once_executors_are_no_longer_quick(world: World) -> None:
    link = with_quick_executor(world, 100)
    world.run(0.9)
    assert link.take_assignments()
    assert fired(world) < 110
    for _ in range(10):
        world.run(0.1)
    assert fired(world) == 110


def running(world: World, item: xpb.Assignment) -> bool:
    return ExecutionState(world.execution(item.key.execution_id).state) is ExecutionState.ASSIGNED


def test_an_end_shortly_before_a_fire_goes_into_the_log_with_it_and_before_it(world: World) -> None:
    link = world.connect("e1")
    world.register("tick", overlap_policy=policy_pb2.OVERLAP_POLICY_SKIP)
    world.run(1.0)
    (item,) = link.take_assignments()
    world.clock.advance(0.99)
    world.report("e1", item, ExecutionState.SUCCEEDED)
    assert running(world, item)
    world.clock.advance(0.01)
    world.scheduler.step()
    assert len(world.log.queue) == 2
    world.settle()
    assert not running(world, item)
    assert [row.decision for _, row in world.ledger("tick")] == [Decision.RAN, Decision.RAN]


def test_an_end_without_a_fire_near_goes_into_the_log_at_once(world: World) -> None:
    link = world.connect("e1")
    world.register("tick")
    world.run(1.0)
    (item,) = link.take_assignments()
    world.clock.advance(0.9)
    world.report("e1", item, ExecutionState.SUCCEEDED)
    assert not running(world, item)


def test_an_end_that_an_execution_waits_for_goes_into_the_log_at_once(world: World) -> None:
    link = world.connect("e1", slots=1)
    world.register("tick", action=task_pb2.Action(command=task_pb2.CommandAction(argv=["/bin/true"])))
    world.run(2.0)
    (item,) = link.take_assignments()
    world.clock.advance(0.99)
    world.report("e1", item, ExecutionState.SUCCEEDED)
    assert not running(world, item)
    assert len(link.take_assignments()) == 1


def test_an_end_waits_only_for_a_moment_while_a_fire_is_under_way(world: World) -> None:
    link = world.connect("e1")
    world.register("tick")
    at = task_pb2.Schedule()
    at.at.FromMicroseconds(START_US + 3 * SECOND_US)
    world.register("once", schedule=at)
    world.run(1.0)
    (item,) = link.take_assignments()
    world.clock.advance(1.0)
    world.scheduler.step()
    assert len(world.log.queue) == 1
    world.clock.advance(0.99)
    message = xpb.ConnectRequest()
    message.reports.items.add(key=item.key, state=ExecutionState.SUCCEEDED, result=AttemptResult(start_us=1, end_us=1))
    world.scheduler.receive(world.sessions["e1"], message)
    assert world.scheduler.step() == pytest.approx(0.02)
    assert len(world.log.queue) == 1
    world.clock.advance(0.021)
    world.scheduler.step()
    assert len(world.log.queue) == 2


def test_retention_removes_old_executions_and_their_ledger_rows(world: World) -> None:
    link = world.connect("e1")
    schedule = task_pb2.Schedule()
    schedule.at.FromMicroseconds(START_US + SECOND_US)
    world.register("once", schedule=schedule)
    world.run(1.0)
    (item,) = link.take_assignments()
    world.report("e1", item, ExecutionState.SUCCEEDED)
    world.run(8 * 86_400)
    with world.store.read() as reader:
        assert reader.count(Table.EXECUTIONS) == 0
        assert reader.count(Table.LEDGER) == 1
    world.run(23 * 86_400)
    with world.store.read() as reader:
        assert reader.count(Table.LEDGER) == 0


def test_the_ledger_is_cleared_as_fast_as_it_grows_however_much_of_it_is_kept(world: World) -> None:
    world.scheduler = world.lead(2, keep_ledger_s=86_400)
    row, old_us = LedgerRow(decision=Decision.SKIPPED), world.clock.us - 86_400 * SECOND_US
    batch = world.store.batch()
    for task in ("a", "b"):
        for number in range(-3_000, 30_000):
            batch.put(Table.LEDGER, ledger_key(task, old_us + number * SECOND_US, bytes(16)), row.SerializeToString())
    world.store.commit()
    world.run()
    assert [len(world.ledger(task)) for task in ("a", "b")] == [30_000, 30_000]


def backfill(world: World, name: str, *times_us: int) -> None:
    with world.store.read() as reader:
        row = pb.TaskRow.FromString(reader.get(Table.TASKS, name.encode()) or b"")
    command = pb.Command(version=COMMAND_VERSION, now_us=world.clock.us)
    body = pb.BackfillTask(name=name, expected_revision=row.revision, nominal_us=times_us, max_running=1)
    command.backfill_task.CopyFrom(body)
    world.log.propose(command.SerializeToString(), lambda fate, outcome: None)
    world.settle()


def test_retention_keeps_a_backfill_of_old_dates_as_long_as_what_runs_now(world: World) -> None:
    link = world.connect("e1")
    schedule = task_pb2.Schedule()
    schedule.at.FromMicroseconds(START_US + SECOND_US)
    world.register("once", schedule=schedule, paused=True)
    old_us = START_US - 400 * 86_400 * SECOND_US
    backfill(world, "once", old_us, old_us + SECOND_US)
    for _ in range(2):
        (item,) = link.take_assignments()
        world.report("e1", item, ExecutionState.SUCCEEDED)
    for days, executions, entries in ((6, 2, 2), (2, 0, 2), (23, 0, 0)):
        world.run(days * 86_400)
        with world.store.read() as reader:
            kept = reader.count(Table.EXECUTIONS), len(world.ledger("once"))
        assert kept == (executions, entries)


def test_retention_by_number_passes_over_recent_backfills(world: World) -> None:
    world.scheduler = world.lead(2, keep_executions_count=2, retention_batch_rows=3, retention_interval_s=0)
    link = world.connect("e1", slots=100)
    world.register("tick")
    backfill(world, "tick", *(START_US - number * SECOND_US for number in range(20, 0, -1)))
    for _ in range(20):
        for item in link.take_assignments():
            world.report("e1", item, ExecutionState.SUCCEEDED)
    for _ in range(6):
        world.run(1.0)
        for item in link.take_assignments():
            world.report("e1", item, ExecutionState.SUCCEEDED)
    world.settle()
    with world.store.read() as reader:
        rows = [pb.ExecutionRow.FromString(value) for _, value in reader.scan(Table.EXECUTIONS)]
    assert [row.trigger for row in rows] == [execution_pb2.TRIGGER_BACKFILL] * 20


def test_a_pause_ends_at_its_resume_date_whoever_leads_and_what_passed_is_skipped(world: World) -> None:
    world.connect("e1")
    resume_time = Timestamp(seconds=START_US // SECOND_US + 4)
    world.register("tick", paused=True, resume_time=resume_time)
    world.run(2.0)
    assert world.ledger("tick") == []
    world.lead(2)
    world.connect("e1")
    world.run(3.0)
    rows = world.ledger("tick")
    assert [(at, row.count, row.decision) for at, row in rows] == [
        (1, 3, Decision.SKIPPED),
        (4, 1, Decision.RAN),
        (5, 1, Decision.RAN),
    ]
    assert rows[0][1].reason == "the task was paused"
    with world.store.read() as reader:
        task = pb.TaskRow.FromString(reader.get(Table.TASKS, b"tick") or b"").task
    assert (task.paused, task.HasField("resume_time")) == (False, False)


def test_a_task_that_is_resumed_or_deleted_before_its_resume_date_leaves_no_due_row(world: World) -> None:
    for name in ("resumed", "deleted"):
        world.register(name, paused=True, resume_time=Timestamp(seconds=START_US // SECOND_US + 4))
    with world.store.read() as reader:
        row = pb.TaskRow.FromString(reader.get(Table.TASKS, b"resumed") or b"")
    command = pb.Command(version=COMMAND_VERSION, now_us=world.clock.us)
    command.replace_task.CopyFrom(pb.ReplaceTask(task=row.task, expected_revision=row.revision))
    command.replace_task.task.paused = False
    command.replace_task.task.ClearField("resume_time")
    world.log.propose(command.SerializeToString(), lambda fate, outcome: None)
    command = pb.Command(version=COMMAND_VERSION, now_us=world.clock.us)
    command.delete_task.name = "deleted"
    world.log.propose(command.SerializeToString(), lambda fate, outcome: None)
    world.log.pump()
    with world.store.read() as reader:
        assert [key[8:] for key, _ in reader.scan(Table.DUE)] == [b"resumed"]
        assert int.from_bytes(next(iter(reader.scan(Table.DUE)))[0][:8], "big") == START_US + SECOND_US


def test_the_ledger_keeps_generation_and_the_policies_that_decided(world: World) -> None:
    world.connect("e1")
    world.register("tick", misfire_policy=1, overlap_policy=2, delivery=2)
    world.run(1.0)
    ((_, row),) = world.ledger("tick")
    assert (row.generation, row.misfire_policy, row.overlap_policy, row.delivery) == (1, 1, 2, 2)


def test_the_entry_of_an_execution_that_is_lost_says_so(world: World) -> None:
    world.connect("e1")
    world.register("once", delivery=policy_pb2.DELIVERY_AT_MOST_ONCE)
    world.run(1.0)
    world.pass_time(7)
    _, row = world.ledger("once")[0]
    assert row.decision == Decision.LOST
    assert row.reason == "the executor e1 was not heard of for 5 s"


def test_function_elsewhere_needs_no_free_slot_and_takes_none(world: World) -> None:
    link = world.connect("e1", slots=1)
    world.sessions["e1"].remote_slots = 2
    once = task_pb2.Schedule(at=Timestamp(seconds=START_US // SECOND_US + 1))
    world.register("busy", schedule=once, action=task_pb2.Action(command=task_pb2.CommandAction(argv=["sleep", "9"])))
    for name in ("f1", "f2", "f3"):
        action = task_pb2.Action(aws_lambda=task_pb2.AwsLambdaAction(function=name))
        world.register(name, schedule=once, action=action)
    world.run(1)
    sent = {item.task: item for item in link.take_assignments()}
    assert sorted(sent) == ["busy", "f1", "f2"]
    assert world.sessions["e1"].free == 0
    assert world.scheduler.executors.get("e1").remote_free == 0
    world.report("e1", sent["f1"], ExecutionState.SUCCEEDED)
    for _ in range(20):
        world.run(0.2)
    assert [item.task for item in link.take_assignments()] == ["f3"]
    assert world.sessions["e1"].held.keys() - world.sessions["e1"].remote == {(sent["busy"].key.execution_id, 1)}


def test_executors_are_told_who_takes_copies_when_they_connect_and_when_the_members_change(world: World) -> None:
    link = world.connect("e1")
    assert [node.id for node in link.sent[0].welcome.copy_nodes] == ["n1", "n2"]
    world.members.subscribe(world.scheduler.tell_copy_nodes)
    world.members.take(Members((Peer("n3", "c:1"),)))
    assert [(node.id, node.address) for node in link.sent[-1].copy_nodes.nodes][2:] == [("n3", "c:1")]
    assert [node.id for node in world.connect("e2").sent[0].welcome.copy_nodes] == ["n1", "n2", "n3"]
