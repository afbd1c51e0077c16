"""What ``verify``, ``explain`` and ``simulate`` find and show."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raftsched_proto.v1 import execution_pb2, task_pb2

from raftsched.cli.commands.simulate import picture
from raftsched.cli.record_check import Fault, Findings, RecordedTime, Tolerance, check

RAN, SKIPPED = execution_pb2.DECISION_RAN, execution_pb2.DECISION_SKIPPED
TRIGGER_BACKFILL = execution_pb2.TRIGGER_BACKFILL
SECOND_US = 1_000_000


BOUNDS = Tolerance(late_us=10, early_us=5, now_us=100)


def entry(
    first: int, last: int, *, after: int = 0, ran: bool = True, start: int = 0, waits: bool = False
) -> RecordedTime:
    return RecordedTime(first, last, first + after, ran, start, waits)


def times(faults: list[Fault]) -> list[int]:
    return [fault.nominal_us for fault in faults]


@pytest.mark.parametrize(
    ("entries", "missing", "twice", "late"),
    [
        ([entry(1, 1), entry(2, 2), entry(3, 3)], [], [], []),
        ([entry(0, 9, ran=False)], [], [], []),
        ([entry(1, 1), entry(3, 3)], [2], [], []),
        ([], [1, 2, 3], [], []),
        ([entry(1, 2, ran=False), entry(2, 2), entry(3, 3)], [], [2], []),
        ([entry(1, 1), entry(1, 1), entry(2, 3)], [], [1], []),
        ([entry(1, 1, after=11), entry(2, 2, after=10), entry(3, 3, after=99, ran=False)], [], [], [1]),
    ],
)
def test_the_record_is_compared_with_the_nominal_times(
    entries: list[RecordedTime], missing: list[int], twice: list[int], late: list[int]
) -> None:
    found = check([1, 2, 3], entries, BOUNDS)
    assert (found.checked, times(found.missing), times(found.twice), times(found.late)) == (3, missing, twice, late)


def test_what_a_clock_that_was_ahead_decided_is_early_and_neither_twice_nor_enough() -> None:
    wrong = replace(entry(2, 3), early=True)
    found = check([1, 2, 3], [entry(1, 1), wrong, entry(2, 2)], BOUNDS)
    assert (times(found.early), times(found.twice), times(found.missing)) == ([2], [], [3])


def one(nominal_us: int, recorded: RecordedTime, bounds: Tolerance = BOUNDS) -> Findings:
    return check([nominal_us], [recorded], bounds)


@pytest.mark.parametrize(
    ("recorded", "early", "late"),
    [
        (entry(50, 50, start=55), [], []),
        (entry(50, 50, start=45), [], []),
        (entry(50, 50, start=44), [Fault(50, "started", -6)], []),
        (entry(50, 50, after=-6, start=50), [Fault(50, "decided", -6)], []),
        (entry(40, 60, after=4, ran=False), [Fault(50, "decided", -6)], []),
        (entry(50, 50, start=60), [], []),
        (entry(50, 50, start=61), [], [Fault(50, "started", 11)]),
        (entry(50, 50, waits=True), [], [Fault(50, "waits", 50)]),
        (entry(95, 95, waits=True), [], []),
        (entry(50, 50), [], []),
        (entry(50, 50, start=61, ran=False), [], []),
    ],
)
def test_a_run_is_early_or_late_by_what_was_decided_started_or_still_waits(
    recorded: RecordedTime, early: list[Fault], late: list[Fault]
) -> None:
    found = one(50 if recorded.first_us <= 50 else recorded.first_us, recorded)
    assert (found.early, found.late) == (early, late)


def test_the_jitter_of_a_task_makes_no_start_late() -> None:
    jittery = Tolerance(late_us=10, early_us=5, now_us=100, jitter_us=20)
    assert not one(50, entry(50, 50, start=80), jittery).late
    assert one(50, entry(50, 50, start=81), jittery).late
    assert one(50, entry(50, 50, after=11), jittery).late


def test_a_decision_ahead_is_early_beyond_what_may_be_decided_ahead_and_a_start_is_before() -> None:
    ahead = replace(BOUNDS, ahead_us=40)
    assert not one(50, entry(50, 50, after=-45, start=50), ahead).early
    assert one(50, entry(50, 50, after=-46, start=50), ahead).early == [Fault(50, "decided", -46)]
    assert one(50, entry(50, 50, after=-45, start=44), ahead).early == [Fault(50, "started", -6)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=20), st.integers(0, 30))
def test_what_is_found_is_what_counting_finds(spans: list[tuple[int, int]], last: int) -> None:
    entries = [entry(first, first + length) for first, length in spans]
    covered = {at: sum(each.first_us <= at <= each.last_us for each in entries) for at in range(last)}
    found = check(range(last), entries, Tolerance(late_us=10**9, early_us=10**9, now_us=0))
    assert times(found.missing) == [at for at in covered if covered[at] == 0]
    assert times(found.twice) == [at for at in covered if covered[at] > 1]


def register(cluster, cli, decided: list[int]) -> None:
    """A task of every second from the second 1,800,000,000, whose last decision was 10 s later."""
    cli("task", "create", "t", "--every", "1s", "--anchor", "2027-01-15T08:00:00Z", "--noop")
    task = cluster.tasks["t"]
    task.generation = 1
    task.create_time.FromSeconds(1_800_000_000)
    task.last_fire_time.FromSeconds(1_800_000_010)
    for second in decided:
        each = execution_pb2.LedgerEntry(
            task="t", task_uid=task.uid, count=1, decision=RAN, trigger=execution_pb2.TRIGGER_SCHEDULE, leader_id="n2",
            term=7,
        )  # fmt: skip
        for time in (each.nominal_time, each.last_nominal_time, each.decide_time):
            time.FromSeconds(1_800_000_000 + second)
        cluster.ledger.append(each)


def test_verify_is_content_with_a_complete_record(cli, cluster):
    register(cluster, cli, list(range(1, 11)))
    ended = cli("verify", "--since", "2027-01-15T08:00:00Z")
    assert (ended.code, ended.out) == (0, "10 nominal times of 1 task checked: 0 early, 0 late, 0 missing, 0 twice\n")


def test_verify_names_what_is_missing_or_decided_twice_and_fails(cli, cluster):
    register(cluster, cli, [1, 2, 3, 3, 5, 6, 7, 8, 9, 10])
    ended = cli("verify", "--since", "2027-01-15T08:00:00Z")
    assert ended.code == 16 + 4 + 8
    assert "missing" in ended.out
    assert "2027-01-15 08:00:04+00:00" in ended.out
    assert "10 nominal times of 1 task checked: 0 early, 0 late, 1 missing, 1 twice\n" in ended.out
    assert "0 early, 0 late, 1 missing, 1 twice" in ended.err


def test_the_exit_code_of_verify_tells_late_from_early(cli, cluster):
    register(cluster, cli, list(range(1, 11)))
    fourth = cluster.ledger[3]
    fourth.start_time.FromSeconds(1_800_000_004 + 11)
    late = cli("verify", "--since", "2027-01-15T08:00:00Z")
    assert (late.code, "2027-01-15 08:00:04+00:00 (started 11s after)" in late.out) == (17, True)
    fourth.start_time.FromMilliseconds(1_800_000_003_400)
    early = cli("verify", "--since", "2027-01-15T08:00:00Z")
    assert (early.code, "2027-01-15 08:00:04+00:00 (started 0.6s before)" in early.out) == (18, True)
    assert cli("verify", "--since", "2027-01-15T08:00:00Z", "--early", "1s").code == 0


@pytest.mark.parametrize("state", ["PENDING", "ARMED", "ASSIGNED"])
def test_verify_counts_what_was_decided_and_does_not_start_as_late(cli, cluster, state):
    register(cluster, cli, list(range(1, 11)))
    task = cluster.tasks["t"]
    shift_s = 400_000_000  # Into the past of whoever runs this.
    for time in (task.create_time, task.last_fire_time, task.schedule.interval.anchor):
        time.seconds -= shift_s
    for each in cluster.ledger:
        for time in (each.nominal_time, each.last_nominal_time, each.decide_time):
            time.seconds -= shift_s
        each.execution_state = execution_pb2.ExecutionState.Value(f"EXECUTION_STATE_{state}")
    cluster.ledger[0].execution_state = execution_pb2.EXECUTION_STATE_CANCELLED
    ended = cli("verify", "--since", "2014-05-13T00:00:00Z")
    assert (ended.code, "checked: 0 early, 9 late, 0 missing, 0 twice" in ended.out) == (17, True)
    assert "has not started after" in ended.out


def test_verify_prints_what_it_found_as_a_document(cli, cluster):
    register(cluster, cli, [1, 2, 3, 5, 6, 7, 8, 9, 10])
    ended = cli("verify", "--since", "2027-01-15T08:00:00Z", "-o", "json")
    assert (ended.code, json.loads(ended.out)) == (
        20,
        {
            "tasks": 1,
            "checked": 10,
            "early": 0,
            "late": 0,
            "missing": 1,
            "twice": 0,
            "found": [{"task": "t", "what": "missing", "nominalTimes": ["2027-01-15T08:00:04Z"]}],
        },
    )


def test_verify_asks_in_pages_and_not_for_each_task(cli, cluster):
    cluster.tasks.update({f"t{number:03}": task_pb2.Task(name=f"t{number:03}") for number in range(300)})
    assert cli("verify").code == 0
    assert [call.method for call in cluster.received] == ["ListTasks", "ListLedgers"]


def test_explain_tells_who_decided_and_under_which_policy(cli, cluster):
    register(cluster, cli, [1])
    cluster.ledger[0].decision = SKIPPED
    cluster.ledger[0].reason = "1 of at most 1 executions were open; overlap policy SKIP"
    shown = cli("explain", "t", "--at", "2027-01-15T08:00:05Z").out
    for text in ("2027-01-15 08:00:01", "SKIPPED", "overlap policy SKIP", "n2 (term 7)", "every 1s"):
        assert text in shown


def test_what_was_decided_ahead_is_no_finding_and_explain_says_that_an_executor_holds_it(cli, cluster):
    register(cluster, cli, list(range(1, 11)))
    for each in cluster.ledger:
        each.decide_time.FromMilliseconds(each.nominal_time.ToMilliseconds() - 900)
    assert cli("verify", "--since", "2027-01-15T08:00:00Z").code == 0
    cluster.ledger[-1].execution_state = execution_pb2.EXECUTION_STATE_ARMED
    shown = cli("explain", "t", "--at", "2027-01-15T08:00:10Z").out
    assert "DECIDED" in shown
    assert "(0.9s before)" in shown
    assert "an executor holds it and starts it at its nominal time" in cli("ledger", "t").out
    cluster.ledger[0].decide_time.FromMilliseconds(cluster.ledger[0].nominal_time.ToMilliseconds() - 30_600)
    early = cli("verify", "--since", "2027-01-15T08:00:00Z")
    assert (early.code, "(decided 31s before)" in early.out) == (18, True)


def test_explain_shows_a_backfill_beside_the_range_that_was_skipped(cli, cluster):
    register(cluster, cli, [1, 3])
    skipped, backfilled = cluster.ledger
    skipped.decision, skipped.reason = SKIPPED, "the task was paused"
    skipped.last_nominal_time.FromSeconds(1_800_000_005)
    skipped.decide_time.FromSeconds(1_800_000_005)
    skipped.count = 5
    backfilled.trigger = TRIGGER_BACKFILL
    shown = cli("explain", "t", "--at", "2027-01-15T08:00:03Z").out
    assert "the task was paused" in shown
    assert "BACKFILL" in shown
    for at in ("04", "05", "09"):
        shown = cli("explain", "t", "--at", f"2027-01-15T08:00:{at}Z").out
        assert "the task was paused" in shown
        assert "BACKFILL" not in shown
    verified = cli("verify", "--since", "2027-01-15T08:00:00Z").out
    assert "decided twice" not in verified
    assert verified.endswith("10 nominal times of 1 task checked: 0 early, 0 late, 5 missing, 0 twice\n")


def test_backfill_shows_what_it_would_run_and_what_it_runs(cli, cluster):
    register(cluster, cli, [1])
    window = ("--from", "2027-01-15T08:00:01Z", "--to", "2027-01-15T08:00:02Z")
    dry = cli("task", "backfill", "t", *window, "--dry-run").out
    assert "2027-01-15 08:00:01" in dry
    assert "RAN by schedule" in dry
    assert dry.endswith("1 nominal times; nothing was changed\n")
    done = cli("task", "backfill", "t", *window, "--max-running", "2", "--request-id", "r1")
    assert done.code == 0
    assert "E0000000000000000000000000" in done.out
    times = json.loads(cli("task", "backfill", "t", *window, "-o", "json").out)["times"]
    assert [(each["nominalTime"], bool(each["executionId"])) for each in times] == [("2027-01-15T08:00:01Z", True)]
    assert cli("task", "backfill", "none", *window).code == 3


def test_explain_says_when_nothing_was_decided(cli, cluster):
    cli("task", "create", "t", "--every", "1s", "--noop")
    ended = cli("explain", "t")
    assert (ended.code, ended.err) == (3, "error: nothing was decided for t at or before that time\n")


def test_simulate_needs_no_cluster_and_shows_the_hour_that_is_missing(cli, tmp_path):
    task = '{"name": "t", "schedule": {"cron": {"expression": "30 2 * * *", "timeZone": "America/New_York"}}}'
    (tmp_path / "t.json").write_text(task)
    window = ("--from", "2026-03-08T00:00:00-05:00", "--to", "2026-03-09T00:00:00-04:00")
    ended = cli("--endpoints", "127.0.0.1:1", "simulate", str(tmp_path / "t.json"), *window)
    assert ended.code == 0
    assert "2026-03-08 03:00:00-04:00" in ended.out
    assert "1 fire of 1 task" in ended.out


def test_simulate_reads_a_crontab(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    (tmp_path / "jobs").write_text("# jobs\n30 2 * * * /usr/bin/report\nCRON_TZ=UTC\n0 12 * * * /usr/bin/tidy\n")
    window = ("--from", "2026-03-08T00:00:00-05:00", "--to", "2026-03-09T00:00:00-04:00")
    ended = cli("--endpoints", "127.0.0.1:1", "simulate", str(tmp_path / "jobs"), "--crontab", *window)
    assert "2026-03-08 03:00:00-04:00  report" in ended.out
    assert "2026-03-08 12:00:00+00:00  tidy" in ended.out
    assert "2 fires of 2 tasks" in ended.out
    (tmp_path / "jobs").write_text("61 * * * * x\n")
    assert "jobs:1: minute field '61'" in cli("simulate", str(tmp_path / "jobs"), "--crontab").err


def test_simulate_knows_rules_unions_exclusions_and_hashed_values(cli, tmp_path):
    (tmp_path / "t.yaml").write_text("""
