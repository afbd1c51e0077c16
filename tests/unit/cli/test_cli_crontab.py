"""``raftsched import crontab``."""

import io
import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from google.protobuf.json_format import MessageToDict

from raftsched.cli.crontab import system_zone
from tests.support.peer_cluster import refusal

CRONTAB = """\
# nightly jobs
MAILTO=ops@example.org
PATH=/usr/local/bin:/usr/bin:/bin

30 2 * * *  /usr/local/bin/backup --full
@hourly     cd /srv && ./rotate
CRON_TZ=Asia/Tokyo
0 9 * * 1-5 mail -s report boss%see attachment%bye
@reboot     /usr/bin/warm
61 * * * *  /bin/broken
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "crontab"
    path.write_text(CRONTAB)
    return str(path)


def lines(out: str) -> dict[int, dict]:
    return {line["line"]: line for line in json.loads(out)["lines"]}


def test_every_line_is_accounted_for(cli, cluster, file):
    ended = cli("import", "crontab", file, "--zone", "Europe/Berlin", "-o", "json")
    assert ended.code == 2
    assert ended.err == "error: 1 of 10 lines were not imported\n"
    found = lines(ended.out)
    assert [found[number]["result"] for number in range(1, 11)] == [
        "comment",
        "variable",
        "variable",
        "comment",
        "created",
        "created",
        "variable",
        "created",
        "skipped",
        "error",
    ]
    assert found[10]["message"]
    assert sorted(cluster.tasks) == sorted(found[number]["task"] for number in (5, 6, 8))


def test_tasks_do_what_cron_does(cli, cluster, file):
    found = lines(cli("import", "crontab", file, "--zone", "Europe/Berlin", "--label", "from=cron", "-o", "json").out)
    backup = MessageToDict(cluster.tasks[found[5]["task"]])
    assert backup["schedule"] == {"cron": {"expression": "30 2 * * *", "timeZone": "Europe/Berlin"}}
    assert backup["labels"] == {"from": "cron"}
    command = backup["action"]["command"]
    assert command["argv"] == ["/bin/sh", "-c", "/usr/local/bin/backup --full"]
    assert command["env"]["PATH"] == "/usr/local/bin:/usr/bin:/bin"
    report = cluster.tasks[found[8]["task"]]
    assert report.schedule.cron.time_zone == "Asia/Tokyo"
    assert report.action.command.argv[2] == "mail -s report boss"
    assert report.action.command.stdin == b"see attachment\nbye\n"


def test_importing_again_changes_nothing(cli, cluster, file):
    cli("import", "crontab", file, "--zone", "UTC")
    etags = {name: task.etag for name, task in cluster.tasks.items()}
    found = lines(cli("import", "crontab", file, "--zone", "UTC", "-o", "json").out)
    assert {found[number]["result"] for number in (5, 6, 8)} == {"unchanged"}
    assert {name: task.etag for name, task in cluster.tasks.items()} == etags


def test_paused_task_counts_as_unchanged(cli, cluster, tmp_path):
    file = tmp_path / "crontab"
    file.write_text("@daily true\n")
    cli("import", "crontab", str(file))
    cli("task", "pause", next(iter(cluster.tasks)))
    ended = cli("import", "crontab", str(file))
    assert ended.code == 0
    assert "1 unchanged" in ended.out


def test_task_that_differs_is_left_alone(cli, cluster, tmp_path):
    file = tmp_path / "crontab"
    file.write_text("@daily true\n")
    cli("import", "crontab", str(file), "--zone", "UTC")
    file.write_text("@weekly true\n")
    ended = cli("import", "crontab", str(file), "--zone", "UTC")
    assert ended.code == 4
    assert "1 differs" in ended.out
    assert [task.schedule.cron.expression for task in cluster.tasks.values()] == ["@daily"]


def test_dry_run_registers_nothing_and_shows_the_next_fires(cli, cluster, tmp_path):
    file = tmp_path / "crontab"
    file.write_text("*/20 3 * * *  /bin/true\n")
    ended = cli("import", "crontab", str(file), "--zone", "America/New_York", "--dry-run", "-o", "json")
    assert ended.code == 0
    assert cluster.received == []
    line = lines(ended.out)[1]
    assert line["result"] == "would create"
    times = [datetime.fromisoformat(text) for text in line["nextFireTimes"]]
    expected = croniter("*/20 3 * * *", datetime.now(ZoneInfo("America/New_York")))
    assert [t.astimezone(UTC) for t in times] == [expected.get_next(datetime).astimezone(UTC) for _ in range(3)]


def test_table_leaves_comments_out_and_sums_up(cli, cluster, file):
    out = cli("import", "crontab", file, "--zone", "UTC").out.splitlines()
    assert out[0].split() == ["LINE", "RESULT", "TASK", "SCHEDULE", "NEXT", "FIRE", "NOTE"]
    assert [row.split()[0] for row in out[1:-1]] == ["2", "3", "5", "6", "7", "8", "9", "10"]
    assert out[-1] == "3 created, 1 error, 1 skipped, 3 variable"


def test_system_crontab_names_users(cli, cluster, tmp_path):
    file = tmp_path / "crontab"
    file.write_text("17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly\n")
    ended = cli("import", "crontab", str(file), "--system", "-o", "json")
    assert ended.code == 0
    (task,) = cluster.tasks.values()
    assert task.action.command.argv[2] == "cd / && run-parts --report /etc/cron.hourly"


def test_crontab_comes_from_standard_input(cli, cluster, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("@daily /bin/true\n"))
    assert cli("import", "crontab", "-").code == 0
    assert len(cluster.tasks) == 1


def test_bad_file_and_zone_are_named(cli, cluster, tmp_path):
    ended = cli("import", "crontab", str(tmp_path / "none"))
    assert (ended.code, ended.err) == (2, f"error: cannot read {tmp_path}/none: No such file or directory\n")
    (tmp_path / "crontab").write_text("@daily true\n")
    ended = cli("import", "crontab", str(tmp_path / "crontab"), "--zone", "Moon/Crater")
    assert ended.code == 2
    assert "Moon/Crater" in ended.err
    assert cluster.received == []


def test_refused_task_is_reported_with_its_line(cli, cluster, tmp_path):
    (tmp_path / "crontab").write_text("@daily one\n@daily two\n")
    cluster.refused["two"] = refusal("INVALID_ARGUMENT", "the command is too long")
    ended = cli("import", "crontab", str(tmp_path / "crontab"), "-o", "json")
    assert ended.code == 2
    found = lines(ended.out)
    assert (found[1]["result"], found[2]["result"]) == ("created", "refused")
    assert "too long" in found[2]["message"]


def test_zone_of_the_machine(monkeypatch):
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert system_zone() == "Asia/Tokyo"
    monkeypatch.delenv("TZ")
    ZoneInfo(system_zone())
