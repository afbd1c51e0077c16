"""``raftsched cluster``: operations on the cluster."""

from typing import Annotated

import typer

from raftsched.cli.output import Format, print_document
from raftsched.cli.session import Session, command

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