- name: report
  schedule:
    union:
      schedules:
        - {cron: {expression: "H 3 * * *"}}
        - {rrule: {lines: "FREQ=DAILY;BYHOUR=9,10"}}
        - {interval: {every: 43200s}}
    exclusions: [{date: "2026-05-05"}]
  action: {noop: {}}
""")
    window = ("--from", "2026-05-04T00:00:00Z", "--to", "2026-05-07T00:00:00Z")
    out = cli("--endpoints", "127.0.0.1:1", "simulate", str(tmp_path / "t.yaml"), *window).out
    times = [line.split()[1][:5] for line in out.splitlines() if line.endswith("report")]
    assert times == ["00:00", "03:54", "09:00", "10:00", "12:00"] * 2
    assert "2026-05-05" not in out


def test_simulate_refuses_a_schedule_that_is_none(cli, tmp_path):
    (tmp_path / "t.json").write_text('{"name": "t", "schedule": {"cron": {"expression": "61 * * * *"}}}')
    ended = cli("simulate", str(tmp_path / "t.json"))
    assert ended.code == 2
    assert "t: schedule.cron.expression" in ended.err


def test_the_picture_counts_fires_per_minute():
    minute_us = 60 * SECOND_US
    lines = picture([0, 1, minute_us, 3 * minute_us], 0, 10 * minute_us - 1)
    assert lines == [
        "fires per minute (UTC), at most 2:",
        f"1970-01-01 00:00 {'#' * 50} 2",
        f"1970-01-01 00:01 {'#' * 25} 1",
        f"1970-01-01 00:03 {'#' * 25} 1",
    ]


def test_a_long_time_is_shown_in_sixty_bars_at_most():
    hours = [3600 * SECOND_US * hour for hour in range(48)]
    lines = picture(hours, 0, 48 * 3600 * SECOND_US - 1)
    assert lines[0].startswith("fires per 48 minutes (UTC)")
    assert sum(int(line.rpartition(" ")[2]) for line in lines[1:]) == 48
    assert len(lines) <= 61
