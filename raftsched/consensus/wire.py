"""The messages and snapshot parts as protobuf. Nothing is ever unpickled."""

from raftsched_proto.internal.v1 import raft_pb2 as pb

from raftsched.commands.versions import FIRST_VERSION
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
from raftsched.ports import STATE_TABLES, Table

_MAX_NUMBER = 1 << 62
"""No term, index, epoch or round comes near; below it they fit wherever they are stored, and can be counted up."""

_RESULTS = {
    AppendResult.ACCEPTED: pb.APPEND_RESULT_ACCEPTED,
    AppendResult.REJECTED: pb.APPEND_RESULT_REJECTED,
    AppendResult.BUSY: pb.APPEND_RESULT_BUSY,
}


class WireError(ValueError):
    """A peer sent what this version does not know or does not allow."""


def encode(shard_id: int, message: Message) -> pb.RaftMessage:
    """A message of a shard."""
    wire = pb.RaftMessage(shard_id=shard_id, term=message.term)
    match message:
        case AppendEntries():
            wire.append_entries.CopyFrom(_encode_append(message))
        case AppendReply(_, epoch, round_number, result, index):
            wire.append_reply.CopyFrom(
                pb.AppendReply(epoch=epoch, round=round_number, result=_RESULTS[result], index=index)
            )
        case PreVote(_, last_index, last_term):
            wire.pre_vote.CopyFrom(pb.PreVote(last_index=last_index, last_term=last_term))
        case PreVoteReply(_, asked_term, granted):
            wire.pre_vote_reply.CopyFrom(pb.PreVoteReply(asked_term=asked_term, granted=granted))
        case RequestVote(_, last_index, last_term, transfer):
            wire.request_vote.CopyFrom(pb.RequestVote(last_index=last_index, last_term=last_term, transfer=transfer))
        case Vote(_, granted):
            wire.vote.CopyFrom(pb.Vote(granted=granted))
        case TimeoutNow():
            wire.timeout_now.SetInParent()
    return wire


def decode(wire: pb.RaftMessage) -> Message:
    """A message of a peer.

    Raises WireError: its kind is unknown, or a number is out of range.
    """
    term = _number(wire.term)
    match wire.WhichOneof("kind"):
        case "append_entries":
            return _decode_append(term, wire.append_entries)
        case "append_reply":
            reply = wire.append_reply
            try:
                result = AppendResult(reply.result)
            except ValueError as error:
                raise WireError(f"append result {reply.result} is unknown") from error
            return AppendReply(term, _number(reply.epoch), _number(reply.round), result, _number(reply.index))
        case "pre_vote":
            return PreVote(term, _number(wire.pre_vote.last_index), _number(wire.pre_vote.last_term))
        case "pre_vote_reply":
            return PreVoteReply(term, _number(wire.pre_vote_reply.asked_term), wire.pre_vote_reply.granted)
        case "request_vote":
            request = wire.request_vote
            return RequestVote(term, _number(request.last_index), _number(request.last_term), request.transfer)
        case "vote":
            return Vote(term, wire.vote.granted)
        case "timeout_now":
            return TimeoutNow(term)
    raise WireError("the kind of a Raft message is unknown")


def encode_part(part: SnapshotPart) -> pb.FetchSnapshotResponse:
    """A part of a snapshot."""
    if isinstance(part, SnapshotHeader):
        header = pb.SnapshotHeader(snapshot_id=part.snapshot_id, index=part.index, term=part.term, rows=part.rows)
        header.cluster_identity, header.cluster_version = part.cluster_identity, part.cluster_version
        return pb.FetchSnapshotResponse(header=header)
    keys, values = [key for key, _ in part.rows], [value for _, value in part.rows]
    rows = pb.SnapshotRows(table=part.table.value, keys=keys, values=values, digest=part.digest)
    return pb.FetchSnapshotResponse(rows=rows)


def decode_part(wire: pb.FetchSnapshotResponse) -> SnapshotPart:
    """A part of a snapshot.

    Raises WireError: its kind or table is unknown, or keys and values do not pair.
    """
    match wire.WhichOneof("kind"):
        case "header":
            header = wire.header
            numbers = (_number(header.index), _number(header.term), _number(header.rows))
            version = max(FIRST_VERSION, header.cluster_version)
            return SnapshotHeader(header.snapshot_id, *numbers, header.cluster_identity, version)
        case "rows":
            rows = wire.rows
            if len(rows.keys) != len(rows.values):
                raise WireError("the keys and values of a part of a snapshot do not pair")
            return SnapshotRows(_table(rows.table), list(zip(rows.keys, rows.values, strict=True)), rows.digest)
    raise WireError("the kind of a snapshot part is unknown")


def encode_position(position: SnapshotPosition) -> pb.SnapshotPosition:
    """Where a snapshot broke off."""
    return pb.SnapshotPosition(snapshot_id=position.snapshot_id, table=position.table.value, key=position.key)


def decode_position(wire: pb.SnapshotPosition) -> SnapshotPosition:
    """Where a snapshot broke off.

    Raises WireError: its table is unknown.
    """
    return SnapshotPosition(wire.snapshot_id, _table(wire.table), wire.key)


def _table(name: str) -> Table:
    try:
        table = Table(name)
    except ValueError as error:
        raise WireError(f"table {name!r} is unknown") from error
    if table not in STATE_TABLES:
        raise WireError(f"table {name!r} is no part of a snapshot")
    return table


def _encode_append(message: AppendEntries) -> pb.AppendEntries:
    return pb.AppendEntries(
        prev_index=message.prev_index,
        prev_term=message.prev_term,
        entries=[pb.RaftEntry(term=entry.term, data=entry.data) for entry in message.entries],
        commit_index=message.commit_index,
        epoch=message.epoch,
        round=message.round,
        prev_chain=message.prev_chain,
        oldest=message.oldest,
    )


def _decode_append(term: int, append: pb.AppendEntries) -> AppendEntries:
    prev_index = _number(append.prev_index)
    entries = tuple(
        LogEntry(entry.data, index, _number(entry.term))
        for index, entry in enumerate(append.entries, start=prev_index + 1)
    )
    return AppendEntries(
        term,
        prev_index,
        _number(append.prev_term),
        entries,
        _number(append.commit_index),
        _number(append.epoch),
        _number(append.round),
        append.oldest,
        append.prev_chain,
    )


def _number(number: int) -> int:
    if number >= _MAX_NUMBER:
        raise WireError(f"{number} is out of range")
    return number
