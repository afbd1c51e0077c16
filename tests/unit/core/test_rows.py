"""What definitions mean to the scheduler, and the keys of the tables."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1 import calendar_pb2, task_pb2

from raftsched.core.policy import retry
from raftsched.core.state import ids, rows
from raftsched.core.state.model import (
    DEFAULT_MISFIRE_THRESHOLD_US,
    SECOND_US,
    At,
    Cron,
    Decision,
    Delivery,
    FoldPolicy,
    GapPolicy,
    Interval,
    MisfirePolicy,
    OverlapPolicy,
    Placement,
    Rrule,
    Schedule,
    Task,
    Union,
)
from raftsched.core.state.rows import LedgerRow
from raftsched.core.times.exclusion import Exclusion, Exclusions
from raftsched.core.times.schedule import ScheduleError

EXECUTION = ids.execution_id(7, 1, 1_800_000_000_000_000)
HOUR_US = 3600 * SECOND_US


def interval(seconds: int = 60) -> task_pb2.Schedule:
    return task_pb2.Schedule(interval=task_pb2.IntervalSchedule(every=Duration(seconds=seconds)))


def of_cron(time_zone: str = "") -> task_pb2.Schedule:
    return task_pb2.Schedule(cron=task_pb2.CronSchedule(expression="5 4 * * *", time_zone=time_zone))


def no_action() -> task_pb2.Action:
    action = task_pb2.Action()
    action.noop.SetInParent()
    return action


class TestTask:
    def test_what_a_definition_does_not_say_has_its_default(self) -> None:
        task = rows.task_from_proto(task_pb2.Task(name="t", schedule=interval(), action=no_action()))
        assert task == Task("t", Schedule(Interval(60 * SECOND_US, 0)), no_action().SerializeToString())
        assert (task.max_running, task.misfire_threshold_us) == (1, DEFAULT_MISFIRE_THRESHOLD_US)

    def test_what_a_definition_says_is_taken_over(self) -> None:
        message = task_pb2.Task(
            name="t",
            schedule=interval(),
            action=no_action(),
            labels={"team": "a"},
            time_limit=Duration(seconds=1),
            paused=True,
            resume_time=Timestamp(seconds=2),
            executor_labels={"zone": "b"},
            misfire_policy=int(MisfirePolicy.ALL),
            misfire_threshold=Duration(seconds=3),
            misfire_window=Duration(seconds=4),
            misfire_max_runs=5,
            delivery=int(Delivery.AT_MOST_ONCE),
            overlap_policy=int(OverlapPolicy.QUEUE),
            max_running=6,
            max_queued=7,
            start_deadline=Duration(seconds=8),
            priority=9,
            group="g",
            placement=int(Placement.EVERY),
            jitter=Duration(seconds=10),
            generation=11,
            create_time=Timestamp(seconds=12),
        )
        message.notifications.SetInParent()
        assert rows.task_from_proto(message, uid=13, revision=14) == Task(
            "t",
            Schedule(Interval(60 * SECOND_US, 0)),
            no_action().SerializeToString(),
            labels={"team": "a"},
            time_limit_us=SECOND_US,
            paused=True,
            resume_us=2 * SECOND_US,
            executor_labels={"zone": "b"},
            misfire_policy=MisfirePolicy.ALL,
            misfire_threshold_us=3 * SECOND_US,
            misfire_window_us=4 * SECOND_US,
            misfire_max_runs=5,
            delivery=Delivery.AT_MOST_ONCE,
            overlap_policy=OverlapPolicy.QUEUE,
            max_running=6,
            max_queued=7,
            start_deadline_us=8 * SECOND_US,
            priority=9,
            group="g",
            placement=Placement.EVERY,
            jitter_us=10 * SECOND_US,
            notifies=True,
            uid=13,
            revision=14,
            generation=11,
            create_us=12 * SECOND_US,
        )


class TestSchedule:
    def test_each_kind_with_and_without_what_it_may_say(self) -> None:
        cron, rrule = task_pb2.CronSchedule, task_pb2.RruleSchedule
        gap, fold = int(GapPolicy.SKIP), int(FoldPolicy.FIRST)
        cases = [
            (task_pb2.Schedule(), At(0)),
            (task_pb2.Schedule(at=Timestamp(seconds=5)), At(5 * SECOND_US)),
            (task_pb2.Schedule(cron=cron(expression="5 4 * * *")), Cron("5 4 * * *")),
            (
                task_pb2.Schedule(cron=cron(expression="5 4 * * *", time_zone="Asia/Tokyo", gap=gap, fold=fold)),
                Cron("5 4 * * *", "Asia/Tokyo", GapPolicy.SKIP, FoldPolicy.FIRST),
            ),
            (task_pb2.Schedule(rrule=rrule(lines="FREQ=DAILY")), Rrule("FREQ=DAILY", "UTC")),
            (
                task_pb2.Schedule(rrule=rrule(lines="FREQ=DAILY", time_zone="Asia/Tokyo", gap=gap, fold=fold)),
                Rrule("FREQ=DAILY", "Asia/Tokyo", GapPolicy.SKIP, FoldPolicy.FIRST),
            ),
            (
                task_pb2.Schedule(union=task_pb2.UnionSchedule(schedules=[interval(), interval(7)])),
                Union((Schedule(Interval(60 * SECOND_US, 0)), Schedule(Interval(7 * SECOND_US, 0)))),
            ),
        ]
        for message, kind in cases:
            assert rows.schedule_from_proto(message, "t") == Schedule(kind)

    def test_validity_is_taken_over(self) -> None:
        message = interval()
        message.start_time.seconds, message.end_time.seconds = 3, 4
        found = rows.schedule_from_proto(message, "t")
        assert (found.start_us, found.end_us) == (3 * SECOND_US, 4 * SECOND_US)

    @pytest.mark.parametrize(
        ("kind", "zone"),
        [
            (interval(), "UTC"),
            (of_cron(), "UTC"),
            (of_cron("Asia/Tokyo"), "Asia/Tokyo"),
            (task_pb2.Schedule(rrule=task_pb2.RruleSchedule(lines="FREQ=DAILY", time_zone="Asia/Tokyo")), "Asia/Tokyo"),
            (
                task_pb2.Schedule(
                    union=task_pb2.UnionSchedule(
                        schedules=[
                            interval(),
                            task_pb2.Schedule(rrule=task_pb2.RruleSchedule(time_zone="Asia/Tokyo")),
                            of_cron("Europe/Paris"),
                        ]
                    )
                ),
                "Asia/Tokyo",
            ),
        ],
    )
    def test_days_that_are_left_out_are_those_of_the_first_zone_that_is_named(
        self, kind: task_pb2.Schedule, zone: str
    ) -> None:
        message = task_pb2.Schedule()
        message.CopyFrom(kind)
        message.exclusions.add(date="1970-01-03", last_date="1970-01-05")
        message.exclusions.add(date="1970-01-08")
        message.exclusions.add(start_time=Timestamp(seconds=5), end_time=Timestamp(seconds=6))
        message.calendars.append("c")

        def calendars(name: str, of_zone: str) -> Exclusions:
            calendar = calendar_pb2.Calendar(name=name, exclusions=[task_pb2.Exclusion(date="1970-01-02")])
            return rows.calendar_exclusions(calendar, of_zone)

        own = (Exclusion(2, 4), Exclusion(7, 7), Exclusion(start_us=5 * SECOND_US, end_us=6 * SECOND_US))
        assert rows.schedule_from_proto(message, "t", calendars).exclusions == (
            Exclusions(own, zone),
            Exclusions((Exclusion(1, 1),), zone, "c"),
        )

    def test_a_calendar_that_is_none_is_refused_with_its_place(self) -> None:
        message = interval()
        message.calendars.append("c")
        with pytest.raises(ScheduleError, match="no calendar named 'c'") as refused:
            rows.schedule_from_proto(message, "t")
        assert refused.value.field == "schedule.calendars"
        union = task_pb2.Schedule(union=task_pb2.UnionSchedule(schedules=[interval(), message]))
        with pytest.raises(ScheduleError, match="no calendar named 'c'") as refused:
            rows.schedule_from_proto(union, "t")
        assert refused.value.field == "schedule.union.schedules[1].calendars"

    def test_calendars_of_a_schedule_are_named_once_those_of_its_union_too(self) -> None:
        message = interval()
        message.calendars.extend(["b", "a", "b"])
        assert rows.calendar_names(message) == ["a", "b"]
        assert rows.calendar_names(interval()) == []
        union = task_pb2.Schedule(calendars=["c"], union=task_pb2.UnionSchedule(schedules=[message, interval()]))
        assert rows.calendar_names(union) == ["a", "b", "c"]


class TestRetry:
    def test_what_is_not_said_has_its_default(self) -> None:
        found = rows.retry_from_proto(task_pb2.RetryPolicy(max_attempts=3))
        assert found == retry.RetryPolicy(3, SECOND_US, 2, 600 * SECOND_US, retry.RETRIED_STATES)
        assert rows.retry_from_proto(task_pb2.RetryPolicy()).max_attempts == 1

    def test_what_is_said_is_taken_over(self) -> None:
        message = task_pb2.RetryPolicy(
            max_attempts=4,
            initial_backoff=Duration(seconds=5),
            multiplier=6,
            max_backoff=Duration(seconds=7),
            states=[5],
            exit_codes=[8],
            http_statuses=[503],
        )
        assert rows.retry_from_proto(message) == retry.RetryPolicy(
            4, 5 * SECOND_US, 6, 7 * SECOND_US, frozenset({5}), frozenset({8}), frozenset({503})
        )

    def test_the_longest_wait_is_not_shorter_than_the_first(self) -> None:
        message = task_pb2.RetryPolicy(max_attempts=2, initial_backoff=Duration(seconds=3_600))
        assert rows.retry_from_proto(message).max_us == HOUR_US

    def test_what_is_out_of_range_is_brought_into_it(self) -> None:
        long = Duration(seconds=10_000 * 86_400)
        message = task_pb2.RetryPolicy(max_attempts=1_000, initial_backoff=long, multiplier=99, max_backoff=long)
        found = rows.retry_from_proto(message)
        assert (found.max_attempts, found.multiplier) == (retry.LARGEST_MAX_ATTEMPTS, retry.LARGEST_MULTIPLIER)
        assert found.initial_us == found.max_us == retry.LARGEST_BACKOFF_US


class TestKeys:
    def test_a_due_row_is_read_as_it_was_written(self) -> None:
        key, value = rows.due_key(1 << 40, b"name"), rows.due_value(1 << 50, 1 << 33)
        assert rows.parse_due(key, value) == (1 << 40, "name", 1 << 50, 1 << 33)

    def test_a_ledger_key_is_read_as_it_was_written_and_lies_with_its_task(self) -> None:
        key = rows.ledger_key("name", 1 << 40, EXECUTION)
        assert rows.parse_ledger_key(key) == ("name", 1 << 40, EXECUTION)
        assert key < rows.ledger_key_after_task("name") < rows.ledger_key("name-2", 0, bytes(16))

    def test_only_what_ran_was_lost_or_expired_has_an_execution(self) -> None:
        having = {each for each in Decision if rows.has_execution(LedgerRow(decision=int(each)))}
        assert having == {Decision.RAN, Decision.LOST}
        assert rows.has_execution(LedgerRow(decision=int(Decision.SKIPPED), expired=True))

    def test_an_entry_stands_for_its_execution_or_for_those_of_its_executors(self) -> None:
        key = rows.ledger_key("name", 5, EXECUTION)
        assert rows.executions_of(key, LedgerRow(decision=int(Decision.RAN))) == [EXECUTION]
        assert rows.executions_of(key, LedgerRow(decision=int(Decision.SKIPPED))) == []
        pinned = rows.executions_of(key, LedgerRow(decision=int(Decision.RAN), executor_ids=["e2", "e1"]))
        assert pinned == sorted(ids.pinned_id(EXECUTION, each) for each in ("e1", "e2"))

    @pytest.mark.parametrize("priority", [-100, -1, 0, 1, 100])
    def test_the_keys_of_a_higher_priority_come_first(self, priority: int) -> None:
        key, lower = rows.rank_key(priority, EXECUTION), rows.rank_key(priority - 1, bytes(16))
        assert key < lower
        assert key[1:] == EXECUTION
        assert (key[0] == rows.NO_RANK) == (priority == 0)
        grouped = rows.grouped_key("g", priority, EXECUTION)
        assert grouped < rows.grouped_key("g", priority - 1, bytes(16))
        assert (grouped[:2], grouped[3:]) == (b"g\0", EXECUTION)

    def test_keys_that_begin_with_a_time_are_read_as_they_were_written(self) -> None:
        assert rows.parse_group_start(rows.group_start_key("g", 1 << 40, EXECUTION)) == 1 << 40
        assert rows.parse_notice_key(rows.notice_key(1 << 40, EXECUTION, 3)) == (1 << 40, EXECUTION, 3)
        assert rows.parse_active(rows.active_value(3, "e1")) == (3, "e1")
