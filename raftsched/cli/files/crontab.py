"""Reads crontab files, as crontab(5) describes them, line by line. Nothing is left out: each line has a result.

Differences from Debian's cron are said in the message of the line: there is no mail, no @reboot, and the command runs
as the user of the executor, whatever the user field of a system crontab says. CRON_TZ is cronie's: it sets the time
zone of the schedules below it, while TZ is but a variable for the commands.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from raftsched.cli.files.command_name import name_of, names_of
from raftsched.core.state.model import Cron, Schedule
from raftsched.core.times import cron_notes
from raftsched.core.times.cron_hash import resolve
from raftsched.core.times.schedule import NeverFiresError, ScheduleError, validate, validate_time_zone

DEFAULT_SHELL = "/bin/sh"

_VARIABLE = re.compile(r"""(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|(?P<bare>[^\s=]+))[ \t]*=[ \t]*(?P<value>.*)""")
_USER = re.compile(r"\w[\w.@+\\$-]*(:\w[\w.-]*)?")
"""Also of a directory service (``svc@corp.example``, ``CORP\\svc``), a number, or with a group as in FreeBSD."""
_NO_LOG, _MAIL_ON_ERROR = "-", re.compile(r"-n[ \t]+(?=\S)")
_FIELD_COUNT = 5
_UNUSED = {
    "MAILTO": "no mail is sent: the output is kept with the execution",
    "MAILFROM": "no mail is sent: the output is kept with the execution",
    "RANDOM_DELAY": "not applied: the tasks below fire at their nominal times",
    "START_HOURS_RANGE": "not applied: the tasks below fire at their nominal times",
}


class LineKind(Enum):
    """What a line of a crontab is."""

    TASK = "task"
    VARIABLE = "variable"
    COMMENT = "comment"
    """Also an empty line."""
    SKIPPED = "skipped"
    """Understood, but nothing that a cluster can do."""
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class CrontabTask:
    """What a line says is to be run, and when."""

    name: str
    """That of the program; with a suffix made from the entry if a line above has that name. Unique in the file."""
    program: str
    digest: str
    """Follows from the entry alone, which makes ``program-digest`` a name that no other line moves."""
    expression: str
    """Five fields or an alias; valid. May hold hashed values."""
    time_zone: str
    command: str
    """For ``shell -c``."""
    stdin: bytes
    """As it stands in the file, whatever its encoding."""
    shell: str
    env: Mapping[str, str]
    """The variables set above the line, but for CRON_TZ."""
    user: str
    """The user field of a system crontab; "" in a user crontab."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The program and arguments that run the command as cron does."""
        return (self.shell, "-c", self.command)

    @property
    def working_directory(self) -> str:
        """Where cron would run the command, if the crontab says so; "" otherwise."""
        return self.env.get("HOME", "")


@dataclass(frozen=True, slots=True)
class CrontabLine:
    """What became of one line."""

    number: int
    """Counts from 1."""
    text: str
    kind: LineKind
    message: str = ""
    """For the reader: what is wrong and what to do, or what is other than under cron. May be empty."""
    task: CrontabTask | None = None
    """Of a TASK line."""


@dataclass(slots=True)
class _Context:
    """What the lines above have set."""

    system: bool
    default_zone: str
    zone: str
    bad_zone_line: int = 0
    """The line of a CRON_TZ that is not valid; 0: none is in force."""
    env: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


class _LineError(ValueError):
    """The line cannot be imported; the message says why."""


class _NeverError(ValueError):
    """The line is valid, and names no day that exists."""


