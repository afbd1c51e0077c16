"""``raftsched ledger``: what was decided for each nominal time."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from raftsched.cli.flags.options import Limit, Since, Stale, TaskName, Until
from raftsched.cli.session import Session
from raftsched.cli.show import describe, tables
from raftsched.cli.show.output import Format, enum_name, note_more, print_items
from raftsched.cli.suggest import note_unknown_task
from raftsched.cli.times import show_instant

if TYPE_CHECKING:
    from raftsched_client import LedgerEntry

_DEFAULT_LIMIT = 1000


_COLUMNS = ("NOMINAL TIME^18", "COUNT#", "DECISION", "STATE", "DELAY#", "TRIGGER", "EXECUTION", "REASON~12")


def ledger(
    session: Session,
    name: TaskName,
    since: Since = None,
    until: Until = None,
    limit: Limit = _DEFAULT_LIMIT,
    stale: Stale = False,
) -> None:
    """Show the fire record of a task, oldest first: every nominal time was decided once, and how.

    \b
    Examples:
      raftsched ledger report --since -24h
      raftsched ledger report --limit 0 -o json
    """
    page = min(limit + 1, 10_000) if limit else 10_000
    found = session.client.list_ledger(name, start=since, end=until, page_size=page, stale=stale)
    entries = islice(found, limit or None)
    if session.form is not Format.TABLE:
        print_items("entries", entries, session.form)
    else:
        shown = list(entries)
        tables.print_rows(_COLUMNS, shown, _row, dispensable=("TRIGGER", "DELAY", "COUNT", "STATE"))
        if not shown and since is None and until is None:
            note_unknown_task(session.client, name)
    note_more(found, limit, "use --limit or --since")


def _row(entry: LedgerEntry) -> tuple[str, ...]:
    until = f" to {show_instant(entry.last_nominal_time)}" if entry.count != 1 else ""
    return (
        show_instant(entry.nominal_time) + until,
        f"{entry.count:,}" if entry.count else "many",
        describe.decision(entry),
        enum_name(entry, "execution_state") if entry.execution_state else "",
        describe.delay(entry),
        enum_name(entry, "trigger"),
        entry.execution_id or (f"{len(entry.execution_ids)} executions" if entry.execution_ids else ""),
        entry.reason or describe.not_started(entry),
    )
