"""Decides nominal times: from the due index to Fire commands."""

from collections.abc import Callable
from itertools import islice

import structlog
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.core.machine.wellformed import MAX_EVERY
from raftsched.core.policy.due import FirePlan, decide, latest_start, resume
from raftsched.core.state.model import SECOND_US, Cursor, Decision, Placement, Task
from raftsched.core.state.rows import be64, decode_cursor, parse_due
from raftsched.core.times.schedule import ScheduleError
from raftsched.ports import Clock, Fate, Reader, Table
from raftsched.scheduler.executors import BURST_PERIOD_S, Executors, Reservation, holds_slot
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.scheduler.task_cache import TaskCache

_LONGEST_TURN_S = 0.2
"""To count what a long pause or outage left out of a task takes up to tenths of a second. After so long a turn, other
work of the leader goes first, such as its heartbeats."""
_log = structlog.get_logger(__name__)


class Firer:
    """Walks the due index and proposes what to do about each nominal time that has come.

    It costs what is due, not what is registered. Rows whose Fire is under way are remembered until its fate is known;
    proposing one twice would do no harm, since the second finds its due row gone.
    """

    def __init__(
        self,
        proposer: Proposer,
        clock: Clock,
        executors: Executors,
        tasks: TaskCache,
        settings: SchedulerSettings,
        under_way: set[bytes],
    ) -> None:
        """``under_way``: keys of due rows that are being decided, by whomever."""
        self._proposer = proposer
        self._clock = clock
        self._executors = executors
        self._tasks = tasks
        self._settings = settings
        self._under_way = under_way
        self._commands = 0
        self._resume = b""
        self._waits_for_room = False
        self._looked_us = 0
        """Up to where the last look found nothing more to propose."""
        self._everyone_s = clock.monotonic() + settings.lease_ms / 1000
        """From when on every executor has had a whole lease to find this leader, so that who is not here is gone."""

    def step(self, reader: Reader) -> None:
        """Propose what is due, as far as the pipeline has room.

        While a command is under way only whole batches follow it, and what is less gathers until its end: at many fires
        a second each command then has several of them.
        """
        batch = self._settings.fire_batch_items
        while not self._commands or (
            self._commands < self._settings.pipeline_commands and self._are_due(reader, batch)
        ):
            self._waits_for_room = self._is_room_near(reader)
            if self._waits_for_room:
                return
            keys, command, reserved = self._collect(reader)
            if not keys:
                self._looked_us = command.now_us
                return
            self._commands += 1
            self._under_way.update(keys)
            self._proposer.propose(command, self._finisher(keys, reserved))

    def next_due_us(self, reader: Reader) -> int:
        """The earliest nominal time behind the last look; 0 when there is none, and while a command is under way.

        What is due already is being decided, or is decided when a command ends, which wakes, or cannot be decided here.
        What waits for room is looked at again as often as windows are adapted.
        """
        if self._commands:
            return 0
        if self._waits_for_room:
            return self._clock.now_us() + int(BURST_PERIOD_S * SECOND_US)
        for key, _value in reader.scan(Table.DUE, be64(self._looked_us + 1)):
            return int.from_bytes(key[:8], "big")
        return 0

    def follows_within(self, reader: Reader, within_s: float) -> bool:
        """Whether a Fire command is to be expected in that time, and not at once."""
        if self._waits_for_room:
            return False
        now_us = self._clock.now_us()
        due = reader.scan(Table.DUE, self._resume, be64(now_us + int(within_s * SECOND_US) + 1))
        key = next((key for key, _ in due if key not in self._under_way), None)
        return key is not None and (self._commands > 0 or int.from_bytes(key[:8], "big") > now_us)

    def _is_room_near(self, reader: Reader) -> bool:
        """Whether what is due has no room with executors that finish a batch in a moment.

        Decided now, each execution would take a second log entry to be given to one of them, and the work of deciding
        would keep them from starting what they have. When they finish no more the window closes, and all is decided.
        """
        room, batch = self._executors.room(), self._settings.fire_batch_items
        return room < batch <= self._executors.window() and self._are_due(reader, room + 1)

    def _are_due(self, reader: Reader, count: int) -> bool:
        due = reader.scan(Table.DUE, self._resume, be64(self._clock.now_us() + 1))
        return next(islice((key for key, _ in due if key not in self._under_way), count - 1, None), None) is not None

    def _finisher(self, keys: list[bytes], reserved: list[Reservation]) -> Callable[[Fate], None]:
        def finish(_fate: Fate) -> None:
            self._commands -= 1
            self._under_way.difference_update(keys)
            self._executors.release(reserved)
            if not self._commands:
                self._resume = b""

        return finish

    def _collect(self, reader: Reader) -> tuple[list[bytes], pb.Command, list[Reservation]]:
        command = self._proposer.command()
        keys: list[bytes] = []
        wanting: list[tuple[Task, pb.Fire.Decided]] = []
        room = self._settings.fire_batch_items
        until_s = self._clock.monotonic() + _LONGEST_TURN_S
        for key, value in reader.scan(Table.DUE, self._resume, be64(command.now_us + 1)):
            if key in self._under_way:
                continue
            if room <= 0 or (keys and self._clock.monotonic() > until_s):
                break
            self._resume = key
            try:
                decided = self._decide(reader, key, value, command, room)
            except ScheduleError as error:
                # Another node's time zone database may know better; the cursor stays where it is until one decides.
                _log.error("a due task cannot be decided", key=key[8:].decode(), error=str(error))
                continue
            if decided is None:
                continue
            keys.append(key)
            task, item = decided
            if not task.group and task.placement is Placement.ANY:
                # What is in a group waits there, so that nothing overtakes it; what is pinned waits for its executor.
                wanting += [(task, each) for each in item.decided if _starts(each, command.now_us)]
            room -= max(1, len(item.decided) * max(1, len(item.executor_ids)))
        else:
            self._resume = b""
        return keys, command, self._reserve(wanting)

    def _reserve(self, wanting: list[tuple[Task, pb.Fire.Decided]]) -> list[Reservation]:
        """Name executors in the decisions as far as there is room, by priority; returns the ids of those named."""
        reserved: list[Reservation] = []
        for task, decided in sorted(wanting, key=lambda each: -each[0].priority):
            slot = holds_slot(task)
            decided.executor_id = self._executors.reserve(task.executor_labels, slot=slot)
            if decided.executor_id:
                reserved.append((decided.executor_id, slot))
        return reserved

    def _decide(
        self, reader: Reader, key: bytes, value: bytes, command: pb.Command, room: int
    ) -> tuple[Task, pb.Fire.Item] | None:
        """The task of a row that is due, and the item that the command got for it; None: it got none."""
        next_us, name, uid, revision = parse_due(key, value)
        task = self._tasks.get(reader, name, uid, revision)
        assert task is not None, f"the due index names {name!r}, which is not in the task table"
        assert (task.uid, task.revision) == (uid, revision), f"the due index is behind the task {name!r}"
        every: list[str] = []
        if task.placement is Placement.EVERY:
            if self._clock.monotonic() < self._everyone_s:
                return None
            every = self._executors.everyone(task.executor_labels)
            room = max(1, room // max(1, len(every)))
        if task.paused:
            # A due row of a paused task stands for the end of its pause.
            resume_us, next_us = next_us, decode_cursor(_row(reader, Table.CURSORS, name)).next_us
            plan = resume(task, Cursor(next_us))
        else:
            resume_us = 0
            plan = decide(task, Cursor(next_us), command.now_us, room)
            if not plan.decided:
                return None
        item = add_item(command, task, next_us, plan)
        if resume_us:
            item.resume_us = resume_us
        if task.placement is Placement.EVERY:
            _name_everyone(task, item, every)
        if task.jitter_us and not resume_us:
            self._draw_starts(task, item)
        return task, item

    def _draw_starts(self, task: Task, item: pb.Fire.Item) -> None:
        following = [each.nominal_us for each in item.decided[1:]] + [item.next_us]
        for decided, next_us in zip(item.decided, following, strict=True):
            if decided.decision == Decision.RAN:
                latest_us = latest_start(task, decided.nominal_us, next_us)
                decided.start_us = int(self._clock.uniform(decided.nominal_us, latest_us))


def add_item(command: pb.Command, task: Task, expected_next_us: int, plan: FirePlan) -> pb.Fire.Item:
    """Add to a Fire command what is to become of nominal times of one task, whose cursor is there."""
    item = command.fire.items.add(
        task=task.name,
        uid=task.uid,
        generation=task.generation,
        expected_revision=task.revision,
        expected_next_us=expected_next_us,
        next_us=plan.next_us,
        delivery=task.delivery,
        misfire_policy=task.misfire_policy,
        group=task.group,
        overlap_policy=task.overlap_policy,
        max_running=task.max_running,
        max_queued=task.max_queued,
        start_deadline_us=task.start_deadline_us,
        priority=task.priority,
        notifies=task.notifies,
    )
    for entry in plan.decided:
        item.decided.add(
            nominal_us=entry.nominal_us,
            last_nominal_us=entry.last_nominal_us,
            count=entry.count,
            decision=entry.decision,
            reason=entry.reason,
            into_us=entry.into_us,
        )
    return item


def _row(reader: Reader, table: Table, name: str) -> bytes:
    value = reader.get(table, name.encode())
    assert value is not None, f"the due index names {name!r}, which is not in {table}"
    return value


def _name_everyone(task: Task, item: pb.Fire.Item, every: list[str]) -> None:
    """Name all executors that are to run what runs; without any, or with too many, nothing does."""
    if 0 < len(every) <= MAX_EVERY:
        item.executor_ids.extend(every)
        return
    if every:
        why = f"{len(every)} executors carry the labels; at most {MAX_EVERY} run one nominal time"
    else:
        why = "no connected executor carries the labels" if task.executor_labels else "no executor was connected"
    for decided in item.decided:
        if decided.decision == Decision.RAN:
            decided.decision = Decision.SKIPPED
            decided.reason = "; ".join(filter(None, (decided.reason, f"{why}; placement EVERY")))


def _starts(decided: pb.Fire.Decided, now_us: int) -> bool:
    return decided.decision == Decision.RAN and decided.start_us <= now_us
