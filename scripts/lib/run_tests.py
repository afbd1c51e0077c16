"""Runs every test of the repository in an environment that holds what they need."""

import os

import environment

WORKERS = "2"


def main(arguments: list[str]) -> None:
    """Become pytest. Tests that start clusters share one of the workers (tests/conftest.py)."""
    python = environment.prepare("dev")
    os.chdir(environment.ROOT)
    os.execv(python, [os.fspath(python), "-m", "pytest", "-n", WORKERS, *arguments])
