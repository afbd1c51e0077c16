"""What every sink is, and what it is given."""

from dataclasses import dataclass
from typing import Any, Protocol


class SinkFailed(Exception):
    """The sink did not take the records; they are sent again. The message says why."""


class SinkRefused(Exception):
    """The sink cannot work as it is configured; the message says why."""


@dataclass(frozen=True, slots=True)
class Document:
    """A record as it is shipped."""

    id: str
    """The same whenever the record is shipped again."""
    time_us: int
    fields: dict[str, Any]


class Sink(Protocol):
    """Takes records, in order."""

    def send(self, documents: list[Document]) -> int:
        """Deliver all; returns how many the sink will never take. Raises SinkFailed: some may have been delivered."""

    def close(self) -> None:
        """Release what is open."""
