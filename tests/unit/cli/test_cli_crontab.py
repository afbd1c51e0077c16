"""``raftsched import crontab``."""

import io
import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from google.protobuf.json_format import MessageToDict

from raftsched.cli.commands.crontab import system_zone
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
    assert backup["labels"] == {"from": "cron", "raftsched/set": f"crontab:{file}"}
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


def test_dry_run_registers_nothing_and_shows_the_next_fires(cli, cluster, tmp_path):
    file = tmp_path / "crontab"
    file.write_text("*/20 3 * * *  /bin/true\n")
    ended = cli("import", "crontab", str(file), "--zone", "America/New_York", "--dry-run", "-o", "json")
    assert ended.code == 0
    assert set(cluster.methods()) <= {"ListTasks", "GetTask"}
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
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"@daily /bin/true\n# caf\xe9\n"), "ascii"))
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


A, B, C, D = (f"{at} {at} * * * /opt/a.sh {word}\n" for at, word in ((5, "x"), (6, "y"), (7, "z"), (8, "x y")))


class Import:
    """One crontab, imported again and again."""

    def __init__(self, cli, cluster, tmp_path):
        self._cli, self._cluster, self._file = cli, cluster, tmp_path / "jobs"

    def __call__(self, text, *options):
        self._file.write_bytes(text.encode("utf-8", "surrogateescape"))
        ended = self._cli(
            "import", "crontab", str(self._file), "--set", "jobs", "--zone", "UTC", "-o", "json", *options
        )
        document = json.loads(ended.out.partition("\n}\n")[0] + "}") if ended.out else {"lines": [], "gone": []}
        found = [line for line in document["lines"] if line["task"]] + document["gone"]
        return (
            ended,
            {line["task"]: line["result"] for line in found},
            {line["task"]: line["message"] for line in found},
        )

    def jobs(self):
        """What runs when, each as often as it does."""
        return sorted(
            (task.schedule.cron.expression, task.action.command.argv[2]) for task in self._cluster.tasks.values()
        )


@pytest.fixture
def again(cli, cluster, tmp_path):
    return Import(cli, cluster, tmp_path)


def jobs_of(text):
    return sorted(
        (" ".join(line.split()[:5]), line.split(maxsplit=5)[5]) for line in text.splitlines() if line[0] != "#"
    )


@pytest.mark.parametrize(
    "after",
    [A + B, B + A, C + A + B, A + C + B, A + B + C, B, A, "#" + A + B, A + "# c\n" + B, A + A + B, A + B + B, A + B + A,
     "5 6 * * * /opt/a.sh x\n" + B, A + "6 6 * * * /opt/a.sh y --more\n", C + B, D + C + B + A, C + D,
     B.replace("6 6", "9 9") + A.replace("5 5", "9 9"), "X=1\n" + A + B, A + "X=1\n" + B],
)  # fmt: skip
def test_a_crontab_is_imported_again_whatever_became_of_its_lines(again, after):
    again(A + B)
    ended, *_ = again(after, "--prune", "--yes")
    assert (ended.code, ended.err) == (0, "")
    assert again.jobs() == jobs_of(after.replace("X=1\n", ""))
    ended, results, _ = again(after, "--prune")
    assert ended.code == 0
    assert set(results.values()) == {"unchanged"}


def test_a_deleted_line_is_told_and_its_task_stays_until_it_is_pruned(again, cluster):
    again(A + B)
    etags = {name: task.etag for name, task in cluster.tasks.items()}
    ended, results, messages = again(B)
    assert ended.code == 0
    assert sorted(results.values()) == ["gone", "unchanged"]
    assert messages["a.sh"] == "no line runs it; it goes on firing without --prune"
    assert ended.err == (
        "no line runs 1 task of this crontab any more, which fire on until they are removed: --prune\n"
    )
    assert {name: task.etag for name, task in cluster.tasks.items()} == etags
    ended, results, _ = again(B, "--prune", "--yes")
    assert results["a.sh"] == "pruned"
    assert again.jobs() == jobs_of(B)


