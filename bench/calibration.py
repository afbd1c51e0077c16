"""What this machine can do right before a run, so that figures of different days and machines can be told apart."""

import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measure import Figures, Stopwatch

_STEPS = 1_000_000
_SYNCS, _RECORD = 20, b"x" * 4096
_ECHOES = 200
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Three figures that no change of raftsched moves. All of them take less than a second."""

    python_loop_cpu_ms: float
    """Processor time of a fixed loop in Python."""
    fdatasync_ms: float
    """4 KiB appended to a file where clusters have their data, and fdatasync: the median of 20."""
    loopback_echo_us: float
    """There and back over TCP between two threads: the median of 200."""

    def figures(self) -> Figures:
        """By name."""
        return asdict(self)


_SAID = (
    ("python_loop_cpu_ms", "Python loop", "ms of processor time"),
    ("fdatasync_ms", "fdatasync of 4 KiB", "ms"),
    ("loopback_echo_us", "loopback echo", "µs"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workload."""

    figures: Figures
    calibration: Calibration
    """From right before it."""


def calibrate() -> Calibration:
    """Measure now, in the file system of the data directories."""
    with tempfile.TemporaryDirectory(prefix="raftsched-bench-") as directory:
        synced_s = timed_syncs(Path(directory) / "file", _SYNCS, _RECORD)
    return Calibration(
        round(_loop_cpu_s() * 1000, 1),
        round(statistics.median(synced_s) * 1000, 3),
        round(statistics.median(_timed_echoes(_ECHOES)) * 1e6, 1),
    )


def calibration_line(runs: Sequence[Run]) -> str:
    """What was measured before the runs: the medians, and the lowest and highest when there are several."""
    parts = []
    for name, what, unit in _SAID:
        values = [float(getattr(run.calibration, name)) for run in runs]
        spread = f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else ""
        parts.append(f"{what} {statistics.median(values):.4g} {unit}{spread}")
    return ", ".join(parts)


def timed_syncs(path: Path, count: int, record: bytes) -> list[float]:
    """Seconds of each append of the record with its fdatasync."""
    took_s = []
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for _ in range(count):
            watch = Stopwatch()
            os.write(fd, record)
            os.fdatasync(fd)
            took_s.append(watch.seconds)
    finally:
        os.close(fd)
    return took_s


def _loop_cpu_s() -> float:
    before_s = time.thread_time()
    total = 0
    for number in range(_STEPS):
        total = (total * 31 + number) & 0xFFFF
    return time.thread_time() - before_s


def _timed_echoes(count: int) -> list[float]:
    took_s = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        echo = threading.Thread(target=_echo, args=(server,), daemon=True)
        echo.start()
        with socket.create_connection(server.getsockname(), _TIMEOUT_S) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(count):
                watch = Stopwatch()
                client.sendall(b"x")
                client.recv(1)
                took_s.append(watch.seconds)
        echo.join(_TIMEOUT_S)
    return took_s


def _echo(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while received := connection.recv(1):
            connection.sendall(received)
