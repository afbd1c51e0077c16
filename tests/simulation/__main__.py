"""Runs simulation seeds: python -m tests.simulation --seeds 100, or --seed 7 --trace."""

import argparse
import sys
import time
import traceback

from tests.simulation.consensus.faults import PROFILES
from tests.simulation.consensus.run import DEAF, REJOIN, Result, simulate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, help="run this one")
    which.add_argument("--seeds", type=int, default=20, help="run so many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--profile", choices=[*PROFILES, REJOIN, DEAF], default="everything")
    parser.add_argument("--nodes", type=int, choices=(1, 2, 3, 4, 5), default=3)
    parser.add_argument("--trace", action="store_true", help="print every event")
    arguments = parser.parse_args()
    first = arguments.first
    seeds = [arguments.seed] if arguments.seed is not None else range(first, first + arguments.seeds)
    begun, failed = time.monotonic(), 0
    for seed in seeds:
        result = simulate(seed, profile=arguments.profile, nodes=arguments.nodes)
        failed += bool(result.violation)
        if arguments.trace:
            for line in result.trace:
                print(*line)
        if result.violation or arguments.seed is not None:
            _report(result)
    print(f"{len(seeds)} seeds of {arguments.profile!r} on {arguments.nodes} nodes, {failed} violations, ", end="")
    print(f"{time.monotonic() - begun:.1f} s")
    return 1 if failed else 0


def _report(result: Result) -> None:
    error = result.facts.pop("error", None)
    print(f"seed {result.seed}: {result.violation or 'ok'}\n  replay: {result.replay} --trace")
    print(f"  digest {result.digest}, {', '.join(f'{key} {value}' for key, value in result.facts.items())}")
    if isinstance(error, Exception):
        traceback.print_exception(error)


if __name__ == "__main__":
    sys.exit(main())
