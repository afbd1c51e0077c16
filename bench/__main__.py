"""``python -m bench WORKLOAD``: runs a workload several times on fresh clusters; prints JSON lines and a table."""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.calibration import Run, calibrate
from bench.cluster import Cluster
from bench.compare import COMPARISONS, compare, in_words, measure_in_turn, table
from bench.everything import measure_everything
from bench.measure import Figures, machine
from bench.peers import NotInstalled
from bench.registry import EVERYTHING, WORKLOADS, Row, Workload
from bench.report import DOCUMENT, print_table, write_document
from bench.revision import common_figures, compare_commit

_DEFAULT_PORT = 7601
_DEFAULT_NODES = 3


def main() -> None:
    """Run what the arguments name."""
    given = vars(_parser().parse_args())
    command = given.pop("command")
    if command == "all":
        write_everything(**given)
    elif command == "compare":
        against = given.pop("against")
        if against == "commit":
            compare_with_commit(given)
        elif against == "tls":
            compare_tls(**given)
        else:
            compare_with(against, **given)
    else:
        shared = {key: given.pop(key) for key in ("runs", "nodes", "base_port")}
        print_table(measure(command, given, **shared))


def measure(name: str, options: dict[str, object], *, runs: int, nodes: int, base_port: int) -> list[Run]:
    """Several runs, each of which is printed as a line of JSON when it is over."""
    results = []
    for number in range(1, runs + 1):
        results.append(run_once(WORKLOADS[name], options, nodes, base_port))
        _print_line(name, options, {"run": number, "nodes": nodes}, results[-1])
    return results


def _print_line(name: str, options: dict[str, object], about: dict[str, int], run: Run) -> None:
    line = {
        "workload": name,
        **about,
        **options,
        **run.figures,
        "calibration": run.calibration.figures(),
        "load": round(os.getloadavg()[0], 2),
        "machine": machine(),
    }
    print(json.dumps(line), flush=True)


def run_once(workload: Workload, options: dict[str, object], nodes: int, base_port: int) -> Run:
    """One run, with the calibration before it."""
    calibration = calibrate()
    return Run(_figures(workload, options, nodes, base_port), calibration)


def _figures(workload: Workload, options: dict[str, object], nodes: int, base_port: int) -> Figures:
    """Of a cluster of its own, if it needs one."""
    if not workload.needs_cluster:
        return workload.run(**options)
    with Cluster(base_port, nodes, workload.variables) as cluster:
        return workload.run(cluster, **options)


def write_everything(minutes: float, runs: int, base_port: int) -> None:
    """All workloads, and docs/benchmarks.md after each run, so that an end before the last one loses nothing."""

    def run(row: Row) -> Run:
        measured = run_once(WORKLOADS[row.name], row.options, 3, base_port)
        _print_line(row.name, row.options, {"nodes": 3}, measured)
        return measured

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
        lines = compare(peer, workload, options, runs, lambda: _figures(WORKLOADS[workload], options, 3, base_port))
    except NotInstalled as missing:
        sys.exit(f"Skipped: {missing}")
    print("\n" + "\n".join(lines))


def compare_tls(workload: str, runs: int, base_port: int, **options: object) -> None:
    """A cluster in plain text and one with TLS in turn."""

    def run(secure: bool) -> Figures:
        with Cluster(base_port, secure=secure) as cluster:
            return WORKLOADS[workload].run(cluster, **options)

    sides = {"plain": lambda: run(False), "tls": lambda: run(True)}
    theirs, ours = measure_in_turn(sides, runs)
    pairs = [(each, each) for each in common_figures(theirs[0].figures, ours[0].figures, options)]
    lines = [*table(("plain", "tls"), pairs, theirs, ours), "", f"{in_words(runs)} Ratio: TLS to plain text."]
    print("\n" + "\n".join(lines))


