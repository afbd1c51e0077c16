"""The table of bounds says what the code does."""

import re
from pathlib import Path

import pytest

from raftsched.api.executions import feed
from raftsched.consensus import transport
from raftsched.consensus.settings import Settings
from raftsched.core.machine import MAX_BATCH_TASKS, arming
from raftsched.definitions import task
from raftsched.executor import copies, leader_session
from raftsched.executor.settings import ExecutorSettings
from raftsched.history import indexer, process
from raftsched.notifications import delivery
from raftsched.scheduler import dispatch, reports, service
from raftsched.scheduler.border import MAX_ERROR_CHARACTERS, MAX_TAIL_BYTES
from raftsched.scheduler.executors import MAX_ARMED, MAX_BURST

MIB, KIB = 1 << 20, 1 << 10
PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text().partition("## Bounds")[2]
RAFT, EXECUTOR = Settings(), ExecutorSettings(Path("x"))


def mib(size_bytes: int) -> str:
    assert not size_bytes % MIB
    return f"{size_bytes // MIB} MiB"


@pytest.mark.parametrize(
    ("what", "bounds"),
    [
        ("tasks in one BatchCreate", [f"{MAX_BATCH_TASKS:,}"]),
        (
            "definitions without name and schedule that are remembered as valid",
            [f"{task._MAX_KEPT}", f"{task._MAX_KEPT_BYTES // KIB} KiB"],
        ),
        (
            "proposals under way; reads that wait for the leader's word",
            [f"{RAFT.max_proposals:,}", mib(RAFT.max_proposal_bytes), f"{RAFT.max_reads:,}"],
        ),
        (
            "messages to one peer that wait for its link; entries sent to it and not answered",
            [mib(transport._MAX_QUEUE_BYTES), mib(RAFT.in_flight_bytes)],
        ),
        (
            "messages of one peer that wait for the next tick; committed entries that a follower has not applied",
            [mib(RAFT.max_inbound_bytes), "each, and one message"],
        ),
        ("log that is kept for followers that lag", [f"{RAFT.log_keep_entries:,} entries", mib(RAFT.log_keep_bytes)]),
        (
            "messages that wait for one executor",
            [mib(service.MAX_QUEUED_BYTES), mib(service.MAX_QUEUED_BYTES // 2), mib(dispatch._MESSAGE_BYTES)],
        ),
        ("reports of executors on their way into the log", [mib(reports.MAX_QUEUED_BYTES)]),
        (
            "attempts that an executor holds: waiting, running, or ended and not acknowledged",
            [f"{EXECUTOR.max_held:,}", f"{EXECUTOR.max_held_bytes // MIB} MiB", "160 MiB"],
        ),
        (
            "attempts armed on an executor; what is looked at to withdraw those of one task",
            [
                f"{MAX_ARMED:,}",
                f"{EXECUTOR.max_armed_bytes // MIB} MiB",
                f"{arming._MAX_ENTRIES:,} entries",
                f"{arming._LOOK_BACK_US // 60_000_000} minutes",
            ],
        ),
        ("reads of output that wait at an executor", [f"{leader_session._MAX_FETCHES}"]),
        (
            "changes of executions that wait for one watcher; watchers",
            [mib(feed.QUEUE_BYTES), f"{feed.MAX_WATCHERS}"],
        ),
        (
            "changes that wait in the pipe to the history process; rows that it gathers",
            [mib(process.MAX_WAITING_BYTES), f"{indexer._MAX_PENDING_ROWS:,}"],
        ),
        ("notices to deliver; in delivery, each of up to 256 KiB", [f"{delivery._BATCH} at a time"]),
        ("outputs that wait for their copy", [f"{copies.MAX_WAITING:,}", f"{copies.MAX_TRIES} times"]),
    ],
)
def test_bound_in_the_table_is_that_of_the_code(what: str, bounds: list[str]) -> None:
    row = re.search(rf"^\| {re.escape(what)} \|(.*)\|", PAGE, re.M)
    assert row, f"the table has no row {what!r}"
    for bound in bounds:
        assert re.search(rf"(^|[^\d,]){re.escape(bound)}", row[1]), bound


def test_an_executor_holds_what_was_armed_there_and_what_it_is_given_meanwhile() -> None:
    assert MAX_ARMED + MAX_BURST < EXECUTOR.max_held <= EXECUTOR.max_armed


def test_raft_bounds_that_share_a_cell_are_equal() -> None:
    assert RAFT.max_inbound_bytes == RAFT.max_unapplied_bytes


def test_what_an_executor_holds_takes_no_more_than_the_table_says() -> None:
    report_bytes = MAX_TAIL_BYTES + 4 * MAX_ERROR_CHARACTERS
    accepted = EXECUTOR.slots + MAX_BURST
    assert EXECUTOR.max_held_bytes + accepted * report_bytes < 160 * MIB
