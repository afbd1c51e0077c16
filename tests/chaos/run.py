"""One chaos run: a lab, a workload, faults by turns, and the verdict."""

import contextlib
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from raftsched_client import Client, RaftschedError
from raftsched_proto.v1 import execution_pb2

from tests.chaos import faults
from tests.chaos.checks import Verdict, check_progress, compare_tables, judge
from tests.chaos.lab import Lab, missing_abilities
from tests.chaos.workload import Observed, Workload
from tests.support.cluster import eventually

_TWO_AT_ONCE = 0.25
_RECOVER_WITHIN_S = 60.0
_END_WITHIN_S = 90.0
_UNENDED = [
    execution_pb2.EXECUTION_STATE_ARMED,
    execution_pb2.EXECUTION_STATE_PENDING,
    execution_pb2.EXECUTION_STATE_ASSIGNED,
    execution_pb2.EXECUTION_STATE_RUNNING,
]


@dataclass
class Report:
    """What a run did and found."""

    seed: int
    directory: Path
    seconds: float = 0.0
    calls: int = 0
    count: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    recoveries_s: list[float] = field(default_factory=list)

    def summary(self) -> str:
        """One line with what happened."""
        counted = ", ".join(f"{number} {what}" for what, number in sorted(self.count.items()))
        delays = self.verdict.delays_s
        middle = f"{delays[len(delays) // 2]:.3f}" if delays else "-"
        worst = f"{delays[-1]:.1f}" if delays else "-"
        return (
            f"seed {self.seed}: {self.seconds:.0f} s, {self.calls} client calls, {self.verdict.fires} fires, "
            f"{self.verdict.starts} command starts, {counted}; start delay median {middle} s, worst {worst} s; "
            f"slowest recovery {max(self.recoveries_s, default=0.0):.1f} s; {len(self.verdict.violations)} violations"
        )


def choose(names: Sequence[str]) -> tuple[dict[str, faults.Fault], dict[str, str]]:
    """The faults of these names that this machine can do, and why it cannot do others. Empty: all."""
    missing = missing_abilities()
    unable: dict[str, str] = {}
    for ability, group in (
        ("network", faults.WITH_NETWORK),
        ("clocks", faults.WITH_CLOCKS),
        ("small_disk", faults.WITH_SMALL_DISK),
    ):
        if ability in missing:
            unable |= dict.fromkeys(group, missing[ability])
    wanted = [name for name in faults.EVERY if not names or name in names or name.partition("-")[0] in names]
    return {name: faults.EVERY[name] for name in wanted if name not in unable}, unable


def run(seed: int, *, nodes: int, seconds: float, names: Sequence[str], directory: Path, say: bool = False) -> Report:
    """Break a cluster for so long, and judge what it did."""
    chosen, unable = choose(names)
    report = Report(seed, directory)
    report.verdict.notes += [f"no {name}: {reason}" for name, reason in unable.items()]
    abilities = {
        "network": bool(chosen.keys() & faults.WITH_NETWORK.keys()),
        "clocks": bool(chosen.keys() & faults.WITH_CLOCKS.keys()),
        "small_disk": bool(chosen.keys() & faults.WITH_SMALL_DISK.keys()),
    }
    truth = directory / "ground-truth"
    begun = time.monotonic()
    with Lab(directory, nodes, **abilities) as lab:
        if not lab.network.can_slow:
            chosen.pop("slow", None)
        with Workload(lab, seed, truth) as workload:
            problems = _break(lab, chosen, seed, time.monotonic() + seconds, report, say)
        report.verdict.violations += problems
        report.calls = workload.observed.calls
        notes, violations = report.verdict.notes, report.verdict.violations
        report.verdict = _finish(lab, workload.observed, truth)
        report.verdict.notes[:0] = notes
        report.verdict.violations[:0] = violations
    report.seconds = time.monotonic() - begun
    return report


def _break(lab: Lab, chosen: dict[str, faults.Fault], seed: int, until: float, report: Report, say: bool) -> list[str]:
    """Rotate the faults: each comes once before one comes twice."""
    dice = random.Random(seed)
    problems: list[str] = []
    time.sleep(6)
    queue: list[str] = []
    while time.monotonic() < until and not problems:
        if len(queue) < 2:
            queue += dice.sample(list(chosen), len(chosen))
        names = [queue.pop(0)]
        if dice.random() < _TWO_AT_ONCE and _may_join(names[0], queue):
            names.append(queue.pop(0))
        hold_s, draws = dice.uniform(2.0, 7.0), dice.getrandbits(32)
        if say:
            print(f"{datetime.now(UTC):%H:%M:%S} {' + '.join(names)} for {hold_s:.1f} s", flush=True)
        context = faults.Context(lab, random.Random(draws), hold_s, report.count, problems, report.verdict.notes)
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(chosen[name](context))
            context.hold()
        problems += _recover(lab, report, names)
        time.sleep(dice.uniform(1.0, 3.0))
    return problems


def _may_join(name: str, queue: list[str]) -> bool:
    """Faults that mend what another broke, or hit processes that are gone, come alone."""
    alone = {"kill-all", "restart-storm", "stop-leader", "disk"}
    if not queue or name in alone or queue[0] in alone:
        return False
    both_network = {name, queue[0]} <= set(faults.WITH_NETWORK)
    both_processes = all(each.startswith(("kill", "pause")) for each in (name, queue[0]))
    return not both_network and not both_processes


def _recover(lab: Lab, report: Report, names: list[str]) -> list[str]:
    """The cluster must be whole again in bounded time after the faults."""
    begun = time.monotonic()
    dead = [id_ for id_, node in lab.nodes.items() if not node.running]
    if dead:
        return [f"after {names}: {id_} is down: {lab.last_words(id_)}" for id_ in dead]
    try:
        with lab.client() as client:
            eventually(lambda: lab._all_ready(client), within_s=_RECOVER_WITHIN_S, what="a whole cluster")
    except AssertionError as error:
        return [f"after {names}: the cluster did not recover: {error}"]
    report.recoveries_s.append(time.monotonic() - begun)
    return []


def _finish(lab: Lab, observed: Observed, truth: Path) -> Verdict:
    """Let everything end, judge, stop all nodes and compare their disks."""
    try:
        with lab.client(timeout=30.0) as client:
            late = list(check_progress(client, observed, datetime.now(UTC)))
            _settle(client, observed)
            verdict = judge(client, observed, truth)
            verdict.violations += late
            _same_index(client)
    except (AssertionError, RaftschedError) as error:
        return Verdict(violations=[f"the cluster did not come to rest: {error!r}"])
    time.sleep(1)
    lab.stop_all()
    verdict.violations += compare_tables(lab.directory / id_ for id_ in lab.nodes)
    return verdict


def _settle(client: Client, observed: Observed) -> None:
    """Pause all that recurs, and wait until every execution has ended."""
    last = max(observed.one_time.values(), default=datetime.now(UTC))
    eventually(lambda: datetime.now(UTC) > last, what="the last one-time task")
    for name in observed.recurring:
        client.pause_task(name)
    eventually(
        lambda: not any(client.list_executions(states=_UNENDED)),
        within_s=_END_WITHIN_S,
        what="the end of every execution",
    )


def _same_index(client: Client) -> None:
    """All nodes have applied the same entries."""

    def same() -> bool:
        status = client.get_status()
        return len({node.applied_index for node in status.nodes}) == 1

    eventually(same, what="all nodes at one applied index")
