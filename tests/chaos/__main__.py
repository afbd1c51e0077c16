"""Breaks a real cluster for a while: python -m tests.chaos --minutes 5 --seed 7 --nodes 5 --faults kill,pause,split."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import EVERY
from tests.chaos.run import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults come")
    parser.add_argument("--seed", type=int, help="replays a plan of faults; default: a new one")
    parser.add_argument("--nodes", type=int, choices=(3, 5), default=3)
    which = f"names or their first words, from {', '.join(EVERY)}; default: all"
    parser.add_argument("--faults", default="", help=which)
    parser.add_argument("--directory", type=Path, help="where nodes keep their files; default: a temporary one")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="raftsched-chaos-"))
    print(f"seed {seed}, files in {directory}", flush=True)
    names = [name for name in arguments.faults.split(",") if name]
    report = run(
        seed, nodes=arguments.nodes, seconds=60 * arguments.minutes, names=names, directory=directory, say=True
    )
    for note in report.verdict.notes:
        print("note:", note)
    for violation in report.verdict.violations:
        print("VIOLATION:", violation)
    print(report.summary())
    if not report.verdict.violations and arguments.directory is None:
        shutil.rmtree(directory)
    return 1 if report.verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
