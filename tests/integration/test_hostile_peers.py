"""Whoever reaches the port can speak Raft and executor. Nonsense must harm nobody: no crash, no growth, no change."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from raftsched_client import Client, task
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.internal.v1 import raft_pb2 as rpb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult
from raftsched_proto.v1 import cluster_pb2, execution_pb2

from raftsched.consensus.protocol import PROTOCOLS
from tests.support.cluster import Cluster, eventually

FAR = datetime(2100, 1, 1, tzinfo=UTC)
EXCHANGE = "/raftsched.internal.v1.RaftService/Exchange"
SNAPSHOT = "/raftsched.internal.v1.RaftService/FetchSnapshot"
CONNECT = "/raftsched.internal.v1.ExecutorService/Connect"
MAY_GROW_KIB = 200 * 1024
"""What a node may grow by under any of these attacks; each of them sends or asks for more than that, or many times."""
ENTITY_ID = b"\x01" * 16
HUGE = (1 << 63) - 1


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("hostile")) as running:
        with running.client() as client:
            client.create_task(task("done", at=FAR, command=["echo", "ran"]))
            started = client.run_task("done")
            client.create_task(task("runs", at=FAR, command=["sleep", "600"]))
            client.run_task("runs")
            eventually(lambda: client.get_execution(started.id).HasField("end_time"), what="an execution that ended")
            eventually(lambda: list(client.list_executions(states=[RUNNING])), what="an execution that runs")
        yield running


RUNNING = execution_pb2.EXECUTION_STATE_RUNNING


@pytest.fixture(autouse=True)
def unharmed(cluster: Cluster) -> Iterator[None]:
    """After each attack all nodes run, hold what they held in about the memory that they had, and take writes."""
    before, memory = tables(cluster), {id_: resident_kib(node.pid) for id_, node in cluster.nodes.items()}
    yield
    assert all(node.running for node in cluster.nodes.values())
    cluster.wait_ready()
    assert tables(cluster) == before
    for id_, node in cluster.nodes.items():
        grown = resident_kib(node.pid) - memory[id_]
        assert grown < MAY_GROW_KIB, f"{id_} grew by {grown} KiB"
    with cluster.client() as client:
        name = f"after-{time.monotonic_ns()}"
        client.create_task(task(name, at=FAR, noop=True))
        client.delete_task(name)


def tables(cluster: Cluster) -> list[list[bytes]]:
    """Every task and execution as each node has it, once all nodes agree."""

    def agreed() -> list[list[bytes]] | None:
        seen = [_tables_of(cluster, id_) for id_ in cluster.nodes]
        return seen if all(each == seen[0] for each in seen) else None

    return eventually(agreed, what="nodes that agree")


def _tables_of(cluster: Cluster, id_: str) -> list[bytes]:
    with cluster.client(id_) as client:
        rows = [*client.list_tasks(stale=True), *client.list_executions(stale=True)]
        return [row.SerializeToString(deterministic=True) for row in rows]


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class Stream:
    """A raw bidirectional stream: what it sends need not be a message of the protocol."""

    def __init__(self, address: str, method: str) -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(address, options)
        call = self._channel.stream_stream(method, request_serializer=bytes, response_deserializer=bytes)
        self._call = call

    def say(self, *messages: bytes, listen: bool = True, timeout_s: float = 30.0) -> grpc.StatusCode:
        """Send all, then end the stream; how the peer ended it."""
        try:
            for _ in self._call(iter(messages), timeout=timeout_s) if listen else ():
                pass
        except grpc.RpcError as error:
            return error.code()
        finally:
            self._channel.close()
        return grpc.StatusCode.OK

    def open(self, requests: Iterator[bytes]) -> grpc.Call:
        """Start the call without reading anything."""
        return self._call(requests)

    def close(self) -> None:
        self._channel.close()


def greeting(cluster: Cluster, sender: str, recipient: str, **wrong: object) -> rpb.RaftGreeting:
    right: dict[str, object] = {
        "cluster_id": "raftsched", "sender_id": sender, "recipient_id": recipient,
        "protocol_version": PROTOCOLS.newest, "directory": directory(cluster, sender, recipient),
    }  # fmt: skip
    return rpb.RaftGreeting(**{**right, **wrong})


def directory(cluster: Cluster, id_: str, other: str) -> rpb.DataDirectory:
    """What the node shows to whoever dials it in the name of another, and so what an impostor can learn."""
    if id_ == other:
        return rpb.DataDirectory()
    first = rpb.RaftGreeting(
        cluster_id="raftsched", sender_id=other, recipient_id=id_, protocol_version=PROTOCOLS.newest
    )
    with grpc.insecure_channel(cluster.addresses[id_]) as channel:
        call = channel.stream_stream(
            EXCHANGE,
            request_serializer=rpb.ExchangeRequest.SerializeToString,
            response_deserializer=rpb.ExchangeResponse.FromString,
        )
        answer: rpb.ExchangeResponse = next(call(iter([rpb.ExchangeRequest(greeting=first)]), timeout=30))
        assert answer.refused, "it has no directory that the node knows"
        return answer.greeting.directory


def both_roles(cluster: Cluster) -> list[tuple[str, str]]:
    """(recipient, sender) with the leader as the recipient, and with the leader as the sender."""
    leader, follower = cluster.leader(), cluster.follower()
    return [(leader, follower), (follower, leader)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"cluster_id": "another"},
        {"cluster_id": ""},
        {"recipient_id": "n9"},
        {"sender_id": "n9"},
        {"sender_id": ""},
        {"protocol_version": 1},
        {"directory": rpb.DataDirectory(cluster_identity="00" * 16, incarnation="11" * 16)},
    ],
)
def test_a_stranger_is_refused_before_it_can_say_anything(cluster: Cluster, wrong: dict[str, object]) -> None:
    for recipient, sender in both_roles(cluster):
        hello = greeting(cluster, sender, recipient, **wrong)
        vote = rpb.RaftMessage(shard_id=1, term=1 << 40, request_vote=rpb.RequestVote(last_index=1 << 40))
        message = rpb.ExchangeRequest(greeting=hello, messages=[vote]).SerializeToString()
        address = cluster.addresses[recipient]
        assert Stream(address, EXCHANGE).say(message) is grpc.StatusCode.FAILED_PRECONDITION
        fetch = rpb.FetchSnapshotRequest(greeting=hello, shard_id=1).SerializeToString()
        assert fetch_snapshot(address, fetch) is grpc.StatusCode.FAILED_PRECONDITION


def test_a_node_does_not_talk_to_itself(cluster: Cluster) -> None:
    leader = cluster.leader()
    message = rpb.ExchangeRequest(greeting=greeting(cluster, leader, leader)).SerializeToString()
    assert Stream(cluster.addresses[leader], EXCHANGE).say(message) is grpc.StatusCode.FAILED_PRECONDITION


def test_a_snapshot_of_an_unknown_group_is_not_found(cluster: Cluster) -> None:
    recipient, sender = both_roles(cluster)[0]
    request = rpb.FetchSnapshotRequest(greeting=greeting(cluster, sender, recipient), shard_id=99)
    code = fetch_snapshot(cluster.addresses[recipient], request.SerializeToString())
    assert code is grpc.StatusCode.NOT_FOUND


def fetch_snapshot(address: str, request: bytes) -> grpc.StatusCode:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_stream(SNAPSHOT, request_serializer=bytes, response_deserializer=bytes)
        try:
            list(call(request, timeout=30))
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def malformed(dice: random.Random) -> rpb.RaftMessage | bytes:
    """A message that no peer of ours sends; its term is never one that a node would follow."""
    choices: list[Callable[[], rpb.RaftMessage | bytes]] = [
        lambda: rpb.RaftMessage(shard_id=1, term=HUGE, vote=rpb.Vote(granted=True)),
        lambda: rpb.RaftMessage(shard_id=1, term=0),
        lambda: rpb.RaftMessage(shard_id=dice.randrange(2, 1 << 60), term=1, timeout_now=rpb.TimeoutNow()),
        lambda: rpb.RaftMessage(shard_id=1, term=0, append_reply=rpb.AppendReply(result=dice.randrange(4, 90))),
        lambda: rpb.RaftMessage(shard_id=1, term=0, append_entries=rpb.AppendEntries(prev_index=HUGE)),
        lambda: rpb.RaftMessage(shard_id=1, term=0, request_vote=rpb.RequestVote(last_index=HUGE, last_term=HUGE)),
        lambda: b"\x12" + dice.randbytes(dice.randrange(1, 60)),
        lambda: dice.randbytes(dice.randrange(1, 200)),
    ]
    return dice.choice(choices)()


@pytest.mark.parametrize("seed", range(4))
def test_malformed_messages_cost_the_link_and_nothing_else(cluster: Cluster, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(10):
        for recipient, sender in both_roles(cluster):
            first = rpb.ExchangeRequest(greeting=greeting(cluster, sender, recipient)).SerializeToString()
            message = malformed(dice)
            if isinstance(message, rpb.RaftMessage):
                message = rpb.ExchangeRequest(messages=[message]).SerializeToString()
            # The true peer, when it dials anew, may end a stream before its messages are read.
            address = cluster.addresses[recipient]
            refused = any(Stream(address, EXCHANGE).say(first, message) is not grpc.StatusCode.OK for _ in range(20))
            assert refused or not message.startswith(b"\x12"), f"seed {seed}: {message!r}"


def test_a_message_over_the_limit_ends_the_stream_unread(cluster: Cluster) -> None:
    """An honest sender's stream lasts for as long as it sends: that it is over says that the message was too much."""
    for recipient, sender in both_roles(cluster):
        first = rpb.ExchangeRequest(greeting=greeting(cluster, sender, recipient)).SerializeToString()
        for method, opening in ((EXCHANGE, first), (CONNECT, hello())):
            code = Stream(cluster.addresses[recipient], method).say(opening, bytes(64 << 20), timeout_s=60)
            assert code is not grpc.StatusCode.DEADLINE_EXCEEDED
    forget_hostile(cluster)


