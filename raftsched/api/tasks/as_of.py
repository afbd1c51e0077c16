"""Tasks as they stand at a time: what is armed was decided, and its nominal time is yet to come."""

from dataclasses import replace
from itertools import islice

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.api.convert import public_task
from raftsched.core.state.model import Cursor, Decision, Trigger
from raftsched.core.state.rows import LedgerRow, ledger_key, ledger_key_after_task, parse_ledger_key
from raftsched.ports import Reader, Table

_MAX_ENTRIES = 1_000
"""Entries of the fire record that are looked at; those of runs by hand and of chains are between the others."""


def task_as_of(reader: Reader, row: pb.TaskRow, cursor: Cursor, now_us: int) -> task_pb2.Task:
    """The task with its output-only fields."""
    return public_task(row, cursor_as_of(reader, row, cursor, now_us))


def cursor_as_of(reader: Reader, row: pb.TaskRow, cursor: Cursor, now_us: int) -> Cursor:
    """The cursor of a task as it would be if its nominal times were decided when they come."""
    if cursor.last_us <= now_us:
        return cursor
    name = row.task.name
    now_key = ledger_key(name, now_us + 1, b"")
    next_us = cursor.next_us
    for key, value in islice(reader.scan(Table.LEDGER, now_key, ledger_key_after_task(name)), _MAX_ENTRIES):
        entry = LedgerRow.FromString(value)
        if _is_of(entry, row) and entry.decision == Decision.RAN and not entry.early:
            next_us = parse_ledger_key(key)[1]
            break
    last_us = 0
    before = reader.scan(Table.LEDGER, name.encode() + b"\0", now_key, reverse=True)
    for _, value in islice(before, _MAX_ENTRIES):
        entry = LedgerRow.FromString(value)
        if _is_of(entry, row):
            last_us = entry.last_nominal_us
            break
    return replace(cursor, next_us=next_us, last_us=last_us)


def _is_of(entry: LedgerRow, row: pb.TaskRow) -> bool:
    return entry.uid == row.uid and entry.trigger == Trigger.SCHEDULE
