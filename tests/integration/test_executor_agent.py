"""The executor and a leader, over gRPC; the test plays the leader."""

import asyncio
import hashlib
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from raftsched_proto.internal.v1 import executor_pb2 as pb
from raftsched_proto.internal.v1 import output_pb2_grpc
from raftsched_proto.v1 import task_pb2

from raftsched.clock import SystemClock
from raftsched.core.state.model import ExecutionState
from raftsched.executor.agent import ExecutorAgent
from raftsched.executor.attempt_journal import AttemptJournal
from raftsched.executor.output import REPORTED_BYTES
from raftsched.executor.settings import ExecutorSettings
from raftsched.outputs.files import OutputFiles
from raftsched.outputs.service import OutputCopyService
from raftsched.ports import StoreFailed, StoreRefused
from tests.support.fake_leader import FakeLeader, assignment, command, key_of, noop, run, script


@asynccontextmanager
async def executor(directory: Path, *leaders: FakeLeader, **fields: object) -> AsyncIterator[ExecutorAgent]:
    settings = ExecutorSettings(directory, **{"slots": 4, "kill_grace_s": 20.0, **fields})
    agent = ExecutorAgent(settings, [leader.address for leader in leaders], SystemClock())
    await agent.start()
    try:
        yield agent
    finally:
        await agent.stop()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def appending(path: Path, text: str) -> task_pb2.Action:
    """A command that leaves a line in a file: evidence that it ran."""
    return script(f"echo {text} >> {path}")


def test_executor_introduces_itself_and_beats(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            FakeLeader() as leader,
            executor(tmp_path, leader, slots=7, labels={"zone": "a"}, node_id="n1", version="1.2") as agent,
        ):
            hello = await leader.connected()
            assert hello.executor_id == agent.executor_id != ""
            assert hello.incarnation not in ("", hello.executor_id)
            assert (hello.slots, hello.labels, hello.node_id, hello.version) == (7, {"zone": "a"}, "n1", "1.2")
            assert (hello.draining, list(hello.held)) == (False, [])
            await leader.until(lambda: len(leader.heartbeats) >= 3)
            assert [beat.sequence for beat in leader.heartbeats[:3]] == [1, 2, 3]
            await leader.until(lambda: agent.leader_address == leader.address)

    run(test)


def test_attempts_of_every_kind_are_run_and_reported(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader, python_allow=("os.path:*",)):
            await leader.connected()
            actions = [
                (command("sh", "-c", "echo hello; exit 4"), ExecutionState.FAILED),
                (noop(), ExecutionState.SUCCEEDED),
                (task_pb2.Action(http=task_pb2.HttpAction(url="http://127.0.0.1:1/")), ExecutionState.FAILED),
                (
                    task_pb2.Action(python=task_pb2.PythonAction(callable="os.path:x", kwargs_json="{}")),
                    ExecutionState.FAILED,
                ),
                (task_pb2.Action(), ExecutionState.FAILED),
                (None, ExecutionState.CANCELLED),
            ]
            leader.assign(*(assignment(key_of(n), action) for n, (action, _) in enumerate(actions)))
            for number, (_, state) in enumerate(actions):
                assert (await leader.end_of(key_of(number))).state == state
            end = await leader.end_of(key_of(0))
            assert (end.result.exit_code, end.result.output_tail, end.result.output_size_bytes) == (4, b"hello\n", 6)
            assert 0 < end.result.start_us <= end.result.end_us
            assert not end.result.HasField("http_status")
            assert "does not know the kind" in leader.ends[key_of(4)][0].result.error
            assert "deleted" in leader.ends[key_of(5)][0].result.error

    run(test)


