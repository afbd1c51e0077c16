"""Standard gRPC health checking (grpc.health.v1): a node serves while it knows a leader and has its state."""

import asyncio

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from raftsched_proto.v1 import calendar_pb2, cluster_pb2, execution_pb2, group_pb2, history_pb2, task_pb2

from raftsched.api.context import ApiContext

_PERIOD_S = 0.2
_CLUSTER_SERVICE = cluster_pb2.DESCRIPTOR.services_by_name["ClusterService"].full_name
SERVICE_NAMES = (
    task_pb2.DESCRIPTOR.services_by_name["TaskService"].full_name,
    group_pb2.DESCRIPTOR.services_by_name["GroupService"].full_name,
    calendar_pb2.DESCRIPTOR.services_by_name["CalendarService"].full_name,
    execution_pb2.DESCRIPTOR.services_by_name["ExecutionService"].full_name,
    history_pb2.DESCRIPTOR.services_by_name["HistoryService"].full_name,
    _CLUSTER_SERVICE,
)


class HealthMonitor:
    """Tells whoever checks whether this node can answer: the cluster service always, the others given a leader.

    And not before this node has had all that was committed when it came to its leader.
    """

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._servicer = health.aio.HealthServicer()
        self._serving: bool | None = None

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve grpc.health.v1.Health."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def run(self) -> None:
        """Keep the answers up to date until cancelled."""
        await self._servicer.set(_CLUSTER_SERVICE, health_pb2.HealthCheckResponse.SERVING)
        while True:
            await self.update()
            await asyncio.sleep(_PERIOD_S)

    async def update(self) -> None:
        """Look at the shard once."""
        serving = bool(self._api.leader_address()) and self._api.log.status().has_state
        if serving == self._serving:
            return
        self._serving = serving
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICE_NAMES):
            if name != _CLUSTER_SERVICE:
                await self._servicer.set(name, status)

    async def stop(self) -> None:
        """Answer NOT_SERVING from here on, so that callers go elsewhere."""
        await self._servicer.enter_graceful_shutdown()
