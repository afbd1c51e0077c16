"""A simulated process: the real shard on a disk that keeps only what was committed."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from raftsched.commands.versions import FIRST_VERSION, VERSIONS
from raftsched.consensus.applier import StateMachine
from raftsched.consensus.directory import UNMARKED, Card, Directory, open_directory, stored_place
from raftsched.consensus.messages import Message
from raftsched.consensus.settings import Settings
from raftsched.consensus.shard import RaftShard
from raftsched.consensus.snapshot import SnapshotPart, SnapshotReceiver, SnapshotSender
from raftsched.ports import NodeOutdated, Peer, Role, StoreFailed, Table
from raftsched.store.memory_store import MemoryStore
from tests.simulation.consensus.network import BREAK_AFTER_S, Network, Station
from tests.simulation.consensus.world import NodeClock, Violation, World

CHAIN_KEY = b"chain"
CLUSTER_ID = "simulated"
_MAX_TICKS_AT_ONCE = 500


class Disk(MemoryStore):
    """Tells an observer which rows of the log and of the Raft state each commit has written."""

    def __init__(self) -> None:
        super().__init__()
        self.on_commit: Callable[[list[tuple[Table, bytes, bytes | None]]], None] = lambda rows: None
        self.commits = 0
        self.reports_failure_after_commit = False
        """Let the next commit that has something to write be durable, and say that it failed."""
        self.has_changed_members = False
        self.place = 0
        """What tells a copy from the original."""

    @property
    def noted_place(self) -> str:
        """Where the disk was when it was last opened; "" when nobody noted it."""
        return stored_place(self)

    def copy(self) -> "Disk":
        """A disk with what is durable on this one, as a file copy of it would have."""
        other = Disk()
        with self.read() as view:
            batch = other.batch()
            for table in Table:
                for key, value in view.scan(table):
                    batch.put(table, key, value)
        other.commit()
        return other

    def commit(self) -> bool:
        batch, changed = self._batch, []
        if batch is not None and batch.tables is not None:
            for table in (Table.LOG, Table.RAFT):
                rows = batch.tables[table]
                keys = dict.fromkeys(key for undo_rows, key, _ in batch.undo if undo_rows is rows)
                changed += [(table, key, rows.values.get(key)) for key in keys]
            self.has_changed_members = b"members" in batch.tables[Table.META].values
        committed = super().commit()
        if committed:
            self.commits += 1
            self.on_commit(changed)
            if self.reports_failure_after_commit:
                self.reports_failure_after_commit = False
                raise StoreFailed("the disk reports an error of what it has written")
        return committed


class Machine:
    """Keeps each command with its index, and a hash over the order of all of them."""

    def __init__(self, disk: Disk, on_apply: Callable[[int, bytes], None]) -> None:
        self._disk = disk
        self._on_apply = on_apply
        self.restores = 0

    def apply(self, index: int, command: bytes) -> bytes:
        batch = self._disk.batch()
        self._on_apply(index, command)
        batch.put(Table.TASKS, command[:24], index.to_bytes(8, "big"))
        chain = batch.get(Table.META, CHAIN_KEY) or b""
        batch.put(Table.META, CHAIN_KEY, hashlib.sha256(chain + index.to_bytes(8, "big") + command).digest())
        return index.to_bytes(8, "big")

    def founded(self, shard_id: int) -> None:
        """Nothing follows from it."""

    def committed(self) -> None:
        pass

    def restored(self) -> None:
        self.restores += 1


class Member:
    """One node: up, down or paused."""

    def __init__(
        self, world: World, network: Network, node_id: str, node_ids: list[str], settings: Settings, members: "Members"
    ) -> None:
        self.id = node_id
        self.disk = Disk()
        self.knows_directories = True
        """No: its directory is from before there were identities."""
        self.founds = self.recovers = self.accepts_copy = False
        """Flags of its next starts; the two latter of the next one alone."""
        self.takes_in = True
        self.shard: RaftShard | None = None
        self.incarnation = 0
        self.paused = False
        self.resumed_at = 0.0
        self.announced: int | None = None
        self.installs = 0
        self.versions = VERSIONS
        """Of the program that is installed: of its next start."""
        self.after_begin: Callable[[Member], None] = lambda member: None
        """Called when a tick has begun, before its commit."""
        self.after_tick: Callable[[Member], None] = lambda member: None
        self.on_candidacy: Callable[[Member], None] = lambda member: None
        """Called after the commit of a candidacy, before any message about it leaves."""
        self.on_outdated: Callable[[Member, NodeOutdated], None] = lambda member, error: None
        """Called when its program has stopped, since it is too old."""
        self.on_apply: Callable[[Member, int, bytes], None] = lambda member, index, command: None
        self.on_send: Callable[[Member, str, Message, bool], None] = lambda member, peer_id, message, early: None
        """``early``: before the commit of its tick."""
        self.on_leadership: Callable[[Member, int | None], None] = lambda member, term: None
        self._world = world
        self._network = network
        self._peers = tuple(Peer(peer_id, "") for peer_id in node_ids)
        self._settings = settings
        self._members = members
        self._random = world.random(f"member {node_id}")
        self._busy_until = 0.0
        self._tick_at = float("inf")
        self._ticks_at = (0.0, 0)
        self._ticks = self._begins = False
        """Within a tick; within the part of it that is before the commit."""
        self._while_paused: list[Callable[[], None]] = []
        self._fetching = False

    @property
    def role(self) -> Role | None:
        return None if self.shard is None else self.shard.role

    def is_down(self) -> bool:
        return self.shard is None

    def wall_us(self) -> int:
        """What the wall clock of the machine shows."""
        return self.clock.now_us()

    def told_clock(self, peer_id: str, wall_us: int, asked_at_s: float) -> None:
        """Of those who run on the agreed time."""

    def start(self) -> None:
        if self.shard is not None:
            return
        self.incarnation += 1
        self._world.note("start", self.id, self.incarnation)
        self.clock = NodeClock(self._world, self.id, self.incarnation)
        try:
            self.machine = self.make_machine()
        except NodeOutdated as error:
            self.stop_outdated(error)
            return
        self.sender = SnapshotSender(self.disk, self.clock, self._settings.snapshot_chunk_bytes)
        self._fetching = self.paused = self._ticks = self._begins = False
        self._busy_until, self._tick_at = self._world.now, float("inf")
        directory = self._open_directory()
        self.shard = RaftShard(
            shard_id=1,
            node=Peer(self.id, ""),
            peers=self._peers,
            store=self.disk,
            clock=self.clock,
            machine=self.machine,
            on_leadership=self._leadership,
            send=self._emit,
            settings=self._settings,
            directory=directory,
            takes_in=self.takes_in,
            cluster_version=self.cluster_version,
        )
        self.shard.on_directory = self._greet_again
        if self.recovers:
            self.recovers = False
            self.shard.recover()
        if not self._is_durable():
            return
        self.shard.on_work = lambda: self._plan_tick(self._world.now)
        self._plan_tick(self._world.now)
        self._network.node_up(self.id)

    def _open_directory(self) -> Directory | None:
        if not self.knows_directories:
            return None
        place, noted = str(self.disk.place), self.disk.noted_place
        copied = "copied" if noted not in ("", place) else ""
        directory = open_directory(
            self.disk, self.clock, cluster_id=CLUSTER_ID, place=place, copied=copied, accept_copy=self.accepts_copy
        )
        self.accepts_copy = False
        directory.founds = self.founds
        directory.newest_version = self.versions.newest
        return directory

    def _is_durable(self) -> bool:
        """What the others are told of the directory is on its disk before."""
        try:
            self.disk.commit()
        except StoreFailed:
            self._world.note("disk failed", self.id)
            self.shard = None
            self.disk.crash()
            self._world.after(self._random.uniform(0.1, 1.0), self.start)
            return False
        return True

    def card(self) -> Card:
        """What it shows of its directory."""
        return UNMARKED if self.shard is None else self.shard.doorway.card()

    def greeted(self, sender_id: str, card: Card) -> str:
        """Why a peer that dials is refused; "" when it is not."""
        return "down" if self.shard is None else self.shard.doorway.examine(sender_id, card, None)

    def answered(self, peer_id: str, target: Station) -> None:
        """What a peer that was dialled shows."""
        assert isinstance(target, Member)
        if self.shard is not None and target.shard is not None:
            self.shard.doorway.answered(peer_id, target.card(), target.shard.doorway.known(self.id))

    def peer(self) -> Peer:
        """As a member, with the directory that it has now."""
        return Peer(self.id, "", self.card().incarnation)

    def _greet_again(self) -> None:
        for (source, _), stream in self._network.streams.items():
            if source == self.id:
                stream.break_off()

    def make_machine(self) -> StateMachine:
        """What a new process applies its entries to."""
        return Machine(self.disk, lambda index, command: self.on_apply(self, index, command))

    def cluster_version(self) -> int:
        """Of the state of this node."""
        return FIRST_VERSION

    def kill(self) -> None:
        """Lose the process, and what it had not committed."""
        if self.shard is None:
            return
        self._world.note("kill", self.id)
        self.shard = None
        self.announced = None
        self._while_paused.clear()
        self.disk.crash()
        self._network.node_down(self.id)

    def stop_outdated(self, error: NodeOutdated) -> None:
        """The program finds out that it is too old."""
        self._world.note("outdated", self.id, str(error))
        self.kill()
        self.on_outdated(self, error)

    def lose_disk(self) -> None:
        """Die, and come back with an empty disk."""
        self.change_disk(Disk())

    def change_disk(self, disk: Disk, *, in_place: bool = False) -> None:
        """Die, and come back with another disk. ``in_place``: nobody can tell by its files that it is another."""
        self.kill()
        self._world.note("disk changed", self.id, "in place" if in_place else "")
        disk.place = self.disk.place if in_place else self.disk.place + 1
        self.disk = disk

    def pause(self) -> None:
        if self.shard is None or self.paused:
            return
        self._world.note("pause", self.id)
        self.paused = True
        incarnation = self.incarnation

        def peers_give_up() -> None:
            if self.paused and self.incarnation == incarnation:
                for (_, target), stream in self._network.streams.items():
                    if target == self.id:
                        stream.break_off()

        self._world.after(BREAK_AFTER_S, peers_give_up)

    def resume(self) -> None:
        if not self.paused:
            return
        self._world.note("resume", self.id)
        self.paused = False
        self.resumed_at = self._world.now
        happened, self._while_paused = self._while_paused, []
        for event in happened:
            event()
        self._plan_tick(self._world.now)

    def link_changed(self, peer_id: str, connected: bool) -> None:
        def tell() -> None:
            assert self.shard is not None
            (self.shard.peer_connected if connected else self.shard.peer_disconnected)(peer_id)

        self._unless_paused(tell)

    def deliver(self, sender_id: str, message: Message, card: Card | None = None) -> None:
        if self.shard is None:
            return
        self._world.note("receive", self.id, sender_id, message)

        def receive() -> None:
            assert self.shard is not None
            if not self.shard.receive(sender_id, message, card or self._members[sender_id].card()):
                self._network.streams[sender_id, self.id].break_off()

        self._unless_paused(receive)

    def _unless_paused(self, event: Callable[[], None]) -> None:
        if self.paused:
            self._while_paused.append(event)
        elif self.shard is not None:
            event()

    def _plan_tick(self, time: float) -> None:
        time = max(time, self._busy_until, self._world.now)
        if time < self._tick_at and not self._ticks:
            self._tick_at = time
            incarnation = self.incarnation
            self._world.at(time, lambda: self._tick(time, incarnation))

    def _tick(self, planned: float, incarnation: int) -> None:
        if self.shard is None or incarnation != self.incarnation or planned != self._tick_at:
            return
        self._tick_at = float("inf")
        if self.paused:
            return
        self._count_ticks()
        term = self.shard.term
        self._ticks = self._begins = True
        try:
            commits = self.shard.begin_tick()
        except NodeOutdated as error:
            self.stop_outdated(error)
            return
        self._begins = False
        self.after_begin(self)
        duration = self._duration(commits)
        self._busy_until = self._world.now + duration
        if not commits:
            self._end_tick()
            return
        incarnation = self.incarnation

        def unless_killed(what: Callable[[], None]) -> Callable[[], None]:
            return lambda: what() if self.shard is not None and incarnation == self.incarnation else None

        # For a moment it is on the disk, and nobody knows.
        self._world.after(duration * self._random.random(), unless_killed(lambda: self._commit(term)))
        self._world.at(self._busy_until, unless_killed(lambda: self._unless_paused(self._end_tick)))

    def _commit(self, term_before: int) -> None:
        assert self.shard is not None
        try:
            self.disk.commit()
        except StoreFailed:
            self._world.note("disk failed", self.id)
            self.kill()
            self._world.after(self._random.uniform(0.1, 1.0), self.start)
            return
        if self.role is Role.CANDIDATE and self.shard.term > term_before:
            self.on_candidacy(self)

    def _end_tick(self) -> None:
        assert self.shard is not None
        self._ticks = False
        self.shard.end_tick()
        self.after_tick(self)
        self._watch_snapshot()
        if self.shard is not None:
            self._plan_tick(self.clock.world_time(self.shard.next_wakeup()))

    def _count_ticks(self) -> None:
        time, count = self._ticks_at
        self._ticks_at = (time, count + 1) if time == self._world.now else (self._world.now, 1)
        if count > _MAX_TICKS_AT_ONCE:
            raise Violation(f"{self.id} spins: {count} ticks at one instant")

    def _duration(self, commits: bool) -> float:
        """A tick takes time, and its commit more."""
        duration = 0.00005
        if commits:
            duration += self._random.uniform(0.0003, 0.003)
            if self._network.has_spikes and self._random.random() < 0.002:
                duration += self._random.uniform(0.05, 0.6)
        return duration

    def _emit(self, peer_id: str, message: Message) -> None:
        self.on_send(self, peer_id, message, self._begins)
        self._network.send(self.id, peer_id, message)

    def _leadership(self, term: int | None) -> None:
        self._world.note("leadership", self.id, term)
        self.announced = term
        self.on_leadership(self, term)

    def _watch_snapshot(self) -> None:
        if self.shard is not None and self.shard.snapshot_source and not self._fetching:
            self._fetching = True
            _Fetch(self._world, self, self._members[self.shard.snapshot_source]).step()

    def fetch_ended(self, receiver: SnapshotReceiver | None) -> None:
        assert self.shard is not None
        self._fetching = False
        if receiver is None:
            self.shard.snapshot_failed()
        else:
            self.installs += 1
            self.shard.install_snapshot(receiver)


Members = dict[str, Member]


class _Fetch:
    """One snapshot on its way, over as many streams as it takes."""

    def __init__(self, world: World, member: Member, source: Member) -> None:
        world.note("fetch", member.id, source.id)
        self._world = world
        self._member, self._incarnation = member, member.incarnation
        self._source, self._source_incarnation = source, source.incarnation
        self._random = world.random(f"fetch {member.id} {world.now}")
        self._part_s = self._random.choice([0.001, 0.01, 0.2])
        self._stream = ExitStack()
        self._parts: Iterator[SnapshotPart] = iter(())
        self._receiver = SnapshotReceiver(member.disk, member.versions)
        self._attempts = 0
        self._open()

    def step(self) -> None:
        member = self._member
        if member.shard is None or member.incarnation != self._incarnation:
            self._stream.close()
        elif member.paused:
            self._world.after(0.05, self.step)
        elif not self._source_is_there() or self._random.random() < 0.01:
            self._break_off()
        else:
            self._take_part()

    def _take_part(self) -> None:
        try:
            self._receiver.add(next(self._parts))
        except NodeOutdated as error:
            self._stream.close()
            self._member.stop_outdated(error)
            return
        if not self._receiver.complete:
            self._world.after(self._random.uniform(0, self._part_s), self.step)
            return
        self._stream.close()
        self._world.note("fetched", self._member.id, self._receiver.header.index)
        self._member.fetch_ended(self._receiver)

    def _open(self) -> None:
        if self._source.shard is not None:
            self._source_incarnation = self._source.incarnation
            self._parts = self._stream.enter_context(self._source.sender.parts(self._receiver.position))

    def _source_is_there(self) -> bool:
        source = self._source
        cut = self._member._network.streams[source.id, self._member.id].cut
        return source.shard is not None and source.incarnation == self._source_incarnation and not cut

    def _break_off(self) -> None:
        self._stream.close()
        self._attempts += 1
        self._world.note("fetch broke off", self._member.id, self._attempts)
        self._world.after(0.5, self._fail if self._attempts > 5 else self._resume)

    def _resume(self) -> None:
        if self._member.shard is not None and self._member.incarnation == self._incarnation:
            self._open()
            self.step()

    def _fail(self) -> None:
        if self._member.shard is not None and self._member.incarnation == self._incarnation:
            self._receiver.discard()
            self._member.fetch_ended(None)
