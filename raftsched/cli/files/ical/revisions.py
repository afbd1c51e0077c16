"""Which of the components that describe one event count: the latest revision, unless it is cancelled (RFC 5546)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from raftsched.cli.files.ical.components import Component
from raftsched.cli.files.ical.event import ComponentReader, Identity
from raftsched.cli.files.ical.values import key


@dataclass(frozen=True, slots=True)
class Candidate:
    """A component that says which event it describes."""

    number: int
    """Its place among the events of the file, from 1."""
    component: Component
    identity: Identity
    reader: ComponentReader


def latest(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Those that count, and those that later revisions replace.

    Of one UID and RECURRENCE-ID, the highest SEQUENCE counts, then the latest DTSTAMP; all of them where both are
    equal, as in files whose events share one UID.
    """
    newest: dict[object, tuple[int, str]] = {}
    found = list(candidates)
    for each in found:
        newest[_which(each)] = max(newest.get(_which(each), (-1, "")), _revision(each))
    count = [each for each in found if _revision(each) == newest[_which(each)]]
    return count, [each for each in found if _revision(each) < newest[_which(each)]]


def taking_place(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Without what is cancelled, but for single times of a series, which the series has to know.

    A series that is cancelled takes its single times with it, except those that were revised later.
    """
    over: dict[str, int] = {}
    for each in candidates:
        uid, identity = each.identity.uid, each.identity
        if identity.cancelled and identity.occurrence is None and uid:
            over[uid] = max(over.get(uid, -1), identity.sequence)
    return [
        each
        for each in candidates
        if each.identity.sequence > over.get(each.identity.uid, -1)
        and not (each.identity.cancelled and each.identity.occurrence is None)
    ]


def _which(each: Candidate) -> object:
    identity = each.identity
    if not identity.uid:
        return each.number
    return identity.uid, None if identity.occurrence is None else key(identity.occurrence), identity.and_later


def _revision(each: Candidate) -> tuple[int, str]:
    return each.identity.sequence, each.identity.stamp
