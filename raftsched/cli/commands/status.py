"""``raftsched status``: the nodes and executors of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.commands.certs import WARN_BELOW
from raftsched.cli.flags.options import Interval, Watch
from raftsched.cli.session import Session
from raftsched.cli.show import live
from raftsched.cli.show.output import Format, enum_name, pairs, print_message
from raftsched.cli.show.tables import Part, TextTable, counted, show
from raftsched.cli.times import now, show_duration, show_instant, show_relative

if TYPE_CHECKING:
    from raftsched_client import ExecutorStatus, GetStatusResponse, NodeStatus, TableCounts, WaitingExecutions

_TIMEOUT = timedelta(seconds=3)


def status(
    session: Session,
    watch: Watch = False,
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
    read = partial(client.get_status, local_only=local)
    if watch:
        live.watch(read, view, session.form, lambda answer: print_message(answer, session.form), interval)
    elif session.form is Format.TABLE:
        show(*view(read()))
    else:
        print_message(read(), session.form)


def view(answer: GetStatusResponse) -> list[Part]:
    """The status as tables and lines."""
    parts: list[Part] = [_headline(answer), *_dropped(answer.counts), ""]
    parts.append(TextTable(_NODE_COLUMNS, [*map(_node, answer.nodes)], _DISPENSABLE))
    if answer.executors:
        parts += ["", TextTable(_EXECUTOR_COLUMNS, [*map(_executor, _by_node(answer.executors))], ("VERSION", "NODE"))]
    if answer.waiting:
        parts += ["", *_waiting(answer)]
    parts += ["", _state_check(answer)]
    parts += [line] if (line := _certificate_ends(answer)) else []
    if problems := list(_problems(answer)):
        parts += ["", *problems]
    return parts


def _waiting(answer: GetStatusResponse) -> Iterator[Part]:
    """What has waited too long, and why."""
    number = f"{sum(each.count for each in answer.waiting):,}"
    yield f"waiting for more than 10 s: {'at least ' if answer.waiting_incomplete else ''}{number}"
    yield TextTable(_WAITING_COLUMNS, [*map(_wait, answer.waiting)], ("OLDEST",))


def _wait(of: WaitingExecutions) -> tuple[str, ...]:
    return (
        f"{of.count:,}",
        enum_name(of, "reason"),
        of.detail,
        show_instant(of.oldest_nominal_time),
        ", ".join(of.tasks),
    )


def _headline(answer: GetStatusResponse) -> str:
    counts = answer.counts
    leader = f"leader {answer.leader_id}" if answer.leader_id else "NO MAJORITY" if answer.no_majority else "NO LEADER"
    pending = f"{counts.pending_executions:,} pending"
    tasks, executions = counted(counts.tasks, "task"), counted(counts.executions, "execution")
    identities = sorted({node.cluster_identity[:8] for node in answer.nodes if node.cluster_identity})
    line = f"cluster {answer.cluster_id}: {leader}, {tasks}, {executions} ({pending})"
    if identities:
        line += f", identity {' and '.join(identities)}"
    if counts.notices_waiting or counts.notices_dropped:
        line += f", {counted(counts.notices_waiting, 'notice')} waiting, {counts.notices_dropped:,} dropped"
    return line


def _dropped(counts: TableCounts) -> Iterator[str]:
    """The last notice that nobody was told."""
    if counts.HasField("last_dropped_notice"):
        last = counts.last_dropped_notice
        when, what = show_instant(last.drop_time), enum_name(last, "occasion").lower()
        yield f"last notice dropped: {what} of {last.task}, execution {last.execution_id}, {when}: {last.error}"


_NODE_COLUMNS = (
    "NODE",
    "ADDRESS",
    "ROLE",
    "VOTES",
    "TERM#",
    "COMMIT#",
    "APPLIED#",
    "LAG#",
    "LOG#",
    "LINKS",
    "CLOCK#",
    "UPTIME#",
    "VERSION",
    "TZDATA",
)
_EXECUTOR_COLUMNS = ("EXECUTOR", "NODE", "STATE", "USED#", "SLOTS#", "LABELS~", "VERSION")
_WAITING_COLUMNS = ("WAITING#", "REASON", "DETAIL~", "OLDEST", "TASKS~")
_DISPENSABLE = ("TZDATA", "VERSION", "LOG", "APPLIED", "COMMIT", "UPTIME", "TERM")


def _node(node: NodeStatus) -> tuple[str, ...]:
    role = enum_name(node, "role")
    if role == "UNREACHABLE":
        return (node.id, node.address, role, *[""] * 11)
    up = sum(link.connected for link in node.links)
    return (
        node.id,
        node.address,
        role,
        "yes" if node.votes else "no",
        str(node.term),
        str(node.commit_index),
        str(node.applied_index),
        str(node.lag_entries),
        f"{node.log_entries:,} ({_size(node.log_size_bytes)})",
        f"{up}/{len(node.links)}",
        _clock(node),
        show_duration(node.uptime),
        node.version,
        node.tzdata_version,
    )


def _clock(node: NodeStatus) -> str:
    """How far it is ahead of the agreed time, or behind."""
    if not node.clock.HasField("offset"):
        return "?"
    offset_s = node.clock.offset.ToMicroseconds() / 1e6
    return f"{offset_s:+.1f}s" if abs(offset_s) >= 1 else f"{round(offset_s * 1000):+d}ms"


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
    if answer.problem:
        yield answer.problem
    for node in answer.nodes:
        if node.problem:
            yield f"{node.id}: {node.problem}"
    yield from _certificates(answer)
    yield from _versions(answer)
    versions = {node.tzdata_version for node in answer.nodes if node.tzdata_version}
    if len(versions) > 1:
        yield f"the nodes have different time zone databases: {', '.join(sorted(versions))}"


def _certificates(answer: GetStatusResponse) -> Iterator[str]:
    """Those that are to be made anew."""
    for node in answer.nodes:
        if node.HasField("certificate_end_time"):
            end = node.certificate_end_time.ToDatetime(UTC)
            if end <= now():
                yield f"{node.id}: its certificate has expired: new connections to it fail. raftsched certs rotate"
            elif end - now() < WARN_BELOW:
                when = show_relative(node.certificate_end_time, now())
                yield f"{node.id}: its certificate expires {when}; raftsched certs rotate"


def _versions(answer: GetStatusResponse) -> Iterator[str]:
    """Who knows which cluster versions, while not all know the same, or the cluster is not at what they know."""
    known = {node.id: node.newest_known_version for node in answer.nodes if node.newest_known_version}
    if set(known.values()) - {answer.cluster_version}:
        ranges = ", ".join(
            f"{node.id} knows {node.oldest_known_version} to {node.newest_known_version}"
            for node in answer.nodes
            if node.newest_known_version
        )
        yield f"cluster version {answer.cluster_version}: {ranges}. It is raised when all members know a newer one"


def _certificate_ends(answer: GetStatusResponse) -> str:
    """When the certificates of the nodes run out; "" where TLS is off."""
    shown = [node for node in answer.nodes if node.HasField("certificate_end_time")]
    said = ", ".join(f"{node.id} {show_instant(node.certificate_end_time)}" for node in shown)
    return f"certificates are good until: {said}" if shown else ""


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