def past(dice: random.Random, term: int) -> rpb.RaftMessage:
    """A well-formed message of a term that is over, as a replay or a very late link brings it."""
    message = rpb.RaftMessage(shard_id=1, term=dice.randrange(0, term))
    number = lambda: dice.choice([0, 1, 2, dice.randrange(1, 50), dice.randrange(1, 1 << 61)])  # noqa: E731
    entries = [rpb.RaftEntry(term=1, data=dice.randbytes(dice.randrange(0, 40))) for _ in range(dice.randrange(5))]
    kinds: list[Callable[[], object]] = [
        lambda: message.pre_vote.CopyFrom(rpb.PreVote(last_index=number(), last_term=number())),
        lambda: message.pre_vote_reply.CopyFrom(rpb.PreVoteReply(asked_term=number(), granted=True)),
        lambda: message.request_vote.CopyFrom(rpb.RequestVote(last_index=number(), last_term=number(), transfer=True)),
        lambda: message.vote.CopyFrom(rpb.Vote(granted=True)),
        lambda: message.append_entries.CopyFrom(
            rpb.AppendEntries(prev_index=number(), prev_term=number(), entries=entries, commit_index=number())
        ),
        lambda: message.append_reply.CopyFrom(
            rpb.AppendReply(epoch=number(), round=number(), result=dice.randrange(1, 4), index=number())
        ),
        message.timeout_now.SetInParent,
    ]
    dice.choice(kinds)()
    return message


