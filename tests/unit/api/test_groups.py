"""GroupService: limits that several tasks share."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from raftsched_proto.v1 import group_pb2, task_pb2

from tests.support.api_cluster import ApiCluster, on_cluster, refused
from tests.unit.api.test_tasks import create, interval, task


@pytest.mark.parametrize(
    ("field", "group"),
    [
        ("group.name", group_pb2.Group(name="-", max_running=1)),
        ("group.max_running", group_pb2.Group(name="g")),
        ("group.max_running", group_pb2.Group(name="g", max_running=10_001)),
        ("group.max_starts", group_pb2.Group(name="g", max_running=1, max_starts=-1)),
        ("group.period", group_pb2.Group(name="g", max_starts=1, period=Duration(seconds=0))),
        ("group.period", group_pb2.Group(name="g", max_starts=1, period=Duration(seconds=86_401))),
    ],
)
@on_cluster()
async def test_refused_with_the_name_of_the_field(cluster: ApiCluster, field: str, group: group_pb2.Group) -> None:
    told = await refused(cluster.caller().groups.CreateGroup(group_pb2.CreateGroupRequest(group=group)))
    assert (told.code, list(told.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


@on_cluster()
async def test_a_group_is_created_listed_changed_and_deleted(cluster: ApiCluster) -> None:
    groups = cluster.caller().groups
    wanted = group_pb2.Group(name="api", max_starts=5)
    created = (await groups.CreateGroup(group_pb2.CreateGroupRequest(group=wanted))).group
    assert (created.max_starts, created.period.seconds, created.tasks) == (5, 60, 0)
    await cluster.caller().tasks.CreateTask(create(task("tick", schedule=interval(1), group="api")))
    mask = FieldMask(paths=["max_running", "period"])
    change = group_pb2.Group(name="api", max_running=2, period=Duration(seconds=5))
    await groups.UpdateGroup(group_pb2.UpdateGroupRequest(group=change, update_mask=mask))
    (listed,) = (await groups.ListGroups(group_pb2.ListGroupsRequest())).groups
    assert (listed.max_running, listed.max_starts, listed.period.seconds, listed.tasks) == (2, 5, 5, 1)
    told = await refused(groups.CreateGroup(group_pb2.CreateGroupRequest(group=wanted)))
    assert (told.code, told.info.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    told = await refused(groups.DeleteGroup(group_pb2.DeleteGroupRequest(name="api")))
    assert (told.code, told.info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION")
    await cluster.caller().tasks.DeleteTask(task_pb2.DeleteTaskRequest(name="tick"))
    await groups.DeleteGroup(group_pb2.DeleteGroupRequest(name="api"))
    told = await refused(groups.GetGroup(group_pb2.GetGroupRequest(name="api")))
    assert told.code is grpc.StatusCode.NOT_FOUND


@on_cluster()
async def test_an_unknown_group_and_an_unknown_parent_are_refused(cluster: ApiCluster) -> None:
    tasks = cluster.caller().tasks
    told = await refused(tasks.CreateTask(create(task("tick", schedule=interval(1), group="none"))))
    assert (told.info.reason, list(told.fields)) == ("INVALID_FIELDS", ["task.group"])
    chained = task("next", after=[task_pb2.ChainParent(task="none")])
    chained.ClearField("schedule")
    told = await refused(tasks.CreateTask(create(chained)))
    assert list(told.fields) == ["task.after"]
