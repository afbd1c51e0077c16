"""The shards of a node take their steps together, and share one commit."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

import pytest

from raftsched.clock import SystemClock
from raftsched.consensus.driver import NodeDriver
from raftsched.consensus.messages import AppendReply, Message
from raftsched.consensus.shard import RaftShard
from raftsched.consensus.transport import RaftTransport
from raftsched.node.members import KnownMembers
from raftsched.ports import Fate, Peer, Store, StoreFailed
from raftsched.store.memory_store import MemoryStore
from tests.support.raft_bench import ListMachine, append

DEADLINE_S = 5.0
ME = Peer("a", "")


class JointStore:
    """The stores of two shards with one commit, which ends when it is told to."""

    def __init__(self, calls: list[str]) -> None:
        self.parts = (MemoryStore(), MemoryStore())
        self._calls = calls
        self._done: Future[bool] | None = None
        self.asked = asyncio.Event()

    def commit_soon(self) -> "Future[bool]":
        self._calls.append("commit")
        self.asked.set()
        self._done = Future()
        return self._done

    def finish(self, error: Exception | None = None) -> None:
        done, self._done = self._done, None
        assert done is not None
        self.asked.clear()
        if error is not None:
            done.set_exception(error)
            return
        for part in self.parts:
            part.commit()
        done.set_result(True)


class RecordedShard(RaftShard):
    """Notes when it begins and ends its ticks."""

    def __init__(self, calls: list[str], shard_id: int, peers: tuple[Peer, ...], store: MemoryStore) -> None:
        self.calls = calls
        self.machine = ListMachine(store)
        super().__init__(
            shard_id=shard_id,
            node=ME,
            peers=peers,
            store=store,
            clock=SystemClock(),
            machine=self.machine,
            on_leadership=lambda _term: None,
            send=self._note_message,
        )

    def begin_tick(self) -> bool:
        self.calls.append(f"begin {self.shard_id}")
        return super().begin_tick()

    def end_tick(self) -> None:
        self.calls.append(f"end {self.shard_id}")
        super().end_tick()

    def _note_message(self, _peer_id: str, message: Message) -> None:
        if isinstance(message, AppendReply):
            self.calls.append(f"answer {self.shard_id}")


class Driven:
    """A node with two shards, of these voters each."""

    def __init__(self, *voters: str) -> None:
        self.calls: list[str] = []
        self.store = JointStore(self.calls)
        peers = tuple(Peer(id_, "") for id_ in voters)
        self.shards = [
            RecordedShard(self.calls, number, peers, part) for number, part in enumerate(self.store.parts, start=1)
        ]
        transport = RaftTransport(cluster_id="c", node=ME, members=KnownMembers(()), clock=SystemClock())
        self.driver = NodeDriver(transport=transport, store=cast(Store, self.store), clock=SystemClock())
        for shard in self.shards:
            self.driver.add(shard)

    async def next_commit(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.store.asked.wait()

    async def commit_until(self, reached: Callable[[], bool]) -> None:
        """Let all commits succeed until this is so."""
        async with asyncio.timeout(DEADLINE_S):
            while not reached():
                if self.store.asked.is_set():
                    self.store.finish()
                await asyncio.sleep(0)

    def propose(self, fates: list[Fate]) -> None:
        for shard in self.shards:
            shard.propose(b"x", lambda fate, _outcome: fates.append(fate))


def driven(test: Callable[[Driven, "asyncio.Task[None]"], Any], *voters: str) -> None:
    """Run the test beside the driver."""

    async def run() -> None:
        node = Driven(*voters)
        running = asyncio.create_task(node.driver.run())
        try:
            await test(node, running)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_all_shards_begin_then_one_commit_then_all_end_and_answer() -> None:
    async def test(node: Driven, _running: object) -> None:
        # The second one alone has something to write.
        node.shards[1].receive("b", append(1, (1, 0), (1,)))
        await node.next_commit()
        await asyncio.sleep(0)
        assert node.calls == ["begin 1", "begin 2", "commit"]
        node.store.finish()
        await node.commit_until(lambda: "answer 2" in node.calls)
        assert node.calls[3:6] == ["end 1", "end 2", "answer 2"]

    driven(test, *"abc")


def test_what_comes_during_a_commit_shares_the_next_one() -> None:
    async def test(node: Driven, _running: object) -> None:
        fates: list[Fate] = []
        await node.commit_until(lambda: all(shard.status().leader_id == "a" for shard in node.shards))
        node.shards[0].propose(b"first", lambda _fate, _outcome: None)
        await node.next_commit()
        node.propose(fates)
        commits = node.calls.count("commit")
        node.store.finish()
        await node.commit_until(lambda: len(fates) == 2)
        assert fates == [Fate.DONE] * 2
        assert all(shard.machine.commands[-1] == b"x" for shard in node.shards)
        # One with the entries, one with what they did.
        assert node.calls.count("commit") - commits <= 2

    driven(test, "a")


def test_a_shard_that_fails_stops_the_node_before_anything_is_committed() -> None:
    async def test(node: Driven, running: "asyncio.Task[None]") -> None:
        await node.commit_until(lambda: all(shard.status().leader_id == "a" for shard in node.shards))

        def broken(_index: int, _command: bytes) -> bytes:
            raise AssertionError("a broken invariant")

        cast(Any, node.shards[1].machine).apply = broken
        fates: list[Fate] = []
        node.propose(fates)
        while not running.done():
            if node.store.asked.is_set():
                node.store.finish()
            await asyncio.sleep(0)
        with pytest.raises(AssertionError, match="broken invariant"):
            running.result()
        assert node.calls[-1] == "begin 2"
        assert [shard.status().leader_id for shard in node.shards] == ["", ""]
        assert len(fates) == 2

    driven(test, "a")


def test_a_commit_that_fails_ends_all_shards_and_no_tick() -> None:
    async def test(node: Driven, running: "asyncio.Task[None]") -> None:
        node.shards[0].receive("b", append(1, (1, 0), (1,)))
        await node.next_commit()
        node.store.finish(StoreFailed("the disk is full"))
        with pytest.raises(StoreFailed):
            await running
        assert node.calls == ["begin 1", "begin 2", "commit"]
        assert [shard.status().leader_id for shard in node.shards] == ["", ""]

    driven(test, *"abc")
