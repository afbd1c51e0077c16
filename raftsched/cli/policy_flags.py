"""The options of ``task create`` and ``task update`` that say how a task runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import usage
from raftsched.cli.options import DeliveryChoice, Misfire, OverlapChoice, PlacementChoice, RetryOn, parse_pairs
from raftsched.cli.session import duration

if TYPE_CHECKING:
    from raftsched_client import ChainParent, Task

_POLICY = "How it runs"


@dataclass(frozen=True)
class PolicyFlags:
    """How the task is run."""

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
    placement: Annotated[
        PlacementChoice | None,
        typer.Option(
            "--placement",
            help="Run on any one executor that carries the labels, or on every one. Default any.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    time_limit: Annotated[
        timedelta | None,
        typer.Option(
            "--time-limit",
            parser=duration,
            metavar="SPAN",
            help="How long one attempt may run. Default: no limit.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    misfire: Annotated[
        Misfire | None,
        typer.Option(
            "--misfire",
            help="Misfired nominal times: skip them, run the latest one, or run all. Default one.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    misfire_threshold: Annotated[
        timedelta | None,
        typer.Option(
            "--misfire-threshold",
            parser=duration,
            metavar="SPAN",
            help="How late a nominal time may be decided without being misfired. Default 10s.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    misfire_window: Annotated[
        timedelta | None,
        typer.Option(
            "--misfire-window",
            parser=duration,
            metavar="SPAN",
            help="Misfired nominal times that are later than this are skipped. Default: however late.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    misfire_max_runs: Annotated[
        int | None,
        typer.Option(
            "--misfire-max-runs",
            metavar="N",
            min=1,
            max=10_000,
            help="Under --misfire all, make up the latest N at most. Default: all.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(
            "--group", metavar="GROUP", help='A group whose limits hold; "" for none.', rich_help_panel=_POLICY
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
    delivery: Annotated[
        DeliveryChoice | None,
        typer.Option(
            "--delivery",
            help="When an executor vanishes: run again, or never. Default at-least-once.",
            rich_help_panel=_POLICY,
        ),
    ] = None

    overlap: Annotated[
        OverlapChoice | None,
        typer.Option(
            "--overlap",
            help="A nominal time that comes while --max-running executions are open: run it all the same, skip it, "
            "queue it, or cancel the oldest. Default allow.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    max_running: Annotated[
        int | None,
        typer.Option(
            "--max-running",
            metavar="N",
            min=1,
            max=100,
            help="How many executions may be open at once. Default 1. Not with --overlap allow.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    max_queued: Annotated[
        int | None,
        typer.Option(
            "--max-queued",
            metavar="N",
            min=1,
            max=100,
            help="How many may wait under --overlap queue. Default 10.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    start_deadline: Annotated[
        timedelta | None,
        typer.Option(
            "--start-deadline",
            parser=duration,
            metavar="SPAN",
            help="How long after its nominal time it may still start. Default: no limit.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    priority: Annotated[
        int | None,
        typer.Option(
            "--priority",
            metavar="N",
            min=-9,
            max=9,
            help="Among what waits for an executor, the higher goes first. Default 0.",
            rich_help_panel=_POLICY,
        ),
    ] = None
    jitter: Annotated[
        timedelta | None,
        typer.Option(
            "--jitter",
            parser=duration,
            metavar="SPAN",
            help="Start at a random time up to so much after the nominal time. Default: at once.",
            rich_help_panel=_POLICY,
        ),
    ] = None
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
        typer.Option("--retry-on", help="Ends to try again. Repeatable. Default both.", rich_help_panel=_POLICY),
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
        """Write what is given into the task; return the paths of the fields that were written."""
        from raftsched_client import Delivery, Placement

        paths = []
        if self.label is not None:
            task.labels.update(parse_pairs("--label", self.label))
            paths.append("labels")
        if self.executor_label is not None:
            task.executor_labels.update(parse_pairs("--executor-label", self.executor_label))
            paths.append("executor_labels")
        if self.placement is not None:
            task.placement = Placement.Value(f"PLACEMENT_{self.placement.name}")
            paths.append("placement")
        if self.time_limit is not None:
            task.time_limit.FromTimedelta(self.time_limit)
            paths.append("time_limit")
        if self.group is not None:
            task.group = self.group
            paths.append("group")
        if self.after is not None:
            del task.after[:]
            task.after.extend(map(_parent, self.after))
            paths.append("after")
        if self.delivery is not None:
            task.delivery = Delivery.Value(f"DELIVERY_{self.delivery.name}")
            paths.append("delivery")
        if self.start_deadline is not None:
            task.start_deadline.FromTimedelta(self.start_deadline)
            paths.append("start_deadline")
        if self.priority is not None:
            task.priority = self.priority
            paths.append("priority")
        if self.jitter is not None:
            task.jitter.FromTimedelta(self.jitter)
            paths.append("jitter")
        return paths + self._apply_misfire(task) + self._apply_overlap(task) + self._apply_retry(task)

    def _apply_misfire(self, task: Task) -> list[str]:
        from raftsched_client import MisfirePolicy

        paths = []
        if self.misfire is not None:
            task.misfire_policy = MisfirePolicy.Value(f"MISFIRE_POLICY_{self.misfire.name}")
            paths.append("misfire_policy")
            # Bounds of the policy before, which this one would refuse.
            if self.misfire is not Misfire.ALL and task.misfire_max_runs:
                task.misfire_max_runs = 0
                paths.append("misfire_max_runs")
            if self.misfire is Misfire.SKIP and task.HasField("misfire_window"):
                task.ClearField("misfire_window")
                paths.append("misfire_window")
        if self.misfire_threshold is not None:
            task.misfire_threshold.FromTimedelta(self.misfire_threshold)
            paths.append("misfire_threshold")
        if self.misfire_window is not None:
            task.misfire_window.FromTimedelta(self.misfire_window)
            paths.append("misfire_window")
        if self.misfire_max_runs is not None:
            task.misfire_max_runs = self.misfire_max_runs
            paths.append("misfire_max_runs")
        return paths

    def _apply_overlap(self, task: Task) -> list[str]:
        from raftsched_client import OverlapPolicy

        paths = []
        if self.overlap is not None:
            task.overlap_policy = OverlapPolicy.Value(f"OVERLAP_POLICY_{self.overlap.name}")
            paths.append("overlap_policy")
            # Limits of the policy before, which this one would refuse.
            if self.overlap is OverlapChoice.ALLOW and task.max_running:
                task.max_running = 0
                paths.append("max_running")
            if self.overlap is not OverlapChoice.QUEUE and task.max_queued:
                task.max_queued = 0
                paths.append("max_queued")
        if self.max_running is not None:
            task.max_running = self.max_running
            paths.append("max_running")
        if self.max_queued is not None:
            task.max_queued = self.max_queued
            paths.append("max_queued")
        return paths

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
