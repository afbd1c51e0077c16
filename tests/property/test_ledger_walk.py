"""Whatever leaders, pauses, refusals and executors do, the ledger has each nominal time exactly once, in order."""

from google.protobuf.duration_pb2 import Duration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.api.tasks.change import plan_change
from raftsched.core.machine import COMMAND_VERSION
from raftsched.core.state.model import Decision, ExecutionState, OverlapPolicy, Placement, Trigger
from raftsched.core.state.rows import decode_cursor
from raftsched.ports import Table
from tests.unit.scheduler.test_scheduler import SECOND_US, START_US, World

NAME = "t"
LEASE_S = 5.0
EVERY_OVERLAPS = (OverlapPolicy.ALLOW, OverlapPolicy.SKIP)
policies = st.fixed_dictionaries(
    {
        "misfire_policy": st.integers(1, 3),
        "misfire_threshold": st.sampled_from([Duration(seconds=1), Duration(seconds=10)]),
        "misfire_window": st.sampled_from([Duration(), Duration(seconds=10), Duration(seconds=30)]),
        "misfire_max_runs": st.sampled_from([0, 1, 4]),
        "overlap_policy": st.integers(1, 4),
        "max_running": st.sampled_from([1, 2]),
        "max_queued": st.sampled_from([1, 3]),
        "delivery": st.integers(1, 2),
        "start_deadline": st.sampled_from([Duration(), Duration(seconds=3)]),
    }
)
steps = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0.3, 1.0, 2.5, 7.0, 45.0])),
    st.tuples(st.just("lead"), st.booleans()),
    st.tuples(st.just("pause"), st.sampled_from([0, 1, 6])),
    st.tuples(st.just("resume"), st.none()),
    st.tuples(st.just("refuse"), st.sampled_from([1.0, 12.0])),
    st.tuples(st.just("finish"), st.none()),
)

backfills = st.tuples(st.just("backfill"), st.integers(1, 4))


class Life:
    """A task, and all that may happen to its cluster."""

    def __init__(self, fields: dict[str, object]) -> None:
        self.world = World()
        self.term = 1
        self.backfilled: list[int] = []
        self.link = self.world.connect("e1")
        self.world.register(NAME, **fields)

    def act(self, what: str, value: object) -> None:
        match what:
            case "pass":
                self.world.run(float(str(value)))
            case "lead":
                # The leader before may still have proposals under way, which are applied after the new one's first.
                if value:
                    self.world.scheduler.step()
                self.term += 1
                self.world.lead(self.term)
                self.link = self.world.connect("e1")
            case "pause":
                self.change(paused=True, resume_s=int(str(value)))
            case "resume":
                self.change(paused=False, resume_s=0)
            case "refuse":
                self.world.log.refuse = True
                self.world.scheduler.step()
                self.world.clock.advance(float(str(value)))
                self.world.log.pump()
                self.world.log.refuse = False
            case "backfill":
                self.backfill(int(str(value)))
            case "finish":
                for item in self.link.take_assignments():
                    self.world.report("e1", item, ExecutionState.SUCCEEDED)

    def backfill(self, count: int) -> None:
        """The latest seconds of the past; refused while executions of another one between them have not ended."""
        last = (self.world.clock.us - START_US) // SECOND_US
        seconds = [second for second in range(last - count + 1, last + 1) if second > 0]
        with self.world.store.read() as reader:
            row = pb.TaskRow.FromString(reader.get(Table.TASKS, NAME.encode()) or b"")
        times_us = [START_US + second * SECOND_US for second in seconds]
        command = pb.Command(version=COMMAND_VERSION, now_us=self.world.clock.us)
        command.backfill_task.CopyFrom(
            pb.BackfillTask(name=NAME, expected_revision=row.revision, nominal_us=times_us, max_running=1)
        )

        def done(_fate: object, outcome: bytes) -> None:
            if not pb.Outcome.FromString(outcome).code:
                self.backfilled.extend(seconds)

        self.world.log.propose(command.SerializeToString(), done)
        self.world.log.pump()

    def change(self, *, paused: bool, resume_s: int) -> None:
        now_us = self.world.clock.us
        with self.world.store.read() as reader:
            row = pb.TaskRow.FromString(reader.get(Table.TASKS, NAME.encode()) or b"")
            cursor = decode_cursor(reader.get(Table.CURSORS, NAME.encode()) or b"")
        wanted = task_pb2.Task()
        wanted.CopyFrom(row.task)
        wanted.paused = paused
        wanted.ClearField("resume_time")
        if resume_s:
            wanted.resume_time.FromMicroseconds(now_us + resume_s * SECOND_US)
        for field in ("generation", "create_time", "update_time"):
            wanted.ClearField(field)
        body = plan_change(row, cursor, wanted, now_us)
        if body is None:
            return
        command = pb.Command(version=COMMAND_VERSION, now_us=now_us, replace_task=body)
        self.world.log.propose(command.SerializeToString(), lambda fate, outcome: None)
        self.world.log.pump()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies, st.lists(steps | backfills, min_size=1, max_size=14))
def test_walking_the_ledger_gives_each_nominal_time_once_in_order(
    fields: dict[str, object], acts: list[tuple[str, object]]
) -> None:
    life = Life(fields)
    for what, value in acts:
        life.act(what, value)
    life.act("resume", None)
    life.act("pass", 1.0)
    assert_walk(life)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies, st.sampled_from(EVERY_OVERLAPS), st.lists(steps, min_size=1, max_size=14))
def test_walking_the_ledger_of_a_task_on_every_executor_gives_each_nominal_time_once_in_order(
    fields: dict[str, object], overlap: int, acts: list[tuple[str, object]]
) -> None:
    life = Life({**fields, "overlap_policy": overlap, "placement": Placement.EVERY})
    # It never reports, and the next leader does not see it again.
    life.world.connect("e2")
    for what, value in acts:
        life.act(what, value)
    life.act("resume", None)
    # A leader that has just taken over waits for executors first.
    life.act("pass", LEASE_S + 1)
    assert_walk(life)
    with life.world.store.read() as reader:
        rows = [pb.ExecutionRow.FromString(value) for _, value in reader.scan(Table.EXECUTIONS)]
        opened = {key[-16:] for key, _ in reader.scan(Table.OPEN)}
    assert all(row.pinned_executor_id and row.executor_id in ("", row.pinned_executor_id) for row in rows)
    assert opened == {row.nominal_id for row in rows if row.max_running and not ExecutionState(row.state).ended}


def assert_walk(life: Life) -> None:
    """Each nominal time up to now has one decision, in order, and one more for each backfill of it."""
    walked: list[int] = []
    backfilled: list[int] = []
    for at, row in life.world.ledger(NAME):
        assert row.decision in set(Decision)
        first, last = round(at), round((row.last_nominal_us - START_US) / SECOND_US)
        covered = list(range(first, last + 1))
        assert row.count == len(covered)
        (backfilled if row.trigger == Trigger.BACKFILL else walked).extend(covered)
    assert backfilled == sorted(life.backfilled)
    with life.world.store.read() as reader:
        next_us = decode_cursor(reader.get(Table.CURSORS, NAME.encode()) or b"").next_us
    assert walked == list(range(1, round((next_us - START_US) / SECOND_US)))
    assert next_us > life.world.clock.us