def test_nothing_is_changed_or_removed_before_the_plan_was_shown(again, cluster):
    again(A + B)
    etags = {name: task.etag for name, task in cluster.tasks.items()}
    for text, options, expected in (
        (A.replace("5 5", "9 9") + B, (), {"would change", "unchanged"}),
        (B, ("--prune",), {"would prune", "unchanged"}),
        (B + "9 9 * * * /opt/b.sh\n", (), {"would create", "gone", "unchanged"}),
    ):
        ended, results, _ = again(text, *options)
        assert (ended.code, ended.err) == (4, "error: nothing was done: look at the plan, then say --yes\n")
        assert set(results.values()) == expected
        assert {name: task.etag for name, task in cluster.tasks.items()} == etags


def test_a_line_with_another_time_changes_its_task_and_nothing_else_of_it(again, cluster):
    again(A + B)
    cluster.tasks["a.sh"].time_limit.seconds = 60
    cluster.tasks["a.sh"].paused = True
    before = cluster.tasks["a.sh"].uid
    ended, results, messages = again(B + A.replace("5 5", "9 9"), "--yes")
    assert ended.code == 0
    assert results["a.sh"] == "changed"
    assert messages["a.sh"] == "was 5 5 * * * UTC"
    task = cluster.tasks["a.sh"]
    assert (task.uid, task.paused, task.time_limit.seconds) == (before, True, 60)
    assert task.schedule.cron.expression == "9 9 * * *"


def test_two_identical_lines_are_two_jobs(again, cluster):
    again(A + A)
    assert again.jobs() == jobs_of(A + A)
    names = set(cluster.tasks)
    again(A + B + A)
    assert names < set(cluster.tasks)
    again(A + B, "--prune", "--yes")
    assert again.jobs() == jobs_of(A + B)


def test_tasks_of_an_earlier_naming_are_found_by_what_they_do(again, cluster):
    again(A + B + A)
    for task in cluster.tasks.values():
        task.labels.clear()
    earlier = set(cluster.tasks)
    assert len(earlier) == 3
    ended, results, messages = again(C + B + A + A)
    assert ended.code == 0
    assert sorted(results.values()) == ["created", "unchanged", "unchanged", "unchanged"]
    assert messages["a.sh"] == "was there, and belongs to this crontab now"
    assert again.jobs() == jobs_of(A + B + A + C)
    assert earlier < set(cluster.tasks)
    assert {task.labels["raftsched/set"] for task in cluster.tasks.values()} == {"jobs"}
    # The first of an earlier import is gone from the file: what is left is found though it has another name now.
    for task in cluster.tasks.values():
        task.labels.clear()
    again(B)
    assert again.jobs() == jobs_of(A + B + A + C)


def test_a_task_of_the_same_name_that_does_something_else_is_left_alone(again, cluster, cli):
    cli("task", "create", "a.sh", "--every", "1h", "--", "/opt/a.sh")
    other = cluster.tasks["a.sh"].etag
    ended, results, _ = again(A + B)
    assert ended.code == 0
    assert set(results.values()) == {"created"}
    assert "a.sh" not in results
    assert cluster.tasks["a.sh"].etag == other


def test_two_crontabs_with_a_line_in_common_run_it_once(again, cli, cluster, tmp_path):
    again(A + B)
    (tmp_path / "other").write_text(C + A)
    out = cli("import", "crontab", str(tmp_path / "other"), "--zone", "UTC").out
    assert "runs for 'jobs' already" in out
    assert again.jobs() == jobs_of(A + B + C)
    # Neither takes from the other.
    cli("import", "crontab", str(tmp_path / "other"), "--zone", "UTC", "--prune", "--yes")
    again(A + B, "--prune", "--yes")
    assert again.jobs() == jobs_of(A + B + C)


