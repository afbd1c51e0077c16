"""``python celery_herd.py COUNT REDIS_PORT``: jobs with an eta at one instant, one worker. Prints a line of JSON."""
# Runs in the peer's own environment, and again, by itself, as the worker.

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis
from celery import Celery

PORT = os.environ.get("HERD_REDIS_PORT") or sys.argv[2]
app = Celery("celery_herd", broker=f"redis://127.0.0.1:{PORT}/0")
app.conf.update(
    task_ignore_result=True, worker_prefetch_multiplier=0, broker_transport_options={"visibility_timeout": 7200}
)


@app.task(name="noop")
def noop(due: float) -> None:
    redis.Redis(port=int(PORT), db=1).rpush("late", time.time() - due)


def cpu_s(pids: "list[str]") -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    count = int(sys.argv[1])
    results = redis.Redis(port=int(PORT), db=1)
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_herd", "worker", "-P", "solo", "-l", "ERROR"],
        cwd=Path(__file__).parent,
        env={**os.environ, "HERD_REDIS_PORT": PORT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(5)
        due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5 + count // 400)
        began = time.monotonic()
        with app.producer_pool.acquire() as producer:
            for _ in range(count):
                noop.apply_async((due.timestamp(),), eta=due, producer=producer)
        register_s = time.monotonic() - began
        if datetime.now(UTC) >= due:
            raise SystemExit("registering took longer than the head start")
        pids = [str(worker.pid), *filter(None, os.environ.get("BENCH_PIDS", "").split(","))]
        before = cpu_s(pids)
        deadline = time.monotonic() + 300 + count / 100
        while results.llen("late") < count and time.monotonic() < deadline:
            time.sleep(0.5)
        used = cpu_s(pids) - before
        late = [float(value) for value in results.lrange("late", 0, -1)]
    finally:
        worker.kill()
        worker.wait()
    print(json.dumps({"late_s": late, "register_s": register_s, "cpu_s": used}))


if __name__ == "__main__":
    main()
