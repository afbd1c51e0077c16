"""The virtual environment of the checkout, `.venv`: made from pinned requirements, and again only when they change."""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "raftsched-stamp.json"
REQUIREMENTS = {name: ROOT / "requirements" / f"{name}.txt" for name in ("runtime", "dev")}
PACKAGES = (ROOT / "proto", ROOT / "client", ROOT)


def prepare(kind: str = "runtime") -> Path:
    """Make `.venv` ready to run ("runtime") or also to test ("dev"), or exit with advice; the path of its Python."""
    with _alone():
        wanted = _wanted(kind)
        stamp = _stamp()
        if any(stamp.get(part) != value for part, value in wanted.items()):
            _install(kind, stamp, wanted)
    return PYTHON


def main(arguments: list[str]) -> None:
    """Prepare one kind of environment."""
    parser = argparse.ArgumentParser(
        prog="./scripts/setup", description="Make the environment .venv, or bring it up to date."
    )
    parser.add_argument(
        "kind", nargs="?", choices=["runtime", "dev"], default="runtime", help="dev: also what tests and checks need"
    )
    prepare(parser.parse_args(arguments).kind)


def _wanted(kind: str) -> dict[str, str]:
    """What the stamp says of an environment that is ready. The dev requirements contain those of the runtime."""
    kinds = ("runtime",) if kind == "runtime" else ("runtime", "dev")
    return {
        "python": f"{sys.version} {ROOT}",
        "packages": _digest(*(package / "pyproject.toml" for package in PACKAGES)),
        **{name: _digest(REQUIREMENTS[name]) for name in kinds},
    }


def _install(kind: str, stamp: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    if stamp.get("python") != wanted["python"] or not PYTHON.exists():
        print(f"Making {VENV.relative_to(ROOT)} with Python {sys.version.split()[0]}", flush=True)
        _make_venv()
        stamp = {}
    STAMP.unlink(missing_ok=True)
    if any(stamp.get(name) != wanted.get(name) for name in ("runtime", kind)):
        print(f"Installing requirements/{kind}.txt", flush=True)
        _pip("--require-hashes", "--requirement", os.fspath(REQUIREMENTS[kind]))
    in_place = [argument for package in PACKAGES for argument in ("--editable", os.fspath(package))]
    _pip("--no-index", "--no-deps", "--no-build-isolation", *in_place)
    STAMP.write_text(json.dumps({**stamp, **wanted}), encoding="utf-8")


def _make_venv() -> None:
    if VENV.exists() and not VENV.is_symlink() and not (VENV / "pyvenv.cfg").exists() and any(VENV.iterdir()):
        sys.exit(f"{VENV} exists and is no virtual environment. Move it away and run this again.")
    if VENV.is_symlink():
        sys.exit(f"{VENV} is a symbolic link. Remove it and run this again.")
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True, check=False)
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"{sys.executable} cannot make a virtual environment:\n{_last_lines(made.stdout + made.stderr)}\n"
            f"On Debian and Ubuntu, install python{version}-venv (apt install python{version}-venv) and run this again."
        )


def _pip(*arguments: str) -> None:
    command = [os.fspath(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        sys.exit(
            f"Could not install into {VENV}:\n{_last_lines(done.stdout + done.stderr)}\n"
            "pip must reach a package index over the network; its own settings (pip config, HTTPS_PROXY) apply.\n"
            "What is installed so far is kept; run this again."
        )


@contextmanager
def _alone() -> Iterator[None]:
    """Let two scripts that start at once set up one after the other."""
    with REQUIREMENTS["runtime"].open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp() -> dict[str, str]:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _last_lines(text: str, count: int = 15) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-count:])