@pytest.mark.parametrize("seed", range(4))
def test_messages_of_terms_that_are_over_change_nothing(cluster: Cluster, seed: int) -> None:
    dice = random.Random(seed)
    for recipient, sender in both_roles(cluster):
        term = eventually(lambda of=recipient: terms(cluster).get(of), what=f"the term of {recipient}")
        first = rpb.ExchangeRequest(greeting=greeting(cluster, sender, recipient))
        # What comes with the greeting is not looked at.
        late = rpb.ExchangeRequest(messages=[past(dice, term) for _ in range(300)])
        Stream(cluster.addresses[recipient], EXCHANGE).say(first.SerializeToString(), late.SerializeToString())
    # A stream that takes the place of a true one may cost an election; so may a busy machine.
    assert max(terms(cluster).values()) <= term + 10, f"seed {seed}: the terms ran away"


def terms(cluster: Cluster) -> dict[str, int]:
    with cluster.client() as client:
        return {node.id: node.term for node in client.get_status().nodes if node.role != cluster_pb2.UNREACHABLE}


def test_many_streams_that_say_nothing_are_harmless(cluster: Cluster) -> None:
    silence = threading.Event()

    def nothing() -> Iterator[bytes]:
        silence.wait(60)
        yield from ()

    streams = []
    for method in (EXCHANGE, CONNECT):
        stream = Stream(cluster.addresses[cluster.leader()], method)
        streams.append((stream, [stream.open(nothing()) for _ in range(60)]))
    try:
        with cluster.client(cluster.leader()) as client:
            assert client.get_task("done").name == "done"
    finally:
        silence.set()
        for stream, _ in streams:
            stream.close()