def test_a_command_that_runs_for_another_crontab_at_another_time_is_asked_about(again, cli, cluster, tmp_path):
    again(A)
    (tmp_path / "moved").write_text(A.replace("5 5", "9 9"))
    ended = cli("import", "crontab", str(tmp_path / "moved"), "--zone", "UTC")
    assert ended.code == 4
    assert "the task 'a.sh' runs the same command, and is of no line of this crontab" in ended.out
    assert again.jobs() == jobs_of(A)
    assert cli("import", "crontab", str(tmp_path / "moved"), "--zone", "UTC", "--yes").code == 0
    assert len(cluster.tasks) == 2


def test_nothing_is_pruned_while_a_line_cannot_be_read(again):
    again(A + B)
    ended, *_ = again(A + "6 66 * * * /opt/a.sh y\n", "--prune", "--yes")
    assert ended.code == 2
    assert "nothing is pruned while lines cannot be read (2)" in ended.err
    assert again.jobs() == jobs_of(A + B)


def test_nothing_is_pruned_when_a_task_is_refused(again, cluster):
    again(A + B)
    cluster.refused["b.sh"] = refusal("INVALID_ARGUMENT", "the command is too long")
    ended, results, _ = again(A + "9 9 * * * /opt/b.sh\n", "--prune", "--yes")
    assert ended.code == 2
    assert results["b.sh"] == "refused"
    assert again.jobs() == jobs_of(A + B)


def test_options_of_a_later_import_change_what_they_say(again, cluster):
    again(A, "--label", "team=a")
    cluster.tasks["a.sh"].labels["by"] = "hand"
    ended, results, messages = again(A, "--time-limit", "5m", "--label", "team=b", "--yes")
    assert (ended.code, results) == (0, {"a.sh": "changed"})
    assert messages["a.sh"] == "other labels, time_limit"
    assert cluster.tasks["a.sh"].time_limit.seconds == 300
    assert dict(cluster.tasks["a.sh"].labels) == {"team": "b", "by": "hand", "raftsched/set": "jobs"}


def test_bytes_that_are_not_utf_8_stop_only_the_command_that_holds_them(again, cluster):
    text = b"# caf\xe9\n5 5 * * * mail%caf\xe9\n6 6 * * * echo caf\xe9\n7 7 * * * z\n".decode(
        "utf-8", "surrogateescape"
    )
    ended, results, _ = again(text)
    assert ended.code == 2
    assert results == {"mail": "created", "z": "created"}
    assert cluster.tasks["mail"].action.command.stdin == b"caf\xe9\n"
    assert "byte 0xe9 in column 19 is not UTF-8" in ended.out


def test_a_crontab_in_utf_16_is_refused_with_what_to_do(again, cluster, cli, tmp_path):
    (tmp_path / "crontab").write_text(A, encoding="utf-16")
    ended = cli("import", "crontab", str(tmp_path / "crontab"))
    assert ended.code == 2
    assert "is in UTF-16LE, not UTF-8; convert it" in ended.err


def test_thousands_of_lines_take_few_calls(again, cluster):
    text = "".join(f"{n % 60} {n // 60 % 24} * * * /opt/job{n % 700} {n}\n" for n in range(3_000))
    again(text)
    assert len(cluster.tasks) == 3_000
    assert len(cluster.received) < 20
    cluster.received.clear()
    _, results, _ = again(text)
    assert set(results.values()) == {"unchanged"}
    assert len(cluster.received) < 20


def test_the_plan_is_carried_out_after_an_answer(cli, cluster, tmp_path, monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    file = tmp_path / "crontab"
    file.write_text(A)
    cli("import", "crontab", str(file), "--zone", "UTC")
    file.write_text(B)
    for answer, expected in ((b"n\n", [A]), (b"y\n", [B])):
        monkeypatch.setattr("sys.stdin", Terminal(io.BytesIO(answer), "utf-8"))
        ended = cli("import", "crontab", str(file), "--zone", "UTC", "--prune")
        assert "Carry this out?" in ended.err
        assert ended.code == (0 if expected == [B] else 4)
        assert [task.action.command.argv[2] + "\n" for task in cluster.tasks.values()] == [
            each.split(maxsplit=5)[5] for each in expected
        ]
