"""Whenever a calendar changes while its task fires, the ledger has each nominal time exactly once, in order."""

import asyncio

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import calendar_pb2, task_pb2

from raftsched.api.calendars.change import plan_update
from raftsched.core.machine import ABORTED, COMMAND_VERSION
from raftsched.core.machine.calendar_uses import find_calendar
from tests.property.test_ledger_walk import NAME, policies
from tests.unit.scheduler.test_scheduler import SECOND_US, START_US, World

Window = tuple[int, int]
"""Seconds from now, and how many."""
windows = st.lists(st.tuples(st.integers(-5, 12), st.integers(1, 9)), max_size=3)
steps = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0.3, 1.0, 2.5, 7.0, 45.0])),
    st.tuples(st.just("lead"), st.none()),
    st.tuples(st.just("change"), st.tuples(windows, st.sampled_from([0.0, 0.6, 3.0, 20.0]))),
)


class Life:
    """A task of every second that names a calendar, and what it should have decided, in seconds since the start."""

    def __init__(self, fields: dict[str, object]) -> None:
        self.world = World()
        self.term = 1
        self.world.connect("e1")
        self.propose(pb.PutCalendar(calendar=calendar_pb2.Calendar(name="c"), create=True))
        task = task_pb2.Task(name=NAME, **fields)
        task.schedule.interval.every.FromSeconds(1)
        task.schedule.interval.anchor.FromMicroseconds(START_US)
        task.schedule.calendars.append("c")
        task.action.noop.SetInParent()
        command = pb.Command(version=COMMAND_VERSION, now_us=self.world.clock.now_us())
        command.register_tasks.items.add(task=task, next_us=START_US + SECOND_US, calendars_revision=1 << 40)
        assert not self.apply(command).results[0].code
        self.excluded: set[int] = set()
        self.expected: list[int] = []
        self.seen = 0

    def apply(self, command: pb.Command) -> pb.Outcome:
        outcomes: list[bytes] = []
        self.world.log.propose(command.SerializeToString(), lambda _, outcome: outcomes.append(outcome))
        self.world.log.pump()
        return pb.Outcome.FromString(outcomes[0])

    def propose(self, body: pb.PutCalendar) -> pb.Outcome:
        return self.apply(pb.Command(version=COMMAND_VERSION, now_us=self.world.clock.now_us(), put_calendar=body))

    def now(self) -> int:
        return (self.world.clock.us - START_US) // SECOND_US

    def passes(self, seconds: float) -> None:
        self.world.run(seconds)
        self.expected += [second for second in range(self.seen + 1, self.now() + 1) if second not in self.excluded]
        self.seen = self.now()

    def change(self, wanted: list[Window], delay_s: float) -> bool:
        """Exclude other windows, by a command that was made ``delay_s`` before it is applied. Was it?"""
        self.passes(0)
        stamp_us, stamp = self.world.clock.us, self.now()
        calendar = calendar_pb2.Calendar(name="c")
        for start, length in wanted:
            window = calendar.exclusions.add()
            window.start_time.FromMicroseconds(START_US + (stamp + start) * SECOND_US)
            window.end_time.FromMicroseconds(START_US + (stamp + start + length) * SECOND_US)
        with self.world.store.read() as reader:
            row = find_calendar(reader, "c")
            assert row is not None
            body = asyncio.run(plan_update(reader, row, calendar, stamp_us))
        self.passes(delay_s)
        outcome = self.apply(pb.Command(version=COMMAND_VERSION, now_us=stamp_us, put_calendar=body))
        if outcome.code:
            assert outcome.code == ABORTED
            return False
        self.excluded = {stamp + start + n for start, length in wanted for n in range(length)}
        # What became a nominal time between the two is decided yet.
        last = self.expected[-1] if self.expected else 0
        late = range(max(last, stamp) + 1, self.now() + 1)
        self.expected += [second for second in late if second not in self.excluded]
        return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example({}, [("change", ([(2, 3)], 0.0)), ("pass", 7.0), ("change", ([], 0.6)), ("pass", 2.5)])
@given(policies, st.lists(steps, min_size=1, max_size=14))
def test_walking_the_ledger_gives_each_nominal_time_once_in_order_whatever_the_calendar_does(
    fields: dict[str, object], acts: list[tuple[str, object]]
) -> None:
    life = Life(fields)
    for what, value in acts:
        if what == "pass":
            life.passes(float(str(value)))
        elif what == "lead":
            life.term += 1
            life.world.lead(life.term)
            life.world.connect("e1")
        else:
            wanted, delay_s = value
            life.change(wanted, delay_s)
    life.passes(13.0)
    walked: list[int] = []
    for at, row in life.world.ledger(NAME):
        first, last = round(at), round((row.last_nominal_us - START_US) / SECOND_US)
        covered = [second for second in life.expected if first <= second <= last]
        assert (covered[0], covered[-1], len(covered)) == (first, last, row.count)
        walked += covered
    assert walked == life.expected


def test_a_change_is_not_refused_because_the_task_fired_meanwhile() -> None:
    life = Life({})
    assert life.change([(5, 2)], 3.0)
    assert not life.change([], 20.0)
    life.passes(5.0)
    assert 5 not in life.expected