# The executor service


def executor_message(dice: random.Random) -> bytes:
    """Nonsense on the stream of an executor."""
    report = xpb.AttemptReport(
        key=xpb.AttemptKey(
            execution_id=dice.randbytes(dice.choice([0, 1, 15, 16, 17, 600])), attempt=dice.randint(-5, 5)
        ),
        state=dice.choice([0, 3, 4, 5, 8, 99, -1]),
        result=AttemptResult(
            start_us=dice.choice([0, -1, HUGE]),
            end_us=dice.choice([0, -HUGE, HUGE]),
            error="x" * dice.choice([0, 10, 100_000]),
            output_tail=bytes(dice.choice([0, 5_000, 1_000_000])),
            output_size_bytes=dice.choice([-1, HUGE]),
        ),
    )
    messages = [
        xpb.ConnectRequest(reports=xpb.Reports(items=[report] * dice.randint(0, 3))),
        xpb.ConnectRequest(heartbeat=xpb.Heartbeat(sequence=dice.choice([-1, 0, HUGE]))),
        xpb.ConnectRequest(hello=xpb.Hello(executor_id="again")),
        xpb.ConnectRequest(output=xpb.Output(call=dice.randint(-3, 50), found=True, data=bytes(1_000_000))),
        xpb.ConnectRequest(),
    ]
    return dice.choice([dice.choice(messages).SerializeToString(), dice.randbytes(dice.randint(1, 90))])


def hello(**fields: object) -> bytes:
    return xpb.ConnectRequest(hello=xpb.Hello(**{"executor_id": "hostile", **fields})).SerializeToString()


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\xff\xff\xff",
        xpb.ConnectRequest(heartbeat=xpb.Heartbeat(sequence=1)).SerializeToString(),
        hello(executor_id=""),
        hello(executor_id="x" * 100_000),
        hello(slots=-1),
        hello(slots=(1 << 31) - 1),
        hello(labels={str(number): "x" for number in range(10_000)}),
        hello(held=[xpb.AttemptKey(execution_id=b"")]),
        hello(held=[xpb.AttemptKey(execution_id=bytes(600))]),
    ],
    ids=[
        "empty",
        "garbage",
        "heartbeat",
        "no id",
        "long id",
        "slots below 0",
        "too many slots",
        "labels",
        "no key",
        "key",
    ],
)
def test_an_executor_that_introduces_itself_wrongly_is_refused(cluster: Cluster, first: bytes) -> None:
    assert Stream(cluster.addresses[cluster.leader()], CONNECT).say(first) is not grpc.StatusCode.OK
    with cluster.client() as client:
        pools = tuple(f"{id_}-" for id_ in cluster.nodes)
        assert all(executor.id.startswith(pools) for executor in client.get_status().executors)


