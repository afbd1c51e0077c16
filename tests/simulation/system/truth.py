"""Holds what is decided, started and deleted against true time, which no clock of the simulation shows.

Shares nothing with the scheduler, and knows nothing of how it comes by its time.
"""

from typing import Any

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.ports import Table
from tests.simulation.consensus.world import Violation, World
from tests.simulation.system.checks import START_WITHIN_S
from tests.simulation.system.ground import Ground
from tests.simulation.system.ledger import COALESCED, RAN, SCHEDULE, LogChecks
from tests.simulation.system.node import Write
from tests.simulation.system.workload import EPOCH_US

BOUND_US = 500_000
"""What docs/consensus.md promises: nothing is decided or started earlier than so long before its true time."""
LEAP_S = 15.0
"""A second that all clocks repeat at once is a jump of the majority, which is followed after so long at the latest."""
REQUEST_MEMORY_US = 3600 * 1_000_000
_REPORTED_WITHIN_US = 10_000_000
"""How far the record of a start may be off: half the way there and back of the best answer that an executor had."""
_DEFAULT_THRESHOLD_US = 10_000_000


class Truth:
    """True time, and what must not be before it."""

    def __init__(self, world: World, log: LogChecks) -> None:
        self.decides = True
        """Whether decisions are held against true time: not while most clocks are wrong for long."""
        self.quiet_from_s = float("inf")
        """From then on nothing goes wrong any more, and nothing that recurs is silent."""
        self._world = world
        self._log = log
        self._highest = 0
        self._leapt_at: float | None = None
        self._asked_us: dict[bytes, int] = {}
        """When each request id was first carried out."""
        self.looked_at = 0
        """Decisions of schedules that were held against true time."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, which repeat a second when one leaps."""
        return self.us_at(self._world.now)

    def us_at(self, world_s: float) -> int:
        repeated_us = 0 if self._leapt_at is None or world_s < self._leapt_at else 1_000_000
        return EPOCH_US + int(world_s * 1e6) - repeated_us

    def leap(self) -> None:
        """A leap second is inserted: this second comes again."""
        self._leapt_at = self._world.now

    @property
    def bound_us(self) -> int:
        leaps = self._leapt_at is not None and self._world.now < self._leapt_at + LEAP_S
        return BOUND_US + (1_000_000 if leaps else 0)

    # What is decided

    def take(self, index: int, command: bytes, writes: list[Write]) -> None:
        """What an entry says and does, from the first node that applies it."""
        if index <= self._highest:
            return
        self._highest = index
        parsed = pb.Command.FromString(command)
        kind = parsed.WhichOneof("kind") or "nothing"
        early_us = parsed.now_us - self.now_us()
        if self.decides and early_us > self.bound_us:
            raise Violation(f"truth: entry {index} ({kind}) is stamped {early_us / 1e6:.3f} s ahead of true time")
        if parsed.request_id:
            self._asked_us.setdefault(parsed.request_id.encode(), self.now_us())
        if kind == "retire":
            self._deleted(parsed.retire)
        if kind == "fire":
            for table, key, before, after in writes:
                if table is Table.LEDGER and before is None and after is not None:
                    self._decided(key, pb.LedgerRow.FromString(after))

    def _decided(self, key: bytes, row: pb.LedgerRow) -> None:
        if row.trigger != SCHEDULE or "paused" in row.reason:
            return
        self.looked_at += 1
        name, _, rest = key.partition(b"\0")
        nominal_us, now_us = int.from_bytes(rest[:8], "big"), self.now_us()
        what = f"{name.decode()} at {nominal_us}"
        ahead_us = self._log.ahead_us if row.decision == RAN else 0
        if self.decides and row.last_nominal_us > now_us + ahead_us + self.bound_us:
            raise Violation(f"truth: {what} was decided {(row.last_nominal_us - now_us) / 1e6:.3f} s before its time")
        misfired = row.decision == COALESCED or row.reason.startswith("misfired")
        threshold_us = self._threshold_us(name.decode())
        late_us = now_us - row.last_nominal_us
        if self.decides and misfired and late_us < threshold_us - self.bound_us:
            raise Violation(f"truth: {what} was called late ({row.reason}) after {late_us / 1e6:.3f} s")
        silent_s = (now_us - nominal_us) / 1e6
        is_quiet = self._world.now >= self.quiet_from_s and nominal_us >= self.us_at(self.quiet_from_s)
        if is_quiet and silent_s > START_WITHIN_S:
            raise Violation(f"silent: {what} was decided {silent_s:.1f} s late, long after all clocks were right again")

    def _threshold_us(self, name: str) -> int:
        task: Any = self._log.state.tasks[name].definition
        return int(task.misfire_threshold.ToMicroseconds()) or _DEFAULT_THRESHOLD_US

    # What is on record

    def check_records(self, ground: Ground) -> None:
        """The record of a start is that of what really began, as far as the cluster may know the time."""
        for process in ground.processes:
            row = self._log.state.executions.get(process.execution_id)
            if row is None or row.attempt != process.attempt or not row.result.start_us:
                continue
            off_us = row.result.start_us - self.us_at(process.began)
            if self.decides and row.executor_id == process.executor_id and abs(off_us) > _REPORTED_WITHIN_US:
                what = f"{process.task} #{process.attempt} on {process.machine}"
                raise Violation(f"record: the start of {what} is on record {off_us / 1e6:+.1f} s off")

    # What is deleted

    def _deleted(self, retire: pb.Retire) -> None:
        """A run is over long before anything is old."""
        if retire.execution_ids or retire.ledger_keys or retire.task_change_keys:
            counts = (len(retire.execution_ids), len(retire.ledger_keys), len(retire.task_change_keys))
            raise Violation(f"deleted: {counts} executions, ledger entries and task changes, none of which is old")
        for key in retire.request_expiry_keys:
            age_us = self.now_us() - self._asked_us.get(key[8:], self.now_us())
            if age_us < REQUEST_MEMORY_US - BOUND_US:
                raise Violation(f"deleted: request {key[8:].decode()} was forgotten after {age_us / 1e6:.1f} s")
