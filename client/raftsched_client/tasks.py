"""Builds ``Task`` messages from Python values."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Unpack

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp
from raftsched_proto.v1.execution_pb2 import EXECUTION_STATE_FAILED, EXECUTION_STATE_TIMED_OUT, ExecutionState
from raftsched_proto.v1.notification_pb2 import (
    OCCASION_FAILURE,
    OCCASION_LATE,
    OCCASION_LOST,
    OCCASION_MISSING,
    OCCASION_SKIPPED,
    Notifications,
    Occasion,
)
from raftsched_proto.v1.task_pb2 import (
    CHAIN_CONDITION_COMPLETION,
    CHAIN_CONDITION_FAILURE,
    CHAIN_CONDITION_SUCCESS,
    FOLD_POLICY_BOTH,
    FOLD_POLICY_FIRST,
    FOLD_POLICY_LAST,
    FOLD_POLICY_UNSPECIFIED,
    GAP_POLICY_SHIFT,
    GAP_POLICY_SKIP,
    GAP_POLICY_UNSPECIFIED,
    Action,
    AwsLambdaAction,
    ChainCondition,
    ChainParent,
    CommandAction,
    ContainerAction,
    CronSchedule,
    Exclusion,
    ExtensionAction,
    FoldPolicy,
    GapPolicy,
    GrpcAction,
    HttpAction,
    IntervalSchedule,
    NoopAction,
    PythonAction,
    RetryPolicy,
    RruleSchedule,
    Schedule,
    Task,
    UnionSchedule,
)

from raftsched_client._task_fields import FIELD_OF, TaskFields
from raftsched_client.times import to_duration, to_timestamp

RetriedState = Literal["failed", "timed_out"]
OccasionName = Literal["failure", "lost", "skipped", "late", "missing"]
ChainOn = Literal["success", "failure", "completion"]
Gap = Literal["shift", "skip"]
Fold = Literal["first", "last", "both"]

_GAP: dict[Gap | None, GapPolicy.ValueType] = {
    None: GAP_POLICY_UNSPECIFIED,
    "shift": GAP_POLICY_SHIFT,
    "skip": GAP_POLICY_SKIP,
}
_FOLD: dict[Fold | None, FoldPolicy.ValueType] = {
    None: FOLD_POLICY_UNSPECIFIED,
    "first": FOLD_POLICY_FIRST,
    "last": FOLD_POLICY_LAST,
    "both": FOLD_POLICY_BOTH,
}
_CHAIN: dict[ChainOn, ChainCondition.ValueType] = {
    "success": CHAIN_CONDITION_SUCCESS,
    "failure": CHAIN_CONDITION_FAILURE,
    "completion": CHAIN_CONDITION_COMPLETION,
}
_RETRIED: dict[RetriedState, ExecutionState.ValueType] = {
    "failed": EXECUTION_STATE_FAILED,
    "timed_out": EXECUTION_STATE_TIMED_OUT,
}


_OCCASIONS: dict[OccasionName, Occasion.ValueType] = {
    "failure": OCCASION_FAILURE,
    "lost": OCCASION_LOST,
    "skipped": OCCASION_SKIPPED,
    "late": OCCASION_LATE,
    "missing": OCCASION_MISSING,
}


def task(
    name: str,
    *,
    cron: str | None = None,
    rrule: str | None = None,
    zone: str | None = None,
    gap: Gap | None = None,
    fold: Fold | None = None,
    every: timedelta | None = None,
    anchor: datetime | None = None,
    at: datetime | None = None,
    union: Sequence[Schedule] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    exclude: Sequence[Exclusion] | None = None,
    calendars: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
    shell: str | None = None,
    env: Mapping[str, str] | None = None,
    working_directory: str | None = None,
    stdin: bytes | None = None,
    http: str | HttpAction | None = None,
    python: str | None = None,
    kwargs: Mapping[str, object] | None = None,
    grpc: GrpcAction | None = None,
    aws_lambda: AwsLambdaAction | None = None,
    container: ContainerAction | None = None,
    extension: ExtensionAction | None = None,
    noop: bool = False,
    labels: Mapping[str, str] | None = None,
    executor_labels: Mapping[str, str] | None = None,
    retry: RetryPolicy | None = None,
    after: Sequence[str] | Mapping[str, ChainOn] = (),
    paused: bool = False,
    resume_time: datetime | None = None,
    notifications: Notifications | None = None,
    **fields: Unpack[TaskFields],
) -> Task:
    """A task, ready for ``create_task``. Takes exactly one action, and one schedule; with ``after`` it needs none.

    Schedules: ``cron`` (five or six fields or an alias, read in the IANA ``zone``, default UTC), ``rrule`` (a rule of
    RFC 5545, or lines with DTSTART, RRULE, RDATE and EXDATE, in the ``zone``), ``every`` (counted from ``anchor``,
    default the time of registration), ``at``, ``union`` (all that any of several, made by ``schedule``, has); each from
    ``start`` until before ``end``. ``gap`` says what happens to local times of ``cron`` and ``rrule`` that a clock
    change leaves out, ``fold`` which occurrence of repeated ones counts.
    What lies in ``exclude``, or in one of the ``calendars`` that are named, is no nominal time.

    Actions: ``command`` (a program and its arguments) and ``shell`` (a script for /bin/sh), both with ``env``,
    ``working_directory`` and ``stdin``; ``http`` (a URL to GET, or an ``HttpAction``); ``python`` (a callable that the
    operator has exposed, with ``kwargs``, which must be JSON values); ``grpc``, ``aws_lambda``, ``container`` and
    ``extension``, each as its message; ``noop``.

    ``retry`` is made by ``retry_policy`` and ``notifications`` by the function of that name.
    ``after`` names tasks that it runs after, on "success" unless a mapping says "failure" or "completion". A ``paused``
    task resumes by itself at ``resume_time``.

    ``fields``: the simple fields of a task, such as ``owner="Team A"``, ``time_limit=timedelta(minutes=5)``,
    ``misfire="skip"`` or ``overlap="queue"``. ``TaskFields`` says of each what it means; None leaves it out.

    Raises ValueError, naming the argument, for a naive datetime and for what does not go together. The cluster
    checks the rest.
    """
    return Task(
        name=name,
        labels=labels,
        schedule=None
        if after and all(each is None for each in (cron, rrule, every, at, union))
        else schedule(
            cron=cron,
            rrule=rrule,
            zone=zone,
            gap=gap,
            fold=fold,
            every=every,
            anchor=anchor,
            at=at,
            union=union,
            start=start,
            end=end,
            exclude=exclude,
            calendars=calendars,
        ),
        action=action(
            command=command,
            shell=shell,
            env=env,
            working_directory=working_directory,
            stdin=stdin,
            http=http,
            python=python,
            kwargs=kwargs,
            grpc=grpc,
            aws_lambda=aws_lambda,
            container=container,
            extension=extension,
            noop=noop,
        ),
        after=_chain_parents(after),
        paused=paused,
        resume_time=_stamp("resume_time", resume_time),
        executor_labels=executor_labels,
        retry=retry,
        notifications=notifications,
        **_simple(fields),
    )


def _simple(given: TaskFields) -> dict[str, Any]:
    """The fields of the message that the arguments stand for."""
    fields = {}
    for argument, value in given.items():
        if argument not in FIELD_OF:
            raise TypeError(f"task() got an unexpected keyword argument {argument!r}")
        if value is not None:
            name = FIELD_OF[argument]
            fields[name] = _field_value(Task.DESCRIPTOR.fields_by_name[name], argument, value)
    return fields


def _field_value(field: FieldDescriptor, argument: str, value: Any) -> Any:
    if field.enum_type is not None:
        return _enum_value(field.enum_type, argument, str(value))
    if isinstance(value, timedelta):
        return to_duration(value)
    return _stamp(argument, value) if isinstance(value, datetime) else value


def _enum_value(enum: EnumDescriptor, argument: str, value: str) -> int:
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    known = {each.name.removeprefix(prefix).lower(): each.number for each in enum.values if each.number}
    if value not in known:
        raise ValueError(f"{argument}: {value!r} is none of {', '.join(known)}")
    return known[value]


def _chain_parents(after: Sequence[str] | Mapping[str, ChainOn]) -> list[ChainParent]:
    if isinstance(after, str):
        raise ValueError("after: give a sequence of task names")
    conditions = after if isinstance(after, Mapping) else dict.fromkeys(after, "success")
    return [ChainParent(task=name, on=_CHAIN[condition]) for name, condition in conditions.items()]  # type: ignore[index]  # the condition is one of the literals


def notifications(
    url: str,
    *,
    on: Sequence[OccasionName] = ("failure",),
    late_after: timedelta | None = None,
    report_within: timedelta | None = None,
    signing_secret: str = "",
    headers: Mapping[str, str] | None = None,
) -> Notifications:
    """What a task tells a webhook, for ``task``.

    "late" needs ``late_after``: an execution had not started so long after its nominal time. "missing" needs
    ``report_within``: an execution had not succeeded by then. ``signing_secret`` names a secret of the nodes; ``url``
    and ``headers`` may refer to such as ``${secret:NAME}``.
    """
    return Notifications(
        url=url,
        occasions=[_OCCASIONS[each] for each in on],
        late_after=None if late_after is None else to_duration(late_after),
        report_within=None if report_within is None else to_duration(report_within),
        signing_secret=signing_secret,
        headers=headers,
    )


def retry_policy(
    max_attempts: int,
    *,
    initial_backoff: timedelta | None = None,
    multiplier: int = 0,
    max_backoff: timedelta | None = None,
    states: Sequence[RetriedState] = (),
    exit_codes: Sequence[int] = (),
    http_statuses: Sequence[int] = (),
) -> RetryPolicy:
    """When another attempt follows one that did not succeed, for ``task``.

    Waits ``initial_backoff`` (default 1 s) before the second attempt and ``multiplier`` (default 2) times longer before
    each further one, up to ``max_backoff`` (default 10 min), less a random part of up to a half. Only the ends in
    ``states`` (default both), with one of ``exit_codes`` or ``http_statuses`` if any are given, are tried again.
    """
    return RetryPolicy(
        max_attempts=max_attempts,
        initial_backoff=None if initial_backoff is None else to_duration(initial_backoff),
        multiplier=multiplier,
        max_backoff=None if max_backoff is None else to_duration(max_backoff),
        states=[_RETRIED[state] for state in states],
        exit_codes=exit_codes,
        http_statuses=http_statuses,
    )


def schedule(
    *,
    cron: str | None = None,
    rrule: str | None = None,
    zone: str | None = None,
    gap: Gap | None = None,
    fold: Fold | None = None,
    every: timedelta | None = None,
    anchor: datetime | None = None,
    at: datetime | None = None,
    union: Sequence[Schedule] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    exclude: Sequence[Exclusion] | None = None,
    calendars: Sequence[str] | None = None,
) -> Schedule:
    """A schedule, from the arguments of ``task``. Raises ValueError as ``task`` does."""
    _exactly_one("schedule", cron=cron, rrule=rrule, every=every, at=at, union=union)
    _only_with("cron or rrule", cron if rrule is None else rrule, zone=zone, gap=gap, fold=fold)
    _only_with("every", every, anchor=anchor)
    built = Schedule(
        start_time=_stamp("start", start), end_time=_stamp("end", end), exclusions=exclude, calendars=calendars
    )
    if cron is not None:
        built.cron.CopyFrom(CronSchedule(expression=cron, time_zone=zone or "", gap=_GAP[gap], fold=_FOLD[fold]))
    elif rrule is not None:
        built.rrule.CopyFrom(RruleSchedule(lines=rrule, time_zone=zone or "", gap=_GAP[gap], fold=_FOLD[fold]))
    elif every is not None:
        built.interval.CopyFrom(IntervalSchedule(every=to_duration(every), anchor=_stamp("anchor", anchor)))
    elif at is not None:
        built.at.CopyFrom(to_timestamp(at, "at"))
    elif union is not None:
        built.union.CopyFrom(UnionSchedule(schedules=union))
    return built


def action(
    *,
    command: Sequence[str] | None = None,
    shell: str | None = None,
    env: Mapping[str, str] | None = None,
    working_directory: str | None = None,
    stdin: bytes | None = None,
    http: str | HttpAction | None = None,
    python: str | None = None,
    kwargs: Mapping[str, object] | None = None,
    grpc: GrpcAction | None = None,
    aws_lambda: AwsLambdaAction | None = None,
    container: ContainerAction | None = None,
    extension: ExtensionAction | None = None,
    noop: bool = False,
) -> Action:
    """An action, from the arguments of ``task``. Raises ValueError as ``task`` does."""
    remote = {"grpc": grpc, "aws_lambda": aws_lambda, "container": container, "extension": extension}
    _exactly_one("action", command=command, shell=shell, http=http, python=python, **remote, noop=noop or None)
    program = command if shell is None else [shell]
    _only_with("command or shell", program, env=env, working_directory=working_directory, stdin=stdin)
    _only_with("python", python, kwargs=kwargs)
    if program is not None:
        if isinstance(program, str):
            raise ValueError("command: give a sequence of arguments; for a script use shell")
        return Action(
            command=CommandAction(
                argv=program,
                shell=shell is not None,
                env=env,
                working_directory=working_directory or "",
                stdin=stdin or b"",
            )
        )
    if http is not None:
        return Action(http=HttpAction(url=http) if isinstance(http, str) else http)
    if python is not None:
        return Action(python=PythonAction(callable=python, kwargs_json=json.dumps(kwargs) if kwargs else ""))
    if noop:
        return Action(noop=NoopAction())
    return Action(grpc=grpc, aws_lambda=aws_lambda, container=container, extension=extension)


def _stamp(field: str, moment: datetime | None) -> Timestamp | None:
    return None if moment is None else to_timestamp(moment, field)


def _exactly_one(what: str, **choices: object) -> None:
    given = [name for name, value in choices.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"{what}: give exactly one of {', '.join(choices)}, not {' and '.join(given) or 'none'}")


def _only_with(what: str, value: object, **extras: object) -> None:
    for name, extra in extras.items():
        if value is None and extra is not None:
            raise ValueError(f"{name}: goes with {what} only")
