"""A container engine that keeps state and speaks the Docker API over a Unix socket; its containers are processes.

What the engine answers follows the reference of the Docker Engine API 1.45. There is no isolation, and limits are
kept but not enforced.
"""

import json
import os
import signal
import struct
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

API = "1.45"


@dataclass
class Container:
    id: str
    name: str
    config: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    output: bytearray = field(default_factory=bytearray)
    changed: threading.Condition = field(default_factory=threading.Condition)
    over: bool = False
    out_of_memory: bool = False
    trouble: str = ""
    """What the engine says of the end besides its exit code."""

    @property
    def exit_code(self) -> int:
        """As a shell counts: 128 and the signal."""
        assert self.process is not None
        code = self.process.returncode
        return 128 - code if code < 0 else code

    def start(self) -> None:
        config = self.config
        self.process = subprocess.Popen(
            [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], **dict(each.split("=", 1) for each in config.get("Env") or [])},
            cwd=config.get("WorkingDir") or None,
            start_new_session=True,
        )
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        while data := os.read(self.process.stdout.fileno(), 65536):
            with self.changed:
                self.output += data
                self.changed.notify_all()
        self.process.wait()
        self.process.stdout.close()
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def signal(self, number: int) -> None:
        if self.process is not None and not self.over:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def wait(self, timeout_s: float | None = None) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.over, timeout_s)


class Engine:
    """The state of the engine. ``images`` are here already; those in ``registry`` can be pulled."""

    def __init__(self) -> None:
        self.images = {"local/tool:1"}
        self.registry = {"hub/tool:2"}
        self.pulls: list[str] = []
        self.containers: dict[str, Container] = {}
        self.created: list[Container] = []
        self.stops: list[int] = []
        self.authorizations: list[str] = []
        """Headers that no caller should send."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        self.engine.authorizations.extend(self.headers.get_all("authorization", ()))
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(parts.path).removeprefix(f"/v{API}")
        words = path.strip("/").split("/")
        if path == "/version":
            self._answer(200, {"ApiVersion": API, "MinAPIVersion": "1.24", "Version": "simulated"})
        elif words[0] == "images":
            self._images(words[1:], query)
        elif path == "/containers/create":
            self._create(query, json.loads(body))
        elif path == "/containers/json":
            wanted = dict(each.split("=", 1) for each in json.loads(query.get("filters", "{}")).get("label", []))
            found = [c for c in self.engine.containers.values() if wanted.items() <= c.config["Labels"].items()]
            self._answer(200, [{"Id": each.id} for each in found])
        else:
            self._container(words[1], words[2] if len(words) > 2 else "", query)

    do_GET = do_POST = do_DELETE = _handle

    def _images(self, words: list[str], query: dict[str, str]) -> None:
        engine = self.engine
        if words == ["create"]:
            image = f"{query['fromImage']}:{query['tag']}"
            engine.pulls.append(image)
            if image not in engine.registry:
                self._answer(404, {"message": f"pull access denied for {query['fromImage']}"})
                return
            engine.images.add(image)
            self._answer(200, {"status": f"Downloaded newer image for {image}"})
            return
        image = "/".join(words[:-1])
        if image in engine.images:
            self._answer(200, {"Id": f"sha256:{image}", "RepoTags": [image]})
        else:
            self._answer(404, {"message": f"No such image: {image}"})

    def _create(self, query: dict[str, str], config: dict[str, Any]) -> None:
        engine = self.engine
        if config["Image"] not in engine.images:
            self._answer(404, {"message": f"No such image: {config['Image']}"})
        elif any(each.name == query["name"] for each in engine.containers.values()):
            self._answer(409, {"message": f"Conflict. The container name {query['name']!r} is already in use"})
        else:
            container = Container(uuid.uuid4().hex, query["name"], config)
            engine.containers[container.id] = container
            engine.created.append(container)
            self._answer(201, {"Id": container.id, "Warnings": []})

    def _container(self, id_: str, verb: str, query: dict[str, str]) -> None:
        container = self.engine.containers.get(id_)
        if container is None:
            self._answer(404, {"message": f"No such container: {id_}"})
        elif verb == "start":
            try:
                container.start()
            except OSError as error:
                self._answer(400, {"message": f"OCI runtime create failed: {error}"})
            else:
                self._answer(204)
        elif verb == "json":
            self._answer(200, self._inspected(container))
        elif verb == "logs":
            self._logs(container)
        elif verb == "wait":
            container.wait()
            error = {"Error": {"Message": container.trouble}} if container.trouble else {}
            self._answer(200, {"StatusCode": container.exit_code, **error})
        elif verb == "stop":
            self.engine.stops.append(int(query["t"]))
            container.signal(signal.SIGTERM)
            if not container.wait(int(query["t"])):
                container.signal(signal.SIGKILL)
            self._answer(204)
        elif verb == "kill":
            container.signal(signal.SIGKILL)
            self._answer(204)
        else:
            assert self.command == "DELETE"
            container.signal(signal.SIGKILL)
            del self.engine.containers[id_]
            self._answer(204)

    def _inspected(self, container: Container) -> dict[str, Any]:
        state = {"OOMKilled": container.out_of_memory, "Running": not container.over}
        return {
            "Id": container.id,
            "Name": f"/{container.name}",
            "Config": {"Tty": False, "Labels": container.config["Labels"]},
            "State": state,
        }

    def _logs(self, container: Container) -> None:
        """Frames of the multiplexed stream: stream number, three zeros, length, data."""
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.raw-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        while True:
            with container.changed:
                while not container.over and len(container.output) == sent:
                    container.changed.wait()
                data, over = bytes(container.output[sent:]), container.over
            sent += len(data)
            if data:
                frame = struct.pack(">BxxxL", 1, len(data)) + data
                self.wfile.write(b"%x\r\n%s\r\n" % (len(frame), frame))
            if over and not data:
                break
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, value: object = None) -> None:
        data = b"" if value is None else json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Quiet(ThreadingMixIn):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no error of the engine."""


class _UnixServer(_Quiet, UnixStreamServer):
    pass


class _TcpServer(_Quiet, TCPServer):
    pass


@contextmanager
def serving(directory: Path, *, tcp: bool = False) -> Iterator[tuple[str, Engine]]:
    """The address of a new engine, on a socket in the directory or on a port, and its state."""
    engine = Engine()
    handler = type("Handler", (_Handler,), {"engine": engine})
    path = directory / "engine.sock"
    server: TCPServer = _TcpServer(("127.0.0.1", 0), handler) if tcp else _UnixServer(str(path), handler)
    address = f"tcp://127.0.0.1:{server.server_address[1]}" if tcp else f"unix://{path}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield address, engine
    finally:
        for container in engine.created:
            container.signal(signal.SIGKILL)
        server.shutdown()
        server.server_close()
        thread.join()
