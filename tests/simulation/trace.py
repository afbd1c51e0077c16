"""Events of a run as lines that can be read."""

from google.protobuf.message import DecodeError
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.consensus.messages import AppendEntries


def readable(event: tuple[object, ...]) -> str:
    """One line: when, what, who."""
    time, what, *rest = event
    return f"{time:>10} {what:20} " + " ".join(map(_word, rest))


def _word(value: object) -> str:
    if isinstance(value, AppendEntries):
        entries = ", ".join(_entry(entry.index, entry.data) for entry in value.entries)
        return (
            f"append term {value.term} behind {value.prev_index}/{value.prev_term} commit {value.commit_index} "
            f"epoch {value.epoch} round {value.round} [{entries}]"
        )
    return f"{value}"


def _entry(index: int, data: bytes) -> str:
    command = pb.Command()
    try:
        command.ParseFromString(data[1:])
        kind = command.WhichOneof("kind")
    except DecodeError:
        # No command of ours: members of the group, or an entry of a leader's beginning.
        kind = None
    return f"{index} {kind or f'{len(data)} bytes'}"
