"""What has to change in a cluster so that it runs the jobs of a crontab. Pure: nothing is asked or changed here.

A line has no name. Its task is found again by what it says, so that nothing depends on the lines above it: first by
schedule and command, then by the command alone (its time was changed), then by time and program (its arguments were).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from raftsched.cli.files.command_name import name_of, names_of
from raftsched.cli.files.plan import SET_LABEL
from raftsched.cli.files.taskfile import definition

if TYPE_CHECKING:
    from raftsched_client import Task

    from raftsched.cli.files.crontab import CrontabTask


@dataclass(frozen=True)
class Job:
    """A line that runs something."""

    number: int
    entry: CrontabTask
    wanted: Task
    """Without a name: what the line and the options say."""
    stated: frozenset[str]
    """The fields of it that the line or the options say something about; others of a task are left as they are."""

    def names(self, most: int) -> list[str]:
        """What its task may be called, best first."""
        return list(islice(names_of(self.entry.program, self.entry.digest), most))


@dataclass(frozen=True)
class ImportStep:
    """What becomes of one line."""

    job: Job
    verb: str
    """create, change, adopt (it is there, and gets the label of the crontab) or keep."""
    name: str
    before: Task | None = None
    after: Task | None = None
    fields: tuple[str, ...] = ()
    """Those that are changed."""
    note: str = ""


@dataclass(frozen=True)
class ImportPlan:
    """What is to be done, line by line, and the tasks of the crontab that no line asks for any more."""

    steps: list[ImportStep] = field(default_factory=list)
    gone: list[Task] = field(default_factory=list)

    def of(self, verb: str) -> list[ImportStep]:
        """The steps of a kind."""
        return [step for step in self.steps if step.verb == verb]


def candidates(jobs: Sequence[Job]) -> set[str]:
    """Names of tasks that the jobs may have been given, by this or by an earlier way of naming."""
    alike = Counter((job.entry.program, job.entry.digest) for job in jobs)
    return {name for job in jobs for name in job.names(alike[job.entry.program, job.entry.digest] + 2)}


def plan_import(jobs: Sequence[Job], there: Mapping[str, Task], set_name: str) -> ImportPlan:
    """The plan. ``there`` has the tasks of the set ``set_name``, and of any that have a name of ``candidates``."""
    owned = {name: task for name, task in there.items() if task.labels.get(SET_LABEL) == set_name}
    free = {name: task for name, task in there.items() if not task.labels.get(SET_LABEL)}
    foreign = {name: task for name, task in there.items() if name not in owned and name not in free}
    steps: dict[int, ImportStep] = {}

    def take(tasks: dict[str, Task], key_of_job: Callable[[Job], Hashable], key_of: Callable[[Task], Hashable]) -> None:
        waiting: dict[Hashable, list[str]] = {}
        for name in sorted(tasks, reverse=True):
            if (key := key_of(tasks[name])) is not None:
                waiting.setdefault(key, []).append(name)
        for job in jobs:
            if job.number not in steps and (names := waiting.get(key_of_job(job))):
                steps[job.number] = _step(job, tasks.pop(names.pop()), set_name)

    take(owned, lambda job: _entry(job.wanted), _entry)
    take(free, lambda job: _entry(job.wanted), _entry)
    for job in jobs:
        if job.number not in steps and (same := _same_of_others(job, foreign)):
            # Whose it is does not change: the other crontab has this line too.
            steps[job.number] = ImportStep(
                job, "keep", same.name, same, note=f"runs for {same.labels[SET_LABEL]!r} already"
            )
    take(owned, lambda job: (_time(job.wanted), _command(job.wanted)), lambda task: (_time(task), _command(task)))
    take(owned, lambda job: _command(job.wanted), _command)
    take(owned, lambda job: (_time(job.wanted), job.entry.program), lambda task: (_time(task), _program(task)))
    take(owned, lambda job: job.names(2)[1], lambda task: task.name)
    taken = set(there)
    for job in jobs:
        if job.number not in steps:
            steps[job.number] = _new(job, taken, there, set_name)
    gone = [owned[name] for name in sorted(owned)]
    return ImportPlan([steps[job.number] for job in jobs], gone)


def _step(job: Job, there: Task, set_name: str) -> ImportStep:
    own = there.labels.get(SET_LABEL) == set_name
    fields = [name for name in job.stated - {"labels"} if _differs(job.wanted, there, name)]
    if any(there.labels.get(key) != value for key, value in job.wanted.labels.items()) or not own:
        fields.append("labels")
    if not fields:
        return ImportStep(job, "keep", there.name, there)
    after = definition(there)
    for name in fields:
        if name != "labels":
            after.ClearField(name)  # type: ignore[arg-type]  # the stub wants a literal
            after.MergeFrom(only(job.wanted, [name]))
    after.labels.update({**job.wanted.labels, SET_LABEL: set_name})
    if fields == ["labels"] and not own:
        note = "was there, and belongs to this crontab now"
        return ImportStep(job, "adopt", there.name, there, after, tuple(fields), note)
    return ImportStep(job, "change", there.name, there, after, tuple(sorted(fields)), _was(there, fields))


def _was(there: Task, fields: list[str]) -> str:
    said = []
    if "schedule" in fields and there.schedule.HasField("cron"):
        said.append(f"was {there.schedule.cron.expression} {there.schedule.cron.time_zone}")
    if rest := [name for name in fields if name != "schedule"]:
        said.append(f"other {', '.join(sorted(rest))}")
    return "; ".join(said)


def _new(job: Job, taken: set[str], there: Mapping[str, Task], set_name: str) -> ImportStep:
    after = definition(job.wanted)
    after.name = next(name for name in names_of(job.entry.program, job.entry.digest) if name not in taken)
    after.labels[SET_LABEL] = set_name
    taken.add(after.name)
    alike = [
        name
        for name in job.names(2)
        if name in there and there[name].labels.get(SET_LABEL) != set_name and _command(there[name]) == _command(after)
    ]
    note = f"the task {alike[0]!r} runs the same command, and is of no line of this crontab" if alike else ""
    return ImportStep(job, "create", after.name, after=after, note=note)


def _same_of_others(job: Job, foreign: Mapping[str, Task]) -> Task | None:
    for name in job.names(2):
        there = foreign.get(name)
        if there and not any(_differs(job.wanted, there, each) for each in job.stated - {"labels"}):
            return there
    return None


def _entry(task: Task) -> Hashable:
    """What tells jobs apart."""
    if not (task.schedule.HasField("cron") and task.action.HasField("command")):
        return None
    return _time(task), task.action.command.SerializeToString(deterministic=True)


def _time(task: Task) -> Hashable:
    return (task.schedule.cron.expression, task.schedule.cron.time_zone) if task.schedule.HasField("cron") else None


def _command(task: Task) -> Hashable:
    if not task.action.HasField("command"):
        return None
    return tuple(task.action.command.argv[1:]), task.action.command.stdin


def _program(task: Task) -> str:
    argv = task.action.command.argv
    return name_of(argv[2]) if len(argv) == 3 and argv[1] == "-c" else ""


def _differs(one: Task, other: Task, name: str) -> bool:
    return only(one, [name]) != only(other, [name])


def only(task: Task, names: Iterable[str]) -> Task:
    """A task with nothing but these fields."""
    found = type(task)()
    for name in names:
        descriptor = task.DESCRIPTOR.fields_by_name[name]
        if descriptor.is_repeated:
            getattr(found, name).MergeFrom(getattr(task, name))
        elif descriptor.message_type is None:
            setattr(found, name, getattr(task, name))
        elif task.HasField(name):  # type: ignore[arg-type]  # the stub wants a literal
            getattr(found, name).CopyFrom(getattr(task, name))
    return found
