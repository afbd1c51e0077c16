"""What callers are told when the log refuses, when a node fails, and when there is too much to do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import grpc
import pytest
from raftsched_proto.v1 import cluster_pb2, execution_pb2, task_pb2

from raftsched.api import proposals
from raftsched.api.context import CallContext
from raftsched.api.door import gateway
from raftsched.api.door.actor import USER_KEY
from raftsched.api.door.errors import MAX_VIOLATIONS, ApiError, abort, not_leader
from raftsched.api.door.forward import HOPS_KEY
from raftsched.commands.gate import NotYetAllowed
from raftsched.ports import Fate, Role, Table
from tests.support.api_cluster import (
    ApiCluster,
    ApiNode,
    ScriptedLog,
    api_cluster,
    eventually,
    eventually_true,
    on_cluster,
    refused,
)

DELETE = task_pb2.DeleteTaskRequest(name="t")
GET = task_pb2.GetTaskRequest(name="t")


def on_log(log: ScriptedLog, test: Callable[[ApiCluster], Awaitable[None]], size: int = 1) -> None:
    async def body() -> None:
        async with api_cluster(size, log=log) as cluster:
            await test(cluster)

    asyncio.run(body())


@asynccontextmanager
async def serving(handler: grpc.GenericRpcHandler, node: ApiNode) -> AsyncIterator[None]:
    """Answer at the address of a node that has stopped."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(node.me.address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


@pytest.mark.parametrize(
    ("fate", "code", "reason", "applied"),
    [
        (Fate.NOT_LEADER, grpc.StatusCode.UNAVAILABLE, "NOT_LEADER", "no"),
        (Fate.OVERLOADED, grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "no"),
        (Fate.UNKNOWN, grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN", "unknown"),
    ],
)
def test_the_fate_of_a_write_is_told(fate: Fate, code: grpc.StatusCode, reason: str, applied: str) -> None:
    log = ScriptedLog()
    log.fate = fate

    async def test(cluster: ApiCluster) -> None:
        told = await refused(cluster.caller().tasks.DeleteTask(DELETE, timeout=2))
        assert (told.code, told.info.reason, told.applied) == (code, reason, applied)
        assert told.info.domain == "raftsched"
        assert told.retry.retry_delay.ToMilliseconds() > 0
        if applied == "unknown":
            assert len(log.proposed) == 1, "what may have been applied is not proposed again by the node"

    on_log(log, test)


@pytest.mark.parametrize("fate", [Fate.NOT_LEADER, Fate.UNKNOWN])
def test_a_read_that_fails_was_never_applied(fate: Fate) -> None:
    log = ScriptedLog()
    log.fate = fate

    async def test(cluster: ApiCluster) -> None:
        told = await refused(cluster.caller().tasks.GetTask(GET, timeout=2))
        assert (told.code, told.applied) == (grpc.StatusCode.UNAVAILABLE, "no")

    on_log(log, test)


def test_a_call_is_tried_again_when_leadership_comes_back() -> None:
    log = ScriptedLog()
    log.fate = Fate.NOT_LEADER
    log.outcome.code, log.outcome.message = 5, "there is no task named 't'"

    async def test(cluster: ApiCluster) -> None:
        calling = asyncio.create_task(refused(cluster.caller().tasks.DeleteTask(DELETE)))
        await eventually(lambda: bool(log.proposed))
        log.fate = Fate.DONE
        assert (await calling).code is grpc.StatusCode.NOT_FOUND

    on_log(log, test)


def test_a_log_that_never_answers_gives_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "DECISION_TIMEOUT_S", 0.05)
    log = ScriptedLog()
    log.silent = True

    async def test(cluster: ApiCluster) -> None:
        told = await refused(cluster.caller().tasks.DeleteTask(DELETE))
        assert (told.info.reason, told.applied) == ("OUTCOME_UNKNOWN", "unknown")

    on_log(log, test)


