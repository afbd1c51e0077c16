"""The calendars of a cluster, for commands that work out nominal times themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftsched_client import Calendar

    from raftsched.cli.session import Session
    from raftsched.core.times.exclusion import Exclusions


class Calendars:
    """Reads each calendar when it is first asked for; called, it is what ``schedule_from_proto`` takes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._read: dict[str, Calendar | None] = {}
        self._exclusions: dict[tuple[str, str], Exclusions] = {}

    def __call__(self, name: str, zone: str) -> Exclusions | None:
        """What it leaves out; None: the cluster has no such calendar."""
        from raftsched.core.state.rows import calendar_exclusions

        calendar = self.get(name)
        if calendar is None:
            return None
        if (name, zone) not in self._exclusions:
            self._exclusions[name, zone] = calendar_exclusions(calendar, zone)
        return self._exclusions[name, zone]

    def get(self, name: str) -> Calendar | None:
        """As the cluster has it; None: it has no such calendar."""
        from raftsched_client import NotFoundError

        if name not in self._read:
            try:
                self._read[name] = self._session.client.get_calendar(name)
            except NotFoundError:
                self._read[name] = None
        return self._read[name]