def parse(text: str, *, system: bool, default_zone: str) -> list[CrontabLine]:
    """Read a crontab, one result per line.

    ``system``: lines have a user field, as in /etc/crontab and /etc/cron.d. ``default_zone`` is the IANA zone of the
    machine that the crontab comes from. Bytes that are not UTF-8 come as surrogates, as ``errors="surrogateescape"``
    makes them; they may stand in comments and in standard input. Raises ScheduleError when the zone is unknown.
    """
    validate_time_zone(default_zone)
    context = _Context(system, default_zone, default_zone)
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    unended = lines[-1] != ""
    if not unended:
        lines.pop()
    found = [_parse_line(context, number, line) for number, line in enumerate(lines, 1)]
    if unended and found[-1].task:
        found[-1] = replace(
            found[-1], message=_and(found[-1].message, "cron leaves out a last line without a line end")
        )
    return found


def _and(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _parse_line(context: _Context, number: int, text: str) -> CrontabLine:
    line = text.strip(" \t")
    if not line or line.startswith("#"):
        return CrontabLine(number, text, LineKind.COMMENT)
    try:
        variable = _VARIABLE.fullmatch(line)
        if variable:
            _check_text(line, line)
            return CrontabLine(number, text, LineKind.VARIABLE, _set_variable(context, number, variable))
        if _words(line.removeprefix(_NO_LOG), 1)[0].lower() == "@reboot":
            message = (
                "@reboot runs when a machine starts, and a cluster has no such moment; use a unit of the init system"
            )
            return CrontabLine(number, text, LineKind.SKIPPED, message)
        task, message = _parse_task(context, line)
        return CrontabLine(number, text, LineKind.TASK, message, task)
    except _LineError as error:
        return CrontabLine(number, text, LineKind.ERROR, str(error))
    except _NeverError as error:
        return CrontabLine(number, text, LineKind.SKIPPED, str(error))


def _check_text(part: str, line: str) -> None:
    """Refuse what the API has no text for: NUL, and bytes that are not UTF-8."""
    found = re.search("[\0\ud800-\udfff]", part)
    if not found:
        return
    column = line.index(found[0]) + 1
    if found[0] == "\0":
        raise _LineError(f"holds a NUL in column {column}, which no command can")
    byte = ord(found[0]) & 0xFF
    raise _LineError(
        f"byte 0x{byte:02x} in column {column} is not UTF-8, and commands and variables are texts in UTF-8 here; "
        f"convert the file (iconv -f ISO-8859-1 -t UTF-8), or let the shell make the byte: $(printf '\\{byte:03o}')"
    )


def _words(line: str, count: int) -> list[str]:
    """The first ``count`` words, and the rest."""
    return re.split("[ \t]+", line, maxsplit=count)


def _set_variable(context: _Context, number: int, match: re.Match[str]) -> str:
    """Take a setting over for the lines below; returns what is to be said about it."""
    name = match["double"] or match["single"] or match["bare"]
    value = _unquote(match["value"])
    if name == "CRON_TZ":
        return _set_zone(context, number, value)
    context.env[name] = value
    if name in _UNUSED:
        return _UNUSED[name]
    if name == "TZ":
        return f"set for the commands below; their schedules stay in {context.zone} (CRON_TZ would move them)"
    if "$" in value:
        return "$ is not expanded, as under cron"
    return ""


def _set_zone(context: _Context, number: int, zone: str) -> str:
    context.zone = zone or context.default_zone
    try:
        validate_time_zone(context.zone)
    except ScheduleError as error:
        context.bad_zone_line = number
        raise _LineError(f"CRON_TZ: {error}; the tasks below it are not imported") from None
    context.bad_zone_line = 0
    return f"the tasks below run in {context.zone}"


def _unquote(value: str) -> str:
    if value[:1] in ("'", '"'):
        if len(value) < 2 or value[-1] != value[0]:
            raise _LineError(f"the value {value} must end with the quotation mark that it begins with")
        return value[1:-1]
    return value


def _parse_task(context: _Context, line: str) -> tuple[CrontabTask, str]:
    expression, rest = _split_schedule(line.removeprefix(_NO_LOG))
    if context.bad_zone_line:
        raise _LineError(f"its time zone is not known: correct CRON_TZ in line {context.bad_zone_line}")
    _check_text(expression, line)
    _validate(expression, context.zone)
    if context.system:
        _check_text(_words(rest, 1)[0], line)
    user, source, notes = _split_user(context, rest)
    if line.startswith(_NO_LOG):
        notes.append("the - in front keeps cron from logging the run; here each run is on record")
    if option := _MAIL_ON_ERROR.match(source):
        source = source[option.end() :]
        notes.append("-n asks cron to mail failures only; here there is no mail, see --notify")
    command, stdin = split_percent(source)
    _check_text(command, line)
    if not command:
        raise _LineError("has no command before the %; write \\% for a literal %")
    notes += cron_notes.notes(expression)
    if "~" in expression:
        notes.append("~ is one number, which follows from the name of the task; cron draws it at each start")
    if stdin:
        notes.append("what follows the first % is standard input (write \\% for a literal %)")
    program, digest = name_of(command), _digest(expression, context.zone, user, source)
    task = CrontabTask(
        name=_unique_name(context, program, digest),
        program=program,
        digest=digest,
        expression=expression,
        time_zone=context.zone,
        command=command,
        stdin=stdin.encode("utf-8", "surrogateescape"),
        shell=context.env.get("SHELL") or DEFAULT_SHELL,
        env=dict(context.env),
        user=user,
    )
    return task, _and(*notes)


def _validate(expression: str, zone: str) -> None:
    try:
        validate(Schedule(Cron(resolve(expression, ""), zone)))
    except NeverFiresError as error:
        raise _NeverError(f"{error}, under cron neither") from None
    except ScheduleError as error:
        raise _LineError(f"{error}; correct the line and import it again") from None


def _split_schedule(line: str) -> tuple[str, str]:
    """The expression, and what follows it."""
    count = 1 if line.startswith("@") else _FIELD_COUNT
    words = _words(line, count)
    if len(words) < count:
        raise _LineError(
            f"has {len(words)} words where five time fields (minute, hour, day of month, month, day of week) "
            "and a command are needed; comment it out with # if it is no entry"
        )
    if len(words) == count:
        raise _LineError("has no command after the time fields; add one")
    return " ".join(words[:count]), words[count]


def _split_user(context: _Context, rest: str) -> tuple[str, str, list[str]]:
    """User, command, and what is to be said."""
    first, *others = _words(rest, 1)
    if not context.system:
        doubt = "the command is 'root': if this is a system crontab, import it with --system"
        return "", rest, [doubt] if first == "root" else []
    if not _USER.fullmatch(first):
        raise _LineError(
            f"{first!r} is no user name, which lines of a system crontab have behind the time fields; "
            "a user crontab is imported without --system"
        )
    if not others:
        raise _LineError(
            f"has no command after the user {first!r}; if this is a user crontab, import it without --system"
        )
    return first, others[0], [f"runs as the user of the executor, not as {first}"]


def split_percent(source: str) -> tuple[str, str]:
    r"""Command and standard input of a crontab command, crontab(5).

    The first % that no backslash precedes ends the command. In what follows, each such % is a newline. \% stands for a
    plain %; other backslashes stay. Standard input ends in a newline.
    """
    match = re.fullmatch(r"((?:[^\\%]|\\.?)*)(?:%(.*))?", source, re.DOTALL)
    assert match is not None
    command = re.sub(r"\\(.)", lambda of: "%" if of[1] == "%" else of[0], match[1])
    stdin = re.sub(r"(\\?)%", lambda of: "%" if of[1] else "\n", match[2] or "")
    return command, stdin if stdin.endswith("\n") or not stdin else stdin + "\n"


def _digest(*entry: str) -> str:
    return hashlib.sha256("\0".join(entry).encode("utf-8", "surrogateescape")).hexdigest()[:4]


def _unique_name(context: _Context, program: str, digest: str) -> str:
    """The name of the program; with a suffix from the whole entry if a line above has that name."""
    found = next(name for name in names_of(program, digest) if name not in context.names)
    context.names.add(found)
    return found