@pytest.mark.parametrize("knew_it_at_the_welcome", [True, False])
@pytest.mark.parametrize("wrong_by_us", [86_400_000_000, -86_400_000_000])
def test_times_are_reported_by_the_leaders_clock_however_wrong_the_executors_is(
    tmp_path: Path, wrong_by_us: int, knew_it_at_the_welcome: bool
) -> None:
    """A leader that knew no time yet when it was asked says it with what it assigns."""

    class Wrong(SystemClock):
        def now_us(self) -> int:
            return super().now_us() + wrong_by_us

    async def test() -> None:
        async with FakeLeader() as leader:
            leader.answers_heartbeats = knew_it_at_the_welcome
            if knew_it_at_the_welcome:
                leader.now_us = SystemClock().now_us
            agent = ExecutorAgent(ExecutorSettings(tmp_path), [leader.address], Wrong())
            await agent.start()
            try:
                await leader.connected()
                leader.now_us = SystemClock().now_us
                begun_us = leader.now_us()
                leader.assign(assignment(key_of(1), noop()), assignment(key_of(2), script("sleep 0.3")))
                for key in (key_of(1), key_of(2)):
                    end = await leader.end_of(key)
                    # As far as the way there and back tells, which is short beside a day on any machine.
                    assert (
                        begun_us - 60_000_000
                        <= end.result.start_us
                        <= end.result.end_us
                        <= leader.now_us() + 60_000_000
                    )
                assert end.result.end_us - end.result.start_us >= 300_000
            finally:
                await agent.stop()

    run(test)


def test_noops_are_accepted_and_reported_in_few_messages(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader, slots=1):
            await leader.connected()
            leader.assign(*(assignment(key_of(number), noop()) for number in range(3000)))
            await leader.until(lambda: len(leader.ends) == 3000)
            assert {len(ends) for ends in leader.ends.values()} == {1}
            assert leader.report_messages <= 20

    run(test)


def test_only_attempts_that_last_are_reported_as_running(tmp_path: Path) -> None:
    async def test() -> None:
        go = tmp_path / "go"
        async with FakeLeader() as leader, executor(tmp_path / "data", leader, running_report_s=2.0):
            await leader.connected()
            lasting = script(f"until [ -e {go} ]; do sleep 0.02; done")
            leader.assign(assignment(key_of(1), lasting), assignment(key_of(2), script("true")))
            await leader.until(lambda: leader.running)
            go.touch()
            assert (await leader.end_of(key_of(1))).state == ExecutionState.SUCCEEDED
            await leader.end_of(key_of(2))
            assert leader.running == {key_of(1): 1}

    run(test)


def test_time_limit_is_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader):
            await leader.connected()
            leader.assign(assignment(key_of(1), script("sleep 100"), time_limit_us=100_000))
            end = await leader.end_of(key_of(1))
            assert (end.state, end.result.error) == (ExecutionState.TIMED_OUT, "the time limit of 100 ms has passed")

    run(test)


def test_repeated_assignment_runs_once(tmp_path: Path) -> None:
    async def test() -> None:
        evidence = tmp_path / "evidence"
        async with FakeLeader() as leader, executor(tmp_path / "data", leader, slots=1) as agent:
            await leader.connected()
            leader.acknowledges = False
            item = assignment(key_of(1), appending(evidence, "ran"))
            leader.assign(item, item)
            leader.assign(item)
            await leader.end_of(key_of(1))
            reports = len(leader.ends[key_of(1)])
            leader.assign(item)
            await leader.until(lambda: len(leader.ends[key_of(1)]) > reports)
            leader.acknowledge(key_of(1))
            leader.assign(item)
            # In the only slot: what was accepted before it has run by its end.
            leader.assign(assignment(key_of(2), script("true")))
            await leader.end_of(key_of(2))
            await leader.until(lambda: agent.slots_used == 0)
            assert lines(evidence) == ["ran"]

    run(test)


def test_lower_fencing_token_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        evidence = tmp_path / "evidence"
        async with FakeLeader() as leader, executor(tmp_path / "data", leader):
            await leader.connected()
            leader.assign(assignment(key_of(1, 2), appending(evidence, "second"), fencing_token=20))
            await leader.end_of(key_of(1, 2))
            leader.assign(assignment(key_of(1, 1), appending(evidence, "first"), fencing_token=10))
            leader.assign(assignment(key_of(1, 3), appending(evidence, "third"), fencing_token=19))
            leader.assign(assignment(key_of(1, 4), appending(evidence, "fourth"), fencing_token=21))
            await leader.end_of(key_of(1, 4))
            assert lines(evidence) == ["second", "fourth"]

    run(test)


