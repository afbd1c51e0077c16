"""Finds a Python that is new enough. Written so that Python 3.6 can read it."""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
NEWEST_TO_TRY = 20


def require_python() -> None:
    """Go on in this Python, or in a newer one that is installed beside it, or say what to install."""
    if sys.version_info >= OLDEST:
        return
    for minor in range(NEWEST_TO_TRY, OLDEST[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer and subprocess.call([newer, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(newer, [newer, *sys.argv])
    oldest, this = ".".join(map(str, OLDEST)), sys.version.split()[0]
    sys.exit(
        f"raftsched needs Python {oldest} or later; this is {this} ({sys.executable}).\n"
        f"Install a newer one, for example python{oldest} with python{oldest}-venv, and run this again."
    )