def test_a_batch_that_breaks_off_midway_may_have_been_applied() -> None:
    log = ScriptedLog()
    log.outcome.results.add().code = 0
    first = log.propose

    def then_lose(command: bytes, done: Callable[[Fate, bytes], None], *, early: bool = False) -> None:
        first(command, done, early=early)
        log.fate = Fate.NOT_LEADER

    log.propose = then_lose
    large = task_pb2.Task(name="large")
    large.schedule.cron.expression = "@daily"
    large.action.command.argv.append("x" * (3 << 20))
    small = task_pb2.Task(name="small")

    async def test(cluster: ApiCluster) -> None:
        request = task_pb2.BatchCreateTasksRequest(tasks=[large, small], request_id="r1")
        told = await refused(cluster.caller().tasks.BatchCreateTasks(request))
        assert (told.info.reason, told.applied) == ("OUTCOME_UNKNOWN", "unknown")
        assert [command.request_id for command in log.proposed] == [f"BatchCreateTasks/r1/{n}" for n in (0, 1)]

    on_log(log, test)


@on_cluster()
async def test_a_defect_is_logged_and_not_told(cluster: ApiCluster, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def read(self) -> None:
            raise ZeroDivisionError("secret")

    object.__setattr__(cluster.node.api, "store", Broken())
    told = await refused(cluster.caller().tasks.GetTask(GET))
    assert (told.code, told.info.reason, told.applied) == (grpc.StatusCode.INTERNAL, "INTERNAL", "unknown")
    assert "secret" not in told.message
    assert "ZeroDivisionError: secret" in capsys.readouterr().out


@on_cluster()
async def test_bytes_that_are_no_request_are_refused(cluster: ApiCluster) -> None:
    channel = cluster.caller().channel
    raw = channel.unary_unary("/raftsched.v1.TaskService/GetTask")
    told = await refused(raw(b"\xff\xff"))
    assert (told.code, told.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")
    missing = channel.unary_unary("/raftsched.v1.TaskService/Missing")
    assert (await refused(missing(b""))).code is grpc.StatusCode.UNIMPLEMENTED


@on_cluster()
async def test_a_field_that_the_node_does_not_know_is_refused_and_not_dropped(cluster: ApiCluster) -> None:
    task = task_pb2.Task(name="t")
    task.action.noop.SetInParent()
    unknown = task.SerializeToString() + b"\xfa\x7f\x01x"
    request = b"\x0a" + bytes([len(unknown)]) + unknown
    for method in ("CreateTask", "BatchCreateTasks"):
        told = await refused(cluster.caller().channel.unary_unary(f"/raftsched.v1.TaskService/{method}")(request))
        assert (told.code, told.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_FIELD")
        assert [path.rpartition(".")[2] for path in told.fields] == ["2047"]
    with cluster.node.store.read() as reader:
        assert not reader.count(Table.TASKS)


@on_cluster()
async def test_what_the_cluster_version_does_not_have_is_refused_with_the_reason(cluster: ApiCluster) -> None:
    object.__setattr__(
        cluster.node.api.gate, "check", lambda _command: _raise(NotYetAllowed("Command.x", 2, 1, ["n2", "n3"]))
    )
    task = task_pb2.Task(name="t")
    task.action.noop.SetInParent()
    task.schedule.interval.every.seconds = 60
    told = await refused(cluster.caller().tasks.CreateTask(task_pb2.CreateTaskRequest(task=task)))
    assert (told.code, told.info.reason, told.applied) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "CLUSTER_VERSION",
        "no",
    )
    assert "n2 and n3 must be upgraded first" in told.message


def _raise(error: Exception) -> None:
    raise error


@on_cluster()
async def test_a_message_over_the_limit_is_refused(cluster: ApiCluster) -> None:
    task = task_pb2.Task(name="t")
    task.action.command.stdin = b"x" * (17 << 20)
    told = await refused(cluster.caller().tasks.CreateTask(task_pb2.CreateTaskRequest(task=task)))
    assert told.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@on_cluster()
async def test_many_violations_still_fit_into_an_answer(cluster: ApiCluster) -> None:
    task = task_pb2.Task(name="ä" * 5_000, labels={"ö " * 100 + str(number): "x" * 5_000 for number in range(40)})
    task.schedule.cron.expression = "ü" * 10_000
    told = await refused(cluster.caller().tasks.CreateTask(task_pb2.CreateTaskRequest(task=task)))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    assert 0 < len(told.fields) <= MAX_VIOLATIONS


def test_calls_beyond_the_bound_are_refused_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "MAX_CALLS", 2)
    monkeypatch.setattr(gateway, "MAX_STREAMS", 1)
    log = ScriptedLog()
    log.silent = True

    async def test(cluster: ApiCluster) -> None:
        caller = cluster.caller()
        held = [asyncio.create_task(refused(caller.tasks.DeleteTask(DELETE, timeout=30))) for _ in range(2)]
        await eventually(lambda: len(log.proposed) == 2)
        told = await refused(caller.tasks.DeleteTask(DELETE))
        assert (told.code, told.applied) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no")
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        log.silent, log.fate = False, Fate.UNKNOWN

        async def is_taken() -> bool:
            """Once the server has noticed, the places are free again."""
            return (await refused(caller.tasks.DeleteTask(DELETE))).applied == "unknown"

        await eventually_true(is_taken)
        watch = caller.executions.WatchExecutions(execution_pb2.WatchExecutionsRequest())
        await watch.initial_metadata()
        second = caller.executions.WatchExecutions(execution_pb2.WatchExecutionsRequest())
        assert (await refused(second.read())).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        watch.cancel()

    on_log(log, test)


def test_a_place_that_was_held_is_free_again_however_the_call_ended() -> None:
    bound = gateway._Bound(1, "streams are open")
    for _ in range(3):
        with bound, pytest.raises(ApiError, match="1 streams are open"), bound:
            raise AssertionError("two hold one place")
        with pytest.raises(ValueError, match="broke off"), bound:
            raise ValueError("broke off")


def test_a_write_whose_connection_breaks_may_have_been_applied_and_a_read_was_not() -> None:
    log = ScriptedLog(role=Role.FOLLOWER, leader_id="n2")
    arrived: list[str] = []

    class Hanging(grpc.GenericRpcHandler):
        """A leader that takes every call and answers none."""

        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            async def hang(_data: bytes, _context: object) -> bytes:
                arrived.append(details.method)
                await asyncio.sleep(3600)
                return b""

            return grpc.unary_unary_rpc_method_handler(hang)

    async def test(cluster: ApiCluster) -> None:
        follower, leader = cluster.nodes
        await leader.stop()
        for method, request, applied in (("DeleteTask", DELETE, "unknown"), ("GetTask", GET, "no")):
            server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            server.add_generic_rpc_handlers((Hanging(),))
            server.add_insecure_port(leader.me.address)
            await server.start()
            calling = asyncio.create_task(refused(getattr(cluster.caller(follower).tasks, method)(request)))
            arrived.clear()
            await eventually(lambda: bool(arrived))
            await server.stop(0)
            told = await calling
            assert (told.code, told.applied) == (grpc.StatusCode.UNAVAILABLE, applied)
            assert (told.info.reason == "OUTCOME_UNKNOWN") == (applied == "unknown")

    on_log(log, test, size=2)


def test_a_leader_that_cannot_be_reached_was_not_asked() -> None:
    log = ScriptedLog(role=Role.FOLLOWER, leader_id="n2")

    async def test(cluster: ApiCluster) -> None:
        follower, leader = cluster.nodes
        await leader.stop()
        told = await refused(cluster.caller(follower).tasks.DeleteTask(DELETE))
        assert (told.code, told.info.reason, told.applied) == (grpc.StatusCode.UNAVAILABLE, "NO_LEADER", "no")
        assert leader.me.address in told.message

    on_log(log, test, size=2)


@pytest.mark.parametrize("streams", [False, True], ids=["call", "stream"])
def test_a_field_that_only_the_leader_knows_is_passed_on_and_one_that_the_leader_does_not_know_refused(
    streams: bool,
) -> None:
    """As during an upgrade, when some nodes know more than others."""
    arrived: list[bytes] = []
    method = "/raftsched.v1.ExecutionService/WatchExecutions" if streams else "/raftsched.v1.TaskService/DeleteTask"
    request = b"\xfa\x7f\x01x"

    class Newer(grpc.GenericRpcHandler):
        """A leader that takes all that there is."""

        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            if details.method != method:
                # The follower looks for its leader by other services too.
                return None

            async def answer(data: bytes, _context: object) -> bytes:
                arrived.append(data)
                return b"taken"

            async def answers(data: bytes, _context: object) -> AsyncIterator[bytes]:
                arrived.append(data)
                yield b"taken"

            return (
                grpc.unary_stream_rpc_method_handler(answers)
                if streams
                else grpc.unary_unary_rpc_method_handler(answer)
            )

    async def call(cluster: ApiCluster, node: ApiNode) -> bytes:
        channel = cluster.caller(node).channel
        return await (channel.unary_stream(method)(request).read() if streams else channel.unary_unary(method)(request))

    async def passed_on(cluster: ApiCluster) -> None:
        follower, leader = cluster.nodes
        await leader.stop()
        async with serving(Newer(), leader):
            assert await call(cluster, follower) == b"taken"
            assert arrived == [request]

    async def refused_here(cluster: ApiCluster) -> None:
        told = await refused(call(cluster, cluster.node))
        assert (told.code, told.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_FIELD")

    on_log(ScriptedLog(role=Role.FOLLOWER, leader_id="n2"), passed_on, size=2)
    on_cluster()(refused_here)()


def test_a_stream_that_has_told_something_is_not_begun_again() -> None:
    asked: list[bytes] = []
    method = "/raftsched.v1.ExecutionService/WatchExecutions"

    class Deposed(grpc.GenericRpcHandler):
        """A leader that leads no longer after its first answer."""

        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            if details.method != method:
                return None

            async def answers(data: bytes, context: CallContext) -> AsyncIterator[bytes]:
                asked.append(data)
                yield b"first"
                await abort(context, not_leader(""))

            return grpc.unary_stream_rpc_method_handler(answers)

    async def test(cluster: ApiCluster) -> None:
        follower, leader = cluster.nodes
        await leader.stop()
        async with serving(Deposed(), leader):
            watch = cluster.caller(follower).channel.unary_stream(method)(b"")
            assert await watch.read() == b"first"
            told = await refused(watch.read())
            assert told.info.reason == "NOT_LEADER"
            assert len(asked) == 1

    on_log(ScriptedLog(role=Role.FOLLOWER, leader_id="n2"), test, size=2)


def test_a_node_passes_no_call_on_to_itself() -> None:
    log = ScriptedLog(role=Role.FOLLOWER, leader_id="n1")

    async def test(cluster: ApiCluster) -> None:
        # One that was passed on does not wait for another leader.
        told = await refused(cluster.caller().tasks.GetTask(GET, metadata=((HOPS_KEY, "1"),)))
        assert (told.code, told.info.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_LEADER")
        assert told.info.metadata["leader_address"] == cluster.nodes[0].me.address

    on_log(log, test)


def test_a_stream_waits_out_an_election() -> None:
    class CountingLog(ScriptedLog):
        asked = 0
        leads = ""

        @property
        def leader_id(self) -> str:
            self.asked += 1
            return self.leads

        @leader_id.setter
        def leader_id(self, leads: str) -> None:
            self.leads = leads

    log = CountingLog(role=Role.FOLLOWER, leader_id="")

    async def test(cluster: ApiCluster) -> None:
        node = cluster.nodes[0]
        watch = cluster.caller().executions.WatchExecutions(execution_pb2.WatchExecutionsRequest())
        beginning = asyncio.create_task(watch.initial_metadata())
        await eventually(lambda: log.asked > 3)
        assert not beginning.done()
        log.role, log.leader_id = Role.LEADER, "n1"
        await beginning
        assert node.api.feed.watchers == 1
        watch.cancel()

    on_log(log, test)


def test_a_change_carries_the_name_of_the_user_and_the_address() -> None:
    log = ScriptedLog()

    async def test(cluster: ApiCluster) -> None:
        await refused(cluster.caller().tasks.DeleteTask(DELETE, metadata=((USER_KEY, "ana"),)))
        assert [command.actor for command in log.proposed] == ["ana@127.0.0.1"]

    log.outcome.code = 5
    on_log(log, test)


def test_a_call_whose_end_the_library_has_told_is_not_ended_again() -> None:
    async def test() -> None:
        untouched = cast(CallContext, None)
        with pytest.raises(grpc.aio.UsageError):
            await gateway._end(untouched, "/raftsched.v1.TaskService/GetTask", grpc.aio.UsageError("the call is over"))

    asyncio.run(test())


def test_a_hand_over_that_fails_says_why() -> None:
    async def test(cluster: ApiCluster) -> None:
        stub = cluster.caller().cluster
        told = await refused(stub.TransferLeadership(cluster_pb2.TransferLeadershipRequest(node_id="n2")))
        assert (told.code, told.message) == (grpc.StatusCode.FAILED_PRECONDITION, "n2 has not caught up")
        told = await refused(stub.TransferLeadership(cluster_pb2.TransferLeadershipRequest(node_id="n9")))
        assert list(told.fields) == ["node_id"]

    on_log(ScriptedLog(), test, size=2)