def test_newer_attempt_kills_the_older_before_it_starts(tmp_path: Path) -> None:
    async def test() -> None:
        evidence = tmp_path / "evidence"
        async with FakeLeader() as leader, executor(tmp_path / "data", leader, kill_grace_s=100.0):
            await leader.connected()
            older = script(f"trap '' TERM; echo up >> {evidence}; while :; do echo older >> {evidence}; done")
            leader.assign(assignment(key_of(1, 1), older))
            await leader.until(lambda: lines(evidence))
            leader.assign(assignment(key_of(1, 2), script(f"echo newer >> {evidence}; sleep 0.2")))
            assert (await leader.end_of(key_of(1, 2))).state == ExecutionState.SUCCEEDED
            assert lines(evidence)[-1] == "newer"
            assert (await leader.end_of(key_of(1, 1))).state == ExecutionState.LOST

    run(test)


def test_cancel_ends_running_and_waiting_attempts(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader, slots=1):
            await leader.connected()
            leader.assign(assignment(key_of(1), script("sleep 100")), assignment(key_of(2), script("true")))
            await leader.until(lambda: leader.running)
            leader.cancel(key_of(2), key_of(9))
            end = await leader.end_of(key_of(2))
            assert (end.state, end.result.error, end.result.start_us) == (ExecutionState.CANCELLED, "cancelled", 0)
            leader.cancel(key_of(1))
            end = await leader.end_of(key_of(1))
            assert (end.state, end.result.exit_code) == (ExecutionState.CANCELLED, -15)

    run(test)


class CopyNode:
    """A node that takes second copies of outputs."""

    def __init__(self, directory: Path) -> None:
        self.files = OutputFiles(
            directory, keep_s=3600, max_bytes=1 << 30, now_us=SystemClock().now_us, monotonic=SystemClock().monotonic
        )
        self._server = grpc.aio.server()
        service = OutputCopyService(self.files, (directory,))
        output_pb2_grpc.add_OutputCopyServiceServicer_to_server(service, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def __aenter__(self) -> "CopyNode":
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)


def test_a_node_that_is_named_while_the_executor_is_connected_gets_copies(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path / "e", leader), CopyNode(tmp_path / "copies") as node:
            await leader.connected()
            named = pb.CopyNodes(nodes=[pb.CopyNode(id="n4", address=node.address)])
            leader.send(pb.ConnectResponse(copy_nodes=named))
            leader.assign(assignment(key_of(1), script(f"head -c {2 * REPORTED_BYTES} /dev/zero")))
            end = await leader.end_of(key_of(1))
            await leader.until(lambda: node.files.load(key_of(1), end.result.output_sha256) is not None)

    run(test)


def test_output_can_be_followed_and_read_after_the_end(tmp_path: Path) -> None:
    async def test() -> None:
        go = tmp_path / "go"
        async with FakeLeader() as leader, executor(tmp_path / "data", leader):
            await leader.connected()
            text = f"echo first; until [ -e {go} ]; do sleep 0.02; done; seq 1 30000; echo last"
            leader.assign(assignment(key_of(1), script(text)))
            part = await leader.first_output(key_of(1))
            assert (part.found, part.offset, part.data, part.ended) == (True, 0, b"first\n", False)
            part = await leader.fetch(key_of(1), 6)
            assert (part.offset, part.data) == (6, b"")
            go.touch()
            end = await leader.end_of(key_of(1))
            assert len(end.result.output_tail) == REPORTED_BYTES
            part = await leader.fetch(key_of(1), 6)
            assert part.ended
            assert part.offset == 6
            assert len(part.data) == end.result.output_size_bytes - 6
            assert part.data.endswith(b"30000\nlast\n")
            assert end.result.output_sha256 == hashlib.sha256(b"first\n" + part.data).digest()
            assert end.result.output_stored_bytes == end.result.output_size_bytes
            assert not (await leader.fetch(key_of(2))).found

    run(test)


