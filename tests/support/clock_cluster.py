"""A cluster whose nodes have wall clocks that step, and what its commands saw: executors and commands have true time.

The checks share nothing with the scheduler: true time is this machine's, nominal times are worked out here.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from raftsched_client import Client, RaftschedError, task
from raftsched_proto.v1 import cluster_pb2, execution_pb2, task_pb2

from tests.support.cluster import STATUS_S, Cluster, Process, eventually
from tests.support.faketime import WallClock, shared_memory

BOUND_S = 0.5
"""What docs/consensus.md promises: nothing starts earlier than so long before its true nominal time."""
SILENCE_S = 25.0
"""No task that fires every few seconds is silent for longer, whoever dies, on a busy machine too."""
_ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)
_READY = cluster_pb2.EXECUTOR_STATE_READY


@dataclass(frozen=True)
class Started:
    """One start of a command, by true time."""

    task: str
    nominal_s: float
    at_s: float
    execution_id: str
    attempt: int


class Witness:
    """A file to which commands append when they began."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    @property
    def command(self) -> list[str]:
        """Notes the start. What an executor that has a wrong clock passes on to it is taken off first."""
        attempt = "$RAFTSCHED_EXECUTION_ID $RAFTSCHED_ATTEMPT"
        note = f'echo "$RAFTSCHED_TASK $RAFTSCHED_NOMINAL_TIME $(date +%s.%N) {attempt}" >> {self._path}'
        return ["env", "-u", "LD_PRELOAD", "sh", "-c", note]

    def started(self, *names: str) -> list[Started]:
        """Of these tasks, or of all, in the order in which they began."""
        lines = [line.split(" ") for line in self._path.read_text().splitlines()]
        found = [
            Started(name, _seconds(nominal), float(at), id_, int(attempt)) for name, nominal, at, id_, attempt in lines
        ]
        return sorted((each for each in found if not names or each.task in names), key=lambda each: each.at_s)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class ClockCluster(Cluster):
    """Nodes without executors, each with a wall clock of its own, and one executor with true time unless it is said."""

    def __init__(self, directory: Path, nodes: int = 3) -> None:
        super().__init__(directory, nodes, ("--slots", "0"))
        self.clocks = {id_: WallClock(directory / f"{id_}.clock") for id_ in self.nodes}
        for id_, node in self.nodes.items():
            node.add_variables(self.clocks[id_].variables)
        join = ["--join", ",".join(self.endpoints), "--data-dir", str(directory / "x1"), "--name", "x1"]
        self.executor = Process(["executor", *join, "--slots", "32"], directory / "x1.log")
        self.executor_clock = WallClock(directory / "x1.clock")
        self._shared_before = shared_memory()

    def start(self) -> None:
        self.executor.start()
        super().start()

    def __exit__(self, *_: object) -> None:
        self.executor.kill()
        super().__exit__()
        for left in shared_memory() - self._shared_before:
            left.unlink(missing_ok=True)

    def _all_ready(self, client: Client) -> bool:
        status = client.get_status(timeout=STATUS_S)
        roles = [node.role for node in status.nodes]
        is_whole = bool(status.leader_id) and roles.count(cluster_pb2.FOLLOWER) == len(self.nodes) - 1
        return is_whole and any(each.state == _READY for each in status.executors)

    def restart_executor(self, *, off_by_s: float) -> None:
        """Give the executor a wall clock that is off."""
        self.executor.kill()
        self.executor_clock.step_to(off_by_s)
        self.executor.add_variables(self.executor_clock.variables)
        self.executor.start()

    def make_whole(self) -> None:
        """All clocks right, all nodes up, and nobody complains."""
        for id_, node in self.nodes.items():
            self.clocks[id_].step_to(0)
            if not node.running:
                node.start()
        self.wait_ready()
        with self.client() as client:
            eventually(lambda: not any(self.problems(client).values()), what="no problem on any node")

    def problems(self, client: Client) -> dict[str, str]:
        """What each node says is wrong with it."""
        return {node.id: node.problem for node in client.get_status(timeout=STATUS_S).nodes}

    def let_lead(self, node_id: str) -> None:
        """Ask for the leadership to go to a node, which may be refused, or handed on at once."""
        with self.client() as client:
            try:
                client.transfer_leadership(node_id, timeout=5.0)
            except RaftschedError as error:
                print(f"{node_id} is not to lead: {error}")


