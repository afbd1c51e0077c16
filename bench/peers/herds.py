"""A herd on the peers that schedule: COUNT jobs that are due at one instant and do nothing."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Figures, quantile
from bench.peers import NotInstalled, directory, free_ports, program

_HERE = Path(__file__).parent
_REDIS = "on Debian: apt-get install redis-server"
_PYTHON = "python3 -m venv {0}/py && {0}/py/bin/pip install 'apscheduler==3.*' sqlalchemy celery redis packaging"
_NODE = "npm install --prefix {0}/npm bullmq ioredis"
_TIMEOUT_S = 600.0


def bullmq(*, count: int = 10_000) -> Figures:
    """BullMQ with one worker process and one Redis that writes its log every second."""
    node = program("node", "see nodejs.org")
    modules = directory() / "npm" / "node_modules"
    if not (modules / "bullmq").exists():
        raise NotInstalled(f"bullmq is not installed: {_NODE.format(directory())}")
    with _redis() as (port, pid), tempfile.TemporaryDirectory(prefix="raftsched-bench-bullmq-") as work:
        # Node looks for modules beside the script.
        script = Path(work) / "herd.mjs"
        script.write_bytes((_HERE / "bullmq.mjs").read_bytes())
        (Path(work) / "node_modules").symlink_to(modules)
        return _measured([node, str(script), str(count), str(port)], [pid])


def apscheduler(*, count: int = 10_000) -> Figures:
    """APScheduler 3 with a job store in SQLite."""
    with tempfile.TemporaryDirectory(prefix="raftsched-bench-apscheduler-") as work:
        return _measured([_python("apscheduler"), str(_HERE / "apscheduler_herd.py"), str(count), work], [])


def celery(*, count: int = 10_000) -> Figures:
    """Celery with one worker and one Redis that writes its log every second; jobs carry an eta."""
    with _redis() as (port, pid):
        return _measured([_python("celery"), str(_HERE / "celery_herd.py"), str(count), str(port)], [pid])


def _measured(command: Sequence[str], pids: Sequence[int]) -> Figures:
    """Run a driver, which prints how late each job was in seconds, and the processor time of its own processes."""
    environment = {**os.environ, "BENCH_PIDS": ",".join(map(str, pids))}
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment, cwd="/tmp", check=False
    )
    if ran.returncode:
        raise SystemExit(f"{command[1]} failed:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    answer = json.loads(ran.stdout.strip().splitlines()[-1])
    late_s: list[float] = answer["late_s"]
    count = int(command[2])
    return {
        "tasks": count,
        "registered_per_s": round(count / answer["register_s"]),
        "started": len(late_s),
        "started_within_10_s": sum(late <= 10 for late in late_s),
        "lateness_p50_s": round(quantile(late_s, 0.5), 3),
        "lateness_p99_s": round(quantile(late_s, 0.99), 3),
        "lateness_max_s": round(max(late_s), 3),
        "cpu_s_per_1000": round(answer["cpu_s"] / count * 1000, 3),
    }


def _python(module: str) -> str:
    python = directory() / "py" / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", f"import {module}"], check=False, cwd="/tmp").returncode:
        raise NotInstalled(f"{module} is not installed: {_PYTHON.format(directory())}")
    return str(python)


@contextmanager
def _redis() -> Iterator[tuple[int, int]]:
    """A Redis that appends to its log and syncs it every second: its port and process."""
    server = program("redis-server", _REDIS, "root/usr/bin/redis-server")
    [port] = free_ports(1)
    libraries = f"{directory()}/root/usr/lib/x86_64-linux-gnu:{os.environ.get('LD_LIBRARY_PATH', '')}"
    with tempfile.TemporaryDirectory(prefix="raftsched-bench-redis-") as work:
        process = subprocess.Popen(
            [server, "--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes", "--dir", work],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
        )
        try:
            time.sleep(1.0)
            if process.poll() is not None:
                raise NotInstalled(f"redis-server does not start: {_REDIS}")
            yield port, process.pid
        finally:
            process.kill()
            process.wait()
