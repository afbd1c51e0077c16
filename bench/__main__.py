"""``python -m bench WORKLOAD``: runs a workload several times on fresh clusters; prints JSON lines and a table."""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

from bench.cluster import Cluster
from bench.compare import COMPARISONS, compare
from bench.everything import measure_everything
from bench.measure import Figures, machine
from bench.peers import NotInstalled
from bench.registry import EVERYTHING, WORKLOADS, Row, Workload
from bench.report import DOCUMENT, print_table, write_document

_DEFAULT_PORT = 7601


def main() -> None:
    """Run what the arguments name."""
    given = vars(_parser().parse_args())
    command = given.pop("command")
    if command == "all":
        write_everything(**given)
    elif command == "compare":
        compare_with(**given)
    else:
        shared = {key: given.pop(key) for key in ("runs", "nodes", "base_port")}
        print_table(measure(command, given, **shared))


def measure(name: str, options: dict[str, object], *, runs: int, nodes: int, base_port: int) -> list[Figures]:
    """The figures of several runs, each of which is printed as a line of JSON when it is over."""
    results = []
    for run in range(1, runs + 1):
        results.append(run_once(WORKLOADS[name], options, nodes, base_port))
        _print_line(name, options, {"run": run, "nodes": nodes}, results[-1])
    return results


def _print_line(name: str, options: dict[str, object], run: dict[str, int], figures: Figures) -> None:
    line = {"workload": name, **run, **options, **figures, "load": round(os.getloadavg()[0], 2), "machine": machine()}
    print(json.dumps(line), flush=True)


def run_once(workload: Workload, options: dict[str, object], nodes: int, base_port: int) -> Figures:
    """One run on a cluster of its own, if it needs one."""
    if not workload.needs_cluster:
        return workload.run(**options)
    with Cluster(base_port, nodes, workload.variables) as cluster:
        return workload.run(cluster, **options)


def write_everything(minutes: float, runs: int, base_port: int) -> None:
    """All workloads, and docs/benchmarks.md after each run, so that an end before the last one loses nothing."""

    def run(row: Row) -> Figures:
        figures = run_once(WORKLOADS[row.name], row.options, 3, base_port)
        _print_line(row.name, row.options, {"nodes": 3}, figures)
        return figures

    about = f"on {datetime.now(UTC).date().isoformat()}, from a load average of {os.getloadavg()[0]:.1f} on"
    rows = [replace(row, runs=min(runs, row.runs)) for row in EVERYTHING]
    for tables in measure_everything(rows, 60 * minutes, time.monotonic, run):
        write_document(tables, about)
    print(f"\nThe tables are in {DOCUMENT}")
    if missing := [table for table in tables if not table.results]:
        sys.exit("\n".join(f"{table.row.name} {table.row.options}: {table.note}" for table in missing))


def compare_with(peer: str, workload: str, runs: int, base_port: int, count: int) -> None:
    """A peer and raftsched in turn."""
    options: dict[str, object] = {"count": count} if "count" in WORKLOADS[workload].options else {}
    try:
        lines = compare(
            peer, workload, options, runs, lambda name, chosen: run_once(WORKLOADS[name], chosen, 3, base_port)
        )
    except NotInstalled as missing:
        sys.exit(f"Skipped: {missing}")
    print("\n" + "\n".join(lines))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure a cluster on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, workload in WORKLOADS.items():
        command = commands.add_parser(name, help=workload.help, description=workload.help)
        command.add_argument("--runs", type=int, default=3, help="each on a fresh cluster (default 3)")
        command.add_argument("--nodes", type=int, default=3, choices=(1, 3, 5))
        command.add_argument("--base-port", type=int, default=_DEFAULT_PORT)
        for option, default in workload.options.items():
            flag = f"--{option.replace('_', '-')}"
            command.add_argument(flag, type=type(default), default=default, help=f"default {default}")
    everything = commands.add_parser("all", help="All workloads; writes the tables of docs/benchmarks.md.")
    everything.add_argument("--minutes", type=float, default=25, help="no run begins that would end later (default 25)")
    everything.add_argument("--runs", type=int, default=3, choices=(1, 2, 3), help="of each at most (default 3)")
    everything.add_argument("--base-port", type=int, default=_DEFAULT_PORT)
    comparing = commands.add_parser("compare", help="Another system and raftsched in turn, and the ratio.")
    comparing.add_argument("peer", choices=sorted({peer for peer, _ in COMPARISONS}))
    comparing.add_argument("workload", choices=sorted({workload for _, workload in COMPARISONS}))
    comparing.add_argument("--runs", type=int, default=2, help="of each, in turn (default 2)")
    comparing.add_argument("--count", type=int, default=10_000, help="herd: how many tasks (default 10,000)")
    comparing.add_argument("--base-port", type=int, default=_DEFAULT_PORT)
    return parser


if __name__ == "__main__":
    main()
