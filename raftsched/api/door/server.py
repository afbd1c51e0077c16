"""The gRPC server of a node, with the public services on it."""

import asyncio
import contextlib
import os

import grpc
from grpc_reflection.v1alpha import reflection
from raftsched_proto.v1 import (
    calendar_pb2_grpc,
    cluster_pb2_grpc,
    execution_pb2_grpc,
    group_pb2_grpc,
    history_pb2_grpc,
    task_pb2_grpc,
)

from raftsched.api.calendars.service import CalendarService
from raftsched.api.cluster import ClusterService
from raftsched.api.context import ApiContext
from raftsched.api.door.gateway import Gateway
from raftsched.api.door.health import SERVICE_NAMES, HealthMonitor
from raftsched.api.executions.service import ExecutionService
from raftsched.api.executions.waits import Waits
from raftsched.api.groups import GroupService
from raftsched.api.history import HistoryService
from raftsched.api.tasks.service import TaskService
from raftsched.net.access import AccessGate
from raftsched.net.channels import MAX_MESSAGE_BYTES
from raftsched.net.dial import PLAIN, Network, listen_within

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
    # Who says nothing, and who has no call, makes room. No age: streams of executors and peers are to last.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 60_000),
]
MAX_CONNECTIONS = 4_000


class ApiServer:
    """Public API, health checks and reflection. Internal services may be added to ``server`` before the start."""

    def __init__(
        self,
        api: ApiContext,
        max_connections: int = MAX_CONNECTIONS,
        *,
        network: Network = PLAIN,
        gate: AccessGate | None = None,
    ) -> None:
        """Connections beyond ``max_connections`` are closed as they come. ``gate``: who may call; None: everybody."""
        self._api = api
        self._network = network
        options = [*_OPTIONS, ("grpc.max_allowed_incoming_connections", max_connections)]
        self.server = grpc.aio.server(interceptors=[*([gate] if gate else []), Gateway(api)], options=options)
        self._health = HealthMonitor(api)
        self._monitoring: asyncio.Task[None] | None = None
        waits = Waits(api)
        task_pb2_grpc.add_TaskServiceServicer_to_server(TaskService(api, waits), self.server)
        group_pb2_grpc.add_GroupServiceServicer_to_server(GroupService(api), self.server)
        calendar_pb2_grpc.add_CalendarServiceServicer_to_server(CalendarService(api), self.server)
        execution_pb2_grpc.add_ExecutionServiceServicer_to_server(ExecutionService(api), self.server)
        cluster_pb2_grpc.add_ClusterServiceServicer_to_server(ClusterService(api, waits), self.server)
        history_pb2_grpc.add_HistoryServiceServicer_to_server(HistoryService(api), self.server)
        self._health.add_to(self.server)
        reflection.enable_server_reflection(
            (*SERVICE_NAMES, "grpc.health.v1.Health", reflection.SERVICE_NAME), self.server
        )

    def listen(self, address: str) -> int:
        """Bind host:port; the port, which the system chooses when it is 0. Raises RuntimeError when it is in use."""
        return self._network.listen(self.server, address)

    def listen_within(self) -> str:
        """Bind an address for this process alone, which has places of its own; the target to connect to.

        What this node serves over HTTP must not depend on how many are connected over gRPC.
        """
        target = f"unix-abstract:raftsched-{os.getpid()}-{self._api.clock.token()}"
        listen_within(self.server, target)
        return target

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
