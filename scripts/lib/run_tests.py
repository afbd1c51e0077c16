"""Runs every test of the repository in an environment that holds what they need."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import environment

WORKERS = "2"
WITHOUT_BROWSER = "--without-browser"


def main(arguments: list[str]) -> None:
    """Run the browser tests, then pytest, whose summary so ends the log; exit with 0 when both are well.

    Arguments choose tests of pytest, so with any of them the browser tests stay out.
    """
    python = environment.prepare("dev")
    os.chdir(environment.ROOT)
    browser = 0 if arguments else _browser_tests()
    chosen = [argument for argument in arguments if argument != WITHOUT_BROWSER]
    tests = subprocess.run([os.fspath(python), "-m", "pytest", "-n", WORKERS, *chosen], check=False).returncode
    if browser:
        print("The tests of the web interface failed; they ran first, see above.", file=sys.stderr)
    sys.exit(tests or browser)


def _browser_tests() -> int:
    """Where npm or Chromium is missing, say so and leave them out."""
    missing = [name for name, there in (("npm", _program("npm")), ("Chromium", _chromium())) if not there]
    if missing:
        print(
            f"The tests of the web interface in a browser are left out: {' and '.join(missing)} is missing "
            "(./scripts/install-test-tools; Node.js 20.19 or later has npm).",
            file=sys.stderr,
            flush=True,
        )
        return 0
    return subprocess.run(["make", "--no-print-directory", "e2e"], check=False, stdin=subprocess.DEVNULL).returncode


def _program(name: str) -> bool:
    return shutil.which(name) is not None


def _chromium() -> bool:
    """As tests/e2e/browser.ts finds it."""
    return Path(os.environ.get("CHROMIUM", "/usr/bin/chromium")).exists()
