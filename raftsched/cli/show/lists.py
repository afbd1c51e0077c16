"""Lists that are read page by page: a table or a document, once or again and again, and whether there is more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from raftsched.cli.show import live, tables
from raftsched.cli.show.output import Format, note_more, print_items

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from raftsched.cli.session import Session

T = TypeVar("T", bound="Message")


@dataclass(frozen=True)
class Listing(Generic[T]):
    """What to list."""

    key: str
    """Of the list in a document."""
    find: Callable[[], Iterator[T]]
    table: Callable[[Iterable[T]], tables.TextTable]
    advice: str
    """Options that show other items than the first ones."""


def show(session: Session, listing: Listing[T], limit: int, watch: bool, interval: timedelta | None) -> None:
    """Print the first ``limit`` items (0: all); with ``watch`` until interrupted."""
    if watch:
        live.watch(
            lambda: [*islice(listing.find(), limit or None)],
            lambda items: [listing.table(items)],
            session.form,
            lambda items: print_items(listing.key, items, session.form),
            interval,
        )
    found = listing.find()
    items = islice(found, limit or None)
    if session.form is not Format.TABLE:
        print_items(listing.key, items, session.form)
    else:
        tables.show(listing.table(items))
    note_more(found, limit, f"use {listing.advice}")
