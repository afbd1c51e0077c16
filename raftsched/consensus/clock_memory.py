"""What the only node of a cluster remembers of time over its restarts."""

import asyncio
import json
import os
from pathlib import Path

from raftsched.consensus.cluster_time import ClusterTime, Resumed
from raftsched.ports import Clock

_KEEP_EVERY_S = 5.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ClockMemory:
    """A small file in the data directory.

    With more nodes the others tell. A file that is lost or damaged is no news: the clock of the machine counts.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def resumed(self) -> Resumed:
        """What can be said of the present."""
        try:
            kept = json.loads(self._path.read_text())
            time_us, unstepping_s, boot_id = int(kept["time_us"]), float(kept["unstepping_s"]), str(kept["boot_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return Resumed()
        passed_s = self._clock.monotonic() - unstepping_s
        if boot_id == _boot_id() != "" and passed_s >= 0:
            return Resumed(now_us=time_us + round(passed_s * 1e6), not_before_us=time_us)
        return Resumed(not_before_us=time_us)

    async def keep(self, clock: ClusterTime) -> None:
        """Write it down every few seconds, until cancelled."""
        while True:
            if clock.known:
                self._write(clock.now_us())
            await asyncio.sleep(_KEEP_EVERY_S)

    def _write(self, now_us: int) -> None:
        kept = {"time_us": now_us, "unstepping_s": self._clock.monotonic(), "boot_id": _boot_id()}
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(kept))
        os.replace(new, self._path)


def _boot_id() -> str:
    """Differs with every start of the machine; "" where it cannot be told."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
