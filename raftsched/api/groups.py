"""GroupService: limits that several tasks share. Runs on the leader, but for stale reads."""
# The names of the methods are those of the rpcs, each of which is given a context.
# ruff: noqa: ARG002, N802

from itertools import islice

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import group_pb2, group_pb2_grpc

from raftsched.api.context import ApiContext, CallContext
from raftsched.api.door.errors import not_found, raise_for_outcome
from raftsched.api.proposals import Proposals, Reads, scoped
from raftsched.core.state.model import SECOND_US
from raftsched.definitions.fields import check_duration, check_name, check_number, check_request_id, quoted
from raftsched.definitions.violations import Violations
from raftsched.ports import Reader, Table

LARGEST_GROUP_LIMIT = 10_000
_LARGEST_PERIOD_US = 86_400 * SECOND_US
_DEFAULT_PERIOD_US = 60 * SECOND_US
_MUTABLE = ("max_running", "max_starts", "period")


class GroupService(group_pb2_grpc.GroupServiceServicer):
    """See group.proto."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._proposals = Proposals(api)
        self._reads = Reads(api)

    async def CreateGroup(
        self, request: group_pb2.CreateGroupRequest, context: CallContext
    ) -> group_pb2.CreateGroupResponse:
        """Create a group."""
        _check_id(request.request_id)
        group = _definition(request.group)
        await self._put(group, scoped("CreateGroup", request.request_id), create=True)
        return group_pb2.CreateGroupResponse(group=self._shown(group))

    async def GetGroup(self, request: group_pb2.GetGroupRequest, context: CallContext) -> group_pb2.GetGroupResponse:
        """Read one group."""
        _check(request.name)
        async with self._reads.view(request.consistency) as reader:
            return group_pb2.GetGroupResponse(group=_read(reader, request.name))

    async def ListGroups(
        self, request: group_pb2.ListGroupsRequest, context: CallContext
    ) -> group_pb2.ListGroupsResponse:
        """Read all groups."""
        async with self._reads.view(request.consistency) as reader:
            rows = [pb.GroupRow.FromString(value) for _, value in reader.scan(Table.GROUPS)]
            return group_pb2.ListGroupsResponse(groups=[_public(reader, row) for row in rows])

    async def UpdateGroup(
        self, request: group_pb2.UpdateGroupRequest, context: CallContext
    ) -> group_pb2.UpdateGroupResponse:
        """Replace limits of a group."""
        _check(request.group.name, request.request_id, "group.name")
        _check_mask(request.update_mask)
        async with self._reads.view() as reader:
            group = _read(reader, request.group.name)
        for path in request.update_mask.paths:
            if path == "period":
                group.period.CopyFrom(request.group.period)
            else:
                setattr(group, path, getattr(request.group, path))
        await self._put(_definition(group), scoped("UpdateGroup", request.request_id), create=False)
        return group_pb2.UpdateGroupResponse(group=self._shown(group))

    async def DeleteGroup(self, request: group_pb2.DeleteGroupRequest, context: CallContext) -> Empty:
        """Remove a group that no task names."""
        _check(request.name, request.request_id)
        command = self._proposals.command(scoped("DeleteGroup", request.request_id))
        command.delete_group.name = request.name
        raise_for_outcome(await self._proposals.propose(command))
        return Empty()

    async def _put(self, group: group_pb2.Group, key: str, *, create: bool) -> None:
        command = self._proposals.command(key)
        command.put_group.group.CopyFrom(group)
        command.put_group.create = create
        raise_for_outcome(await self._proposals.propose(command))

    def _shown(self, written: group_pb2.Group) -> group_pb2.Group:
        """The group as it stands; what was written, when it has been deleted again meanwhile."""
        with self._api.store.read() as reader:
            value = reader.get(Table.GROUPS, written.name.encode())
            return written if value is None else _public(reader, pb.GroupRow.FromString(value))


def _read(reader: Reader, name: str) -> group_pb2.Group:
    value = reader.get(Table.GROUPS, name.encode())
    if value is None:
        raise not_found(f"group {quoted(name)}")
    return _public(reader, pb.GroupRow.FromString(value))


def _public(reader: Reader, row: pb.GroupRow) -> group_pb2.Group:
    name = row.group.name.encode()
    row.group.running = row.running
    row.group.tasks = row.tasks
    waiting = islice(reader.scan(Table.GROUPED, name + b"\0", name + b"\1"), LARGEST_GROUP_LIMIT)
    row.group.waiting = sum(1 for _ in waiting)
    return row.group


def _definition(message: group_pb2.Group) -> group_pb2.Group:
    """The limits of a group, defaults written out. Raises ApiError (INVALID_ARGUMENT) with all that is wrong."""
    group = group_pb2.Group(name=message.name, max_running=message.max_running, max_starts=message.max_starts)
    violations = Violations()
    check_name(violations, "group.name", group.name)
    check_number(violations, "group.max_running", group.max_running, 0, LARGEST_GROUP_LIMIT)
    check_number(violations, "group.max_starts", group.max_starts, 0, LARGEST_GROUP_LIMIT)
    if not group.max_running and not group.max_starts:
        violations.add("group.max_running", "give max_running, max_starts, or both: the group has no limit")
    if group.max_starts:
        group.period.FromMicroseconds(_DEFAULT_PERIOD_US)
        if message.HasField("period"):
            group.period.CopyFrom(message.period)
        check_duration(violations, "group.period", group.period, SECOND_US, _LARGEST_PERIOD_US)
    violations.raise_any()
    return group


def _check(name: str, request_id: str = "", field: str = "name") -> None:
    violations = Violations()
    check_name(violations, field, name)
    check_request_id(violations, request_id)
    violations.raise_any()


def _check_id(request_id: str) -> None:
    violations = Violations()
    check_request_id(violations, request_id)
    violations.raise_any()


def _check_mask(mask: FieldMask) -> None:
    violations = Violations()
    if not mask.paths:
        violations.add("update_mask", f"must name what to replace: {', '.join(_MUTABLE)}")
    for path in mask.paths:
        if path not in _MUTABLE:
            violations.add("update_mask", f"{path[:60]!r} is none of {', '.join(_MUTABLE)}")
    violations.raise_any()
