"""The calendars that a request works with, as of one view of the store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from raftsched.api.proposals import Reads
from raftsched.core.machine.wellformed import MAX_NAME_BYTES
from raftsched.core.state.rows import calendar_names, calendar_row_exclusions
from raftsched.core.times.exclusion import Exclusions
from raftsched.ports import Reader, Table


@dataclass(frozen=True, slots=True)
class KnownCalendars:
    """Rows of ``Table.CALENDARS`` by name; called, it is what ``schedule_from_proto`` takes."""

    rows: Mapping[str, bytes] = field(default_factory=dict)
    revision: int = 0
    """The largest of theirs."""

    def __call__(self, name: str, zone: str) -> Exclusions | None:
        """What it leaves out; None: it does not exist."""
        row = self.rows.get(name)
        return None if row is None else calendar_row_exclusions(row, zone)


NO_CALENDARS = KnownCalendars()


def read_calendars(reader: Reader, *schedules: task_pb2.Schedule) -> KnownCalendars:
    """Those that the schedules name and that exist."""
    rows = {}
    for name in {name for schedule in schedules for name in calendar_names(schedule)}:
        # What is no name at all is refused later, and is no key.
        row = reader.get(Table.CALENDARS, name.encode()) if 0 < len(name.encode()) <= MAX_NAME_BYTES else None
        if row is not None:
            rows[name] = row
    revisions = (pb.CalendarRow.FromString(row).revision for row in rows.values())
    return KnownCalendars(rows, max(revisions, default=0))


async def known_calendars(reads: Reads, schedules: Iterable[task_pb2.Schedule]) -> KnownCalendars:
    """Those that the schedules name and that exist, read as of now. Costs nothing where they name none."""
    naming = [schedule for schedule in schedules if calendar_names(schedule)]
    if not naming:
        return NO_CALENDARS
    async with reads.view() as reader:
        return read_calendars(reader, *naming)
