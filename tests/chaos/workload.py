"""What clients do during a chaos run, and what they were told.

Recurring tasks fire all the time, as no-ops and as commands that append a line to a file: the ground truth of what
really ran. One-time tasks are registered a few seconds ahead. Threads read and write a few tasks that never fire, and
keep every call with its answer.
"""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from raftsched_client import AlreadyExistsError, Client, NotFoundError, RaftschedError, task
from raftsched_proto.v1 import task_pb2

from tests.chaos.lab import Lab
from tests.support.cluster import eventually
from tests.support.linearizable import FOREVER, Call, End, Kind

FAR = datetime(2100, 1, 1, tzinfo=UTC)
AT_MOST_ONCE = "amo-"
"""Tasks whose name begins so run at most once."""
PAUSED = "paused-"
"""Tasks whose name begins so fire every second, and are paused and resumed all the time."""
_NOOPS, _COMMANDS, _SLOW, _PAUSED_TASKS = 80, 12, 4, 4
_KEYS_AT_ONCE = 3
_CALLS_PER_KEY = 50
"""A register retires after so many calls: the search of the checker grows with the length of a history."""
_CALL_TIMEOUT_S = 3.0
_PAUSE_S = 0.05
_VALUE = "value"


@dataclass
class Observed:
    """Everything that clients were told."""

    registers: dict[str, list[Call]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    one_time: dict[str, datetime] = field(default_factory=dict)
    recurring: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    """Name -> first nominal time, seconds between two."""
    pauses: list[tuple[str, float, float]] = field(default_factory=list)
    """Of a task: when a client was told that it is paused, and when one asked next to have it resumed, in seconds since
    the Unix epoch by a clock that no fault touches."""
    problems: list[str] = field(default_factory=list)
    """Answers that no client should get, whatever fails."""

    @property
    def calls(self) -> int:
        return len(self.acknowledged) + sum(map(len, self.registers.values()))


class Workload:
    """Clients in threads; use as a context to run them."""

    def __init__(self, lab: Lab, seed: int, ground_truth: Path) -> None:
        self._lab = lab
        self._seed = seed
        self._truth = ground_truth
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.observed = Observed()
        everywhere = [self._register_all, self._one_time, self._pauses, lambda dice: self._registers(dice, "")]
        pinned = [lambda dice, id_=id_: self._registers(dice, id_) for id_ in list(lab.nodes)[:3]]
        self._threads = [
            threading.Thread(target=self._guarded, args=(work, number), daemon=True)
            for number, work in enumerate([*everywhere, *pinned])
        ]

    def __enter__(self) -> "Workload":
        self._register_recurring()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
            if thread.is_alive():
                self.observed.problems.append("a client call did not end within its deadline")

    def _guarded(self, work: Callable[[random.Random], None], number: int) -> None:
        try:
            work(random.Random(f"{self._seed}/{number}"))
        except Exception as error:
            self.observed.problems.append(f"a client got {error!r}")

    def _register_recurring(self) -> None:
        dice = random.Random(self._seed)
        first = datetime.fromtimestamp(int(time.time()) + 8, UTC)
        definitions = [
            self._recurring(f"noop-{number:03}", first, dice.choice([2, 5, 10]), noop=True) for number in range(_NOOPS)
        ]
        for number in range(_COMMANDS):
            for name in (f"cmd-{number:03}", f"{AT_MOST_ONCE}{number:03}"):
                slow = number < _SLOW
                every_s = dice.choice([10, 15]) if slow else dice.choice([3, 5, 10])
                definitions.append(self._recurring(name, first, every_s, shell=self._script(3 if slow else 0)))
        paused = (f"{PAUSED}{number:03}" for number in range(_PAUSED_TASKS))
        definitions += [self._recurring(name, first, 1, shell=self._script(0)) for name in paused]
        with self._lab.client() as client:
            eventually(lambda: self._all_created(client, definitions), what="the registration of the recurring tasks")
            self._begin_after_registration(client)

    def _begin_after_registration(self, client: Client) -> None:
        """A task that could be registered only after its first nominal time has none before."""
        for each in client.list_tasks(page_size=1_000):
            first, every_s = self.observed.recurring[each.name]
            created, every = each.create_time.ToDatetime(UTC), timedelta(seconds=every_s)
            if created >= first:
                self.observed.recurring[each.name] = (first + ((created - first) // every + 1) * every, every_s)

    @staticmethod
    def _all_created(client: Client, definitions: list[task_pb2.Task]) -> bool:
        results = client.create_tasks(definitions, request_id="recurring")
        return not any(result.code for result in results)

    def _recurring(self, name: str, first: datetime, every_s: int, **action: object) -> task_pb2.Task:
        self.observed.recurring[name] = (first, every_s)
        delivery = "at_most_once" if name.startswith(AT_MOST_ONCE) else "at_least_once"
        every = timedelta(seconds=every_s)
        return task(name, every=every, anchor=first, start=first, delivery=delivery, **action)

    def _script(self, sleep_s: int) -> str:
        """Appends one line with one write: what runs, its attempt, its token, where and when."""
        # The clock of the machine, whatever is made of that of the executor.
        line = "$RAFTSCHED_TASK $RAFTSCHED_EXECUTION_ID $RAFTSCHED_ATTEMPT $RAFTSCHED_FENCING_TOKEN"
        script = f'env -u LD_PRELOAD date "+{line} $RAFTSCHED_EXECUTOR_ID %s.%N" >> {self._truth}'
        return f"{script}; sleep {sleep_s}" if sleep_s else f"exec {script}"

    # The clients

    def _register_all(self, dice: random.Random) -> None:
        """Registers one task after another, each for good."""
        with self._lab.client(timeout=_CALL_TIMEOUT_S) as client:
            for number in self._until_stopped(dice):
                name = f"kept-{number:06}"
                with contextlib.suppress(RaftschedError):
                    client.create_task(task(name, at=FAR, noop=True))
                    self.observed.acknowledged.add(name)

    def _one_time(self, dice: random.Random) -> None:
        """Registers tasks that fire once, a few seconds ahead."""
        with self._lab.client(timeout=_CALL_TIMEOUT_S) as client:
            for number in self._until_stopped(dice, pause_s=0.3):
                name = f"{dice.choice([AT_MOST_ONCE, ''])}single-{number:06}"
                at = datetime.now(UTC) + timedelta(seconds=dice.uniform(1, 8))
                delivery = "at_most_once" if name.startswith(AT_MOST_ONCE) else "at_least_once"
                with contextlib.suppress(RaftschedError):
                    client.create_task(task(name, at=at, shell=self._script(0), delivery=delivery, misfire="one"))
                    self.observed.one_time[name] = at

    def _pauses(self, dice: random.Random) -> None:
        """Pauses one task after the other at any moment, and has it resumed a few seconds later."""
        with self._lab.client(timeout=3 * _CALL_TIMEOUT_S) as client:
            for number in self._until_stopped(dice):
                name = f"{PAUSED}{number % _PAUSED_TASKS:03}"
                told_s = None
                with contextlib.suppress(RaftschedError):
                    client.pause_task(name)
                    told_s = time.time()
                self._stop.wait(dice.uniform(0.5, 4.0))
                if told_s is not None:
                    self.observed.pauses.append((name, told_s, time.time()))
                eventually(lambda name=name: _is_resumed(client, name), within_s=60, what=f"{name} to be resumed")
                self._stop.wait(dice.uniform(0.5, 2.0))

    def _registers(self, dice: random.Random, node: str) -> None:
        """Reads and writes tasks, through one node only or through all."""
        nodes = [node] if node else []
        with self._lab.client(*nodes, timeout=_CALL_TIMEOUT_S) as client:
            for _ in self._until_stopped(dice):
                self._one_call(client, dice)

    def _one_call(self, client: Client, dice: random.Random) -> None:
        name, value = self._pick(dice)
        kind = dice.choices(list(Kind), [2, 3, 1, 5])[0]
        began = time.monotonic()
        try:
            seen = _perform(client, kind, name, value)
            call = Call(kind, seen if kind is Kind.GET else value, began, time.monotonic())
        except (AlreadyExistsError, NotFoundError) as error:
            refused = End.REFUSED if error.applied == "no" else End.UNKNOWN
            call = Call(kind, value, began, time.monotonic() if refused is End.REFUSED else FOREVER, refused)
            if kind is Kind.GET:
                call = Call(kind, None, began, time.monotonic())
        except RaftschedError as error:
            if error.applied == "no":
                return
            call = Call(kind, value, began, FOREVER, End.UNKNOWN)
        with self._lock:
            self.observed.registers[name].append(call)

    def _pick(self, dice: random.Random) -> tuple[str, str]:
        """A register that is in use, and a value that nobody else writes."""
        with self._lock:
            number = next(self._numbers)
            epoch = number // (_CALLS_PER_KEY * _KEYS_AT_ONCE)
            name = f"register-{epoch:04}-{dice.randrange(_KEYS_AT_ONCE)}"
            self.observed.registers.setdefault(name, [])
            return name, str(number)

    def _until_stopped(self, dice: random.Random, pause_s: float = _PAUSE_S) -> Iterator[int]:
        number = 0
        while not self._stop.wait(dice.uniform(0.2, 1.8) * pause_s):
            yield number
            number += 1


def _is_resumed(client: Client, name: str) -> bool:
    try:
        client.resume_task(name)
    except RaftschedError:
        return False
    return True


def _perform(client: Client, kind: Kind, name: str, value: str) -> str | None:
    """One call; what it read."""
    match kind:
        case Kind.CREATE:
            client.create_task(task(name, at=FAR, noop=True, labels={_VALUE: value}))
        case Kind.UPDATE:
            client.update_task(task_pb2.Task(name=name, labels={_VALUE: value}), ["labels"])
        case Kind.DELETE:
            client.delete_task(name)
        case Kind.GET:
            return client.get_task(name).labels[_VALUE]
    return None
