"""Messages as protobuf: what is sent arrives, and what makes no sense is refused with a reason."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from raftsched_proto.internal.v1 import raft_pb2 as pb

from raftsched.consensus import wire
from raftsched.consensus.messages import (
    AppendEntries,
    AppendReply,
    AppendResult,
    LogEntry,
    Message,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    Vote,
)
from raftsched.consensus.snapshot import SnapshotHeader, SnapshotPart, SnapshotPosition, SnapshotRows
from raftsched.ports import Table

number = st.integers(0, (1 << 62) - 1)
truth = st.booleans()


@st.composite
def appends(draw: st.DrawFn) -> AppendEntries:
    prev_index = draw(st.integers(0, 1 << 40))
    data = draw(st.lists(st.tuples(st.binary(max_size=50), number), max_size=5))
    entries = tuple(LogEntry(body, index, term) for index, (body, term) in enumerate(data, start=prev_index + 1))
    rest = [draw(number) for _ in range(5)]
    return AppendEntries(rest[0], prev_index, rest[1], entries, *rest[2:], oldest=draw(truth))


messages = st.one_of(
    appends(),
    st.builds(AppendReply, number, number, number, st.sampled_from(AppendResult), number),
    st.builds(PreVote, number, number, number),
    st.builds(PreVoteReply, number, number, truth),
    st.builds(RequestVote, number, number, number, truth),
    st.builds(Vote, number, truth),
    st.builds(TimeoutNow, number),
)


@given(messages)
def test_what_is_sent_arrives(message: Message) -> None:
    travelled = pb.RaftMessage.FromString(wire.encode(3, message).SerializeToString())
    assert wire.decode(travelled) == message
    assert travelled.shard_id == 3


@given(st.binary(max_size=300))
def test_noise_is_refused_or_decodes(noise: bytes) -> None:
    try:
        wire.decode(pb.RaftMessage.FromString(noise))
    except (DecodeError, wire.WireError):
        return


@pytest.mark.parametrize(
    "nonsense",
    [
        pb.RaftMessage(term=1),
        pb.RaftMessage(term=1 << 62, vote=pb.Vote()),
        pb.RaftMessage(term=1, append_reply=pb.AppendReply(result=pb.APPEND_RESULT_UNSPECIFIED)),
        pb.RaftMessage(term=1, append_entries=pb.AppendEntries(prev_index=1 << 63)),
    ],
    ids=["no kind", "a term out of range", "no result", "an index out of range"],
)
def test_nonsense_is_refused(nonsense: pb.RaftMessage) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(nonsense)


@pytest.mark.parametrize(
    "part",
    [
        SnapshotHeader("id", 9, 4, 2),
        SnapshotRows(Table.TASKS, [(b"k", b"v"), (b"l", b"")], b"digest"),
    ],
)
def test_snapshot_parts_arrive(part: SnapshotPart) -> None:
    assert wire.decode_part(pb.FetchSnapshotResponse.FromString(wire.encode_part(part).SerializeToString())) == part


@pytest.mark.parametrize(
    "nonsense",
    [
        pb.FetchSnapshotResponse(),
        pb.FetchSnapshotResponse(rows=pb.SnapshotRows(table="nonsense")),
        pb.FetchSnapshotResponse(rows=pb.SnapshotRows(table="log")),
        pb.FetchSnapshotResponse(rows=pb.SnapshotRows(table="tasks", keys=[b"a"])),
    ],
    ids=["no kind", "an unknown table", "no state table", "keys without values"],
)
def test_nonsense_in_snapshots_is_refused(nonsense: pb.FetchSnapshotResponse) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_part(nonsense)


def test_positions_arrive() -> None:
    position = SnapshotPosition("id", Table.DUE, b"key")
    assert (
        wire.decode_position(pb.SnapshotPosition.FromString(wire.encode_position(position).SerializeToString()))
        == position
    )