def test_attempts_run_on_without_a_leader_and_are_reported_to_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        evidence, go = tmp_path / "evidence", tmp_path / "go"
        async with FakeLeader() as leader, executor(tmp_path / "data", leader) as agent:
            await leader.connected()
            waiting = script(f"until [ -e {go} ]; do sleep 0.02; done; echo ran >> {evidence}")
            leader.assign(assignment(key_of(1), waiting))
            leader.assign(assignment(key_of(2), script("sleep 1000")))
            await leader.until(lambda: len(leader.running) == 2)
            await leader.stop()
            go.touch()
            await leader.until(lambda: lines(evidence) == ["ran"])
            await leader.until(lambda: agent.slots_used == 1)
            assert not leader.ends
            await leader.start()
            hello = await leader.connected(2)
            assert {(held.execution_id, held.attempt) for held in hello.held} == {key_of(1), key_of(2)}
            assert (await leader.end_of(key_of(1))).state == ExecutionState.SUCCEEDED
            await leader.until(lambda: leader.running[key_of(2)] == 2)

    run(test)


def test_report_is_sent_until_it_is_acknowledged(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader):
            await leader.connected()
            leader.acknowledges = False
            leader.assign(assignment(key_of(1), noop()))
            await leader.end_of(key_of(1))
            leader.hang_up()
            hello = await leader.connected(2)
            assert [(held.execution_id, held.attempt) for held in hello.held] == [key_of(1)]
            await leader.until(lambda: len(leader.ends[key_of(1)]) == 2)
            leader.acknowledge(key_of(1))
            leader.hang_up()
            assert not (await leader.connected(3)).held

    run(test)


def test_report_that_a_living_leader_dropped_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("raftsched.executor.leader_session._RESEND_S", 0.1)
        async with FakeLeader(lease_ms=200) as leader, executor(tmp_path, leader):
            await leader.connected()
            leader.acknowledges = False
            leader.assign(assignment(key_of(1), noop()))
            # Each connection brings it once; on a busy machine a lease as short as this may run out.
            await leader.until(lambda: len(leader.ends.get(key_of(1), [])) >= len(leader.hellos) + 2)

    run(test)


def test_revoked_attempts_are_killed_and_told_with_what_they_wrote(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader) as agent:
            await leader.connected()
            leader.acknowledges = False
            leader.assign(assignment(key_of(1), script("echo half; sleep 1000")), assignment(key_of(2), noop()))
            await leader.until(lambda: leader.running and leader.ends)
            await leader.first_output(key_of(1))
            leader.revoked = [key_of(1), key_of(2), key_of(3)]
            leader.hang_up()
            await leader.connected(2)
            taken = await leader.end_of(key_of(1))
            assert (taken.state, taken.result.output_tail) == (ExecutionState.LOST, b"half\n")
            assert agent.slots_used == 0
            # Each is told until it is known to be in the log, and then forgotten.
            await leader.until(lambda: len(leader.ends[key_of(2)]) > 1)
            leader.acknowledge(key_of(1), key_of(2))
            leader.assign(assignment(key_of(4), noop()))
            await leader.end_of(key_of(4))
            leader.revoked = []
            leader.hang_up()
            hello = await leader.connected(3)
            assert {(held.execution_id, held.attempt) for held in hello.held} == {key_of(4)}

    run(test)


