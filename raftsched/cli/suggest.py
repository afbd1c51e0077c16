"""What a name that does not exist may have meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

from raftsched.cli.show.output import note

if TYPE_CHECKING:
    from raftsched_client import Client

_NOT_FOUND = re.compile(r"there is no (task|group|calendar) (?:named )?'([^']*)'")
_LOOKED_AT = 1000
_SHOWN = 3
_TIMEOUT_S = 2.0


def suggestions(client: Client, message: str) -> list[str]:
    """Lines that say what was meant, of a message that something does not exist; reads a page or two of names."""
    from raftsched_client import RaftschedError

    match = _NOT_FOUND.search(message)
    if match is None:
        return []
    try:
        found = close(match[2], _names(client, match[1], match[2]))
    except RaftschedError:
        return []
    return [f"did you mean {' or '.join(found)}?"] if found else []


def close(name: str, names: Iterable[str]) -> list[str]:
    """The names most like it, of any case."""
    by_folded = {each.casefold(): each for each in names}
    return [by_folded[each] for each in get_close_matches(name.casefold(), by_folded, _SHOWN, 0.7)]


def note_unknown_task(client: Client, name: str) -> None:
    """Say so, if nothing was found of a task because there is no such task."""
    from raftsched_client import NotFoundError, RaftschedError

    try:
        client.get_task(name, stale=True, timeout=_TIMEOUT_S)
    except NotFoundError as error:
        note("; ".join([str(error), *suggestions(client, str(error))]))
    except RaftschedError:
        return


def _names(client: Client, kind: str, name: str) -> Iterator[str]:
    if kind == "task":
        # Most slips are behind the beginning; the first page is for the others.
        for prefix in dict.fromkeys((name[:2], "")):
            tasks = client.list_tasks(name_prefix=prefix, page_size=_LOOKED_AT, stale=True, timeout=_TIMEOUT_S)
            yield from (task.name for task in islice(tasks, _LOOKED_AT))
    elif kind == "group":
        yield from (group.name for group in client.list_groups(stale=True, timeout=_TIMEOUT_S))
    else:
        yield from (each.name for each in client.list_calendars(stale=True, timeout=_TIMEOUT_S))
