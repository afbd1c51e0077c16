"""What one call costs the node that answers it, in counts that do not depend on the machine."""

from dataclasses import replace
from typing import Any

from raftsched_proto.v1 import task_pb2

from raftsched.api.tasks.service import TaskService
from raftsched.consensus.shard import RaftShard
from raftsched.ports import ShardStatus
from tests.support.api_cluster import ApiCluster, on_cluster

CONTEXT: Any = None
"""Nothing of it is asked by what is called here."""


def task(name: str) -> task_pb2.Task:
    found = task_pb2.Task(name=name)
    found.schedule.interval.every.seconds = 3600
    found.action.noop.SetInParent()
    return found


class Unreported:
    """The log of a shard, without the report of its whole state."""

    def __init__(self, shard: RaftShard) -> None:
        self._shard = shard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)

    def status(self) -> ShardStatus:
        raise AssertionError("a call that goes well asked for all that is known of the shard")


@on_cluster()
async def test_a_change_asks_for_no_report_of_the_shard(cluster: ApiCluster) -> None:
    log: Any = Unreported(cluster.node.shard)
    api = replace(cluster.node.api, log=log)
    service = TaskService(api)
    assert api.leads()
    created = await service.CreateTask(task_pb2.CreateTaskRequest(task=task("t"), request_id="r"), CONTEXT)
    assert created.task.uid
    await service.PauseTask(task_pb2.PauseTaskRequest(name="t", request_id="p"), CONTEXT)
    await service.DeleteTask(task_pb2.DeleteTaskRequest(name="t", request_id="d"), CONTEXT)
