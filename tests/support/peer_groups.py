"""The groups of the cluster that tests of the client and the CLI talk to."""

from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf import empty_pb2
from google.protobuf.message import Message
from raftsched_proto.v1 import group_pb2, group_pb2_grpc, task_pb2


class Answers(Protocol):
    """What the cluster does for each service."""

    groups: dict[str, group_pb2.Group]
    tasks: dict[str, task_pb2.Task]

    async def answer(
        self, node: int, context: Any, method: str, request: Message, act: Callable[[], Message], request_id: str = ""
    ) -> Any: ...


class GroupNode(group_pb2_grpc.GroupServiceServicer):
    """GroupService of one node. ``refuse(code, message)`` makes the error of a refusal."""

    def __init__(self, cluster: Answers, number: int, refuse: Callable[[str, str], Exception]) -> None:
        self._cluster = cluster
        self._number = number
        self._refuse = refuse

    async def CreateGroup(self, request, context):
        def act() -> Message:
            if request.group.name in self._cluster.groups:
                raise self._refuse("ALREADY_EXISTS", f"a group named {request.group.name!r} exists")
            self._cluster.groups[request.group.name] = request.group
            return group_pb2.CreateGroupResponse(group=self._shown(request.group.name))

        return await self._answer(context, request, "CreateGroup", act, request.request_id)

    async def GetGroup(self, request, context):
        def act() -> Message:
            return group_pb2.GetGroupResponse(group=self._shown(request.name))

        return await self._answer(context, request, "GetGroup", act)

    async def ListGroups(self, request, context):
        def act() -> Message:
            return group_pb2.ListGroupsResponse(groups=map(self._shown, sorted(self._cluster.groups)))

        return await self._answer(context, request, "ListGroups", act)

    async def UpdateGroup(self, request, context):
        def act() -> Message:
            changed = self._shown(request.group.name)
            for path in request.update_mask.paths:
                changed.ClearField(path)
            request.update_mask.MergeMessage(request.group, changed)
            self._cluster.groups[changed.name] = changed
            return group_pb2.UpdateGroupResponse(group=self._shown(changed.name))

        return await self._answer(context, request, "UpdateGroup", act, request.request_id)

    async def DeleteGroup(self, request, context):
        def act() -> Message:
            if self._shown(request.name).tasks:
                raise self._refuse("FAILED_PRECONDITION", f"tasks are in the group {request.name!r}")
            del self._cluster.groups[request.name]
            return empty_pb2.Empty()

        return await self._answer(context, request, "DeleteGroup", act, request.request_id)

    async def _answer(
        self, context: Any, request: Any, method: str, act: Callable[[], Message], request_id: str = ""
    ) -> Any:
        return await self._cluster.answer(self._number, context, method, request, act, request_id)

    def _shown(self, name: str) -> group_pb2.Group:
        """A copy, with the number of tasks that are in it."""
        if name not in self._cluster.groups:
            raise self._refuse("NOT_FOUND", f"there is no group named {name!r}")
        shown = group_pb2.Group()
        shown.CopyFrom(self._cluster.groups[name])
        shown.tasks = sum(task.group == name for task in self._cluster.tasks.values())
        return shown
