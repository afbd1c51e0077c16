"""``raftsched status``: the nodes and executors of the cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.options import Interval
from raftsched.cli.output import Format, enum_name, pairs, print_message
from raftsched.cli.session import Session
from raftsched.cli.tables import Table, console, counted, fitted, show
from raftsched.cli.times import now, show_duration, show_relative

if TYPE_CHECKING:
    from raftsched_client import Client, ExecutorStatus, GetStatusResponse, NodeStatus

_TIMEOUT = timedelta(seconds=3)
_INTERVAL = timedelta(seconds=1)


def status(
    session: Session,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until interrupted.")] = False,
    interval: Interval = None,
    local: Annotated[bool, typer.Option("--local", help="Only the node that answers.")] = False,
) -> None:
    """Show the nodes and executors of the cluster. Needs no quorum. Its deadline is 3s if none is given.

    \b
    Examples:
      raftsched status
      raftsched status --watch
      raftsched status -o json
    """
    client = session.connect(_TIMEOUT)
    interval = interval or _INTERVAL
    if not watch:
        _print(client.get_status(local_only=local), session.form)
    elif session.form is Format.TABLE and sys.stdout.isatty():
        _live(client, interval, local)
    else:
        while True:
            _print(client.get_status(local_only=local), session.form)
            sys.stdout.flush()
            time.sleep(interval.total_seconds())


def _print(answer: GetStatusResponse, form: Format) -> None:
    if form is Format.TABLE:
        show(*view(answer))
    else:
        print_message(answer, form)


def _live(client: Client, interval: timedelta, local: bool) -> None:
    from raftsched_client import RaftschedError
    from rich.live import Live

    with Live(console=console(), screen=True, auto_refresh=False) as live:
        while True:
            try:
                live.update(fitted(view(client.get_status(local_only=local))), refresh=True)
            except RaftschedError as error:
                live.update(str(error), refresh=True)
            time.sleep(interval.total_seconds())


def view(answer: GetStatusResponse) -> list[Table | str]:
    """The status as tables and lines."""
    parts: list[Table | str] = [_headline(answer), "", Table(_NODE_COLUMNS, [*map(_node, answer.nodes)])]
    if answer.executors:
        parts += ["", Table(_EXECUTOR_COLUMNS, [*map(_executor, _by_node(answer.executors))])]
    parts += ["", _state_check(answer)]
    if problems := list(_problems(answer)):
        parts += ["", *problems]
    return parts


def _headline(answer: GetStatusResponse) -> str:
    counts = answer.counts
    leader = f"leader {answer.leader_id}" if answer.leader_id else "NO LEADER"
    pending = f"{counts.pending_executions:,} pending"
    tasks, executions = counted(counts.tasks, "task"), counted(counts.executions, "execution")
    line = f"cluster {answer.cluster_id}: {leader}, {tasks}, {executions} ({pending})"
    if counts.notices_waiting or counts.notices_dropped:
        line += f", {counted(counts.notices_waiting, 'notice')} waiting, {counts.notices_dropped:,} dropped"
    return line


_NODE_COLUMNS = (
    "NODE",
    "ADDRESS",
    "ROLE",
    "TERM#",
    "COMMIT#",
    "APPLIED#",
    "LAG#",
    "LOG#",
    "LINKS",
    "UPTIME#",
    "VERSION",
    "TZDATA",
)
_EXECUTOR_COLUMNS = ("EXECUTOR", "NODE", "STATE", "USED#", "SLOTS#", "LABELS", "VERSION")


def _node(node: NodeStatus) -> tuple[str, ...]:
    role = enum_name(node, "role")
    if role == "UNREACHABLE":
        return (node.id, node.address, role, *[""] * 9)
    up = sum(link.connected for link in node.links)
    return (
        node.id,
        node.address,
        role,
        str(node.term),
        str(node.commit_index),
        str(node.applied_index),
        str(node.lag_entries),
        f"{node.log_entries:,} ({_size(node.log_size_bytes)})",
        f"{up}/{len(node.links)}",
        show_duration(node.uptime),
        node.version,
        node.tzdata_version,
    )


def _executor(executor: ExecutorStatus) -> tuple[str, ...]:
    return (
        executor.id,
        executor.node_id,
        enum_name(executor, "state"),
        str(executor.slots_used),
        str(executor.slots),
        pairs(executor.labels.items()),
        executor.version,
    )


def _by_node(executors: Iterable[ExecutorStatus]) -> list[ExecutorStatus]:
    """Those of nodes first."""
    return sorted(executors, key=lambda executor: (not executor.node_id, executor.node_id, executor.id))


def _problems(answer: GetStatusResponse) -> Iterator[str]:
    for node in answer.nodes:
        if node.problem:
            yield f"{node.id}: {node.problem}"
    versions = {node.tzdata_version for node in answer.nodes if node.tzdata_version}
    if len(versions) > 1:
        yield f"the nodes have different time zone databases: {', '.join(sorted(versions))}"


def _state_check(answer: GetStatusResponse) -> str:
    ends = [node.state_check_time for node in answer.nodes if node.HasField("state_check_time")]
    if not ends:
        return "the state tables of the nodes have not been compared yet"
    oldest = min(ends, key=lambda end: end.ToNanoseconds())
    which = "all nodes" if len(ends) == len(answer.nodes) else f"{len(ends)} of {len(answer.nodes)} nodes"
    return f"the state tables of {which} were compared {show_relative(oldest, now())}"


def _size(size_bytes: int) -> str:
    if size_bytes < 1 << 10:
        return f"{size_bytes} B"
    for shift, unit in ((10, "KiB"), (20, "MiB")):
        if size_bytes < 1 << shift + 10:
            return f"{size_bytes / (1 << shift):.1f} {unit}"
    return f"{size_bytes / (1 << 30):.1f} GiB"
