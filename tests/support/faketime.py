"""Wall clocks of processes that step while they run (libfaketime); their monotonic clocks do not."""

from pathlib import Path

_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1")
_SHARED_MEMORY, _SHARED = Path("/dev/shm"), "*faketime_*"


def _library() -> str:
    return next((str(found) for pattern in _LIBRARIES for found in Path("/").glob(pattern.lstrip("/"))), "")


def why_no_faketime() -> str:
    """Empty when libfaketime is there."""
    return "" if _library() else "libfaketime is missing: ./scripts/install-test-tools installs it"


class WallClock:
    """The wall clock of a process and of what it starts."""

    def __init__(self, path: Path) -> None:
        """``path``: a file that says by how much it is off."""
        self._path = path
        self.off_by_s = 0.0
        self.step_to(0)

    def step_to(self, off_by_s: float) -> None:
        """Set it apart from that of the machine by so much."""
        self.off_by_s = off_by_s
        new = self._path.with_suffix(".new")
        new.write_text(f"{off_by_s:+.3f}\n")
        # A process that reads half a line goes by it.
        new.replace(self._path)

    @property
    def variables(self) -> dict[str, str]:
        """Of the environment of the process."""
        return {
            "LD_PRELOAD": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def shared_memory() -> set[Path]:
    """What libfaketime leaves behind for processes that were killed."""
    return set(_SHARED_MEMORY.glob(_SHARED))
