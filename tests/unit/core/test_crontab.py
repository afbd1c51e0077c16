"""How crontab files are read, crontab(5)."""

from collections import Counter
from pathlib import Path

import pytest
from croniter import croniter

from raftsched.cli.files.command_name import MAX_NAME_CHARS, name_of
from raftsched.cli.files.crontab import CrontabLine, CrontabTask, LineKind, parse, split_percent
from raftsched.core.times.schedule import ScheduleError

USER_CRONTAB = Path(__file__).parents[2] / "fixtures" / "crontab_user"

ETC_CRONTAB = """\
# /etc/crontab: system-wide crontab
SHELL=/bin/sh
#PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin

# m h dom mon dow user	command
17 *	* * *	root	cd / && run-parts --report /etc/cron.hourly
25 6	* * *	root	test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }
47 6	* * 7	root	test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.weekly; }
52 6	1 * *	root	test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.monthly; }
#
"""


def read(text: str, *, system: bool = False, zone: str = "UTC") -> list[CrontabLine]:
    return parse(text, system=system, default_zone=zone)


def tasks(text: str, *, system: bool = False) -> list[CrontabTask]:
    return [line.task for line in read(text, system=system) if line.task]


def only(text: str, *, system: bool = False) -> CrontabLine:
    (line,) = read(text, system=system)
    return line


def test_debians_system_crontab() -> None:
    lines = read(ETC_CRONTAB, system=True, zone="Europe/Berlin")
    assert [line.number for line in lines] == list(range(1, 11))
    assert Counter(line.kind for line in lines) == {LineKind.COMMENT: 5, LineKind.VARIABLE: 1, LineKind.TASK: 4}
    found = [line.task for line in lines if line.task]
    assert [(task.name, task.expression) for task in found] == [
        ("cron.hourly", "17 * * * *"),
        ("cron.daily", "25 6 * * *"),
        ("cron.weekly", "47 6 * * 7"),
        ("cron.monthly", "52 6 1 * *"),
    ]
    assert found[1].command == "test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }"
    assert {(task.user, task.time_zone, task.shell, task.stdin) for task in found} == {
        ("root", "Europe/Berlin", "/bin/sh", b"")
    }
    assert lines[5].message == "runs as the user of the executor, not as root"


def test_a_user_crontab_of_fifty_entries() -> None:
    text = USER_CRONTAB.read_text()
    lines = read(text, zone="Europe/Berlin")
    assert "\n".join(line.text for line in lines) + "\n" == text
    kinds = Counter(line.kind for line in lines)
    assert (kinds[LineKind.TASK], kinds[LineKind.SKIPPED], kinds[LineKind.ERROR]) == (49, 1, 0)
    found = [line.task for line in lines if line.task]
    assert len({task.name for task in found}) == len(found)
    assert all(croniter.is_valid(task.expression) for task in found)
    assert Counter(task.time_zone for task in found) == {"Europe/Berlin": 46, "America/New_York": 2, "Asia/Tokyo": 1}
    by_name = {task.name: task for task in found}
    assert by_name["mail"].argv == ("/bin/bash", "-c", 'mail -s "It\'s 10pm" joe')
    assert by_name["mail"].stdin == b"Joe,\n\nWhere are your kids?\n"
    assert by_name["mail"].env["GREETING"] == "  kept blanks  "
    assert by_name["mail"].env["MAILTO"] == "ops@example.com, oncall@example.com"
    assert by_name["open_market"].env["MAILTO"] == ""
    assert by_name["mail"].working_directory == "/tmp"
    assert '"/srv/backups/shop-$(date +%F).sql.gz"' in by_name["pg_dump"].command
    assert {
        "artisan",
        "drain_queue",
        "etl.hourly",
        "load_prices.py",
        "close_day.sh",
        "second_saturday",
    } <= by_name.keys()


