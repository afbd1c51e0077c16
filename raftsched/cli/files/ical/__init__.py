"""From an iCalendar file (RFC 5545) to exclusions: each event is a time that is left out.

``components`` cuts the bytes into events and time zones, ``values`` reads times and lengths, ``zones`` finds the time
zones that they name, ``event`` reads one event, ``series`` says when it takes place, ``revisions`` which events count,
``reader`` puts it together.

The components are not those of the package icalendar, which gives up a whole file for one bad line, reads ``P1D`` as
24 hours, and keeps one time zone for a name though two calendars of a file may define it differently.
"""

from raftsched.cli.files.ical.components import MAX_FILE_BYTES
from raftsched.cli.files.ical.reader import Read, read_events

__all__ = ["MAX_FILE_BYTES", "Read", "read_events"]