@pytest.mark.parametrize("seed", range(6))
def test_nonsense_on_the_stream_of_an_executor_changes_nothing(cluster: Cluster, seed: int) -> None:
    dice = random.Random(seed)
    address = cluster.addresses[cluster.leader()]
    for _ in range(10):
        Stream(address, CONNECT).say(hello(), *(executor_message(dice) for _ in range(dice.randint(1, 12))))
    forget_hostile(cluster)


def test_reports_of_the_attempts_of_others_change_nothing(cluster: Cluster) -> None:
    with cluster.client() as client:
        items = [
            xpb.AttemptReport(
                key=xpb.AttemptKey(execution_id=_bytes_of(each.id), attempt=each.attempt + step),
                state=state,
                result=AttemptResult(error="forged"),
            )
            for each in client.list_executions()
            for step in (-1, 0, 1)
            for state in range(-1, 12)
        ]
    report = xpb.ConnectRequest(reports=xpb.Reports(items=items)).SerializeToString()
    Stream(cluster.addresses[cluster.leader()], CONNECT).say(hello(), report, report)
    forget_hostile(cluster)


def test_a_report_that_no_command_could_hold_does_not_stop_the_leader(cluster: Cluster) -> None:
    huge = AttemptResult(error="x" * (6 << 20))
    item = xpb.AttemptReport(key=xpb.AttemptKey(execution_id=ENTITY_ID, attempt=1), state=5, result=huge)
    report = xpb.ConnectRequest(reports=xpb.Reports(items=[item])).SerializeToString()
    Stream(cluster.addresses[cluster.leader()], CONNECT).say(hello(), report)
    forget_hostile(cluster)


def test_an_executor_that_floods_and_never_reads_costs_bounded_memory(cluster: Cluster) -> None:
    """Each heartbeat carries a megabyte of a field that is unknown; the answers are not taken."""
    heartbeat = xpb.ConnectRequest(heartbeat=xpb.Heartbeat(sequence=1)).heartbeat.SerializeToString()
    unknown = b"\xfa\x07" + _varint(1 << 20) + bytes(1 << 20)
    body = heartbeat + unknown
    message = b"\x12" + _varint(len(body)) + body
    assert xpb.ConnectRequest.FromString(message).heartbeat.sequence == 1
    sent = threading.Event()

    def flood() -> Iterator[bytes]:
        yield hello()
        for _ in range(600):
            yield message
        sent.set()

    stream = Stream(cluster.addresses[cluster.leader()], CONNECT)
    call = stream.open(flood())
    eventually(lambda: sent.is_set() or not call.is_active(), within_s=120, what="the flood")
    leader = cluster.nodes[cluster.leader()]
    assert resident_kib(leader.pid) < 600 * 1024
    stream.close()
    forget_hostile(cluster)


def test_a_flood_of_reports_is_bounded(cluster: Cluster) -> None:
    items = [
        xpb.AttemptReport(key=xpb.AttemptKey(execution_id=number.to_bytes(16), attempt=1), state=4)
        for number in range(20_000)
    ]
    report = xpb.ConnectRequest(reports=xpb.Reports(items=items)).SerializeToString()
    Stream(cluster.addresses[cluster.leader()], CONNECT).say(hello(), *[report] * 20, timeout_s=30)
    forget_hostile(cluster)


def forget_hostile(cluster: Cluster) -> None:
    """Wait until the leader has forgotten the executor that is no longer connected."""
    with cluster.client() as client:
        eventually(lambda: _no_hostile(client), what="the end of the hostile executor")


def _no_hostile(client: Client) -> bool:
    return all(executor.id not in ("hostile", "again") for executor in client.get_status().executors)


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _bytes_of(ulid: str) -> bytes:
    """The 16 bytes of a ULID (Crockford's base 32)."""
    number = 0
    for character in ulid:
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(character)
    return number.to_bytes(16)
