"""ClusterService: shows the nodes and moves the leadership."""
# The names of the methods are those of the rpcs, each of which is given a context.
# ruff: noqa: ARG002, N802

import asyncio

import grpc
from raftsched_client.v1 import cluster_pb2, cluster_pb2_grpc

from raftsched.api.context import ApiContext, CallContext
from raftsched.api.errors import ApiError, invalid_field, outcome_unknown
from raftsched.core.machine.notices import dropped_notices
from raftsched.ports import GroupStatus, Peer, PeerLink, Table

_PEER_TIMEOUT_S = 1.0
_TRANSFER_TIMEOUT_S = 10.0
_POLL_S = 0.02


class ClusterService(cluster_pb2_grpc.ClusterServiceServicer):
    """See cluster.proto."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._started_s = api.clock.monotonic()

    async def GetStatus(
        self, request: cluster_pb2.GetStatusRequest, context: CallContext
    ) -> cluster_pb2.GetStatusResponse:
        """This node, or all nodes as each of them answers now."""
        if request.local_only:
            return self._local()
        answers = await asyncio.gather(*map(self._ask, self._api.members))
        return _merged(self._local(), answers)

    async def TransferLeadership(
        self, request: cluster_pb2.TransferLeadershipRequest, context: CallContext
    ) -> cluster_pb2.TransferLeadershipResponse:
        """Hand over, and wait until the new leader is known."""
        if request.node_id and all(member.id != request.node_id for member in self._api.members):
            known = ", ".join(member.id for member in self._api.members)
            raise invalid_field("node_id", f"there is no node {request.node_id[:60]!r}; the nodes are {known}")
        if request.node_id == self._api.node_id:
            return cluster_pb2.TransferLeadershipResponse(leader_id=request.node_id)
        await self._transfer(request.node_id)
        return cluster_pb2.TransferLeadershipResponse(leader_id=await self._new_leader())

    def _local(self) -> cluster_pb2.GetStatusResponse:
        status = self._api.log.status()
        with self._api.store.read() as reader:
            counts = cluster_pb2.TableCounts(
                tasks=reader.count(Table.TASKS),
                executions=reader.count(Table.EXECUTIONS),
                pending_executions=reader.count(Table.PENDING) + reader.count(Table.HELD),
                notices_waiting=reader.count(Table.OUTBOX),
                notices_dropped=dropped_notices(reader),
            )
        return cluster_pb2.GetStatusResponse(
            cluster_id=self._api.cluster_id,
            leader_id=status.leader_id,
            nodes=[self._node(status)],
            executors=self._api.executors(),
            counts=counts,
        )

    def _node(self, status: GroupStatus) -> cluster_pb2.NodeStatus:
        node = cluster_pb2.NodeStatus(
            id=self._api.node_id,
            address=next(member.address for member in self._api.members if member.id == self._api.node_id),
            role=int(status.role),  # type: ignore[arg-type]  # the enum of the stub is an int
            term=status.term,
            commit_index=status.commit_index,
            applied_index=status.applied_index,
            log_entries=max(0, status.last_index - status.first_index + 1),
            log_size_bytes=status.log_size_bytes,
            version=self._api.version,
            links=map(_link, status.links),
            tzdata_version=self._api.tzdata_version,
            problem=self._api.problem() or ("" if status.leader_id else "knows no leader"),
        )
        node.uptime.FromMilliseconds(round((self._api.clock.monotonic() - self._started_s) * 1000))
        if checked_us := self._api.state_checked_us():
            node.state_check_time.FromMicroseconds(checked_us)
        return node

    async def _ask(self, member: Peer) -> cluster_pb2.GetStatusResponse:
        """What a node says of itself; UNREACHABLE when it says nothing in time."""
        if member.id == self._api.node_id:
            return self._local()
        stub = cluster_pb2_grpc.ClusterServiceStub(self._api.channels.get(member.address))
        try:
            return await stub.GetStatus(cluster_pb2.GetStatusRequest(local_only=True), timeout=_PEER_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            problem = f"does not answer: {error.code().name}: {error.details()}"
        node = cluster_pb2.NodeStatus(
            id=member.id, address=member.address, role=cluster_pb2.UNREACHABLE, problem=problem[:300]
        )
        return cluster_pb2.GetStatusResponse(nodes=[node])

    async def _transfer(self, node_id: str) -> None:
        finished: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def done(problem: str) -> None:
            if not finished.done():
                finished.set_result(problem)

        self._api.log.transfer_leadership(node_id, done)
        try:
            async with asyncio.timeout(_TRANSFER_TIMEOUT_S):
                problem = await finished
        except TimeoutError:
            raise outcome_unknown("the hand-over did not end in time") from None
        if problem:
            raise ApiError(grpc.StatusCode.FAILED_PRECONDITION, "TRANSFER_FAILED", problem)

    async def _new_leader(self) -> str:
        """The leader after a hand-over; "" when this node does not hear of one in time."""
        until_s = self._api.clock.monotonic() + _PEER_TIMEOUT_S
        while self._api.clock.monotonic() < until_s:
            leader_id = self._api.log.status().leader_id
            if leader_id and leader_id != self._api.node_id:
                return leader_id
            await asyncio.sleep(_POLL_S)
        return ""


def _link(link: PeerLink) -> cluster_pb2.LinkStatus:
    message = cluster_pb2.LinkStatus(peer_id=link.peer_id, connected=link.connected)
    message.silence.FromMilliseconds(round(link.silence_s * 1000))
    return message


def _merged(
    asked: cluster_pb2.GetStatusResponse, answers: list[cluster_pb2.GetStatusResponse]
) -> cluster_pb2.GetStatusResponse:
    """One picture of all nodes; the leader's word goes where it leads."""
    leaders = [answer for answer in answers if answer.nodes[0].role == cluster_pb2.LEADER]
    # A deposed leader that has not heard of it has the lower term.
    leader = max(leaders, key=lambda answer: answer.nodes[0].term, default=None)
    authority = asked if leader is None else leader
    merged = cluster_pb2.GetStatusResponse(
        cluster_id=asked.cluster_id,
        leader_id="" if leader is None else leader.nodes[0].id,
        nodes=[answer.nodes[0] for answer in answers],
        executors=authority.executors,
        counts=authority.counts,
    )
    committed = max(node.commit_index for node in merged.nodes)
    for node in merged.nodes:
        if node.role != cluster_pb2.UNREACHABLE:
            node.lag_entries = max(0, committed - node.applied_index)
    return merged
