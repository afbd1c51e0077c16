"""Compares nominal times with what the fire record says of them. Pure; all times in microseconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RecordedTime:
    """What was decided for the nominal times from ``first_us`` to ``last_us``."""

    first_us: int
    last_us: int
    decide_us: int
    ran: bool
    start_us: int = 0
    """When its execution first started; 0: it has not, or that is not kept."""
    waits: bool = False
    """Its execution has not started, and may yet."""
    early: bool = False
    """A clock that was ahead decided it, and it is or will be decided again."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far from its nominal time a run may be decided and started."""

    late_us: int
    early_us: int
    now_us: int
    """What has not started by now is late when its time is past."""
    jitter_us: int = 0
    """Added to the bound of the start: the task asked for it."""
    ahead_us: int = 0
    """Added to the bound of an early decision: an executor holds what is decided ahead until its time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A nominal time that is not as it should be."""

    nominal_us: int
    what: str = ""
    """``decided``, ``started`` or ``waits``; empty where that says nothing."""
    off_us: int = 0
    """How long after its nominal time that was (before it: negative); of what waits, until now."""


@dataclass(slots=True)
class Findings:
    """Nominal times of one task by what is wrong with them."""

    checked: int = 0
    early: list[Fault] = field(default_factory=list)
    late: list[Fault] = field(default_factory=list)
    missing: list[Fault] = field(default_factory=list)
    twice: list[Fault] = field(default_factory=list)

    def kinds(self) -> dict[str, list[Fault]]:
        """The faults by the word for them."""
        return {"early": self.early, "late": self.late, "missing": self.missing, "twice": self.twice}


def check(expected: Iterable[int], entries: Iterable[RecordedTime], bounds: Tolerance) -> Findings:
    """Compare ascending nominal times with the record."""
    findings = Findings()
    waiting = sorted(entries, key=lambda entry: entry.first_us)
    findings.early = [Fault(entry.first_us) for entry in waiting if entry.early]
    waiting = [entry for entry in waiting if not entry.early]
    covering: list[RecordedTime] = []
    at = 0
    for nominal_us in expected:
        findings.checked += 1
        while at < len(waiting) and waiting[at].first_us <= nominal_us:
            covering.append(waiting[at])
            at += 1
        covering = [entry for entry in covering if entry.last_us >= nominal_us]
        if not covering:
            findings.missing.append(Fault(nominal_us))
            continue
        if len(covering) > 1:
            findings.twice.append(Fault(nominal_us))
        if early := next(filter(None, (_early(entry, nominal_us, bounds) for entry in covering)), None):
            findings.early.append(early)
        if late := next(filter(None, (_late(entry, nominal_us, bounds) for entry in covering)), None):
            findings.late.append(late)
    return findings


def _early(entry: RecordedTime, nominal_us: int, bounds: Tolerance) -> Fault | None:
    if entry.start_us and entry.start_us - nominal_us < -bounds.early_us:
        return Fault(nominal_us, "started", entry.start_us - nominal_us)
    if entry.decide_us - nominal_us < -bounds.early_us - bounds.ahead_us:
        return Fault(nominal_us, "decided", entry.decide_us - nominal_us)
    return None


def _late(entry: RecordedTime, nominal_us: int, bounds: Tolerance) -> Fault | None:
    if not entry.ran:
        return None
    start_by_us = nominal_us + bounds.late_us + bounds.jitter_us
    if entry.decide_us - nominal_us > bounds.late_us:
        return Fault(nominal_us, "decided", entry.decide_us - nominal_us)
    if entry.start_us > start_by_us:
        return Fault(nominal_us, "started", entry.start_us - nominal_us)
    if entry.waits and bounds.now_us > start_by_us:
        return Fault(nominal_us, "waits", bounds.now_us - nominal_us)
    return None
