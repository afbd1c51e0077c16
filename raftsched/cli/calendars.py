"""The calendars of a cluster, for commands that work out nominal times themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftsched.cli.session import Session


class Calendars:
    """Reads each calendar when it is first asked for; called, it is what ``schedule_from_proto`` takes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rows: dict[str, bytes | None] = {}

    def __call__(self, name: str) -> bytes | None:
        """The row; None: the cluster has no such calendar."""
        if name not in self._rows:
            self._rows[name] = self._read(name)
        return self._rows[name]

    def _read(self, name: str) -> bytes | None:
        from raftsched_client import NotFoundError

        from raftsched.internal.v1 import command_pb2 as pb

        try:
            return pb.CalendarRow(calendar=self._session.client.get_calendar(name)).SerializeToString()
        except NotFoundError:
            return None
