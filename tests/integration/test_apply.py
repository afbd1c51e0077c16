"""Files of tasks applied to a node that checks and completes definitions, through the command line."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from raftsched_client import Client, Task
from raftsched_proto.v1 import task_pb2

from raftsched.cli.files.taskfile import OUTPUT_ONLY
from raftsched.cli.main import run
from raftsched.definitions.task import INPUT_FIELDS
from tests.support.api_cluster import ApiCluster, on_cluster


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Awaitable[Ended]]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cli_of(cluster: ApiCluster, capsys: pytest.CaptureFixture[str]) -> Cli:
    async def call(*arguments: str) -> Ended:
        code = await asyncio.to_thread(run, ["--endpoints", cluster.node.me.address, *arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


async def tasks_of(cluster: ApiCluster) -> dict[str, Task]:
    def read() -> dict[str, Task]:
        with Client(cluster.node.me.address) as client:
            return {task.name: task for task in client.list_tasks()}

    return await asyncio.to_thread(read)


TASKS = """
tasks:
- name: nightly
  owner: Team Data
  description: |
    # Backup
    **When it fails** call.
  labels: {team: data}
  schedule: {cron: {expression: "30 2 * * *", timeZone: Europe/Berlin}, startTime: 2026-01-01T00:00:00+01:00}
  action: {command: {argv: [backup, 8080, true], stdin: {text: "two\\nlines"}, env: {PORT: 8080}}}
  timeLimit: 1h30m
  misfirePolicy: skip
  overlap_policy: queue
  maxQueued: 3
  retry: {maxAttempts: 3, initialBackoff: 250ms, states: [failed], exitCodes: [75]}
- name: pulse
  schedule: {interval: {every: 1m}}
  action: {python: {callable: "app:pulse", kwargsJson: {days: 7, deep: [1, {a: null}]}}}
