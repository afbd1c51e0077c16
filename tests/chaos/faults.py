"""The faults of a chaos run. Each is a context: it breaks something on entry, and mends it when it is left.

Which faults come, in which order and for how long, follows from the seed alone. Which node a fault hits may depend on
who leads at that moment.
"""

import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tests.chaos.lab import Lab
from tests.chaos.network import Namespaces
from tests.support.cluster import eventually

_FULL_DISK_S = 30.0
_LEADER_WITHIN_S = 60.0


@dataclass
class Context:
    """What a fault may touch, and where it leaves word of what it did."""

    lab: Lab
    dice: random.Random
    hold_s: float
    count: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pick(self, role: str) -> str:
        """A node that leads or follows; any node while nobody leads."""
        draw = self.dice.random()
        with contextlib.suppress(AssertionError):
            leader = self.lab.leader()
            if role == "leader":
                return leader
            others = [id_ for id_ in self.lab.nodes if id_ != leader]
            return others[int(draw * len(others))]
        return list(self.lab.nodes)[int(draw * len(self.lab.nodes))]

    def hold(self) -> None:
        time.sleep(self.hold_s)


Fault = Callable[[Context], AbstractContextManager[None]]


def _kill(context: Context, *ids: str) -> None:
    for id_ in ids:
        context.count["kills"] += 1
        context.lab.nodes[id_].send(signal.SIGKILL)
    for id_ in ids:
        context.lab.nodes[id_].wait()


def kill(role: str) -> Fault:
    @contextlib.contextmanager
    def fault(context: Context) -> Iterator[None]:
        victim = context.pick(role)
        _kill(context, victim)
        yield
        context.lab.nodes[victim].start()

    return fault


@contextlib.contextmanager
def kill_all(context: Context) -> Iterator[None]:
    _kill(context, *context.lab.nodes)
    yield
    for node in context.lab.nodes.values():
        node.start()


@contextlib.contextmanager
def restart_storm(context: Context) -> Iterator[None]:
    """One node is killed as soon as it has begun to start, again and again."""
    victim, times = context.pick("follower"), context.dice.randint(3, 5)
    for _ in range(times):
        _kill(context, victim)
        context.lab.nodes[victim].start()
        time.sleep(context.dice.uniform(0.3, 1.6))
    yield


@contextlib.contextmanager
def stop_gently(context: Context) -> Iterator[None]:
    """SIGTERM of the leader: it hands over."""
    victim = context.pick("leader")
    context.count["graceful stops"] += 1
    context.lab.nodes[victim].send(signal.SIGTERM)
    code = context.lab.nodes[victim].wait()
    if code:
        context.problems.append(f"{victim} ended with {code} after SIGTERM: {context.lab.last_words(victim)}")
    yield
    context.lab.nodes[victim].start()


def pause(role: str) -> Fault:
    @contextlib.contextmanager
    def fault(context: Context) -> Iterator[None]:
        victim = context.pick(role)
        context.count["pauses"] += 1
        context.lab.nodes[victim].send(signal.SIGSTOP)
        yield
        context.lab.nodes[victim].send(signal.SIGCONT)

    return fault


@contextlib.contextmanager
def executor_comes(context: Context) -> Iterator[None]:
    """An executor-only process joins, and is killed or drained."""
    name = context.dice.choice(list(context.lab.executors))
    process = context.lab.executors[name]
    last = context.dice.choice([signal.SIGKILL, signal.SIGTERM])
    if not process.running:
        logged = process.log.stat().st_size if process.log.exists() else 0
        process.start()
        context.count["executors joined"] += 1
        # Before its first line it may not have come so far that it knows what to do with SIGTERM.
        eventually(lambda: process.log.stat().st_size > logged, what=f"the first line of {name}")
    yield
    process.send(last)
    context.count["executors drained" if last is signal.SIGTERM else "executors killed"] += 1
    code = process.wait()
    if last is signal.SIGTERM and code:
        words = process.log.read_text(errors="replace")[-500:]
        context.problems.append(f"executor {name} ended with {code} after SIGTERM: {words}")


def _network(context: Context) -> Namespaces:
    assert isinstance(context.lab.network, Namespaces)
    return context.lab.network


def _both_ways(one: list[str], other: list[str]) -> list[tuple[str, str]]:
    return [pair for a in one for b in other for pair in ((a, b), (b, a))]


@contextlib.contextmanager
def _cut(context: Context, links: list[tuple[str, str]]) -> Iterator[None]:
    context.count["partitions"] += 1
    _network(context).cut(links)
    yield
    _network(context).heal()


