"""Another revision of raftsched and this one in turn: each is measured by its own ``scripts/bench``."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.compare import in_words, measure_in_turn, table
from bench.measure import Figures

ROOT = Path(__file__).parent.parent
_MARK = "raftsched-bench"
"""A file in the .git of clones that are made here: no other directory is ever checked out anew."""
_NEEDED = ("scripts/setup", "scripts/bench")
_ABOUT_THE_RUN = {"run", "runs", "nodes", "base_port", "load"}
"""Numbers in the line of a run that are no figures."""
_STOP_S = 30.0


def compare_commit(
    revision: str,
    workload: str,
    options: Mapping[str, object],
    defaults: Mapping[str, object],
    runs: int,
    keep: Path | None,
) -> list[str]:
    """Lines of a table of medians and ratios; ``keep``: where the clone stays for the next time, if anywhere.

    Ends the program (SystemExit) before anything is set up when there is no such revision, or it has no such workload.
    """
    commit = resolve(revision, ROOT)
    refuse_if_missing(commit, revision, workload, ROOT)
    other = commit[:7]
    with _interruptible(), tempfile.TemporaryDirectory(prefix="raftsched-bench-commit-") as name:
        work = Path(name).resolve()
        data = work / "data"
        data.mkdir()
        try:
            clone = keep.absolute() if keep else work / "clone"
            _set_up(clone, commit)
            known = flags_in(_run([str(clone / "scripts" / "bench"), workload, "--help"], data))
            arguments = [workload, *arguments_for(options, defaults, known, other)]
            sides = {
                other: lambda: _measure(clone, arguments, data),
                "this": lambda: _measure(ROOT, arguments, data),
            }
            theirs, ours = measure_in_turn(sides, runs)
        finally:
            _end_all_of(work)
    pairs = [(each, each) for each in common_figures(theirs[0].figures, ours[0].figures, options)]
    return [
        *table((other, "this"), pairs, theirs, ours),
        "",
        f"{in_words(runs)} {other} is {revision}; this is {_this()}. Ratio: this to {other}.",
    ]


def resolve(revision: str, repository: Path) -> str:
    """The hash of the commit, or the end of the program."""
    if _git(repository, "rev-parse", "--git-dir") is None:
        raise SystemExit(f"{repository} is no git repository, so there is no other revision to compare with.")
    named = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if not named:
        raise SystemExit(f"There is no revision {revision} in {repository}.")
    return named.strip()


def refuse_if_missing(commit: str, revision: str, workload: str, repository: Path) -> None:
    """End the program when the revision cannot be measured."""
    for path in _NEEDED:
        if _git(repository, "cat-file", "-e", f"{commit}:{path}") is None:
            raise SystemExit(f"{revision} ({commit[:7]}) has no {path}, so it cannot measure itself.")
    if not _git(repository, "grep", "--fixed-strings", f'"{workload}"', commit, "--", "bench"):
        raise SystemExit(f"{revision} ({commit[:7]}) has no workload {workload}.")


def flags_in(help_text: str) -> set[str]:
    """The options that a help text names."""
    return set(re.findall(r"--[a-z0-9][a-z0-9-]*", help_text))


def arguments_for(
    options: Mapping[str, object], defaults: Mapping[str, object], known: set[str], other: str
) -> list[str]:
    """The command line of a run, for both revisions; all is written out, since defaults may differ between them.

    An option that the other one does not have is left out when it has its default here, and else ends the program.
    """
    arguments = ["--runs", "1"]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if flag in known:
            arguments += [flag, str(value)]
        elif value != defaults.get(name):
            raise SystemExit(f"{other} has no option {flag}.")
    return arguments


def figures_in(output: str) -> Figures:
    """The figures of one run, from its line of JSON. Raises ValueError without one."""
    for line in output.splitlines():
        with contextlib.suppress(ValueError):
            read = json.loads(line)
            if isinstance(read, dict) and "workload" in read:
                return {name: value for name, value in read.items() if isinstance(value, int | float | str)}
    raise ValueError("no line of JSON")


def common_figures(theirs: Figures, ours: Figures, options: Mapping[str, object]) -> list[str]:
    """The names of the numbers that both measured, in our order."""
    return [
        name
        for name, value in ours.items()
        if name not in _ABOUT_THE_RUN | options.keys()
        and isinstance(value, int | float)
        and isinstance(theirs.get(name), int | float)
    ]


def _set_up(clone: Path, commit: str) -> None:
    """Make the clone, or bring a kept one to the commit."""
    mark = clone / ".git" / _MARK
    if not clone.exists() or not any(clone.iterdir()):
        _run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(clone)])
        mark.touch()
    elif not mark.exists():
        raise SystemExit(f"{clone} is not empty, and no clone that this command made. Name another directory.")
    if _git(clone, "cat-file", "-e", commit) is None:
        _run(["git", "-C", str(clone), "fetch", "--quiet", str(ROOT), commit])
    _run(["git", "-C", str(clone), "checkout", "--quiet", "--force", "--detach", commit])
    print(
        f"Setting up {commit[:7]} in {clone}: about 40 s the first time, longer when packages are fetched", flush=True
    )
    _run([str(clone / "scripts" / "setup"), "dev"])
    _give_interface(clone)


def _give_interface(clone: Path) -> None:
    """What is there of our web interface: building that of the clone takes npm and a network, and nobody sees it."""
    ours, theirs = (root / "raftsched" / "ui_dist" for root in (ROOT, clone))
    if ours.is_dir():
        shutil.copytree(ours, theirs, dirs_exist_ok=True)
    theirs.mkdir(exist_ok=True)
    (theirs / "index.html").touch()


def _measure(root: Path, arguments: Sequence[str], data: Path) -> Figures:
    command = [str(root / "scripts" / "bench"), *arguments]
    print(f"Running {' '.join(command)}", flush=True)
    output = _run(command, data)
    try:
        return figures_in(output)
    except ValueError:
        raise SystemExit(f"{command[0]} printed no figures:\n{output}") from None


def _run(command: Sequence[str], temporary: Path | None = None) -> str:
    """The output of a command that must succeed. An interrupt lets it clean up behind itself."""
    environment = {**os.environ, **({"TMPDIR": str(temporary)} if temporary else {})}
    # A group of its own: the terminal would interrupt also what it needs for its own end, such as scripts/cluster.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment, process_group=0
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        raise
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output}")
    return output


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the program as Ctrl-C does: with what it has started, and its directory."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_all_of(directory: Path) -> None:
    """End what still runs of the clusters in the directory, which an interrupt while they start leaves behind."""
    deadline = time.monotonic() + _STOP_S
    for pid in _processes_of(directory):
        _send(pid, signal.SIGTERM)
    # They are children of others, so that nothing tells when they end.
    while (left := list(_processes_of(directory))) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        _send(pid, signal.SIGKILL)


def _processes_of(directory: Path) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"{directory}/".encode() in path.read_bytes():
                yield int(path.parent.name)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _this() -> str:
    commit = _git(ROOT, "rev-parse", "--short=7", "HEAD") or "?"
    return commit.strip() + (" with changes" if _git(ROOT, "status", "--porcelain") else "")


def _git(repository: Path, *arguments: str) -> str | None:
    """What a command of git printed; None when it failed."""
    command = ["git", "-C", str(repository), *arguments]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SystemExit("git is not installed.") from None
    return None if ran.returncode else ran.stdout
