"""Whatever text is given for a crontab, each line has a result, and what becomes a task can be registered."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from raftsched.cli.files.command_name import name_of
from raftsched.cli.files.crontab import LineKind, parse, split_percent
from raftsched.core.state.model import Cron, Schedule
from raftsched.core.times.schedule import validate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")

words = st.sampled_from([
    "*", "*", "*", "*", "*", "0", "5", "*/5", "1-3", "mon", "@daily", "@reboot", "#", "root", "A=b", "CRON_TZ=UTC",
    "CRON_TZ=x", "=", "sudo", "-u", "cd", "&&", "%", "\\%", "\\", "'", '"', "$(x)", "/bin/x", "run-parts", "bash", "-c",
    ">", "{", "}", ";", "\0", "\udcff", "\xa0", "\f",
])  # fmt: skip
lines = st.one_of(st.text(max_size=40), st.lists(words, max_size=10).map(" ".join))
crontabs = st.lists(lines, max_size=8).map("\n".join)


@given(crontabs, st.booleans())
@example("0 0 * * * x\n0 0 * * * x\n0 0 * * * x", False)
def test_each_line_has_a_result_and_each_task_is_valid(text: str, system: bool) -> None:
    results = parse(text, system=system, default_zone="UTC")
    assert [result.number for result in results] == list(range(1, len(results) + 1))
    tasks = [result.task for result in results if result.task]
    assert len({task.name for task in tasks}) == len(tasks)
    for result in results:
        assert (result.task is not None) == (result.kind is LineKind.TASK)
        assert result.message or result.kind not in (LineKind.ERROR, LineKind.SKIPPED)
    for task in tasks:
        assert NAME.fullmatch(task.name)
        assert task.command
        assert task.shell
        validate(Schedule(Cron(task.expression, task.time_zone)))
    assert parse(text, system=system, default_zone="UTC") == results


@given(st.one_of(st.text(max_size=60), st.lists(words, max_size=12).map(" ".join)))
def test_any_command_has_a_name(command: str) -> None:
    assert NAME.fullmatch(name_of(command))


@given(st.text("ab%\\ ", max_size=20))
def test_escaped_percent_signs_survive_and_others_split(source: str) -> None:
    command, stdin = split_percent(source)
    first = next((at for at in range(len(source)) if source[at] == "%" and _backslashes(source, at) % 2 == 0), None)
    assert command == re.sub(r"(?<!\\)((?:\\\\)*)\\%", r"\1%", source[:first])
    assert (stdin == "") == (first is None or first == len(source) - 1)


def _backslashes(source: str, at: int) -> int:
    return len(source[:at]) - len(source[:at].rstrip("\\"))
