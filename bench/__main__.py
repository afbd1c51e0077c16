"""``python -m bench WORKLOAD``: runs a workload several times on fresh clusters; prints JSON lines and a table."""

import argparse
import json
import statistics
from collections.abc import Callable

from bench import workloads
from bench.cluster import Cluster
from bench.measure import machine
from bench.workloads import Figures

WORKLOADS: dict[str, Callable[..., Figures]] = {
    "register": workloads.register,
    "herd": workloads.herd,
    "steady": workloads.steady,
    "failover": workloads.failover,
}


def main() -> None:
    """Run the workload that the arguments name."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure a three-node cluster on this machine.")
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    parser.add_argument("--runs", type=int, default=3, help="each on a fresh cluster (default 3)")
    parser.add_argument("--nodes", type=int, default=3, choices=(1, 3, 5))
    parser.add_argument("--base-port", type=int, default=7601)
    parser.add_argument("--count", type=int, help="herd: how many tasks (default 10,000)")
    parser.add_argument("--tasks", type=int, help="failover: how many tasks (default 200)")
    parser.add_argument("--per-second", type=int, help="steady: how many fires (default 100)")
    parser.add_argument("--seconds", type=int, help="steady, failover: how long (default 60)")
    parser.add_argument("--action", choices=("noop", "command"), help="what the tasks do (default noop)")
    given = vars(parser.parse_args())
    name, runs, nodes, base_port = (given.pop(key) for key in ("workload", "runs", "nodes", "base_port"))
    options = {key: value for key, value in given.items() if value is not None}
    results = []
    for number in range(1, runs + 1):
        with Cluster(base_port, nodes) as cluster:
            figures = WORKLOADS[name](cluster, **options)
        results.append(figures)
        print(
            json.dumps({"workload": name, "run": number, "nodes": nodes, **figures, "machine": machine()}), flush=True
        )
    _print_table(results)


def _print_table(results: list[Figures]) -> None:
    print(f"\n{'figure':30} {'median':>12} {'lowest':>12} {'highest':>12}")
    for key, first in results[0].items():
        if isinstance(first, str):
            print(f"{key:30} {first:>12}")
            continue
        values = [float(result[key]) for result in results]
        print(f"{key:30} {statistics.median(values):>12g} {min(values):>12g} {max(values):>12g}")


if __name__ == "__main__":
    main()