def test_variables_apply_to_the_lines_below_them_only() -> None:
    first, second, third = tasks("0 0 * * * a\nX=1\n0 0 * * * b\nX=2\nSHELL=/bin/dash\n0 0 * * * c\n")
    assert (dict(first.env), first.shell) == ({}, "/bin/sh")
    assert (dict(second.env), second.shell) == ({"X": "1"}, "/bin/sh")
    assert (dict(third.env), third.shell) == ({"X": "2", "SHELL": "/bin/dash"}, "/bin/dash")


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("A=b", "A", "b"),
        ("  A = b c  ", "A", "b c"),
        ("A\t=\tb", "A", "b"),
        ('A=" b "', "A", " b "),
        ("A=' b '", "A", " b "),
        ('A=""', "A", ""),
        ("A=", "A", ""),
        ('"A B"=c', "A B", "c"),
        ("'A'='c'", "A", "c"),
        ("A=b=c", "A", "b=c"),
        ("A=it's", "A", "it's"),
        ("A=b # no comment", "A", "b # no comment"),
        ("PATH=$HOME/bin:$PATH", "PATH", "$HOME/bin:$PATH"),
    ],
)
def test_a_variable(line: str, name: str, value: str) -> None:
    (task,) = tasks(f"{line}\n0 0 * * * x")
    assert task.env == {name: value}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("MAILTO=root", "no mail is sent: the output is kept with the execution"),
        ("RANDOM_DELAY=30", "not applied: the tasks below fire at their nominal times"),
        ("PATH=$HOME/bin", "$ is not expanded, as under cron"),
        ("CRON_TZ=Asia/Tokyo", "the tasks below run in Asia/Tokyo"),
        ("TZ=Asia/Tokyo", "set for the commands below; their schedules stay in UTC (CRON_TZ would move them)"),
        ("A=b", ""),
    ],
)
def test_a_variable_says_what_is_other_than_under_cron(line: str, message: str) -> None:
    assert only(line).kind is LineKind.VARIABLE
    assert only(line).message == message


def test_cron_tz_moves_schedules_and_tz_does_not() -> None:
    text = "TZ=Asia/Tokyo\n0 0 * * * a\nCRON_TZ=Europe/Paris\n0 0 * * * b\nCRON_TZ=\n0 0 * * * c\n"
    found = tasks(text)
    assert [task.time_zone for task in found] == ["UTC", "Europe/Paris", "UTC"]
    assert all(task.env == {"TZ": "Asia/Tokyo"} for task in found)


def test_tasks_below_a_bad_cron_tz_are_not_imported_in_another_zone() -> None:
    bad, refused, good, taken = read("CRON_TZ=Mars/Base\n0 0 * * * a\nCRON_TZ=Europe/Paris\n0 0 * * * b")
    assert bad.kind is LineKind.ERROR
    assert bad.message.startswith("CRON_TZ: unknown time zone 'Mars/Base'")
    assert refused.kind is LineKind.ERROR
    assert refused.message == "its time zone is not known: correct CRON_TZ in line 1"
    assert good.kind is LineKind.VARIABLE
    assert taken.task is not None
    assert taken.task.time_zone == "Europe/Paris"


def test_an_unknown_default_zone_is_refused_at_once() -> None:
    with pytest.raises(ScheduleError):
        read("", zone="Mars/Base")


@pytest.mark.parametrize(
    ("source", "command", "stdin"),
    [
        ("date", "date", ""),
        (r"date +\%F", "date +%F", ""),
        (r"a 'x\ny' \\ \"", r"a 'x\ny' \\ \"", ""),
        ("cat%one%two", "cat", "one\ntwo\n"),
        ("cat%%", "cat", "\n"),
        ("cat%", "cat", ""),
        ("cat%one%", "cat", "one\n"),
        (r"cat%50\% off%\n", "cat", "50% off\n\\n\n"),
        (r"a\\%b", r"a\\", "b\n"),
        ("a\\", "a\\", ""),
        (r"\%", "%", ""),
    ],
)
def test_percent_signs(source: str, command: str, stdin: str) -> None:
    assert split_percent(source) == (command, stdin)


@pytest.mark.parametrize("alias", ["@hourly", "@Daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"])
def test_aliases(alias: str) -> None:
    (task,) = tasks(f"{alias}\techo  two  blanks")
    assert task.expression == alias
    assert task.command == "echo  two  blanks"


def test_reboot_is_reported_and_skipped() -> None:
    line = only("@reboot /usr/bin/x")
    assert (line.kind, line.task) == (LineKind.SKIPPED, None)
    assert "a cluster has no such moment" in line.message