def test_redirect_is_followed_to_the_leader(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as follower, FakeLeader() as leader, executor(tmp_path, follower) as agent:
            await follower.connected()
            follower.redirect = leader.address
            follower.hang_up()
            await leader.connected()
            await leader.until(lambda: agent.leader_address == leader.address)

    run(test)


def test_next_endpoint_is_tried_while_no_leader_is_known(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as follower, FakeLeader() as dead, FakeLeader() as leader:
            follower.redirect = ""
            await dead.stop()
            async with executor(tmp_path, follower, dead, leader):
                await leader.connected()
                assert follower.metadata

    run(test)


def test_two_nodes_that_redirect_to_each_other_are_not_asked_without_pause(tmp_path: Path) -> None:
    async def test() -> None:
        asked: list[int] = []

        class Clock(SystemClock):
            """Notes how often the two had been asked when the executor drew the length of a pause."""

            def uniform(self, low: float, high: float) -> float:
                asked.append(len(one.metadata) + len(other.metadata))
                return super().uniform(low, high)

        async with FakeLeader() as one, FakeLeader() as other:
            one.redirect, other.redirect = other.address, one.address
            agent = ExecutorAgent(ExecutorSettings(tmp_path, connect_timeout_s=60), [one.address], Clock())
            await agent.start()
            await one.until(lambda: len(asked) >= 2)
            assert asked[:2] == [4, 8]
            one.redirect = None
            await one.connected()
            await agent.stop()

    run(test)


def test_silent_leader_is_left(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader(lease_ms=300) as leader, executor(tmp_path, leader):
            await leader.connected()
            leader.answers_heartbeats = False
            await leader.connected(2)

    run(test)


def test_node_that_never_answers_is_left_for_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            async with FakeLeader() as leader:
                endpoints = [f"127.0.0.1:{mute.getsockname()[1]}", leader.address]
                agent = ExecutorAgent(ExecutorSettings(tmp_path, connect_timeout_s=0.3), endpoints, SystemClock())
                await agent.start()
                await leader.connected()
                await agent.stop()

    run(test)


def test_leader_is_looked_up_and_credentials_are_sent(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader:
            asked = 0

            async def find() -> str | None:
                nonlocal asked
                asked += 1
                return leader.address if asked > 2 else None

            agent = ExecutorAgent(
                ExecutorSettings(tmp_path), find, SystemClock(), metadata=lambda: [("authorization", "Bearer t")]
            )
            await agent.start()
            await leader.connected()
            await agent.stop()
            assert asked >= 3
            assert leader.metadata[0]["authorization"] == "Bearer t"

    run(test)


def test_assignments_beyond_the_bound_are_not_accepted_and_can_be_given_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader, max_held=10):
            await leader.connected()
            items = [assignment(key_of(number), noop()) for number in range(25)]
            leader.assign(*items)
            turn = 1
            while len(leader.ends) < 25:
                await leader.until(lambda n=turn: len(leader.hellos) > n or len(leader.ends) == 25)
                if len(leader.hellos) > turn:
                    turn = len(leader.hellos)
                    assert len(leader.hellos[-1].held) <= 10
                    leader.assign(*items)
            assert turn >= 3
            assert {len(ends) for ends in leader.ends.values()} == {1}

    run(test)


def test_at_most_once_attempts_are_on_the_disk_before_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        evidence = tmp_path / "evidence"
        seen: list[list[str]] = []
        sync = AttemptJournal.sync

        def watched(journal: AttemptJournal) -> None:
            seen.append(lines(evidence))
            sync(journal)

        async with FakeLeader() as leader, executor(tmp_path / "data", leader):
            await leader.connected()
            monkeypatch.setattr(AttemptJournal, "sync", watched)
            leader.assign(assignment(key_of(1), appending(evidence, "first")))
            await leader.end_of(key_of(1))
            assert seen == []
            leader.assign(assignment(key_of(2), appending(evidence, "second"), at_most_once=True))
            await leader.end_of(key_of(2))
            assert seen == [["first"]]
            assert lines(evidence) == ["first", "second"]

    run(test)


def test_attempt_of_a_deleted_task_may_be_cancelled_while_the_journal_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        synced = threading.Event()

        async with FakeLeader() as leader, executor(tmp_path, leader) as agent:
            await leader.connected()
            monkeypatch.setattr(AttemptJournal, "sync", lambda journal: synced.wait(20))
            leader.assign(assignment(key_of(1), None, at_most_once=True))
            leader.cancel(key_of(1))
            assert (await leader.end_of(key_of(1))).state == ExecutionState.CANCELLED
            synced.set()
            leader.assign(assignment(key_of(2), noop()))
            await leader.end_of(key_of(2))
            assert agent.leader_address == leader.address

    run(test)


@pytest.mark.parametrize("ends", ["stop", "drain"])
def test_an_executor_that_ends_gives_back_what_is_armed_and_sees_that_it_is_read(tmp_path: Path, ends: str) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader) as agent:
            leader.now_us = lambda: 1_700_000_000_000_000
            await leader.connected()
            leader.assign(assignment(key_of(1), noop(), start_us=1_800_000_000_000_000))
            # It has taken the assignment when it answers what was sent behind it.
            await leader.fetch(key_of(1))
            await getattr(agent, ends)()
            [given_back] = leader.ends[key_of(1)]
            assert (given_back.state, given_back.fencing_token) == (ExecutionState.PENDING, 10)

    run(test)


def test_an_executor_says_what_is_armed_when_it_connects_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader):
            first = await leader.connected()
            assert (first.arms, list(first.armed)) == (True, [])
            leader.assign(assignment(key_of(1), noop(), start_us=1_800_000_000_000_000))
            await leader.fetch(key_of(1))
            leader.hang_up()
            again = await leader.connected(2)
            assert [(key.execution_id, key.attempt) for key in again.armed] == [key_of(1)]
            assert not again.held

    run(test)


def test_drain_finishes_what_was_accepted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader, slots=1) as agent:
            await leader.connected()
            leader.assign(*(assignment(key_of(number), script("sleep 0.2; echo done")) for number in range(3)))
            await leader.until(lambda: agent.slots_used == 1)
            draining = asyncio.create_task(agent.drain())
            await leader.until(lambda: any(beat.draining for beat in leader.heartbeats))
            assert await draining
            assert [leader.ends[key_of(number)][0].result.output_tail for number in range(3)] == [b"done\n"] * 3
            await agent.wait()
        async with FakeLeader() as leader, executor(tmp_path, leader):
            assert not (await leader.connected()).held

    run(test)


