"""Records of the index as they are shipped: flat, in snake case, times by RFC 3339 in UTC."""

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

from raftsched_proto.v1 import history_pb2

from raftsched.core.machine.wellformed import MAX_US
from raftsched.core.state import ids
from raftsched.core.state.model import Decision, ExecutionState, Trigger
from raftsched.core.state.past_attempts import first_start_us
from raftsched.core.state.rows import ExecutionRow, LedgerRow, parse_ledger_key
from raftsched.history.records import Kind, ledger_key_of
from raftsched.history.schema import BODY
from raftsched.history.sinks.base import Document
from raftsched.history.text import plain

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHANGES = {1: "CREATED", 2: "UPDATED", 3: "DELETED"}


def document(sql: sqlite3.Connection, seq: int, cluster: str) -> Document | None:
    """The record at ``seq``; None when retention has deleted it."""
    found = sql.execute(
        f"SELECT r.kind, r.key, {BODY} FROM records r WHERE r.seq = ?",  # noqa: S608 - all parts are ours
        (seq,),
    ).fetchone()
    if found is None:
        return None
    kind, key, body = found
    make = {Kind.EXECUTION: _execution, Kind.DECISION: _decision, Kind.TASK_CHANGE: _change}[Kind(kind)]
    id_, time_us, fields = make(key, body)
    kept = {name: value for name, value in fields.items() if value not in (None, "")}
    stamped = {"@timestamp": _shown(time_us), "cluster": cluster, "kind": Kind(kind).name.lower(), **kept}
    return Document(id_, time_us, stamped)


def _execution(key: bytes, body: bytes) -> tuple[str, int, dict[str, Any]]:
    row = ExecutionRow.FromString(body)
    state, result = ExecutionState(row.state).name, row.result
    first_us = first_start_us(row)
    return (
        ids.to_text(key),
        result.end_us or row.fire_us,
        {
            "message": result.error or state,
            "task": row.task,
            "execution_id": ids.to_text(key),
            "state": state,
            "attempt": row.attempt,
            "trigger": _name(Trigger, row.trigger),
            "executor": row.executor_id,
            "nominal_time": _shown(row.nominal_us),
            "fire_time": _shown(row.fire_us),
            "first_start_time": _shown(first_us),
            "start_time": _shown(result.start_us),
            "end_time": _shown(result.end_us),
            "duration_ms": (result.end_us - result.start_us) / 1000 if result.start_us and result.end_us else None,
            "lateness_ms": (first_us - row.nominal_us) / 1000 if first_us else None,
            "exit_code": result.exit_code if result.HasField("exit_code") else None,
            "http_status": result.http_status if result.HasField("http_status") else None,
            "error": result.error,
            # Other systems show text, not what a terminal would do with it.
            "output_tail": plain(result.output_tail.decode(errors="replace")),
            "output_size_bytes": result.output_size_bytes,
            "leader": row.leader_id,
            "term": row.term,
        },
    )


def _decision(key: bytes, body: bytes) -> tuple[str, int, dict[str, Any]]:
    ledger_key = ledger_key_of(key)
    task, nominal_us, execution_id = parse_ledger_key(ledger_key)
    row = LedgerRow.FromString(body)
    decision = _name(Decision, row.decision)
    return (
        f"{ids.to_text(execution_id)}-decision",
        row.decide_us,
        {
            "message": row.reason or decision,
            "task": task,
            "decision": decision,
            "reason": row.reason,
            "count": row.count,
            "trigger": _name(Trigger, row.trigger),
            "nominal_time": _shown(nominal_us),
            "last_nominal_time": _shown(row.last_nominal_us),
            "leader": row.leader_id,
            "term": row.term,
        },
    )


def _change(_key: bytes, body: bytes) -> tuple[str, int, dict[str, Any]]:
    change = history_pb2.TaskChange.FromString(body)
    verb = _CHANGES.get(change.kind, str(change.kind))
    return (
        f"{change.task}-{change.revision}",
        change.time.ToMicroseconds(),
        {
            "message": f"task {verb.lower()}",
            "task": change.task,
            "change": verb,
            "revision": change.revision,
            "actor": change.actor,
            "changed_fields": ",".join(change.changed_fields),
        },
    )


def _name(kind: type[Decision] | type[Trigger], number: int) -> str:
    return kind(number).name if number in set(kind) else str(number)


def _shown(time_us: int) -> str | None:
    if time_us <= 0:
        return None
    moment = _EPOCH + timedelta(microseconds=min(time_us, MAX_US))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