def test_lines_end_as_on_any_system() -> None:
    lines = read("\ufeff# a\r\n0 0 * * * x\r\n\r\n0 0 * * * y")
    assert [line.kind for line in lines] == [LineKind.COMMENT, LineKind.TASK, LineKind.COMMENT, LineKind.TASK]
    assert [line.task.command for line in lines if line.task] == ["x", "y"]


@pytest.mark.parametrize(
    ("line", "system", "message"),
    [
        ("61 * * * * x", False, "minute field '61' is not valid; allowed are 0 to 59"),
        ("* * * * mox x", False, "day of week field 'mox'"),
        ("@fortnightly x", False, "unknown alias '@fortnightly'; known are @yearly"),
        ("0 0 * * *", False, "has no command after the time fields; add one"),
        ("@daily", False, "has no command after the time fields; add one"),
        ("run the backup", False, "has 3 words where five time fields"),
        ("0 0 * * * %x", False, "has no command before the %"),
        ('A="b', False, 'the value "b must end with the quotation mark that it begins with'),
        ("0 0 * * * \0", False, "holds a NUL in column 11"),
        ("0 0 * * * caf\udce9", False, "byte 0xe9 in column 14 is not UTF-8, and commands and variables are texts in"),
        ("0 0 * * * caf\udce9", False, "or let the shell make the byte: $(printf '\\351')"),
        ("X=caf\udce9", False, "byte 0xe9 in column 6 is not UTF-8"),
        ("0 0 * * * j\udcfcrgen cmd", True, "byte 0xfc in column 12 is not UTF-8"),
        ("0 \udce9 * * * x", False, "byte 0xe9 in column 3 is not UTF-8"),
        ("0\xa00 * * * * x", False, "minute field '0\\xa00' is not valid"),
        ("\xa0", False, "has 1 words where five time fields"),
        ("0 0 * * * root", True, "has no command after the user 'root'; if this is a user crontab, import"),
        ("0 0 * * * /bin/x y", True, "'/bin/x' is no user name, which lines of a system"),
        ("0 0 * * * ./x y", True, "a user crontab is imported without --system"),
        ("0 24 * * * x", False, "hour field '24' is not valid; allowed are 0 to 23"),
        ("60 0 * * * x", False, "minute field '60' is not valid; allowed are 0 to 59"),
        ("*/0 0 * * * x", False, "minute field '*/0' is not valid"),
        ("0 0 0 * * x", False, "day of month field '0' is not valid"),
        ("0 0 * 13 * x", False, "month field '13' is not valid"),
        ("0 0 * * 8 x", False, "day of week field '8' is not valid"),
        ("0.5 0 * * * x", False, "minute field '0.5' is not valid"),
    ],
)  # fmt: skip
def test_a_bad_line_is_an_error_that_says_what_to_do(line: str, system: bool, message: str) -> None:
    result = only(line, system=system)
    assert (result.kind, result.task) == (LineKind.ERROR, None)
    assert message in result.message


@pytest.mark.parametrize("days", ["30 2", "31 2,4,6", "31 feb"])
def test_a_day_that_never_comes_is_skipped_as_under_cron(days: str) -> None:
    line = only(f"0 0 {days} * x\n")
    assert (line.kind, line.task) == (LineKind.SKIPPED, None)
    assert "never fires: no such day exists, under cron neither" in line.message


def test_comments_and_standard_input_may_be_in_any_encoding() -> None:
    text = b"# caf\xe9 \xff\n0 0 * * * mail ops%Gr\xfc\xdfe%\n".decode("utf-8", "surrogateescape")
    comment, mail = read(text)
    assert comment.kind is LineKind.COMMENT
    assert mail.task is not None
    assert (mail.task.command, mail.task.stdin) == ("mail ops", b"Gr\xfc\xdfe\n")


@pytest.mark.parametrize(("line", "expression"), [("-*/15 * * * *", "*/15 * * * *"), ("-@daily", "@daily")])
def test_a_dash_in_front_is_noted(line: str, expression: str) -> None:
    result = only(f"{line} root /opt/run\n", system=True)
    assert result.task is not None
    assert (result.task.expression, result.task.command, result.task.user) == (expression, "/opt/run", "root")
    assert "the - in front keeps cron from logging the run" in result.message
    assert only("-@reboot x\n").kind is LineKind.SKIPPED


