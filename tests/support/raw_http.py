"""Requests as raw bytes, as browsers and others write them, and what came back."""

import json
import socket

from tests.support.cluster import Cluster


class Answer:
    """What came back, until the node closed the connection."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").split("\r\n")
        self.status = int(line.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in headers)}

    def problem(self, status: int, reason: str) -> str:
        """Checks that it is this one; what it says."""
        assert self.status == status, self.body
        assert self.headers["content-type"] == "application/problem+json"
        document = json.loads(self.body)
        assert (document["status"], document["reason"], document["applied"]) == (status, reason, "no")
        return str(document["detail"])


def raw(cluster: Cluster, data: bytes) -> Answer:
    host, _, port = cluster.http_addresses["n1"].partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data)
        return Answer(b"".join(iter(lambda: connection.recv(65536), b"")))


def ask(cluster: Cluster, line: str, *headers: str, body: bytes = b"") -> Answer:
    length = [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join((f"{line} HTTP/1.1", *headers, *length, "Connection: close", "", ""))
    return raw(cluster, head.encode("latin-1") + body)


def own(cluster: Cluster) -> str:
    return f"Host: {cluster.http_addresses['n1']}"
