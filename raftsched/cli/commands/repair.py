"""``raftsched repair``: mend what faults have left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.session import Session, command
from raftsched.cli.show.output import Format, print_items
from raftsched.cli.show.tables import TextTable, counted, show
from raftsched.cli.times import show_instant

if TYPE_CHECKING:
    from raftsched_client import CursorRepair

app = typer.Typer(no_args_is_help=True, help="Repair what faults have left behind.")


@command(app, "cursors")
def cursors(
    session: Session,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
) -> None:
    """Move back the cursors of tasks that a clock which was ahead has moved.

    Such a task is silent until the time that the clock had shown. What was decided too early stays in the ledger,
    marked as such, and the nominal times that are yet to come are decided again when they come. The leader does this by
    itself a minute after it sees that clocks were ahead; this is for directories of versions that did not.

    \b
    Examples:
      raftsched repair cursors --dry-run
      raftsched repair cursors
    """
    repairs = session.client.repair_cursors(dry_run=dry_run)
    if session.form is not Format.TABLE:
        print_items("repairs", repairs, session.form)
        return
    found = list(repairs)
    if found:
        show(TextTable(("TASK", "DECIDED UP TO", "WAS DUE", "IS DUE"), [_row(each) for each in found]), "")
    done = "would be" if dry_run else "was" if len(found) == 1 else "were"
    print(f"{counted(len(found), 'cursor')} {done} moved back" if found else "no cursor is ahead of its time")


def _row(repair: CursorRepair) -> tuple[str, ...]:
    last = show_instant(repair.last_nominal_time) or "-"
    old = show_instant(repair.old_next_time) or "never"
    return (repair.task, last, old, show_instant(repair.new_next_time))
