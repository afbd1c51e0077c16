"""An executor in a process of its own, for tests that kill it: ``python executor_process.py DATA_DIR ENDPOINT SLOTS``.

SIGTERM drains it; it exits with 0 when all reports were acknowledged.
"""

import asyncio
import signal
import sys
from pathlib import Path

from raftsched.clock import SystemClock
from raftsched.executor.agent import ExecutorAgent
from raftsched.executor.settings import ExecutorSettings
from raftsched.ports import StoreRefused


async def serve(data_dir: str, endpoint: str, slots: str) -> int:
    settings = ExecutorSettings(Path(data_dir), slots=int(slots), kill_grace_s=0.5)
    agent = ExecutorAgent(settings, [endpoint], SystemClock())
    try:
        await agent.start()
    except StoreRefused as error:
        print(error, file=sys.stderr)
        return 3
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    await terminated.wait()
    return 0 if await agent.drain(flush_timeout_s=5.0) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(serve(*sys.argv[1:])))
