"""A sink that refuses for a while: python -m tests.support.sinks --refuse 60.

Runs a cluster that ships to it, has executions end all the while, and checks that every record came at least once, and
those of a task in the order in which they ended. Exits with 1 otherwise.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from raftsched_client import Client, task

from tests.support.cluster import Cluster, eventually


class Receiver:
    """An HTTP server that takes records, or refuses them."""

    def __init__(self) -> None:
        self.refuses = 0
        """The status that it answers; 0: it takes them."""
        self.refused = 0
        self.bodies: list[bytes] = []
        self.paths: set[str] = set()
        self.authorizations: list[str] = []
        self.lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with receiver.lock:
                    receiver.paths.add(self.path)
                    receiver.authorizations.extend(self.headers.get_all("authorization", ()))
                    status = receiver.refuses or 200
                    receiver.refused += bool(receiver.refuses)
                    if not receiver.refuses:
                        receiver.bodies.append(body)
                answer = b'{"errors": false}' if self.path.endswith("_bulk") else b""
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """While it is open."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def bulk_documents(self) -> list[tuple[str, dict[str, object]]]:
        """Ids and documents, in the order in which they came."""
        with self.lock:
            lines = [json.loads(line) for body in self.bodies for line in body.splitlines()]
        return [(head["index"]["_id"], fields) for head, fields in zip(lines[::2], lines[1::2], strict=True)]

    def ids(self) -> set[str]:
        """Of what came over the bulk API."""
        return {id_ for id_, _ in self.bulk_documents()}

    def otlp_ids(self) -> set[str]:
        """Of executions that came over OTLP."""
        with self.lock:
            requests = [ExportLogsServiceRequest.FromString(body) for body in self.bodies]
        return {
            attribute.value.string_value
            for request in requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
            for attribute in record.attributes
            if attribute.key == "raftsched.execution_id"
        }


def sinks(**kinds: tuple[str, str]) -> dict[str, str]:
    """Variables that configure sinks."""
    variables = {}
    for name, (kind, target) in kinds.items():
        variables[f"RAFTSCHED_HISTORY__SINKS__{name.upper()}__KIND"] = kind
        variables[f"RAFTSCHED_HISTORY__SINKS__{name.upper()}__TARGET"] = target
    return variables


def run_all(client: Client, names: tuple[str, ...], rounds: int) -> list[str]:
    """Runs of tasks, one after the other; their ids in the order in which they ended."""
    ended = []
    for _ in range(rounds):
        for name in names:
            execution_id = client.run_task(name).id
            list(client.watch_executions(execution_id=execution_id))
            ended.append(execution_id)
    return ended


def problems(documents: list[tuple[str, dict[str, object]]], ended: list[str]) -> list[str]:
    """Why it is not so that each record came at least once, and those of a task in the order in which they ended."""
    first: dict[str, int] = {}
    for place, (id_, _) in enumerate(documents):
        first.setdefault(id_, place)
    found = [f"{id_} never came" for id_ in ended if id_ not in first]
    tasks = {id_: fields["task"] for id_, fields in documents}
    last: dict[object, str] = {}
    for id_ in ended:
        if id_ in first:
            before = last.get(tasks[id_])
            if before is not None and first[before] > first[id_]:
                found.append(f"{id_} of {tasks[id_]} came before {before}, which ended before it")
            last[tasks[id_]] = id_
    return found


def main() -> int:
    """Run as a command; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--refuse", type=float, default=60.0, metavar="SECONDS", help="how long the sink refuses")
    parser.add_argument("--per-second", type=float, default=5.0, help="how many runs there are meanwhile")
    arguments = parser.parse_args()
    receiver = Receiver()
    names = ("a", "b", "c")
    with (
        receiver.serving(),
        tempfile.TemporaryDirectory(prefix="raftsched-sinks-") as directory,
        Cluster(Path(directory), **sinks(es=("elasticsearch", receiver.url))) as cluster,
        cluster.client() as client,
    ):
        for name in names:
            client.create_task(task(name, every=timedelta(days=300), noop=True))
        ended = run_all(client, names, 3)
        eventually(lambda: set(ended) <= receiver.ids(), what="the first records")
        receiver.refuses = 503
        began = time.monotonic()
        while (passed_s := time.monotonic() - began) < arguments.refuse:
            ended += run_all(client, names, 1)
            time.sleep(max(0.0, len(names) / arguments.per_second - (time.monotonic() - began - passed_s)))
        refused_s, during = time.monotonic() - began, len(receiver.ids())
        receiver.refuses = 0
        with cluster.client(cluster.leader()) as leader:
            shown = [sink.problem for sink in leader.get_history_status().sinks]
        # It is tried again after at most 30 s.
        with suppress(AssertionError):
            eventually(lambda: set(ended) <= receiver.ids(), within_s=90, what="all records")
    found = problems(receiver.bulk_documents(), ended)
    if not receiver.refused:
        found.append("nothing was refused: no record was sent meanwhile")
    if not any("503" in problem for problem in shown):
        found.append(f"the status of the leader did not say what is wrong with the sink: {shown}")
    documents = receiver.bulk_documents()
    print(
        f"refused for {refused_s:.1f} s, {receiver.refused} times; {len(ended)} runs, {len(documents)} documents of "
        f"{len(receiver.ids())} records, {during} of them before and during the refusal"
    )
    for problem in found:
        print("VIOLATION:", problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
