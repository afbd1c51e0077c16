"""``raftsched cluster``: operations on the cluster."""

from typing import Annotated

import typer

from raftsched.cli.session import Session, command
from raftsched.cli.show.output import Format, print_document

app = typer.Typer(no_args_is_help=True, help="Operate the cluster.")


@command(app, "transfer")
def transfer(
    session: Session,
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="Id of the node. Default: the follower that has caught up best.")
    ] = "",
) -> None:
    """Hand the leadership to another node, as before maintenance of the leader.

    \b
    Examples:
      raftsched cluster transfer
      raftsched cluster transfer n2
    """
    leader = session.client.transfer_leadership(node)
    if session.form is Format.TABLE:
        print(f"{leader} leads")
    else:
        print_document({"leaderId": leader}, session.form)


@command(app, "confirm-clock")
def confirm_clock(session: Session) -> None:
    """Let a cluster of one node go by the clock of its machine as it is now.

    A single node goes by the time that has passed when the clock of its machine steps, and waits for this word before
    it acts on the step. With more nodes the clocks of the majority decide, and this is refused.

    \b
    Examples:
      raftsched cluster confirm-clock
    """
    moved = session.client.confirm_clock()
    if session.form is Format.TABLE:
        print(
            f"the cluster goes by the clock of its machine again: its time was moved by {moved.total_seconds():+.3f} s"
        )
    else:
        print_document({"movedS": moved.total_seconds()}, session.form)
