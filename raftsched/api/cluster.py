"""ClusterService: shows the nodes and moves the leadership."""
# The names of the methods are those of the rpcs, each of which is given a context.
# ruff: noqa: ARG002, N802

import asyncio

import grpc
from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import cluster_pb2, cluster_pb2_grpc

from raftsched.api.context import ApiContext, CallContext
from raftsched.api.door.errors import ApiError, invalid_field, outcome_unknown, raise_for_outcome
from raftsched.api.door.reach import unreachable
from raftsched.api.executions.waits import Waits, show_waits
from raftsched.api.paging import collect, decode_token, encode_token, page_size
from raftsched.api.proposals import Proposals, Reads
from raftsched.api.tasks.listing import DEFAULT_PAGE, LARGEST_PAGE
from raftsched.commands.versions import FIRST_VERSION
from raftsched.core.machine.notices import dropped_notices
from raftsched.core.state import ids
from raftsched.ports import ClockStatus, Peer, PeerLink, ShardStatus, Table
from raftsched.scheduler.repair import Repair, repairs

_PEER_TIMEOUT_S = 1.0
_TRANSFER_TIMEOUT_S = 10.0
_POLL_S = 0.02
_MAX_WAITS = 20


class ClusterService(cluster_pb2_grpc.ClusterServiceServicer):
    """See cluster.proto."""

    def __init__(self, api: ApiContext, waits: Waits | None = None) -> None:
        """``waits``: the surveys of what waits, if others use them too."""
        self._api = api
        self._waits = waits or Waits(api)
        self._proposals = Proposals(api)
        self._reads = Reads(api)
        self._started_s = api.clock.monotonic()

    async def GetStatus(
        self, request: cluster_pb2.GetStatusRequest, context: CallContext
    ) -> cluster_pb2.GetStatusResponse:
        """This node, or all nodes as each of them answers now."""
        if request.local_only:
            return await self._local()
        answers = await asyncio.gather(*map(self._ask, self._api.members.current))
        own = next(answer for answer in answers if answer.nodes[0].id == self._api.node_id)
        return _merged(own, answers, self._api.voter_ids())

    async def TransferLeadership(
        self, request: cluster_pb2.TransferLeadershipRequest, context: CallContext
    ) -> cluster_pb2.TransferLeadershipResponse:
        """Hand over, and wait until the new leader is known."""
        if request.node_id and not self._api.members.address(request.node_id):
            known = ", ".join(member.id for member in self._api.members.current)
            raise invalid_field("node_id", f"there is no node {request.node_id[:60]!r}; the nodes are {known}")
        if request.node_id == self._api.node_id:
            return cluster_pb2.TransferLeadershipResponse(leader_id=request.node_id)
        await self._transfer(request.node_id)
        return cluster_pb2.TransferLeadershipResponse(leader_id=await self._new_leader())

    async def ConfirmClock(
        self, request: cluster_pb2.ConfirmClockRequest, context: CallContext
    ) -> cluster_pb2.ConfirmClockResponse:
        """Go by the clock of this machine from now on."""
        offset_us = self._api.clock.status().offset_us
        if not self._api.clock.confirm():
            problem = "the clocks of the majority of the nodes decide: set wrong ones right (NTP). Nothing was done"
            raise ApiError(grpc.StatusCode.FAILED_PRECONDITION, "MAJORITY_DECIDES", problem)
        response = cluster_pb2.ConfirmClockResponse()
        response.moved.FromMicroseconds(offset_us)
        return response

    async def RepairCursors(
        self, request: cluster_pb2.RepairCursorsRequest, context: CallContext
    ) -> cluster_pb2.RepairCursorsResponse:
        """Look at some tasks, and move back the cursors that are ahead."""
        limit = page_size(request.page_size, DEFAULT_PAGE, LARGEST_PAGE)
        command = self._proposals.command()
        async with self._reads.view() as reader:
            start = decode_token(request, request.page_token)
            rows = repairs(reader, start + b"\0" if start else b"", command.now_us)
            page = await collect(((name, _repair(command, repair)) for name, repair in rows), limit)
        if command.repair_cursors.items and not request.dry_run:
            raise_for_outcome(await self._proposals.propose(command))
        token = encode_token(request, page.last_key)
        return cluster_pb2.RepairCursorsResponse(repairs=page.items, next_page_token=token)

    async def _local(self) -> cluster_pb2.GetStatusResponse:
        status = self._api.log.status()
        with self._api.store.read() as reader:
            dropped = dropped_notices(reader)
            counts = cluster_pb2.TableCounts(
                tasks=reader.count(Table.TASKS),
                executions=reader.count(Table.EXECUTIONS),
                pending_executions=reader.count(Table.PENDING) + reader.count(Table.HELD),
                notices_waiting=reader.count(Table.OUTBOX),
                notices_dropped=dropped.dropped,
            )
        if dropped.dropped:
            counts.last_dropped_notice.CopyFrom(_dropped_notice(dropped))
        answer = cluster_pb2.GetStatusResponse(
            cluster_id=self._api.cluster_id,
            leader_id=status.leader_id,
            nodes=[self._node(status)],
            executors=self._api.executors(),
            counts=counts,
            cluster_version=self._api.gate.cluster_version,
        )
        survey = await self._waits.survey()
        if survey is not None:
            answer.waiting.extend(show_waits(survey.waits()[:_MAX_WAITS]))
            answer.waiting_incomplete = survey.incomplete
        return answer

    def _node(self, status: ShardStatus) -> cluster_pb2.NodeStatus:
        clock = self._api.clock.status()
        node = cluster_pb2.NodeStatus(
            id=self._api.node_id,
            address=self._api.members.address(self._api.node_id),
            role=int(status.role),  # type: ignore[arg-type]  # the enum of the stub is an int
            term=status.term,
            commit_index=status.commit_index,
            applied_index=status.applied_index,
            log_entries=max(0, status.last_index - status.first_index + 1),
            log_size_bytes=status.log_size_bytes,
            version=self._api.version,
            links=map(_link, status.links),
            tzdata_version=self._api.tzdata_version,
            problem=self._api.problem() or ("" if status.leader_id else "knows no leader") or clock.problem,
            clock=_clock(clock),
            cluster_identity=status.cluster_identity,
            votes=status.votes,
            http_address=self._api.http_address,
            cluster_version=self._api.gate.cluster_version,
            oldest_known_version=FIRST_VERSION,
            newest_known_version=status.newest_versions.get(self._api.node_id, FIRST_VERSION),
        )
        node.uptime.FromMilliseconds(round((self._api.clock.monotonic() - self._started_s) * 1000))
        if end_us := self._api.certificate_end_us():
            node.certificate_end_time.FromMicroseconds(end_us)
        if checked_us := self._api.state_checked_us():
            node.state_check_time.FromMicroseconds(checked_us)
        return node

    async def _ask(self, member: Peer) -> cluster_pb2.GetStatusResponse:
        """What a node says of itself; UNREACHABLE when it says nothing in time."""
        if member.id == self._api.node_id:
            return await self._local()
        stub = cluster_pb2_grpc.ClusterServiceStub(self._api.channels.get(member.address))
        try:
            return await stub.GetStatus(cluster_pb2.GetStatusRequest(local_only=True), timeout=_PEER_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            problem = unreachable(error, member.address, _PEER_TIMEOUT_S)
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
            leader_id = self._api.log.leader_id
            if leader_id and leader_id != self._api.node_id:
                return leader_id
            await asyncio.sleep(_POLL_S)
        return ""


def _dropped_notice(tally: pb.NoticeTallyRow) -> cluster_pb2.DroppedNotice:
    message = cluster_pb2.DroppedNotice(
        task=tally.last.task,
        execution_id=ids.to_text(tally.last_execution_id),
        occasion=tally.last.occasion,  # type: ignore[arg-type]  # the enum of the stub is an int
        error=tally.last.delivery_error,
        deliveries=tally.last.deliveries,
    )
    message.drop_time.FromMicroseconds(tally.last_us)
    return message


def _clock(status: ClockStatus) -> cluster_pb2.ClockStatus:
    message = cluster_pb2.ClockStatus(certain=status.certain, agreeing_node_ids=status.agreeing)
    if status.known:
        message.offset.FromMicroseconds(status.offset_us)
        message.error.FromMicroseconds(status.error_us)
    return message


def _repair(command: pb.Command, repair: Repair | None) -> cluster_pb2.CursorRepair | None:
    """What is to be done for a task, put into the command too."""
    if repair is None:
        return None
    repair.fill(command.repair_cursors.items.add())
    message = cluster_pb2.CursorRepair(task=repair.task)
    message.new_next_time.FromMicroseconds(repair.next_us)
    if repair.cursor.next_us:
        message.old_next_time.FromMicroseconds(repair.cursor.next_us)
    if repair.cursor.last_us:
        message.last_nominal_time.FromMicroseconds(repair.cursor.last_us)
    return message


def _link(link: PeerLink) -> cluster_pb2.LinkStatus:
    message = cluster_pb2.LinkStatus(peer_id=link.peer_id, connected=link.connected)
    message.silence.FromMilliseconds(round(link.silence_s * 1000))
    return message


def _problem(
    merged: cluster_pb2.GetStatusResponse,
    missing: list[cluster_pb2.NodeStatus],
    voters: int,
    asked: cluster_pb2.NodeStatus,
) -> str:
    """What is wrong with the cluster as a whole; "" when nothing is."""
    if merged.no_majority:
        silences = {link.peer_id: link.silence.ToMilliseconds() / 1000 for link in asked.links}
        silent = ", ".join(
            f"{node.id} at {node.address} (silent for {silences.get(node.id, 0.0):.0f} s)" for node in missing
        )
        return (
            f"there is no majority: {voters - len(missing)} of {voters} nodes can be reached from {asked.id}; missing: "
            f"{silent}. Nothing can be changed and no task fires; reads may be stale"
        )
    return "" if merged.leader_id else "there is a majority and no leader yet: an election takes about a second"


def _merged(
    asked: cluster_pb2.GetStatusResponse, answers: list[cluster_pb2.GetStatusResponse], voter_ids: tuple[str, ...]
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
        waiting=authority.waiting,
        waiting_incomplete=authority.waiting_incomplete,
        cluster_version=authority.cluster_version,
    )
    missing = [node for node in merged.nodes if node.role == cluster_pb2.UNREACHABLE]
    merged.missing_node_ids.extend(node.id for node in missing)
    missing_voters = [node for node in missing if node.id in voter_ids]
    merged.no_majority = 2 * (len(voter_ids) - len(missing_voters)) <= len(voter_ids)
    merged.problem = _problem(merged, missing_voters, len(voter_ids), asked.nodes[0])
    committed = max(node.commit_index for node in merged.nodes)
    for node in merged.nodes:
        if node.role != cluster_pb2.UNREACHABLE:
            node.lag_entries = max(0, committed - node.applied_index)
    return merged
