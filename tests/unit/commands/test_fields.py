"""The table that says since when each field may be used is complete."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1.raft_pb2 import ShardMembers

from raftsched.commands.fields import SINCE
from raftsched.commands.versions import FIRST_VERSION, NEWEST_VERSION

ROWS = [each for name, each in pb.DESCRIPTOR.message_types_by_name.items() if name.endswith("Row")]


def names(message: Descriptor, seen: set[str]) -> Iterator[str]:
    """All fields and enum values that a message may hold, but for those of protobuf's own messages."""
    if message.full_name in seen or message.full_name.startswith("google."):
        return
    seen.add(message.full_name)
    for field in message.fields:
        if not message.GetOptions().map_entry:
            yield field.full_name
        if field.message_type is not None:
            yield from names(field.message_type, seen)
        if field.enum_type is not None:
            yield from (f"{field.enum_type.full_name}.{value.name}" for value in field.enum_type.values)


def test_every_field_of_commands_and_rows_says_since_when_it_may_be_used() -> None:
    seen: set[str] = set()
    known = {
        name for message in [pb.Command.DESCRIPTOR, ShardMembers.DESCRIPTOR, *ROWS] for name in names(message, seen)
    }
    missing, gone = sorted(known - set(SINCE)), sorted(set(SINCE) - known)
    assert not missing, f"add to raftsched/commands/fields.py, with the version that brings them: {missing}"
    assert not gone, f"no field has these names in raftsched/commands/fields.py: {gone}"


@pytest.mark.parametrize("version", sorted(set(SINCE.values())))
def test_no_field_is_of_a_version_that_this_program_does_not_know(version: int) -> None:
    assert FIRST_VERSION <= version <= NEWEST_VERSION
