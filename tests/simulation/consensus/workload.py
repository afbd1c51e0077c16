"""Clients that propose and read, and what must hold of the answers."""

from dataclasses import dataclass

from raftsched.consensus.settings import Settings
from raftsched.consensus.snapshot import applied_index
from raftsched.ports import Fate, Role, Table
from tests.simulation.consensus.member import Member, Members
from tests.simulation.consensus.world import Violation, World

_MAX_OPEN = 40


@dataclass
class Operation:
    """One proposal or read."""

    member: Member
    incarnation: int
    begun: float
    command: bytes = b""
    fate: Fate | None = None
    index: int = 0


class Workload:
    """Proposes unique commands and reads, now here and now there, mostly where someone leads."""

    def __init__(self, world: World, members: Members, settings: Settings, interval_s: float) -> None:
        self.operations: list[Operation] = []
        self.answered = dict.fromkeys(Fate, 0)
        self.reads_done = 0
        self.highest_done = 0
        self.stopped = False
        self._world = world
        self._members = members
        self._settings = settings
        self._interval_s = interval_s
        self._random = world.random("workload")
        self._early = world.random("early answers")
        self._open: list[Operation] = []

    def begin(self) -> None:
        self._world.after(self._random.uniform(0, self._interval_s), self._step)

    def propose(self, member: Member, command: bytes) -> Operation:
        assert member.shard is not None
        operation = Operation(member, member.incarnation, self._world.now, command)
        self.operations.append(operation)
        self._open.append(operation)

        def done(fate: Fate, outcome: bytes) -> None:
            self._answer(operation, fate)
            if fate is Fate.DONE:
                operation.index = int.from_bytes(outcome, "big")
                self.highest_done = max(self.highest_done, operation.index)

        member.shard.propose(command, done, early=self._early.random() < 0.5)
        return operation

    def read(self, member: Member) -> Operation:
        """A read sees at least what was acknowledged to anyone before it began."""
        assert member.shard is not None
        operation = Operation(member, member.incarnation, self._world.now)
        must_see = self.highest_done
        self._open.append(operation)

        def done(fate: Fate) -> None:
            self._answer(operation, fate)
            if fate is Fate.DONE:
                self.reads_done += 1
                with member.disk.read() as view:
                    sees = applied_index(view)
                if sees < must_see:
                    raise Violation(f"stale read: {member.id} answers at {sees}, {must_see} was acknowledged before")

        member.shard.read_barrier(done)
        return operation

    def check_end(self, members: list[Member]) -> None:
        """Nothing acknowledged is missing, nothing refused is there, and nobody waits for an answer."""
        deadline_s = 1.1 * self._settings.proposal_deadline_s + 1.0
        for operation in self._open:
            member = operation.member
            late = self._world.now - max(operation.begun, member.resumed_at) > deadline_s
            if operation.fate is None and member.incarnation == operation.incarnation and member.shard and late:
                raise Violation(f"no answer from {member.id} to what was asked at {operation.begun:.3f}")
        for member in members:
            with member.disk.read() as view:
                rows = dict(view.scan(Table.TASKS))
            for operation in self.operations:
                held = int.from_bytes(rows.get(operation.command[:24], b""), "big")
                name = operation.command[:24]
                if operation.fate is Fate.DONE and held != operation.index:
                    raise Violation(f"lost: {member.id} has {name!r} at {held}, it was done at {operation.index}")
                if operation.fate in (Fate.NOT_LEADER, Fate.OVERLOADED) and held:
                    raise Violation(f"refused and applied: {name!r} at {held}")

    def _step(self) -> None:
        if self.stopped:
            return
        self._world.after(self._random.expovariate(1 / self._interval_s), self._step)
        self._open = [operation for operation in self._open if operation.fate is None]
        member = self._choose()
        if member is None:
            return
        proposals = sum(operation.member is member and bool(operation.command) for operation in self._open)
        if self._random.random() < 0.7 and proposals < _MAX_OPEN:
            for _ in range(self._random.choice([1, 1, 1, 5])):
                self.propose(member, self._command())
        else:
            self.read(member)

    def _choose(self) -> Member | None:
        up = [member for member in self._members.values() if member.shard is not None and not member.paused]
        leaders = [member for member in up if member.role is Role.LEADER]
        if leaders and self._random.random() < 0.9:
            return self._random.choice(leaders)
        return self._random.choice(up) if up else None

    def _command(self) -> bytes:
        name = b"%024d" % len(self.operations)
        size = self._random.choice([0, 0, 20, 100, self._settings.max_command_bytes - len(name)])
        return name + b"x" * size

    def _answer(self, operation: Operation, fate: Fate) -> None:
        if operation.fate is not None:
            raise Violation(f"answered twice: {operation.fate}, then {fate}")
        if operation.member.incarnation != operation.incarnation or operation.member.shard is None:
            raise Violation("answered by a dead process")
        operation.fate = fate
        self.answered[fate] += 1
