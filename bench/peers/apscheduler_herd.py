"""``python apscheduler_herd.py COUNT DIRECTORY``: jobs in SQLite that are due at one instant. Prints a line of JSON."""
# Runs in the peer's own environment.

import json
import sys
import time
from datetime import UTC, datetime, timedelta

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

LATE_S = []
DUE = datetime.now(UTC)


def noop() -> None:
    LATE_S.append(time.time() - DUE.timestamp())


def main() -> None:
    global DUE
    count, directory = int(sys.argv[1]), sys.argv[2]
    store = SQLAlchemyJobStore(url=f"sqlite:///{directory}/jobs.sqlite")
    options = {"misfire_grace_time": None, "coalesce": False, "max_instances": count}
    scheduler = BackgroundScheduler(jobstores={"default": store}, job_defaults=options, timezone=UTC)
    scheduler.start(paused=True)
    DUE = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10 + count // 40)
    began = time.monotonic()
    for _ in range(count):
        scheduler.add_job(noop, "date", run_date=DUE)
    register_s = time.monotonic() - began
    if datetime.now(UTC) >= DUE:
        raise SystemExit("registering took longer than the head start")
    before = time.process_time()
    scheduler.resume()
    deadline = time.monotonic() + 300 + count / 100
    while len(LATE_S) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    cpu_s = time.process_time() - before
    print(json.dumps({"late_s": LATE_S, "register_s": register_s, "cpu_s": cpu_s}), flush=True)
    scheduler.shutdown(wait=False)


if __name__ == "__main__":
    main()
