"""Decides nominal times ahead: what is due in a moment is given to executors now, which start it when its time comes.

At the nominal time itself nothing is left to do but to start: no log entry, no message, no leader.
"""

from collections.abc import Callable
from itertools import islice

import structlog
from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.gate import Gate
from raftsched.core.policy.due import FirePlan, decide_ahead, is_decided_ahead
from raftsched.core.state.model import SECOND_US, Cursor, Task
from raftsched.core.state.rows import be64, parse_due
from raftsched.core.times.schedule import ScheduleError
from raftsched.ports import AgreedClock, Fate, Reader, Table
from raftsched.scheduler.executors import ArmedAttempts, Executors
from raftsched.scheduler.firing import add_item
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.scheduler.task_cache import TaskCache

_FIELD = "raftsched.internal.v1.Fire.Decided.armed"
_LOOK_US = SECOND_US
"""How often it is looked whether a herd comes, where as many rows are due at all: tasks come and go."""
_PIPELINE_COMMANDS = 2
_TURN_ROWS = 5_000
"""Due rows that are passed in one turn, most of which may be left."""
_log = structlog.get_logger(__name__)


class Armer:
    """Walks the due index ahead of the time and proposes to arm what nothing but its time decides.

    Twice in a span it takes all that is due in one: so each command has what half a span brings. Before a herd, which
    takes longer to decide than a span, it goes further, as soon as that is needed. What it leaves, for no executor may
    hold it, or because more than its time decides, is decided when it is due.
    """

    def __init__(
        self,
        proposer: Proposer,
        clock: AgreedClock,
        executors: Executors,
        tasks: TaskCache,
        settings: SchedulerSettings,
        gate: Gate,
        under_way: set[bytes],
    ) -> None:
        """``under_way``: keys of due rows that are being decided, by whomever."""
        self._proposer = proposer
        self._clock = clock
        self._executors = executors
        self._tasks = tasks
        self._settings = settings
        self._gate = gate
        self._under_way = under_way
        self._commands = 0
        self._look_us = 0
        """When to look next whether a herd comes."""
        self._looked_us = 0
        """Up to where all that was due when a walk came by has been armed or left. What has come to be due before it
        since, as of a new task, is found by the next walk, which it does not call for, or is decided in its time."""
        self._until_us = 0
        """How far the walk goes that is under way; 0: none is."""
        self._resume = b""
        """Where that goes on."""

    def step(self, reader: Reader) -> None:
        """Propose what is due in a moment, two commands at a time: what clients ask for has its turn between them."""
        while self._commands < _PIPELINE_COMMANDS and self._may_arm():
            if not self._until_us:
                now_us = self._clock.now_us()
                self._until_us = self._herd_until_us(reader, now_us) or self._usual_until_us(reader, now_us)
                if not self._until_us:
                    return
                self._resume = be64(now_us + 1)
            if not self._walk(reader):
                return

    def next_due_us(self, reader: Reader) -> int:
        """When to look next; 0 while there is nothing to look for, or commands are under way, whose end wakes."""
        if self._commands or not self._may_arm():
            return 0
        now_us = self._clock.now_us()
        if self._until_us:
            return now_us
        first_us = self._first_us(reader, now_us)
        if not first_us:
            return 0
        usual_us = first_us - self._settings.ahead_us // 2
        if not self._may_be_herd(reader):
            return usual_us
        return min(usual_us, max(self._look_us, first_us - self._settings.herd_ahead_us))

    def _first_us(self, reader: Reader, now_us: int) -> int:
        """The first time that is due behind the last walk; 0: none is."""
        rows = reader.scan(Table.DUE, be64(max(self._looked_us, now_us) + 1))
        return next((int.from_bytes(key[:8], "big") for key, _ in rows), 0)

    def _usual_until_us(self, reader: Reader, now_us: int) -> int:
        """Up to where a walk goes that is to begin now; 0: none is."""
        ahead_us, first_us = self._settings.ahead_us, self._first_us(reader, now_us)
        return now_us + ahead_us if 0 < first_us <= now_us + ahead_us // 2 else 0

    def _may_be_herd(self, reader: Reader) -> bool:
        """Whether so many rows are due at some time that to decide them would take longer than the usual time ahead."""
        return reader.count(Table.DUE) * self._settings.herd_row_us > self._settings.ahead_us

    def _herd_until_us(self, reader: Reader, now_us: int) -> int:
        """The last time that is due so soon that what is due until then takes as long to decide; 0: there is none.

        Of what is due within the usual time ahead the usual walk takes care.
        """
        if now_us < self._look_us or not self._may_be_herd(reader):
            return 0
        row_us, longest_us = self._settings.herd_row_us, self._settings.herd_ahead_us
        usual_us, until_us, slack_us = now_us + self._settings.ahead_us, 0, _LOOK_US
        due = reader.scan(Table.DUE, be64(max(self._looked_us, now_us) + 1), be64(now_us + longest_us + 1))
        ready_us = now_us
        for key, _value in islice(due, longest_us // row_us):
            ready_us += row_us
            time_us = int.from_bytes(key[:8], "big")
            if time_us > usual_us:
                if time_us <= ready_us:
                    until_us = time_us
                else:
                    slack_us = min(slack_us, time_us - ready_us)
        self._look_us = now_us + slack_us
        return until_us

    def _may_arm(self) -> bool:
        return self._settings.ahead_us > 0 and self._executors.can_arm() and self._gate.allows(_FIELD)

    def _walk(self, reader: Reader) -> bool:
        """Go on with the walk, until it is over, a command is full, or the turn's rows are passed.

        Returns whether there was something to propose. Where there was not, what is left has its turn in another step.
        """
        command = self._proposer.command()
        begin = max(self._resume, be64(command.now_us + 1))
        reserved: list[tuple[ArmedAttempts, int]] = []
        keys: list[bytes] = []
        room = self._settings.fire_batch_items
        for passed, (key, value) in enumerate(reader.scan(Table.DUE, begin, be64(self._until_us + 1))):
            self._resume = key
            if room <= 0 or passed >= _TURN_ROWS:
                break
            if key in self._under_way:
                continue
            decided = self._arm(reader, key, value, command, room)
            if decided:
                keys.append(key)
                reserved += decided
                room -= len(decided)
        else:
            self._looked_us, self._until_us = self._until_us, 0
        if keys:
            self._commands += 1
            self._under_way.update(keys)
            self._proposer.propose(command, self._finisher(keys, reserved))
        return bool(keys)

    def _arm(
        self, reader: Reader, key: bytes, value: bytes, command: pb.Command, room: int
    ) -> list[tuple[ArmedAttempts, int]]:
        """Add to the command what of a task is due soon, and name executors; returns what was reserved for it."""
        next_us, name, uid, revision = parse_due(key, value)
        task = self._tasks.get(reader, name, uid, revision)
        assert task is not None, f"the due index names {name!r}, which is not in the task table"
        if not is_decided_ahead(task):
            return []
        try:
            plan = decide_ahead(task, Cursor(next_us), self._until_us, room)
        except ScheduleError as error:
            # It is told where it is decided.
            _log.debug("a task cannot be decided ahead", task=name, error=str(error))
            return []
        plan, sessions = self._place(task, plan)
        if not plan.decided:
            return []
        item = add_item(command, task, next_us, plan)
        reserved = []
        for decided, (executor_id, armed) in zip(item.decided, sessions, strict=True):
            decided.armed, decided.executor_id = True, executor_id
            reserved.append((armed, decided.nominal_us))
        return reserved

    def _place(self, task: Task, plan: FirePlan) -> tuple[FirePlan, list[tuple[str, ArmedAttempts]]]:
        """As much of a plan as executors may hold, and which they are."""
        sessions: list[tuple[str, ArmedAttempts]] = []
        for decided in plan.decided:
            session = self._executors.reserve_ahead(task, decided.nominal_us)
            if session is None:
                return FirePlan(decided.nominal_us, plan.decided[: len(sessions)]), sessions
            sessions.append((session.executor_id, session.armed))
        return plan, sessions

    def _finisher(self, keys: list[bytes], reserved: list[tuple[ArmedAttempts, int]]) -> Callable[[Fate], None]:
        def finish(_fate: Fate) -> None:
            self._commands -= 1
            self._under_way.difference_update(keys)
            for armed, start_us in reserved:
                armed.release(start_us)

        return finish
