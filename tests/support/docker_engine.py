"""A real Docker engine of its own: own directory, own socket, no network; with one small image, made of busybox."""

import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import docker
import pytest

IMAGE = "local/tool:1"
_PROGRAMS = ("sh", "echo", "sleep", "head", "tail", "env")
_READY_S = 60.0


def missing() -> str:
    """Why no engine can run here; "" when one can."""
    for program in ("dockerd", "busybox"):
        if shutil.which(program) is None:
            return f"{program} is not installed: scripts/install-test-tools does that"
    return "" if os.geteuid() == 0 else "a Docker engine needs root"


@contextmanager
def real_engine(directory: Path) -> Iterator[str]:
    """The address of its socket. Skips the test where no engine can run."""
    if reason := missing():
        pytest.skip(reason)
    address = f"unix://{directory}/engine.sock"
    log = directory / "engine.log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            [
                "dockerd", "--data-root", directory / "data", "--exec-root", directory / "exec", "-H", address,
                "--pidfile", directory / "pid", "--iptables=false", "--bridge=none",
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        client = _connected(address, daemon, log)
        client.api.import_image_from_data(_image(), repository=IMAGE.partition(":")[0], tag=IMAGE.partition(":")[2])
        client.close()
        yield address
    finally:
        daemon.terminate()
        daemon.wait()
        _unmount_below(directory)


def _unmount_below(directory: Path) -> None:
    """An engine leaves the network namespace of the host mounted, and nobody could remove the directory then."""
    mounts = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([each for each in mounts if each.is_relative_to(directory)]):
        subprocess.run(["umount", mount], check=True)


def _connected(address: str, daemon: "subprocess.Popen[bytes]", log: Path) -> docker.DockerClient:
    deadline = time.monotonic() + _READY_S
    while daemon.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(address.removeprefix("unix://"))
            # It takes calls as soon as it listens.
            return docker.DockerClient(base_url=address)
        time.sleep(0.2)
    pytest.skip(f"the Docker engine does not run here: {log.read_text()[-500:]}")


def _image() -> bytes:
    """Busybox, which Debian links statically, under the names of its programs."""
    data = BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.add(Path(shutil.which("busybox") or "").resolve(), "bin/busybox")
        for name in _PROGRAMS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return data.getvalue()
