"""A proxy that everything in the environment points to, and that nobody shall use."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_SCHEMES = ("http", "https", "all", "grpc")


class Trap:
    """Accepts connections, counts them, and hangs up."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def variables(self, home: Path) -> dict[str, str]:
        """Variables that name the proxy for everything, and a home with a .netrc for this machine."""
        netrc = home / ".netrc"
        netrc.write_text("".join(f"machine {host} login of password netrc\n" for host in ("127.0.0.1", "localhost")))
        netrc.chmod(0o600)
        proxies = {f"{scheme}_proxy": self.url for scheme in _SCHEMES}
        return {
            **proxies,
            **{name.upper(): value for name, value in proxies.items()},
            "no_proxy": "",
            "NO_PROXY": "",
            "HOME": str(home),
            "NETRC": str(netrc),
        }

    @contextmanager
    def serving(self) -> Iterator[Self]:
        """While it is open."""
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._socket.shutdown(socket.SHUT_RDWR)
            thread.join()
            self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()
