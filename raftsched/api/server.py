"""The gRPC server of a node, with the public services on it."""

import asyncio
import contextlib

import grpc
from grpc_reflection.v1alpha import reflection
from raftsched_client.v1 import (
    calendar_pb2_grpc,
    cluster_pb2_grpc,
    execution_pb2_grpc,
    group_pb2_grpc,
    history_pb2_grpc,
    task_pb2_grpc,
)

from raftsched.api.calendars import CalendarService
from raftsched.api.channels import MAX_MESSAGE_BYTES
from raftsched.api.cluster import ClusterService
from raftsched.api.context import ApiContext
from raftsched.api.executions import ExecutionService
from raftsched.api.gateway import Gateway
from raftsched.api.groups import GroupService
from raftsched.api.health import SERVICE_NAMES, HealthMonitor
from raftsched.api.history import HistoryService
from raftsched.api.tasks import TaskService

_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A port in use must be an error, not a port shared.
    ("grpc.so_reuseport", 0),
    # Peers and executors ping often, to notice that a machine is gone.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class ApiServer:
    """Public API, health checks and reflection. Internal services may be added to ``server`` before the start."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self.server = grpc.aio.server(interceptors=[Gateway(api)], options=_OPTIONS)
        self._health = HealthMonitor(api)
        self._monitoring: asyncio.Task[None] | None = None
        task_pb2_grpc.add_TaskServiceServicer_to_server(TaskService(api), self.server)
        group_pb2_grpc.add_GroupServiceServicer_to_server(GroupService(api), self.server)
        calendar_pb2_grpc.add_CalendarServiceServicer_to_server(CalendarService(api), self.server)
        execution_pb2_grpc.add_ExecutionServiceServicer_to_server(ExecutionService(api), self.server)
        cluster_pb2_grpc.add_ClusterServiceServicer_to_server(ClusterService(api), self.server)
        history_pb2_grpc.add_HistoryServiceServicer_to_server(HistoryService(api), self.server)
        self._health.add_to(self.server)
        reflection.enable_server_reflection(
            (*SERVICE_NAMES, "grpc.health.v1.Health", reflection.SERVICE_NAME), self.server
        )

    def listen(self, address: str) -> int:
        """Bind host:port; the port, which the system chooses when it is 0. Raises RuntimeError when it is in use."""
        return self.server.add_insecure_port(address)

    async def start(self) -> None:
        """Begin to answer."""
        await self._health.update()
        await self.server.start()
        self._monitoring = asyncio.create_task(self._health.run())

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, give those under way ``grace_s`` seconds, and close the connections to other nodes."""
        if self._monitoring is not None:
            self._monitoring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._monitoring
        await self._health.stop()
        await self.server.stop(grace_s)
        await self._api.channels.close()
        if self._api.history is not None:
            self._api.history.close()
