"""What is different on a terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

from raftsched_proto.v1 import cluster_pb2, task_pb2

LIMIT_S = 60


class Terminal:
    """A command line on a pseudo terminal, of 120 columns unless told otherwise."""

    def __init__(self, *arguments: str, columns: int = 120, **variables: str) -> None:
        self.output = b""
        self._leader, follower = pty.openpty()
        self._deadline = time.monotonic() + LIMIT_S
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), "LINES": "40", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "raftsched.cli.main", *arguments],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=environment,
        )
        os.close(follower)

    def read_until(self, text: bytes) -> None:
        while text not in self.output:
            assert self._read(), self.output

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._leader)
        return self.process.wait(LIMIT_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._leader], [], [], max(self._deadline - time.monotonic(), 0))
        assert ready, f"nothing within {LIMIT_S} s; so far {self.output!r}"
        try:
            data = os.read(self._leader, 65_536)
        except OSError:  # How Linux says that the other side has closed.
            return False
        self.output += data
        return bool(data)


def test_registering_a_file_shows_progress(cluster, tmp_path):
    tasks = [
        {"name": f"t{number}", "schedule": {"interval": {"every": "60s"}}, "action": {"noop": {}}}
        for number in range(2500)
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    terminal = Terminal("task", "create", "-f", str(tmp_path / "tasks.json"))
    assert terminal.end() == 0
    assert b"registering" in terminal.output
    assert b"100%" in terminal.output
    assert b"created 2,500 of 2,500 tasks" in terminal.output


def test_status_watch_repaints_and_ends_on_interrupt(cluster):
    cluster.status = cluster_pb2.GetStatusResponse(cluster_id="prod", leader_id="n1")
    terminal = Terminal("status", "--watch", "--interval", "50ms")
    terminal.read_until(b"leader n1")
    cluster.status = cluster_pb2.GetStatusResponse(cluster_id="prod", leader_id="n2")
    terminal.read_until(b"leader n2")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert b"Traceback" not in terminal.output


def test_status_watch_goes_on_when_nodes_come_back(cluster):
    cluster.status = cluster_pb2.GetStatusResponse(cluster_id="prod", leader_id="n1")
    terminal = Terminal("status", "--watch", "--interval", "50ms", "--timeout", "2s")
    terminal.read_until(b"leader n1")
    for number in range(3):
        cluster.stop(number)
    terminal.read_until(b"no node served the call")
    cluster.status = cluster_pb2.GetStatusResponse(cluster_id="prod", leader_id="n3")
    cluster.start(2)
    terminal.read_until(b"leader n3")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130


def test_waiting_for_a_run_tells_what_it_waits_for_and_an_interrupt_leaves_it_running(cluster):
    cluster.tasks["t"] = task_pb2.Task(name="t")
    terminal = Terminal("task", "run", "t", "--wait")
    terminal.read_until(b"of t\r\n")
    (execution,) = cluster.executions.values()
    execution.waiting_detail = "no connected executor carries gpu=x"
    terminal.read_until(b"PENDING: no connected executor carries gpu=x")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert f"execution {execution.id} goes on".encode() in terminal.output
    assert b"Traceback" not in terminal.output


def test_a_list_is_watched_in_place(cluster):
    cluster.tasks["first"] = task_pb2.Task(name="first")
    terminal = Terminal("task", "list", "--watch", "--interval", "50ms", columns=80)
    terminal.read_until(b"first")
    cluster.tasks["second"] = task_pb2.Task(name="second")
    terminal.read_until(b"second")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert terminal.output.count(b"\x1b[?1049h") == terminal.output.count(b"\x1b[?1049l") == 1


def test_verify_shows_how_far_it_is_and_takes_the_line_away(cluster):
    cluster.tasks.update({f"t{number:03}": task_pb2.Task(name=f"t{number:03}") for number in range(250)})
    terminal = Terminal("verify")
    assert terminal.end() == 0
    assert b"checked 200 tasks, up to t199" in terminal.output
    assert terminal.output.endswith(
        b"\x1b[K0 nominal times of 250 tasks checked: 0 early, 0 late, 0 missing, 0 twice\r\n"
    )
