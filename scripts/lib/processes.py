"""Detached processes that are found again by a pid file, and never mistaken for another one with the same number."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

LARGE_LOG_BYTES = 16 << 20


class Detached:
    """A process that outlives this script, with its pid in one file and its output in another."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._pid_file = directory / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    def pid(self) -> int | None:
        """The process id while it runs."""
        if self._child is not None and self._child.poll() is not None:
            return None
        try:
            noted = json.loads(self._pid_file.read_text(encoding="ascii"))
            pid, start = int(noted["pid"]), noted["start"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if start and start == _start_of(pid) else None

    def start(self, command: list[str], directory: Path) -> None:
        """Start it in a session of its own, so that the end of a terminal does not reach it."""
        if self.log.exists() and self.log.stat().st_size > LARGE_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory, start_new_session=True
            )
        note = json.dumps({"pid": self._child.pid, "start": _start_of(self._child.pid)})
        self._pid_file.write_text(note, encoding="ascii")

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False when there is no process to send it to."""
        pid = self.pid()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    def wait_for_end(self, timeout_s: float) -> bool:
        """Whether it ended in time."""
        deadline = time.monotonic() + timeout_s
        while self.pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        if self._child is not None:
            # It may have ended between the look at the child and the look at the process table.
            self._child.wait()
        self._pid_file.unlink(missing_ok=True)
        return True

    def last_lines(self, count: int = 20) -> str:
        """The end of its output."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - 64_000))
                lines = log.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-count:])


def _start_of(pid: int) -> str:
    """When the process started, in the system's own words; empty when there is none or it is only not yet reaped."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        state, start_ticks = fields[0], fields[19]
        return "" if state in "ZX" else f"{_boot_id()} {start_ticks}"
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, start = shown.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else start.strip()


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