def split(role: str) -> Fault:
    """A node of that role is cut off, with as many others as leave it in the minority."""

    def fault(context: Context) -> AbstractContextManager[None]:
        victim = context.pick(role)
        others = [id_ for id_ in context.lab.nodes if id_ != victim]
        context.dice.shuffle(others)
        company = others[: context.dice.randint(0, (len(others) + 1) // 2 - 1)]
        rest = [id_ for id_ in others if id_ not in company]
        return _cut(context, _both_ways([victim, *company], rest))

    return fault


def one_way(context: Context) -> AbstractContextManager[None]:
    """What a node sends reaches nobody, or what others send does not reach it."""
    victim = context.pick(context.dice.choice(["leader", "follower"]))
    links = [(victim, id_) for id_ in context.lab.nodes if id_ != victim]
    if context.dice.random() < 0.5:
        links = [(receiver, sender) for sender, receiver in links]
    return _cut(context, links)


def bridge(context: Context) -> AbstractContextManager[None]:
    """Two halves that do not hear each other, and one node that hears both."""
    ids = list(context.lab.nodes)
    context.dice.shuffle(ids)
    half = (len(ids) - 1) // 2
    return _cut(context, _both_ways(ids[1 : 1 + half], ids[1 + half :]))


@contextlib.contextmanager
def loss(context: Context) -> Iterator[None]:
    victim, percent = context.pick(context.dice.choice(["leader", "follower"])), context.dice.choice([5, 15, 30])
    context.count["lossy links"] += 1
    _network(context).lose(victim, percent)
    yield
    _network(context).heal()


@contextlib.contextmanager
def slow(context: Context) -> Iterator[None]:
    victim = context.pick(context.dice.choice(["leader", "follower"]))
    context.count["slow links"] += 1
    _network(context).slow(victim)
    yield
    _network(context).heal()


@contextlib.contextmanager
def clock_step(context: Context) -> Iterator[None]:
    """The wall clock of one node steps forward or back, and later back to the right time."""
    victim = context.pick(context.dice.choice(["leader", "leader", "follower"]))
    by_s = context.dice.choice([-3600.0, -45.0, -4.0, 4.0, 20.0, 45.0])
    context.count["clock steps"] += 2
    context.lab.step_clock(victim, by_s)
    yield
    context.lab.step_clock(victim, 0)


@contextlib.contextmanager
def full_disk(context: Context) -> Iterator[None]:
    """The small disk of one node fills up: the node must stop and say so, and come back when there is room."""
    assert context.lab.small_disk is not None
    victim = context.lab.small_disk.name
    node = context.lab.nodes[victim]
    context.count["full disks"] += 1
    begun = time.monotonic()
    context.lab.fill_disk()
    with contextlib.suppress(AssertionError):
        eventually(lambda: not node.running, within_s=_FULL_DISK_S)
    if node.running:
        context.notes.append(f"{victim} found room in its own files for {_FULL_DISK_S:g} s on a full disk")
    else:
        words = context.lab.reason_to_stop(victim)
        context.notes.append(f"{victim} stopped {time.monotonic() - begun:.1f} s after its disk was full")
        # What reaches LMDB from a full tmpfs under its map is an I/O error; the advice names the disk in both cases.
        if not any(each in words for each in ("No space left", "see to the disk")) or "Traceback" in words:
            context.problems.append(f"{victim} did not say that its disk is full: {words}")
    yield
    context.lab.free_disk()
    if not node.running:
        node.start()


ALWAYS: Mapping[str, Fault] = {
    "kill-leader": kill("leader"),
    "kill-follower": kill("follower"),
    "kill-all": kill_all,
    "restart-storm": restart_storm,
    "stop-leader": stop_gently,
    "pause-leader": pause("leader"),
    "pause-follower": pause("follower"),
    "executor": executor_comes,
}
WITH_NETWORK: Mapping[str, Fault] = {
    "split-leader": split("leader"),
    "split-follower": split("follower"),
    "one-way": one_way,
    "bridge": bridge,
    "loss": loss,
    "slow": slow,
}
WITH_CLOCKS: Mapping[str, Fault] = {"clock": clock_step}
WITH_SMALL_DISK: Mapping[str, Fault] = {"disk": full_disk}
EVERY = {**ALWAYS, **WITH_NETWORK, **WITH_CLOCKS, **WITH_SMALL_DISK}