def test_the_option_for_mail_of_failures_is_no_part_of_the_command() -> None:
    result = only("0 0 * * * -n  /opt/run -n\n")
    assert result.task is not None
    assert result.task.command == "/opt/run -n"
    assert "-n asks cron to mail failures only" in result.message


@pytest.mark.parametrize(
    "user",
    ["root", "_www", "svc@corp.example", "CORP\\svc", "CORP+svc", "1000", "svc$", "a.b-c_d", "www:www", "jürgen"],
)
def test_users_of_a_system_crontab(user: str) -> None:
    result = only(f"*/5 * * * * {user} /opt/run x\n", system=True)
    assert result.task is not None
    assert (result.task.user, result.task.command) == (user, "/opt/run x")
    assert f"not as {user}" in result.message


def test_a_last_line_without_a_line_end_is_imported_and_noted() -> None:
    assert only("0 0 * * * x\n").message == ""
    assert only("0 0 * * * x").message == "cron leaves out a last line without a line end"
    assert only("# x").message == ""


@pytest.mark.parametrize(
    "command", ["x" * 100_000, "a " * 50_000, "nice " * 20_000, "A=1 " * 25_000, "$(" * 50_000, "`" * 100_000,
                "bash -c '" * 11_000, "(" * 100_000, "{ " * 50_000, "%" * 100_000, "\\%" * 50_000, "'" * 99_999],
)  # fmt: skip
def test_a_line_of_a_hundred_thousand_characters_is_read(command: str) -> None:
    (result,) = read(f"0 0 * * * {command}\n")
    assert result.kind in (LineKind.TASK, LineKind.ERROR)
    if result.task and "%" not in command:
        assert result.task.command == command.rstrip()


def test_a_user_crontab_that_looks_like_a_system_crontab_says_so() -> None:
    assert "import it with --system" in only("0 0 * * * root /usr/bin/x").message


def test_names_of_one_program_differ_and_stay() -> None:
    text = "0 0 * * * /bin/b.sh one\n0 0 * * * /bin/b.sh two\n0 0 * * * /bin/b.sh two\n0 1 * * * /bin/b.sh two\n"
    names = [task.name for task in tasks(text)]
    assert names[0] == "b.sh"
    assert len(set(names)) == 4
    assert names[2] == names[1] + "-2"
    # The same again, and unmoved by what is added below.
    assert [task.name for task in tasks(text + "0 2 * * * /bin/b.sh three\n")][:4] == names


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup --all", "backup"),
        ("$HOME/bin/backup.sh", "backup.sh"),
        ('"$HOME/My Scripts/run me.sh" now', "run-me.sh"),
        ("cd /srv && FOO=1 sudo -u www nice -n 10 /opt/b/run.sh >> log 2>&1", "run.sh"),
        ("flock -n /tmp/l timeout -k 5 30m /usr/bin/php /srv/artisan schedule:run", "artisan"),
        ("/usr/bin/env PYTHONPATH=/x python3.11 -m pkg.mod --x", "pkg.mod"),
        ("bash -lc 'cd x && ./y.sh'", "y.sh"),
        ("java -jar /opt/x.jar", "x.jar"),
        ("python3", "python3"),
        ("if [ -x /usr/bin/a ]; then /usr/bin/a -b; fi", "a"),
        ("test $(date +%u) -eq 6 && ./saturday", "saturday"),
        ("command -v sa1 > /dev/null && sa1 1 1", "sa1"),
        (">/dev/null /bin/quiet 2>&1", "quiet"),
        ("( cd /x; ./run )", "run"),
        ("echo hello", "echo"),
        ("sudo -n", "sudo"),
        ("'unbalanced quote", "unbalanced"),
        ("run-parts --report /etc/cron.daily", "cron.daily"),
        ("run-parts /etc/cron.daily/", "cron.daily"),
        ("/opt/größe/zähle", "z-hle"),
        ("/opt/_private", "private"),
        ("---", "task"),
        ("(((", "task"),
        ("/bin/" + "x" * 300, "x" * MAX_NAME_CHARS),
    ],
)
def test_a_name_comes_from_the_program_that_does_the_work(command: str, name: str) -> None:
    assert name_of(command) == name
