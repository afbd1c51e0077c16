"""``raftsched task``, through the client, against real servers."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from raftsched_proto.v1.execution_pb2 import EXECUTION_STATE_FAILED, EXECUTION_STATE_SUCCEEDED, Execution

EVERY = ("--every", "1m")


def created(cluster, name: str) -> dict:
    task = MessageToDict(cluster.tasks[name])
    for field in ("uid", "etag", "state", "createTime", "name"):
        task.pop(field)
    if task["misfirePolicy"] == "MISFIRE_POLICY_ONE":
        del task["misfirePolicy"]
    if task["delivery"] == "DELIVERY_AT_LEAST_ONCE":
        del task["delivery"]
    return task


@pytest.mark.parametrize(
    ("arguments", "task"),
    [
        (
            ["--every", "1h30m", "--", "echo", "--every", "x"],
            {
                "schedule": {"interval": {"every": "5400s"}},
                "action": {"command": {"argv": ["echo", "--every", "x"]}},
            },
        ),
        (
            [
                "--cron",
                "30 2 * * *",
                "--zone",
                "Europe/Berlin",
                "--shell",
                "a | b",
                "--env",
                "A=1=2",
                "--workdir",
                "/srv",
            ],
            {
                "schedule": {"cron": {"expression": "30 2 * * *", "timeZone": "Europe/Berlin"}},
                "action": {
                    "command": {"argv": ["a | b"], "shell": True, "env": {"A": "1=2"}, "workingDirectory": "/srv"}
                },
            },
        ),
        (
            [
                *("--at", "2030-01-01T00:00:00+01:00", "--http", "https://example.org", "--method", "POST"),
                *("--header", "X-A: b: c", "--body", "hello", "--expect", "201", "--expect", "202"),
            ],
            {
                "schedule": {"at": "2029-12-31T23:00:00Z"},
                "action": {
                    "http": {
                        "method": "POST",
                        "url": "https://example.org",
                        "headers": {"X-A": "b: c"},
                        "body": "aGVsbG8=",
                        "expectedStatuses": [201, 202],
                    }
                },
            },
        ),
        (
            [*EVERY, "--anchor", "2026-01-01T00:00:00Z", "--python", "jobs:run", "--kwargs", '{"days": 7}'],
            {
                "schedule": {"interval": {"every": "60s", "anchor": "2026-01-01T00:00:00Z"}},
                "action": {"python": {"callable": "jobs:run", "kwargsJson": '{"days": 7}'}},
            },
        ),
        (
            [
                *(*EVERY, "--noop", "--label", "a=1", "--label", "b=", "--executor-label", "disk=ssd"),
                *("--time-limit", "90s", "--misfire", "all", "--misfire-threshold", "1m"),
                *("--delivery", "at-most-once", "--paused"),
                *("--start", "2026-01-01T00:00:00Z", "--end", "2027-01-01T00:00:00Z"),
            ],
            {
                "schedule": {
                    "interval": {"every": "60s"},
                    "startTime": "2026-01-01T00:00:00Z",
                    "endTime": "2027-01-01T00:00:00Z",
                },
                "action": {"noop": {}},
                "labels": {"a": "1", "b": ""},
                "executorLabels": {"disk": "ssd"},
                "timeLimit": "90s",
                "misfirePolicy": "MISFIRE_POLICY_ALL",
                "misfireThreshold": "60s",
                "delivery": "DELIVERY_AT_MOST_ONCE",
                "paused": True,
            },
        ),
    ],
)
def test_create_sends_what_the_options_say(cli, cluster, arguments, task):
    ended = cli("task", "create", "t", *arguments)
    assert (ended.code, ended.out, ended.err) == (0, "created t\n", "")
    assert created(cluster, "t") == task


def test_at_may_be_relative(cli, cluster):
    before = datetime.now(UTC)
    assert cli("task", "create", "t", "--at", "+30s", "--noop").code == 0
    at = cluster.tasks["t"].schedule.at.ToDatetime(tzinfo=UTC)
    assert before + timedelta(seconds=29) < at < datetime.now(UTC) + timedelta(seconds=31)


def test_body_and_stdin_come_from_files(cli, cluster, tmp_path):
    (tmp_path / "data").write_bytes(b"\x00\xff")
    cli("task", "create", "a", *EVERY, "--http", "http://h/", "--body", f"@{tmp_path}/data")
    cli("task", "create", "b", *EVERY, "--stdin", f"@{tmp_path}/data", "--", "cat")
    assert cluster.tasks["a"].action.http.body == b"\x00\xff"
    assert cluster.tasks["b"].action.command.stdin == b"\x00\xff"
    ended = cli("task", "create", "c", *EVERY, "--stdin", f"@{tmp_path}/none", "--", "cat")
    assert (ended.code, ended.err) == (2, f"error: --stdin: cannot read {tmp_path}/none: No such file or directory\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--noop"], "give at least one of --cron, --rrule, --every and --at"),
        (["--every", "1m"], "--noop, not none"),
        ([*EVERY, "--noop", "--shell", "x"], "not --shell and --noop"),
        ([*EVERY, "--noop", "--zone", "UTC"], "--zone goes with --cron and --rrule only"),
        ([*EVERY, "--noop", "--fold", "last"], "--fold goes with --cron and --rrule only"),
        (["--cron", "@daily", "--noop", "--anchor", "now"], "--anchor goes with --every only"),
        ([*EVERY, "--noop", "--env", "A=1"], "--env goes with -- PROGRAM or --shell or --container only"),
        ([*EVERY, "--shell", "x", "--header", "A: b"], "--header goes with --http only"),
        ([*EVERY, "--noop", "--kwargs", "{}"], "--kwargs goes with --python only"),
        ([*EVERY, "--python", "a:b", "--kwargs", "[]"], "--kwargs: must be a JSON object"),
        ([*EVERY, "--python", "a:b", "--kwargs", "{"], "--kwargs: not JSON"),
        ([*EVERY, "--http", "http://h/", "--header", "none"], "--header: 'none' is not 'Name: value'"),
        ([*EVERY, "--noop", "--label", "a"], "--label: 'a' is not key=value"),
        ([*EVERY, "--noop", "--label", "a=1", "--label", "a=2"], "--label: 'a' is given twice"),
        ([*EVERY, "--noop", "-f", "x.yaml"], "-f takes everything from the file"),
    ],
)
def test_what_does_not_go_together_is_said(cli, cluster, arguments, message):
    ended = cli("task", "create", "t", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert cluster.received == []


def test_create_prints_the_task_as_json(cli, cluster):
    ended = cli("task", "create", "t", *EVERY, "--noop", "-o", "json")
    task = json.loads(ended.out)
    assert task["name"] == "t"
    assert task["paused"] is False
    assert task["labels"] == {}
    assert task["schedule"]["interval"]["every"] == "60s"


FILES = {
    "one.json": '{"name": "a", "schedule": {"interval": {"every": "60s"}}, "action": {"noop": {}}}',
    "list.yaml": """
        - name: a
          schedule: {interval: {every: 60s}}
          action: {command: {argv: [echo, "1"]}}
        - name: b
          schedule: {at: 2030-01-01T00:00:00Z}
          action: {noop: {}}
        """,
    "documents.yaml": """
