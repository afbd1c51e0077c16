"""What is wrong with what somebody sent or wrote in a file: field by field, collected before it is refused."""

from collections.abc import Iterable
from dataclasses import dataclass

_MAX_NOTED = 100
"""Violations of one request that are noted. Whoever sends more of them is told of a few in any case."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that was refused, and why."""

    field: str
    description: str


class Invalid(Exception):
    """Something is refused for what is in its fields. ``violations``: all that was found wrong, at least one."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{violation.field}: {violation.description}" for violation in self.violations))


class Violations:
    """What is wrong with a request."""

    def __init__(self) -> None:
        self._found: list[Violation] = []

    def add(self, field: str, description: str) -> None:
        """Note a field that is refused."""
        if len(self._found) < _MAX_NOTED:
            self._found.append(Violation(field, description))

    def extend(self, others: "Violations") -> None:
        """Note what others found."""
        self._found += others._found

    def raise_any(self) -> None:
        """Raise Invalid when anything was noted."""
        if self._found:
            raise Invalid(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)