# Tasks that recur


@dataclass(frozen=True)
class Recurring:
    """A task whose nominal times are known: whole multiples of some seconds."""

    name: str
    every_s: int
    threshold_s: int
    definition: task_pb2.Task


def recurring(witness: Witness, prefix: str) -> list[Recurring]:
    """Intervals and crons, under each misfire policy."""
    found = []
    for misfire in ("one", "skip", "all"):
        for kind, every_s in (("interval", 2), ("cron", 3)):
            name = f"{prefix}-{kind}-{misfire}"
            when = (
                {"every": timedelta(seconds=every_s), "anchor": _ANCHOR}
                if kind == "interval"
                else {"cron": f"*/{every_s} * * * * *"}
            )
            definition = task(name, command=witness.command, misfire=misfire, overlap="allow", **when)
            found.append(Recurring(name, every_s, 10, definition))
    return found


def check_starts(starts: Iterable[Started]) -> None:
    """Nothing begins before its time."""
    early = [each for each in starts if each.at_s < each.nominal_s - BOUND_S]
    assert not early, f"{len(early)} starts before their time: " + "; ".join(
        f"{each.task} {each.nominal_s - each.at_s:.3f} s early" for each in early[:5]
    )


def check_recurring(client: Client, witness: Witness, tasks: list[Recurring], since_s: float, until_s: float) -> None:
    """From one true time to another: none before its time, none left out that was not late, no silence."""
    everything = witness.started(*(each.name for each in tasks))
    check_starts(everything)
    alive_s = sorted(each.at_s for each in everything if each.at_s - each.nominal_s < 2)
    for one in tasks:
        starts = [each for each in everything if each.task == one.name]
        moments = [since_s, *(each.at_s for each in starts if since_s <= each.at_s <= until_s), until_s]
        longest = max(later - earlier for earlier, later in pairwise(moments))
        assert longest <= SILENCE_S, f"{one.name} was silent for {longest:.1f} s: {_shown(moments, since_s)}"
        _check_left_out(client, one, starts, alive_s, since_s, until_s)


def _check_left_out(
    client: Client, one: Recurring, starts: list[Started], alive_s: list[float], since_s: float, until_s: float
) -> None:
    first = -(-int(since_s) // one.every_s) * one.every_s
    expected = range(first + one.every_s, int(until_s - SILENCE_S), one.every_s)
    began = {round(each.nominal_s) for each in starts}
    # On a machine that is too busy to renew a lease, an execution is attempted again.
    ids = [(each.execution_id, each.attempt) for each in starts]
    assert len(ids) == len(set(ids)), f"{one.name}: an attempt started twice"
    for nominal_s in expected:
        if nominal_s in began:
            continue
        # Left out only if it was late in truth: nothing began meanwhile that was not late itself.
        meanwhile = [at for at in alive_s if nominal_s + 1 <= at <= nominal_s + one.threshold_s - 1]
        entry = next((e for e in client.list_ledger(one.name) if _covers(e, nominal_s)), None)
        assert not meanwhile, (
            f"{one.name}: the nominal time {nominal_s} was left out, and the cluster worked until "
            f"{meanwhile[-1] - nominal_s:.1f} s after it: {entry}"
        )
        assert entry is not None, f"{one.name}: the nominal time {nominal_s} has no record"


def _covers(entry: execution_pb2.LedgerEntry, nominal_s: int) -> bool:
    return entry.nominal_time.ToSeconds() <= nominal_s <= entry.last_nominal_time.ToSeconds()


def _shown(moments: list[float], since_s: float) -> str:
    return ", ".join(f"{each - since_s:.1f}" for each in moments)


def now_s() -> float:
    """True time."""
    return time.time()
