"""The options of ``task create`` and ``task update`` that say how a task runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import usage
from raftsched.cli.flags.options import RetryOn, parse_pairs
from raftsched.cli.flags.simple_fields import apply_simple_fields, with_simple_fields
from raftsched.cli.session import duration

if TYPE_CHECKING:
    from raftsched_client import ChainParent, Task

_POLICY = "How it runs"


@with_simple_fields
@dataclass(frozen=True)
class _FieldFlags:
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Label. Repeatable.", rich_help_panel=_POLICY),
    ] = None
    executor_label: Annotated[
        list[str] | None,
        typer.Option(
            "--executor-label",
            metavar="KEY=VALUE",
            help="Run only on executors that carry this label. Repeatable.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    after: Annotated[
        list[str] | None,
        typer.Option(
            "--after",
            metavar="TASK[=ON]",
            help="Run when this task has ended: on success (default), failure or completion of it. Repeatable: it then "
            "waits for all of them. Needs no schedule.",
            rich_help_panel=_POLICY,
        ),
    ] = None


@dataclass(frozen=True)
class PolicyFlags(_FieldFlags):
    """What the task is, and how it is run."""

    attempts: Annotated[
        int | None,
        typer.Option(
            "--attempts",
            metavar="N",
            min=1,
            max=100,
            help="Try a failed attempt again, up to N attempts in all. Default 1.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    backoff: Annotated[
        timedelta | None,
        typer.Option(
            "--backoff",
            parser=duration,
            metavar="SPAN",
            help="Wait before the second attempt. Default 1s.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    backoff_multiplier: Annotated[
        int | None,
        typer.Option(
            "--backoff-multiplier",
            metavar="N",
            min=1,
            max=10,
            help="How many times longer to wait before each further attempt. Default 2.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    max_backoff: Annotated[
        timedelta | None,
        typer.Option(
            "--max-backoff",
            parser=duration,
            metavar="SPAN",
            help="The longest wait. Default 10m.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    retry_on: Annotated[
        list[RetryOn] | None,
        typer.Option(
            "--retry-on", help="Which ends to try again after. Repeatable. Default both.", rich_help_panel=_POLICY
        ),
    ] = None
    retry_exit_code: Annotated[
        list[int] | None,
        typer.Option(
            "--retry-exit-code",
            metavar="CODE",
            help="Try only these exit codes again. Repeatable.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    retry_status: Annotated[
        list[int] | None,
        typer.Option(
            "--retry-status",
            metavar="STATUS",
            help="Try only these HTTP statuses again. Repeatable.",
            rich_help_panel=_POLICY,
        ),
    ] = None

    def apply(self, task: Task) -> list[str]:
        """Write what is given into the task; return the names of the fields that were written."""
        paths = apply_simple_fields(self, task)
        if self.label is not None:
            task.labels.update(parse_pairs("--label", self.label))
            paths.append("labels")
        if self.executor_label is not None:
            task.executor_labels.update(parse_pairs("--executor-label", self.executor_label))
            paths.append("executor_labels")
        if self.after is not None:
            del task.after[:]
            task.after.extend(map(_parent, self.after))
            paths.append("after")
        return paths + self._apply_retry(task)

    def _apply_retry(self, task: Task) -> list[str]:
        from raftsched_client import ExecutionState

        details = (self.backoff, self.backoff_multiplier, self.max_backoff)
        lists = (self.retry_on, self.retry_exit_code, self.retry_status)
        if all(each is None for each in (self.attempts, *details, *lists)):
            return []
        if self.attempts is None and not task.HasField("retry"):
            raise usage("options of retries go with --attempts")
        if self.attempts is not None:
            task.retry.max_attempts = self.attempts
        if self.backoff is not None:
            task.retry.initial_backoff.FromTimedelta(self.backoff)
        if self.backoff_multiplier is not None:
            task.retry.multiplier = self.backoff_multiplier
        if self.max_backoff is not None:
            task.retry.max_backoff.FromTimedelta(self.max_backoff)
        if self.retry_on is not None:
            task.retry.states[:] = [ExecutionState.Value(f"EXECUTION_STATE_{each.name}") for each in self.retry_on]
        if self.retry_exit_code is not None:
            task.retry.exit_codes[:] = self.retry_exit_code
        if self.retry_status is not None:
            task.retry.http_statuses[:] = self.retry_status
        return ["retry"]


def _parent(text: str) -> ChainParent:
    from raftsched_client import ChainCondition, ChainParent

    name, _, on = text.partition("=")
    condition = f"CHAIN_CONDITION_{(on or 'success').upper()}"
    if condition not in ChainCondition.keys() or on == "unspecified":  # noqa: SIM118 - an enum wrapper, not a dict
        raise usage(f"--after: {on!r} is none of success, failure, completion")
    return ChainParent(task=name, on=ChainCondition.Value(condition))
