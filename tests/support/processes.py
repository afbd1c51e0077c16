"""What the kernel says of processes that a test did not start itself."""

from pathlib import Path


def state(pid: int) -> str:
    """Its letter of proc(5), such as "T" for one that is stopped; "" where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody collected does not."""
    return state(pid) not in ("", "Z")
