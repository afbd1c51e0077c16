"""Cluster versions: which commands and rows all nodes understand. See docs/adr/0010.

The cluster version is a row of the replicated state. A command raises it, once every member says that it knows the new
one; until then nothing of the new one may be in the log. Every entry says under which cluster version it was proposed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.fields import SINCE
from raftsched.ports import NodeOutdated, Reader, Table

FIRST_VERSION = 1
"""Of a cluster whose state says nothing of versions."""
NEWEST_VERSION = 2
"""The newest that this program knows. It applies the commands of all that came before."""
CLUSTER_VERSION_KEY = b"cluster_version"
"""Row of META: the cluster version (4 bytes, big-endian); absent: the first."""
_ADVICE = (
    "Nothing was lost, and nothing of it was taken. Upgrade this node: install the version of raftsched that the other "
    "nodes run, and start it with the same settings and data directory; it goes on where it stopped."
)


@dataclass(frozen=True)
class Versions:
    """The cluster versions that a program knows, and what each of them brought."""

    newest: int = NEWEST_VERSION
    since: Mapping[str, int] = field(default_factory=lambda: SINCE, repr=False)
    """The full name of a field or enum value -> the first version that has it."""

    def shown(self, held: int) -> int:
        """The newest that a node says that it knows, not to have the cluster version raised above ``held``; 0: all."""
        return min(held, self.newest) if held else self.newest

    def beyond(self, version: int, message: Message) -> str:
        """What the message uses that came after ``version``: the full name of a field or enum value; "" for nothing.

        It costs next to nothing where nothing came after.
        """
        return next(self._beyond(version, message), "") if version < self._latest else ""

    def check(self, what: str, version: int) -> None:
        """Raises NodeOutdated: ``what`` is of a version that this program does not know."""
        if version > self.newest:
            raise NodeOutdated(f"{what} is of cluster version {version}, and {self._knows}. {_ADVICE}")

    def refuse_unknown(self, what: str, unknown: str) -> None:
        """Raises NodeOutdated: ``what`` has a part that this program does not know."""
        raise NodeOutdated(f"{what} has {unknown}, which is of a newer version, and {self._knows}. {_ADVICE}")

    @property
    def _knows(self) -> str:
        return f"this node knows cluster versions {FIRST_VERSION} to {self.newest}"

    @cached_property
    def _latest(self) -> int:
        return max(self.since.values())

    @cached_property
    def _touched(self) -> dict[int, frozenset[str]]:
        """By version: the messages that have something newer, in themselves or in what they hold."""
        return {
            version: frozenset(name for name, message in _MESSAGES.items() if self._has_newer(version, message, set()))
            for version in range(FIRST_VERSION, self._latest)
        }

    def _has_newer(self, version: int, message: Descriptor, seen: set[str]) -> bool:
        if message.full_name in seen:
            return False
        seen.add(message.full_name)
        for each in message.fields:
            if self.since.get(each.full_name, 0) > version:
                return True
            if each.enum_type is not None:
                names = (_value_name(each.enum_type, value.number) for value in each.enum_type.values)
                if any(self.since.get(name, 0) > version for name in names):
                    return True
            if each.message_type is not None and self._has_newer(version, each.message_type, seen):
                return True
        return False

    def _beyond(self, version: int, message: Message) -> Iterator[str]:
        if message.DESCRIPTOR.full_name not in self._touched[version]:
            return
        for each, value in message.ListFields():
            if self.since.get(each.full_name, 0) > version:
                yield each.full_name
            for item in items_of(each, value):
                if isinstance(item, Message):
                    yield from self._beyond(version, item)
                elif each.enum_type is not None and isinstance(item, int):
                    name = _value_name(each.enum_type, item)
                    if self.since.get(name, 0) > version:
                        yield name


def items_of(each: FieldDescriptor, value: Any) -> Iterable[object]:
    """The values of a field, however many it has."""
    if not each.is_repeated:
        return [value]
    values: Iterable[object] = value.values() if isinstance(value, Mapping) else value
    return values


def _value_name(enum: EnumDescriptor, number: int) -> str:
    """The full name of a value; with its number where the protocol names none."""
    found = enum.values_by_number.get(number)
    return f"{enum.full_name}.{number if found is None else found.name}"


def _messages(message: Descriptor, found: dict[str, Descriptor]) -> dict[str, Descriptor]:
    """All that a message may hold, itself included, by their full names."""
    if message.full_name not in found:
        found[message.full_name] = message
        for each in message.fields:
            if each.message_type is not None:
                _messages(each.message_type, found)
    return found


_MESSAGES = _messages(pb.Command.DESCRIPTOR, {})
VERSIONS = Versions()
"""Of this program."""


def cluster_version(reader: Reader) -> int:
    """Of the state that the view shows."""
    row = reader.get(Table.META, CLUSTER_VERSION_KEY)
    return FIRST_VERSION if row is None else int.from_bytes(row, "big")


def cluster_version_row(version: int) -> bytes:
    """The value of ``CLUSTER_VERSION_KEY``."""
    return version.to_bytes(4, "big")
