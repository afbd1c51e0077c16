"""A sink that refuses for a while has every record afterwards, each at least once, in order per task."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
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
        self.lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with receiver.lock:
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

    def otlp_ids(self) -> set[str]:
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


def in_order_per_task(documents: list[tuple[str, dict[str, object]]], ended: list[str]) -> None:
    """The first time that each record came is in the order of the ends of its task."""
    first: dict[str, int] = {}
    for place, (id_, _) in enumerate(documents):
        first.setdefault(id_, place)
    by_task: dict[object, list[str]] = defaultdict(list)
    tasks = {id_: fields["task"] for id_, fields in documents}
    for id_ in ended:
        by_task[tasks[id_]].append(id_)
    for ids in by_task.values():
        assert ids == sorted(ids, key=first.__getitem__)


def test_a_sink_that_refuses_for_a_while_gets_every_record_in_order_even_if_the_leader_is_killed_meanwhile(
    tmp_path: Path,
) -> None:
    receiver, collector = Receiver(), Receiver()
    lines = tmp_path / "records.jsonl"
    variables = sinks(
        es=("elasticsearch", receiver.url), otel=("otlp", f"{collector.url}/v1/logs"), file=("jsonl", str(lines))
    )
    names = ("a", "b")
    with receiver.serving(), collector.serving(), Cluster(tmp_path, **variables) as cluster, cluster.client() as client:
        for name in names:
            client.create_task(task(name, every=timedelta(days=300), noop=True))
        ended = run_all(client, names, 3)
        eventually(lambda: set(ended) <= {id_ for id_, _ in receiver.bulk_documents()}, what="the first records")
        receiver.refuses, collector.refuses = 503, 503
        ended += run_all(client, names, 3)
        eventually(lambda: receiver.refused > 1, what="a refusal")
        leader = cluster.leader()
        with cluster.client(leader) as asked:
            eventually(
                lambda: any("503" in sink.problem for sink in asked.get_history_status().sinks),
                what="a sink that fails",
            )
        # Searches and fires go on; the next leader takes the shipping over while the sink still refuses.
        cluster.nodes[leader].kill()
        ended += run_all(client, names, 3)
        receiver.refuses = collector.refuses = 0
        eventually(lambda: set(ended) <= {id_ for id_, _ in receiver.bulk_documents()}, within_s=60, what="all in bulk")
        eventually(lambda: set(ended) <= collector.otlp_ids(), within_s=60, what="all over OTLP")
        eventually(
            lambda: set(ended) <= {json.loads(line).get("execution_id") for line in lines.read_text().splitlines()},
            what="all in the file",
        )
        in_order_per_task(receiver.bulk_documents(), ended)
        status = cluster.leader()
        with cluster.client(status) as asked:
            eventually(
                lambda: all(
                    not sink.problem and not sink.waiting_records and sink.active
                    for sink in asked.get_history_status().sinks
                ),
                what="sinks that are well",
            )
            assert asked.get_history_status().lost_records == 0