def compare_with_commit(given: dict[str, Any]) -> None:
    """Another revision and this one in turn. ``given``: besides the options of the workload what is popped here."""
    revision, workload, runs, keep = (given.pop(key) for key in ("revision", "workload", "runs", "keep"))
    defaults = {**WORKLOADS[workload].options, "nodes": _DEFAULT_NODES, "base_port": _DEFAULT_PORT}
    lines = compare_commit(revision, workload, given, defaults, runs, keep)
    print("\n" + "\n".join(lines))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure a cluster on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, workload in WORKLOADS.items():
        command = commands.add_parser(name, help=workload.help, description=workload.help)
        _add_run_options(command, 3, "each on a fresh cluster")
        _add_options(command, workload)
    everything = commands.add_parser("all", help="All workloads; writes the tables of docs/benchmarks.md.")
    everything.add_argument("--minutes", type=float, default=25, help="no run begins that would end later (default 25)")
    everything.add_argument("--runs", type=int, default=3, choices=(1, 2, 3), help="of each at most (default 3)")
    everything.add_argument("--base-port", type=int, default=_DEFAULT_PORT)
    comparing = commands.add_parser("compare", help="Another system or revision and raftsched in turn, and the ratio.")
    against = comparing.add_subparsers(dest="against", required=True, metavar="AGAINST")
    for peer in sorted({peer for peer, _ in COMPARISONS}):
        command = against.add_parser(peer, help=f"{peer} and raftsched.", description=f"{peer} and raftsched in turn.")
        command.add_argument("workload", choices=sorted(each for at, each in COMPARISONS if at == peer))
        command.add_argument("--runs", type=int, default=2, help="of each, in turn (default 2)")
        command.add_argument("--count", type=int, default=10_000, help="herd: how many tasks (default 10,000)")
        command.add_argument("--base-port", type=int, default=_DEFAULT_PORT)
    _add_commit(against)
    _add_tls(against)
    return parser


def _add_tls(against: Any) -> None:
    command = against.add_parser(
        "tls",
        help="A cluster in plain text and one with TLS.",
        description="A cluster in plain text and one with TLS and certificates on both sides, in turn.",
    )
    workloads = command.add_subparsers(dest="workload", required=True, metavar="WORKLOAD")
    for name in ("register", "herd"):
        options = workloads.add_parser(name, help=WORKLOADS[name].help, description=WORKLOADS[name].help)
        options.add_argument("--runs", type=_positive, default=2, help="of each, in turn (default 2)")
        options.add_argument("--base-port", type=int, default=_DEFAULT_PORT)
        _add_options(options, WORKLOADS[name])


def _add_commit(against: Any) -> None:
    command = against.add_parser(
        "commit",
        help="Another revision of raftsched and this one, each measured by its own scripts/bench.",
        description="Another revision of raftsched, in a clone that is set up for it (about 40 s), and this one in "
        "turn: the figures of both, the ratio of this to the other, and which direction is better.",
    )
    command.add_argument("revision", metavar="REV", help="a commit, branch or tag of this repository: HEAD~3")
    workloads = command.add_subparsers(dest="workload", required=True, metavar="WORKLOAD")
    for name, workload in WORKLOADS.items():
        options = workloads.add_parser(name, help=workload.help, description=workload.help)
        _add_run_options(options, 2, "of each, in turn, each on a fresh cluster")
        options.add_argument(
            "--keep", type=Path, metavar="DIRECTORY", help="where the clone stays, and is found the next time"
        )
        _add_options(options, workload)


def _add_run_options(command: argparse.ArgumentParser, runs: int, what: str) -> None:
    command.add_argument("--runs", type=_positive, default=runs, help=f"{what} (default {runs})")
    command.add_argument("--nodes", type=int, default=_DEFAULT_NODES, choices=(1, 3, 5))
    command.add_argument("--base-port", type=int, default=_DEFAULT_PORT)


def _add_options(command: argparse.ArgumentParser, workload: Workload) -> None:
    for option, default in workload.options.items():
        flag = f"--{option.replace('_', '-')}"
        command.add_argument(flag, type=type(default), default=default, help=f"default {default}")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted; what ran has ended.")