name: a
schedule: {cron: {expression: "0 * * * *", timeZone: Asia/Tokyo}}
action: {noop: {}}
---
tasks:
- name: b
  schedule: {interval: {every: 1.5s}}
  action: {noop: {}}
- name: c
  schedule: {interval: {every: 2s}}
  action: {noop: {}}
""",
}


@pytest.mark.parametrize(("file", "names"), [("one.json", "a"), ("list.yaml", "ab"), ("documents.yaml", "abc")])
def test_create_reads_files(cli, cluster, tmp_path, file, names):
    (tmp_path / file).write_text(FILES[file])
    ended = cli("task", "create", "-f", str(tmp_path / file))
    assert (ended.code, ended.err) == (0, "")
    tasks = "1 task" if len(names) == 1 else f"{len(names)} tasks"
    assert ended.out == f"created {len(names)} of {tasks}\n"
    assert sorted(cluster.tasks) == list(names)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_what_list_prints_can_be_created_again(cli, cluster, tmp_path, form):
    cli("task", "create", "a", "--cron", "@daily", "--zone", "Asia/Tokyo", "--label", "x=1", "--", "echo", "a b")
    cli("task", "create", "b", "--at", "2030-01-01T00:00:00Z", "--http", "http://h/")
    before = {name: created(cluster, name) for name in "ab"}
    (tmp_path / "all").write_text(cli("task", "list", "-o", form).out)
    assert cli("task", "delete", "a", "b").out == "deleted a\ndeleted b\n"
    assert cli("task", "create", "-f", str(tmp_path / "all")).code == 0
    assert {name: created(cluster, name) for name in "ab"} == before


def test_refused_tasks_of_a_file_are_named_and_the_others_created(cli, cluster, tmp_path):
    (tmp_path / "f.json").write_text(
        json.dumps(
            [
                {"name": name, "schedule": {"interval": {"every": "60s"}}, "action": {"noop": {}}}
                for name in ("a", "no good", "b", "a")
            ]
        )
    )
    ended = cli("task", "create", "-f", str(tmp_path / "f.json"))
    assert ended.code == 1
    assert ended.out == "created 2 of 4 tasks\n"
    assert ended.err.splitlines()[0] == "error: 2 of 4 tasks refused"
    assert "no good: task.name:" in ended.err
    assert "a: task 'a' is registered" in ended.err
    ended = cli("task", "create", "-f", str(tmp_path / "f.json"), "-o", "json")
    assert [result["code"] for result in json.loads(ended.out)["results"]] == [6, 3, 6, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- name: a\n  shedule: {}", ":2: task 1 (a): there is no key 'shedule'; known are name"),
        ("- 7", "task 1 is not a mapping"),
        ("a: [", "f.yaml:2: is not YAML: while parsing a flow node"),
        ("", "holds no task"),
    ],
)
def test_bad_file_is_refused_as_a_whole(cli, cluster, tmp_path, text, message):
    (tmp_path / "f.yaml").write_text(text)
    ended = cli("task", "create", "-f", str(tmp_path / "f.yaml"))
    assert ended.code == 2
    assert message in ended.err
    assert cluster.received == []


def test_list_filters_and_limits(cli, cluster):
    for number in range(4):
        cli("task", "create", f"t{number}", *EVERY, "--noop", "--label", f"odd={number % 2}")
    cli("task", "pause", "t3")

    def names(*arguments: str) -> list[str]:
        return [task["name"] for task in json.loads(cli("task", "list", "-o", "json", *arguments).out)["tasks"]]

    assert names() == ["t0", "t1", "t2", "t3"]
    assert names("--label", "odd=1") == ["t1", "t3"]
    assert names("--label", "odd") == ["t0", "t1", "t2", "t3"]
    assert names("--state", "paused") == ["t3"]
    assert names("--prefix", "t2") == ["t2"]
    assert names("--limit", "2") == ["t0", "t1"]
    assert "more than 2" in cli("task", "list", "--limit", "2").err
    assert cli("task", "list", "--limit", "4").err == ""
    assert names("--prefix", "none") == []
    assert yaml.safe_load(cli("task", "list", "-o", "yaml", "--prefix", "none").out) == {"tasks": []}


def test_list_shows_the_next_fire_in_the_zone_of_the_task(cli, cluster):
    cli("task", "create", "t", "--cron", "0 9 * * *", "--zone", "Asia/Tokyo", "--shell", "echo  hello")
    cluster.tasks["t"].next_fire_time.FromDatetime(datetime.now(UTC) + timedelta(hours=3, seconds=30))
    shown = cluster.tasks["t"].next_fire_time.ToDatetime(tzinfo=UTC) + timedelta(hours=9)
    lines = cli("task", "list").out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "SCHEDULE", "NEXT", "FIRE", "ACTION"]
    assert len(lines) == 2
    assert f"{shown:%Y-%m-%d %H:%M:%S}" in lines[1]
    assert "+09:00 (in 3h" in lines[1]
    assert "0 9 * * *  Asia/Tokyo" in lines[1]
    assert lines[1].rstrip().endswith("echo hello")


def test_show_prints_schedule_and_labels_in_order(cli, cluster):
    cli("task", "create", "t", *EVERY, "--noop", "--label", "b=2", "--label", "a=1")
    out = cli("task", "show", "t").out
    assert "every 1m" in out
    assert "a=1, b=2" in out
    assert yaml.safe_load(cli("task", "show", "t", "-o", "yaml").out)["name"] == "t"
    assert cli("task", "show", "nobody").code == 3


def test_show_says_what_hashed_values_are_and_which_policies_were_chosen(cli, cluster):
    cli("task", "create", "report", "--cron", "H 3 * * *", "--gap", "skip", "--fold", "last", "--noop")
    assert "H 3 * * * (54 3 * * *)  UTC, gap SKIP, fold LAST" in cli("task", "show", "report").out
    cli("task", "update", "report", "--fold", "both")
    assert created(cluster, "report")["schedule"]["cron"] == {
        "expression": "H 3 * * *",
        "gap": "GAP_POLICY_SKIP",
        "fold": "FOLD_POLICY_BOTH",
    }


def test_several_schedules_are_a_union_in_one_time_zone(cli, cluster):
    cli(
        "task",
        "create",
        "u",
        "--cron",
        "@daily",
        "--rrule",
        "FREQ=WEEKLY",
        "--every",
        "5m",
        "--zone",
        "Asia/Tokyo",
        "--noop",
    )
    assert created(cluster, "u")["schedule"]["union"]["schedules"] == [
        {"cron": {"expression": "@daily", "timeZone": "Asia/Tokyo"}},
        {"rrule": {"lines": "FREQ=WEEKLY", "timeZone": "Asia/Tokyo"}},
        {"interval": {"every": "300s"}},
    ]
    assert "@daily  Asia/Tokyo; FREQ=WEEKLY  Asia/Tokyo; every 5m" in cli("task", "show", "u").out
    cli("task", "update", "u", "--fold", "last")
    assert [each["fold"] for each in (
        created(cluster, "u")["schedule"]["union"]["schedules"][0]["cron"],
        created(cluster, "u")["schedule"]["union"]["schedules"][1]["rrule"],
    )] == ["FOLD_POLICY_LAST", "FOLD_POLICY_LAST"]  # fmt: skip


def test_exclusions_are_read_shown_and_replaced(cli, cluster, tmp_path):
    (tmp_path / "days").write_text("# holidays\n2026-12-24/2026-12-26 Christmas\n\n2027-01-01\n")
    window = "2026-05-01T00:00:00Z/2026-05-02T00:00:00Z"
    cli("task", "create", "e", "--cron", "@daily", "--exclude", f"@{tmp_path}/days", "--exclude", window, "--noop")
    assert created(cluster, "e")["schedule"]["exclusions"] == [
        {"date": "2026-12-24", "lastDate": "2026-12-26", "reason": "Christmas"},
        {"date": "2027-01-01"},
        {"startTime": "2026-05-01T00:00:00Z", "endTime": "2026-05-02T00:00:00Z"},
    ]
    assert (
        "2026-12-24 to 2026-12-26 (Christmas), 2027-01-01, 2026-05-01 00:00:00+00:00 to" in cli("task", "show", "e").out
    )
    cli("task", "update", "e", "--exclude", "2026-01-01")
    assert created(cluster, "e")["schedule"]["exclusions"] == [{"date": "2026-01-01"}]
    assert "is no day, no two days" in cli("task", "update", "e", "--exclude", "Christmas").err


def test_a_rule_may_come_from_a_file(cli, cluster, tmp_path):
    (tmp_path / "lines").write_text("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;COUNT=3\n")
    cli("task", "create", "r", "--rrule", f"@{tmp_path}/lines", "--noop")
    assert created(cluster, "r")["schedule"]["rrule"]["lines"].startswith("DTSTART:20260105T090000\nRRULE:")


def test_update_changes_only_what_is_given(cli, cluster):
    cli("task", "create", "t", "--cron", "@daily", "--end", "2030-01-01T00:00:00Z", "--noop", "--label", "a=1")
    before = created(cluster, "t")
    ended = cli("task", "update", "t", "--time-limit", "5m")
    assert (ended.code, ended.out) == (0, "updated t\n")
    assert created(cluster, "t") == {**before, "timeLimit": "300s"}
    assert list(cluster.received[-1].request.update_mask.paths) == ["time_limit"]

    cli("task", "update", "t", "--no-time-limit", "--label", "b=2", "--remove-label", "a")
    assert created(cluster, "t") == {**before, "labels": {"b": "2"}}

    cli("task", "update", "t", "--zone", "Asia/Tokyo")
    assert created(cluster, "t")["schedule"] == {
        "cron": {"expression": "@daily", "timeZone": "Asia/Tokyo"},
        "endTime": "2030-01-01T00:00:00Z",
    }
    cli("task", "update", "t", "--cron", "@hourly", "--no-end")
    assert created(cluster, "t")["schedule"] == {"cron": {"expression": "@hourly", "timeZone": "Asia/Tokyo"}}
    cli("task", "update", "t", "--every", "5m", "--start", "2026-01-01T00:00:00Z")
    assert created(cluster, "t")["schedule"] == {"interval": {"every": "300s"}, "startTime": "2026-01-01T00:00:00Z"}
    cli("task", "update", "t", "--", "echo", "x")
    assert created(cluster, "t")["action"] == {"command": {"argv": ["echo", "x"]}}


def test_update_refuses_nothing_and_nonsense(cli, cluster):
    cli("task", "create", "t", *EVERY, "--noop")
    assert cli("task", "update", "t").err == "error: nothing to change: give at least one option\n"
    assert cli("task", "update", "t", "--zone", "UTC").code == 2
    assert cli("task", "update", "t", "--header", "A: b").code == 2
    assert cli("task", "update", "nobody", "--misfire", "all").code == 3
    assert cli("task", "update", "t", "--misfire", "all", "--etag", "old").code == 4


def test_update_does_not_overwrite_a_change_made_meanwhile(cli, cluster):
    cli("task", "create", "t", *EVERY, "--noop")
    cli("task", "update", "t", "--misfire", "all")
    assert cluster.received[-1].request.task.etag == "1"


def test_pause_resume_and_delete_change_the_task_that_is_meant(cli, cluster):
    cli("task", "create", "t", *EVERY, "--noop")
    assert cli("task", "pause", "t").out == "paused t\n"
    assert cluster.tasks["t"].paused
    assert cli("task", "resume", "t").out == "resumed t\n"
    assert cli("task", "delete", "t", "--etag", "1").code == 4
    assert cli("task", "delete", "t", "--etag", cluster.tasks["t"].etag).code == 0
    assert cli("task", "delete", "t").code == 3


def test_a_pause_says_what_had_started_already(cli, cluster):
    cli("task", "create", "t", *EVERY, "--noop")
    cluster.tasks["t"].warnings.add(description="the execution for 2026-03-01T12:00:00Z had started on n1")
    ended = cli("task", "pause", "t")
    assert (ended.code, ended.out) == (0, "paused t\n")
    assert ended.err == "warning: t: the execution for 2026-03-01T12:00:00Z had started on n1\n"


def test_run_prints_the_id_of_the_execution(cli, cluster):
    cli("task", "create", "t", *EVERY, "--noop")
    assert cli("task", "run", "t").out.strip() in cluster.executions
    assert json.loads(cli("task", "run", "t", "-o", "json").out)["trigger"] == "TRIGGER_MANUAL"


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        (Execution(state=EXECUTION_STATE_SUCCEEDED, exit_code=0), 0, "SUCCEEDED (exit code 0)"),
        (Execution(state=EXECUTION_STATE_FAILED, exit_code=-9, error="killed"), 1, "FAILED (signal 9)"),
    ],
)
def test_run_waits_for_the_end(cli, cluster, end, code, words):
    cli("task", "create", "t", *EVERY, "--noop")
    cluster.end_runs_as = end
    ended = cli("task", "run", "t", "--wait")
    assert (ended.code, ended.out.strip()) == (code, words)
    assert ("killed" in ended.err) == (code == 1)
