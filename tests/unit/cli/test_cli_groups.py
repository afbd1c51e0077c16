"""``raftsched group``, through the client, against real servers."""

import json

from google.protobuf.json_format import MessageToDict

EVERY = ("--every", "1m")


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_limits_are_sent_and_shown(cli, cluster):
    ended = cli("group", "create", "api", "--max-running", "2", "--max-starts", "60", "--period", "90s")
    assert ended.code == 0
    assert MessageToDict(cluster.groups["api"]) == {"name": "api", "maxRunning": 2, "maxStarts": 60, "period": "90s"}
    cluster.groups["api"].running, cluster.groups["api"].waiting = 2, 1_500
    cli("task", "create", "t", *EVERY, "--group", "api", "--noop")
    shown = ["api", "2", "1,500", "1", "2", "running,", "60", "starts", "per", "1m", "30s"]
    assert rows(cli("group", "show", "api").out)[1:] == [shown]
    assert rows(cli("group", "list").out) == [["GROUP", "RUNNING", "WAITING", "TASKS", "LIMITS"], shown]
    (listed,) = json.loads(cli("group", "list", "-o", "json").out)["groups"]
    assert listed == json.loads(cli("group", "show", "api", "-o", "json").out)
    assert (listed["maxRunning"], listed["maxStarts"], listed["tasks"]) == (2, 60, 1)


def test_update_changes_only_what_is_given_and_0_takes_a_limit_away(cli, cluster):
    cli("group", "create", "db", "--max-running", "2", "--max-starts", "60")
    assert cli("group", "update", "db", "--max-running", "4").code == 0
    assert (cluster.groups["db"].max_running, cluster.groups["db"].max_starts) == (4, 60)
    cli("group", "update", "db", "--max-starts", "0")
    assert (cluster.groups["db"].max_running, cluster.groups["db"].max_starts) == (4, 0)
    ended = cli("group", "update", "db")
    assert (ended.code, ended.err) == (2, "error: nothing to change: give at least one option\n")


def test_a_group_is_deleted_once_no_task_is_in_it(cli, cluster):
    cli("group", "create", "db", "--max-running", "1")
    cli("task", "create", "t", *EVERY, "--group", "db", "--noop")
    assert cli("group", "delete", "db").code == 4
    cli("task", "delete", "t")
    assert cli("group", "delete", "db").out == "deleted db\n"
    for command in ("show", "delete"):
        assert cli("group", command, "db").code == 3
