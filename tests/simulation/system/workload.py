"""What clients ask for during a run: tasks of every kind that fire, and a few that are only written and read."""

import random
from collections.abc import Callable
from typing import Any

from raftsched_proto.v1 import policy_pb2, task_pb2

from tests.simulation.consensus.world import Violation, World
from tests.simulation.system.clients import Clients, Operation, register_call
from tests.support.linearizable import End, Kind

EPOCH_US = 1_700_000_000_000_000
"""What the wall clocks show at the beginning of a run."""
FAR_US = EPOCH_US + 10 * 365 * 86_400 * 1_000_000
SECOND = 1_000_000
_CALLS_PER_KEY = 40
_KEYS = 3
_MAX_UNDER_WAY = 30
_CRONS = (
    "* * * * * *",
    "*/2 * * * * *",
    "*/3 * * * * *",
    "1-59/4 * * * * *",
    "0,7,20-24,40 * * * * *",
    "*/5 */1 * * * *",
    "*/7 10-59 20-23 * * *",
)


class Workload:
    """Draws calls until it is stopped."""

    def __init__(self, world: World, clients: Clients, nodes: list[str], end_s: float) -> None:
        """All that recurs ends ``end_s`` seconds after the beginning."""
        self.stopped = False
        self.tasks: dict[str, task_pb2.Task] = {}
        """Tasks that fire, as they were first asked for."""
        self._world = world
        self._clients = clients
        self._nodes = nodes
        self.end_us = EPOCH_US + int(end_s * SECOND)
        self._random = world.random("workload")
        self._asked: list[tuple[str, str, str]] = []
        """Manual runs that were acknowledged: task, request id, execution id."""
        self._numbers = 0
        self._register_calls = 0
        self._interval_s = self._random.choice([0.05, 0.1, 0.2])
        self._weights: dict[Callable[[], None], float] = {
            self._register: 10,
            self._keep: 2,
            self._one_time: 3,
            self._pause_or_resume: 1.5,
            self._reschedule: 1.5,
            self._delete_and_create: 0.7,
            self._run: 2,
            self._cancel: 1,
            self._read_execution: 1.5,
        }

    def begin(self) -> None:
        for number in range(self._random.randint(5, 8)):
            self._world.after(0.1 * number, self._create_recurring)
        self._world.after(1.0, self._step)

    def ask_again(self) -> None:
        """Repeat requests for manual runs also long after they were answered."""
        self._weights[self._run_again] = 2

    def stop(self) -> None:
        self.stopped = True

    def _step(self) -> None:
        if self.stopped:
            return
        self._world.after(self._random.expovariate(1 / self._interval_s), self._step)
        if self._clients.under_way < _MAX_UNDER_WAY:
            draws: Callable[[], None] = self._random.choices(list(self._weights), list(self._weights.values()))[0]
            draws()

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    # Tasks that fire

    def _create_recurring(self) -> None:
        name = f"every-{self._number()}"
        task = task_pb2.Task(name=name)
        self._schedule(task.schedule)
        self._policies(task)
        self._persist(name, task)

    def _persist(self, name: str, task: task_pb2.Task) -> None:
        def then(operation: Operation) -> None:
            # Without its tasks a run would show little.
            if operation.end is None and not self.stopped:
                self._persist(name, task)

        self.tasks[name] = task
        self._clients.create(task, then)

    def _schedule(self, schedule: task_pb2.Schedule) -> None:
        dice = self._random
        if dice.random() < 0.5:
            schedule.interval.every.FromMicroseconds(dice.choice([SECOND, 1_500_000, 2 * SECOND, 3 * SECOND]))
            if dice.random() < 0.3:
                schedule.interval.anchor.FromMicroseconds(EPOCH_US + dice.randrange(8 * SECOND))
        else:
            schedule.cron.expression = dice.choice(_CRONS)
        if dice.random() < 0.2:
            schedule.start_time.FromMicroseconds(EPOCH_US + dice.randrange(10 * SECOND))
        schedule.end_time.FromMicroseconds(self.end_us - dice.randrange(2 * SECOND))

    def _policies(self, task: task_pb2.Task) -> None:
        dice = self._random
        _set_action(task, dice)
        task.misfire_policy = dice.choice([0, 1, 2, 3])
        if dice.random() < 0.6:
            task.misfire_threshold.FromMicroseconds(dice.choice([SECOND, 3 * SECOND]))
        if dice.random() < 0.4:
            task.delivery = policy_pb2.DELIVERY_AT_MOST_ONCE
        elif dice.random() < 0.5:
            task.retry.max_attempts = dice.choice([2, 3])
            task.retry.initial_backoff.FromMicroseconds(dice.choice([50_000, 500_000]))
            task.retry.max_backoff.FromMicroseconds(SECOND)
        task.overlap_policy = dice.choice([0, 1, 2, 3, 4])
        if task.overlap_policy > policy_pb2.OVERLAP_POLICY_ALLOW:
            task.max_running = dice.choice([1, 1, 2])
        if task.overlap_policy == policy_pb2.OVERLAP_POLICY_QUEUE:
            task.max_queued = dice.choice([1, 3])
        if dice.random() < 0.25:
            task.start_deadline.FromMicroseconds(dice.choice([SECOND, 4 * SECOND]))
        if dice.random() < 0.25:
            task.jitter.FromMicroseconds(dice.choice([100_000, 900_000]))
        task.priority = dice.choice([0, 0, 0, -3, 5])
        if dice.random() < 0.2:
            task.time_limit.FromMicroseconds(500_000)

    def _one_time(self) -> None:
        dice = self._random
        task = task_pb2.Task(name=f"once-{self._number()}")
        ahead_us = dice.randrange(-500_000, 6 * SECOND)
        task.schedule.at.FromMicroseconds(EPOCH_US + int(self._world.now * SECOND) + ahead_us)
        _set_action(task, dice)
        if dice.random() < 0.5:
            task.delivery = policy_pb2.DELIVERY_AT_MOST_ONCE
        self._clients.create(task, lambda _: None)

    def _any_recurring(self) -> str:
        return self._random.choice(list(self.tasks)) if self.tasks else ""

    def _pause_or_resume(self) -> None:
        if name := self._any_recurring():
            self._clients.pause(name, paused=self._random.random() < 0.45)

    def _reschedule(self) -> None:
        if name := self._any_recurring():
            task = task_pb2.Task(name=name)
            self._schedule(task.schedule)
            self._clients.update(task, ["schedule"], lambda _: None)

    def _delete_and_create(self) -> None:
        if name := self._any_recurring():
            task = self.tasks[name]
            self._clients.delete(name, lambda _: None if self.stopped else self._clients.create(task, lambda _: None))

    def _run(self) -> None:
        def then(operation: Operation) -> None:
            if operation.end is End.OK:
                self._clients.observed.runs.append(operation.value.execution.id)
                self._asked.append((name, request_id, operation.value.execution.id))

        if name := self._any_recurring():
            request_id = self._clients.run(name, then)

    def _run_again(self) -> None:
        if not self._asked:
            return
        name, request_id, execution_id = self._random.choice(self._asked)

        def then(operation: Operation) -> None:
            if operation.end is End.OK and operation.value.execution.id != execution_id:
                raise Violation(f"request id: {request_id} was answered with a second execution of {name}")

        self._clients.run(name, then, request_id)

    def _cancel(self) -> None:
        runs = self._clients.observed.runs

        def then(operation: Operation) -> None:
            if operation.end is End.OK:
                self._clients.observed.cancelled.append(id_)

        if runs:
            id_ = self._random.choice(runs[-5:])
            self._clients.cancel(id_, then)

    def _read_execution(self) -> None:
        runs = self._clients.observed.runs
        if not runs:
            return
        id_ = runs[-1]

        def then(operation: Operation) -> None:
            if operation.end is End.OK and operation.value.execution.id != id_:
                raise Violation(f"read: {id_} was asked for and {operation.value.execution.id} answered")

        self._clients.get_execution(id_, then)

    # Tasks that are only written and read

    def _keep(self) -> None:
        name = f"kept-{self._number()}"

        def then(operation: Operation) -> None:
            if operation.end is End.OK:
                self._clients.observed.acknowledged[name] = operation.value.task.uid

        self._clients.create(_quiet(name, ""), then)

    def _register(self) -> None:
        dice = self._random
        self._register_calls += 1
        epoch = self._register_calls // (_CALLS_PER_KEY * _KEYS)
        name, value = f"register-{epoch}-{dice.randrange(_KEYS)}", str(self._register_calls)
        kind = dice.choices(list(Kind), [2, 3, 1, 5])[0]
        calls = self._clients.observed.registers.setdefault(name, [])

        def then(operation: Operation) -> None:
            call = register_call(kind, value, operation)
            if call is not None:
                calls.append(call)

        only = dice.choice(self._nodes) if dice.random() < 0.3 else ""
        self._ask(kind, name, value, then, only)

    def _ask(self, kind: Kind, name: str, value: str, then: Callable[[Operation], Any], only: str) -> None:
        match kind:
            case Kind.CREATE:
                self._clients.create(_quiet(name, value), then, only)
            case Kind.UPDATE:
                self._clients.update(task_pb2.Task(name=name, labels={"value": value}), ["labels"], then, only)
            case Kind.DELETE:
                self._clients.delete(name, then, only)
            case Kind.GET:
                self._clients.get(name, then, only)


def _set_action(task: task_pb2.Task, dice: random.Random) -> None:
    """A noop, or a command that takes some time and whose first attempts may fail."""
    if dice.random() < 0.15:
        task.action.noop.SetInParent()
    else:
        seconds = dice.choice(["0.01", "0.1", "0.4", "1.2", "2.5"])
        task.action.command.argv.extend(["sleep", seconds, dice.choice(["0", "0", "1", "9"])])


def _quiet(name: str, value: str) -> task_pb2.Task:
    """A task that does not fire."""
    task = task_pb2.Task(name=name, labels={"value": value})
    task.schedule.at.FromMicroseconds(FAR_US)
    task.action.noop.SetInParent()
    return task
