"""Runs every test of the repository in an environment that holds what they need."""

import os

import environment

WORKERS = "2"


def main(arguments: list[str]) -> None:
    """Become pytest. Tests that start clusters share one worker (tests/integration/conftest.py), beside all others."""
    python = environment.prepare("dev")
    defaults = ["-n", WORKERS, "--dist", "loadgroup"]
    os.chdir(environment.ROOT)
    os.execv(python, [os.fspath(python), "-m", "pytest", *defaults, *arguments])