def test_executor_that_drains_says_so_when_it_connects(tmp_path: Path) -> None:
    async def test() -> None:
        go = tmp_path / "go"
        async with FakeLeader() as leader, executor(tmp_path / "data", leader) as agent:
            await leader.connected()
            leader.assign(assignment(key_of(1), script(f"until [ -e {go} ]; do sleep 0.02; done")))
            await leader.until(lambda: leader.running)
            draining = asyncio.create_task(agent.drain())
            await leader.until(lambda: any(beat.draining for beat in leader.heartbeats))
            leader.hang_up()
            assert (await leader.connected(2)).draining
            go.touch()
            assert await draining

    run(test)


def test_drain_gives_up_on_reports_that_nobody_takes_and_keeps_them(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader:
            async with executor(tmp_path, leader) as agent:
                await leader.connected()
                leader.acknowledges = False
                leader.assign(assignment(key_of(1), noop()))
                await leader.end_of(key_of(1))
                assert not await agent.drain(flush_timeout_s=0.1)
            leader.acknowledges = True
            async with executor(tmp_path, leader):
                hello = await leader.connected(2)
                assert [(held.execution_id, held.attempt) for held in hello.held] == [key_of(1)]
                await leader.until(lambda: len(leader.ends[key_of(1)]) == 2)

    run(test)


def test_stop_kills_at_once_and_the_attempts_are_reported_lost_later(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader:
            async with executor(tmp_path, leader, slots=1, kill_grace_s=1000.0):
                await leader.connected()
                stubborn = script("trap '' TERM; echo up; while :; do sleep 0.05; done")
                leader.assign(assignment(key_of(1), stubborn), assignment(key_of(2), script("true")))
                await leader.first_output(key_of(1))
            async with executor(tmp_path, leader):
                ends = [await leader.end_of(key_of(number)) for number in (1, 2)]
            assert [end.state for end in ends] == [ExecutionState.LOST] * 2
            assert ends[0].result.output_tail == b"up\n"
            assert ends[1].result.start_us == 0

    run(test)


def test_second_executor_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader):
            second = ExecutorAgent(ExecutorSettings(tmp_path), [leader.address], SystemClock())
            with pytest.raises(StoreRefused, match="in use by another executor"):
                await second.start()
            await second.stop()

    run(test)


def test_disk_that_refuses_ends_the_executor_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        evidence = tmp_path / "evidence"
        async with FakeLeader() as leader, executor(tmp_path / "data", leader) as agent:
            await leader.connected()

            def refuse(_: int, __: bytes) -> int:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr("raftsched.executor.journal_file._write", refuse)
                leader.assign(assignment(key_of(1), appending(evidence, "ran")))
                with pytest.raises(StoreFailed, match="No space left on device"):
                    await agent.wait()
            await agent.stop()
            assert not evidence.exists()

    run(test)


def test_unknown_messages_are_ignored(tmp_path: Path) -> None:
    async def test() -> None:
        async with FakeLeader() as leader, executor(tmp_path, leader):
            await leader.connected()
            leader.send(pb.ConnectResponse())
            leader.assign(assignment(key_of(1), noop()))
            await leader.end_of(key_of(1))
            assert len(leader.hellos) == 1

    run(test)
