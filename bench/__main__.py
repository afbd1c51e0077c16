"""``python -m bench WORKLOAD``: runs a workload several times on fresh clusters; prints JSON lines and a table."""

import argparse
import json

from bench.cluster import Cluster
from bench.measure import Figures, machine
from bench.registry import WORKLOADS, Workload
from bench.report import print_table

_DEFAULT_PORT = 7601


def main() -> None:
    """Run what the arguments name."""
    given = vars(_parser().parse_args())
    name = given.pop("workload")
    shared = {key: given.pop(key) for key in ("runs", "nodes", "base_port")}
    print_table(measure(name, WORKLOADS[name], given, **shared))


def measure(
    name: str, workload: Workload, options: dict[str, object], *, runs: int, nodes: int, base_port: int
) -> list[Figures]:
    """The figures of several runs, each of which is printed as a line of JSON when it is over."""
    results = []
    for run in range(1, runs + 1):
        figures = run_once(workload, options, nodes, base_port)
        results.append(figures)
        line = {"workload": name, "run": run, "nodes": nodes, **options, **figures, "machine": machine()}
        print(json.dumps(line), flush=True)
    return results


def run_once(workload: Workload, options: dict[str, object], nodes: int, base_port: int) -> Figures:
    """One run on a cluster of its own, if it needs one."""
    if not workload.needs_cluster:
        return workload.run(**options)
    with Cluster(base_port, nodes) as cluster:
        return workload.run(cluster, **options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure a cluster on this machine.")
    commands = parser.add_subparsers(dest="workload", required=True, metavar="WORKLOAD")
    for name, workload in WORKLOADS.items():
        command = commands.add_parser(name, help=workload.help, description=workload.help)
        command.add_argument("--runs", type=int, default=3, help="each on a fresh cluster (default 3)")
        command.add_argument("--nodes", type=int, default=3, choices=(1, 3, 5))
        command.add_argument("--base-port", type=int, default=_DEFAULT_PORT)
        for option, default in workload.options.items():
            flag = f"--{option.replace('_', '-')}"
            command.add_argument(flag, type=type(default), default=default, help=f"default {default}")
    return parser


if __name__ == "__main__":
    main()