---
name: once
schedule: {at: 2100-01-01T00:00:00Z}
action: {http: {url: "http://h/${secret:x}", headers: {A: 'yes'}}}
delivery: at-most-once
"""


CHAIN = """
- {name: report, after: [{task: load}, {task: clean}], action: {noop: {}}}
- {name: load, after: [{task: fetch}], action: {noop: {}}}
- {name: clean, after: [{task: fetch}], action: {noop: {}}}
- {name: fetch, schedule: {at: 2100-01-01T00:00:00Z}, action: {noop: {}}}
"""


@on_cluster()
async def test_tasks_are_applied_behind_those_they_run_after_and_pruned_before_them(
    cluster: ApiCluster, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = cli_of(cluster, capsys)
    (files / "chain.yaml").write_text(CHAIN)
    (files / "rest.yaml").write_text("{name: lone, schedule: {at: 2100-01-01T00:00:00Z}, action: {noop: {}}}")
    ended = await cli("apply", "-f", "chain.yaml", "-f", "rest.yaml", "--set", "etl")
    assert (ended.code, ended.err) == (0, "")
    assert set(await tasks_of(cluster)) == {"report", "load", "clean", "fetch", "lone"}
    ended = await cli("apply", "-f", "rest.yaml", "--set", "etl", "--prune")
    assert (ended.code, ended.err) == (0, "")
    assert set(await tasks_of(cluster)) == {"lone"}


@on_cluster()
async def test_tasks_that_run_after_each_other_are_refused_before_anything_is_done(
    cluster: ApiCluster, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = cli_of(cluster, capsys)
    circle = CHAIN.replace("schedule: {at: 2100-01-01T00:00:00Z}", "after: [{task: load}]")
    (files / "circle.yaml").write_text(circle)
    ended = await cli("apply", "-f", "circle.yaml")
    assert ended.code == 4
    assert "in a circle: " in ended.err
    assert "fetch" in ended.err
    assert await tasks_of(cluster) == {}


@on_cluster()
async def test_files_are_applied_once_and_then_nothing_is_left_to_do(
    cluster: ApiCluster, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = cli_of(cluster, capsys)
    (files / "tasks.yaml").write_text(TASKS)
    ended = await cli("apply", "-f", "tasks.yaml", "--dry-run")
    assert ended.out == "would create nightly\nwould create pulse\nwould create once\n"
    assert await tasks_of(cluster) == {}
    assert (await cli("diff", "-f", "tasks.yaml")).code == 1
    ended = await cli("apply", "-f", "tasks.yaml")
    assert (ended.code, ended.out) == (0, "created nightly\ncreated pulse\ncreated once\n")
    found = await tasks_of(cluster)
    nightly = found["nightly"]
    assert nightly.time_limit.ToSeconds() == 5400
    assert nightly.retry.initial_backoff.ToMilliseconds() == 250
    assert list(nightly.action.command.argv) == ["backup", "8080", "true"]
    assert nightly.action.command.stdin == b"two\nlines"
    assert json.loads(found["pulse"].action.python.kwargs_json) == {"days": 7, "deep": [1, {"a": None}]}
    ended = await cli("apply", "-f", "tasks.yaml")
    assert ended.out == "unchanged nightly\nunchanged pulse\nunchanged once\n"
    assert {name: task.etag for name, task in (await tasks_of(cluster)).items()} == {
        name: task.etag for name, task in found.items()
    }
    assert await cli("diff", "-f", "tasks.yaml") == Ended(0, "", "")


@on_cluster()
async def test_what_a_schedule_may_not_mean_is_said_as_it_is_registered_and_changed(
    cluster: ApiCluster, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = cli_of(cluster, capsys)
    text = "name: t\nschedule: {cron: {expression: '*/90 * * * *'}}\naction: {noop: {}}\n"
    (files / "t.yaml").write_text(text)
    said = (
        "warning: t: schedule.cron.expression: minute field '*/90': a step of 90 is longer than 0 to 59: only 0 is left"
    )
    for arguments in (
        ("simulate", "t.yaml"),
        ("apply", "-f", "t.yaml"),
        ("task", "show", "t"),
        ("task", "create", "u", "--cron", "*/90 * * * *", "--noop"),
    ):
        ended = await cli(*arguments)
        assert ended.code == 0
        assert said.replace("t:", f"{'u' if 'u' in arguments else 't'}:", 1) in ended.err
    (files / "t.yaml").write_text(text.replace("90", "91"))
    assert "*/91" in (await cli("apply", "-f", "t.yaml")).err


@on_cluster()
async def test_change_is_shown_and_made_to_the_fields_that_differ(
    cluster: ApiCluster, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = cli_of(cluster, capsys)
    (files / "tasks.yaml").write_text(TASKS)
    await cli("apply", "-f", "tasks.yaml")
    before = await tasks_of(cluster)
    await cli("task", "pause", "pulse")
    changed = (
        TASKS.replace("every: 1m", "every: 2m").replace("{team: data}", "{team: ops}").replace("  maxQueued: 3\n", "")
    )
    (files / "tasks.yaml").write_text(changed)
    ended = await cli("diff", "-f", "tasks.yaml")
    assert ended.code == 1
    assert "--- cluster/nightly\n+++ files/nightly\n" in ended.out
    assert "-  team: data\n+  team: ops\n" in ended.out
    assert "-maxQueued: 3\n+maxQueued: 10\n" in ended.out
    assert "-    every: 1m\n+    every: 2m\n" in ended.out
    assert "cluster/once" not in ended.out
    ended = await cli("apply", "-f", "tasks.yaml", "-o", "json")
    assert json.loads(ended.out)["tasks"] == [
        {"name": "nightly", "result": "updated", "fields": ["labels", "max_queued"]},
        {"name": "pulse", "result": "updated", "fields": ["schedule"]},
        {"name": "once", "result": "unchanged", "fields": []},
    ]
    after = await tasks_of(cluster)
    assert after["pulse"].paused
    assert after["pulse"].schedule.interval.anchor == before["pulse"].schedule.interval.anchor
    (files / "tasks.yaml").write_text(changed.replace("- name: pulse\n", "- name: pulse\n  paused: false\n"))
    assert "updated pulse (paused)" in (await cli("apply", "-f", "tasks.yaml")).out
    assert not (await tasks_of(cluster))["pulse"].paused


@on_cluster()
async def test_prune_removes_only_what_the_same_set_owns(
    cluster: ApiCluster, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = cli_of(cluster, capsys)
    await cli("task", "create", "by-hand", "--every", "1m", "--noop")
    noop = "schedule: {interval: {every: 1m}}\naction: {noop: {}}\n"
    for name in ("a", "b"):
        (files / f"{name}.yaml").write_text(f"name: {name}\n{noop}")
    (files / "other.yml").write_text(f"name: c\n{noop}")
    assert (await cli("apply", "-f", "a.yaml", "-f", "b.yaml", "--set", "one")).code == 0
    assert (await cli("apply", "-f", "other.yml", "--set", "two")).code == 0
    ended = await cli("apply", "-f", "other.yml", "--set", "one")
    assert ended.code == 4
    assert "the task 'c' belongs to the set 'two'" in ended.err
    assert (await cli("apply", "-f", "a.yaml", "--prune")).code == 2
    ended = await cli("diff", "-f", "a.yaml", "--set", "one", "--prune")
    assert (ended.code, ended.out.splitlines()[0]) == (1, "--- cluster/b")
    ended = await cli("apply", "-f", "a.yaml", "--set", "one", "--prune", "--dry-run")
    assert ended.out == "unchanged a\nwould prune b\n"
    assert sorted(await tasks_of(cluster)) == ["a", "b", "by-hand", "c"]
    ended = await cli("apply", "-f", "a.yaml", "--set", "one", "--prune")
    assert ended.out == "unchanged a\npruned b\n"
    assert sorted(await tasks_of(cluster)) == ["a", "by-hand", "c"]


@on_cluster()
async def test_what_is_exported_is_unchanged_when_applied(
    cluster: ApiCluster, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = cli_of(cluster, capsys)
    (files / "tasks.yaml").write_text(TASKS)
    await cli("apply", "-f", "tasks.yaml", "--set", "web")
    await cli("task", "create", "box", "--every", "90s", "--container", "i:1", "--memory", "64MiB", "--paused")
    for form in ("yaml", "json"):
        ended = await cli("export", "-o", form)
        (files / f"exported.{form}").write_text(ended.out)
        assert "1h30m" in ended.out
        assert "MISFIRE_POLICY" not in ended.out
        ended = await cli("apply", "-f", f"exported.{form}")
        assert sorted(ended.out.splitlines()) == [f"unchanged {name}" for name in ("box", "nightly", "once", "pulse")]


@on_cluster()
async def test_directory_of_several_formats_is_one_set(
    cluster: ApiCluster, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = cli_of(cluster, capsys)
    (files / "all" / "deep").mkdir(parents=True)
    (files / "all" / "deep" / "one.toml").write_text(
        '[[tasks]]\nname = "toml"\ntimeLimit = "5m"\n[tasks.schedule]\nat = 2100-01-01T00:00:00Z\n[tasks.action.noop]\n'
    )
    (files / "all" / "two.json").write_text(
        '{"name": "json", "schedule": {"interval": {"every": "60s"}}, "action": {"noop": {}}}'
    )
    (files / "all" / "readme.txt").write_text("not a task")
    assert (await cli("apply", "-f", "all")).out == "created toml\ncreated json\n"
    assert (await tasks_of(cluster))["toml"].schedule.at.seconds == 4_102_444_800
    (files / "again.yaml").write_text("name: json\nschedule: {interval: {every: 1m}}\naction: {noop: {}}\n")
    ended = await cli("apply", "-f", "all", "-f", "again.yaml")
    assert ended.code == 2
    assert "again.yaml: the task 'json' is in all/two.json already" in ended.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: t\nschedul: {}\n", "t.yaml:2: task 1 (t): there is no key 'schedul'; known are name, uid, "),
        (
            "- name: a\n- name: t\n  action:\n    http:\n      uri: x\n",
            "t.yaml:5: task 2 (t): action.http: there is no key",
        ),
        (
            "name: t\nmisfirePolicy: sometimes\n",
            "t.yaml:2: task 1 (t): misfirePolicy: 'sometimes' is none of skip, one, all",
        ),
        ("name: t\ntimeLimit: 5 minutes\n", "t.yaml:2: task 1 (t): timeLimit: '5 minutes' is not a time span"),
        ("name: t\nlabels: [a]\n", "t.yaml:2: task 1 (t): labels: must be a mapping, not ['a']"),
        ("name: t\naction: {command: {argv: ls}}\n", "action.command.argv: must be a list, not 'ls'"),
        ("name: t\naction: {command: {stdin: {file: gone}}}\n", "action.command.stdin: cannot read gone"),
        ("name: t\nname: u\n", "the key 'name' is there twice"),
        ("tasks: []\nset: x\n", "t.yaml:2: there is no key 'set' beside tasks"),
        ("name: t\nschedule: {interval: {every: 1m}}\n", "task.action: is required"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_line(
    files: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (files / "t.yaml").write_text(text)

    @on_cluster()
    async def check(cluster: ApiCluster) -> None:
        ended = await cli_of(cluster, capsys)("apply", "-f", "t.yaml")
        assert ended.code == 2
        assert message in ended.err
        assert await tasks_of(cluster) == {}

    check()


def test_every_field_of_a_task_is_of_the_caller_or_of_the_cluster() -> None:
    assert {field.name for field in task_pb2.Task.DESCRIPTOR.fields} == {*INPUT_FIELDS, *OUTPUT_ONLY}
