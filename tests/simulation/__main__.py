"""Runs simulation seeds: python -m tests.simulation --seeds 100 --jobs 2, or --seed 7 --trace.

Profile ``everything`` and those that begin with ``system-`` run the whole system; the others the shard alone, with
more of what can go wrong in it.
"""

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.consensus.faults import PROFILES
from tests.simulation.consensus.run import DEAF, REJOIN, Result, simulate
from tests.simulation.system.faults import SYSTEM_PROFILES
from tests.simulation.system.run import simulate_system
from tests.simulation.trace import readable

SHARD_PROFILES = {"consensus" if name == "everything" else name: name for name in (*PROFILES, REJOIN, DEAF)}
"""By the name on the command line."""


def run_seed(seed: int, *, profile: str, nodes: int) -> Result:
    """One seed of any profile."""
    if profile in SYSTEM_PROFILES:
        result = simulate_system(seed, profile=profile, nodes=nodes)
    else:
        result = simulate(seed, profile=SHARD_PROFILES[profile], nodes=nodes)
    result.profile = profile
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, help="run this one")
    which.add_argument("--seeds", type=int, default=20, help="run so many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--profile", choices=[*SYSTEM_PROFILES, *SHARD_PROFILES], default="everything")
    parser.add_argument("--nodes", type=int, choices=(1, 2, 3, 4, 5), default=3)
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the seeds")
    parser.add_argument("--trace", action="store_true", help="print every event")
    arguments = parser.parse_args()
    # The engine speaks up about the faults that it meets.
    logging.disable(logging.CRITICAL)
    first = arguments.first
    seeds = [arguments.seed] if arguments.seed is not None else range(first, first + arguments.seeds)
    begun, failed, facts = time.monotonic(), 0, dict[str, float]()
    for result in _results(seeds, arguments):
        failed += bool(result.violation)
        if arguments.trace:
            for line in result.trace:
                print(readable(line))
        for name, value in result.facts.items():
            if isinstance(value, int | float):
                facts[name] = facts.get(name, 0) + value
        if result.violation or arguments.seed is not None:
            _report(result)
    if arguments.seed is None:
        print("in all: " + ", ".join(f"{name} {value:.0f}" for name, value in facts.items()))
    print(f"{len(seeds)} seeds of {arguments.profile!r} on {arguments.nodes} nodes, {failed} violations, ", end="")
    print(f"{time.monotonic() - begun:.1f} s")
    return 1 if failed else 0


def _results(seeds: Sequence[int], arguments: argparse.Namespace) -> Iterator[Result]:
    work = partial(_in_brief, profile=arguments.profile, nodes=arguments.nodes, trace=arguments.trace)
    if arguments.jobs == 1:
        yield from map(work, seeds)
    else:
        with ProcessPoolExecutor(arguments.jobs) as pool:
            yield from pool.map(work, seeds, chunksize=2)


def _in_brief(seed: int, *, profile: str, nodes: int, trace: bool) -> Result:
    """The result without what nobody reads, which need not travel between processes."""
    result = run_seed(seed, profile=profile, nodes=nodes)
    if not trace:
        result.trace.clear()
    if isinstance(error := result.facts.pop("error", None), Exception):
        result.facts["where"] = "".join(traceback.format_exception(error))
    return result


def _report(result: Result) -> None:
    where = result.facts.pop("where", "")
    print(f"seed {result.seed}: {result.violation or 'ok'}\n  replay: {result.replay} --trace")
    print(f"  digest {result.digest}, {', '.join(f'{key} {value}' for key, value in result.facts.items())}")
    if where:
        print(where)


if __name__ == "__main__":
    sys.exit(main())
