"""The web interface that the nodes serve: built when its sources changed, which needs npm."""

import subprocess
import sys

import environment

BUILD = environment.ROOT / "scripts" / "build-ui"


def build() -> None:
    """Build what is out of date. Without it the nodes run as well and say so at their address."""
    if subprocess.run([str(BUILD), "--if-changed"], stdin=subprocess.DEVNULL, check=False).returncode:
        print("The nodes start without a new build of their web interface.", file=sys.stderr, flush=True)
