"""Each kind of action, for real: subprocesses, HTTP over sockets, imported callables."""

import asyncio
import hashlib
import importlib
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from raftsched_proto.v1 import task_pb2

from raftsched.clock import SystemClock
from raftsched.core.state import ids
from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions import process
from raftsched.executor.actions.base import AttemptContext, Result
from raftsched.executor.actions.command import CommandRunner
from raftsched.executor.actions.http import HttpRunner
from raftsched.executor.actions.python import PythonRunner
from raftsched.executor.context import current
from raftsched.executor.output import KEPT_BYTES, Output
from tests.support.action_bench import DEADLINE_S, EXECUTION_ID, EXECUTOR_ID, TRACEPARENT, Stopper, new_context, perform
from tests.support.processes import alive, state


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is awaited happens elsewhere
        await asyncio.sleep(0.005)


def after_output(text: bytes, state: ExecutionState = ExecutionState.TIMED_OUT, *, force: bool = False) -> Stopper:
    """Stop the attempt when its output contains the text."""

    async def stop(context: AttemptContext) -> None:
        await until(lambda: text in context.output.tail())
        if force:
            context.stop.force(state, "stopped")
        else:
            context.stop.request(state, "stopped")

    return stop


def assert_gone(pids: list[int]) -> None:
    assert pids
    deadline = time.monotonic() + DEADLINE_S
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, f"still alive: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.01)


# Commands


def command(
    *argv: str, grace_s: float = 5.0, stopper: Stopper | None = None, **fields: object
) -> tuple[Result, Output]:
    action = task_pb2.Action(command=task_pb2.CommandAction(argv=argv, **fields))
    return perform(CommandRunner(SystemClock(), grace_s), action, stopper)


def test_command_succeeds_with_exit_code_zero() -> None:
    result, output = command("echo", "a  b", "$HOME")
    assert result == Result(ExecutionState.SUCCEEDED, exit_code=0)
    assert output.tail() == b"a  b $HOME\n"


def test_command_fails_with_its_exit_code() -> None:
    result, output = command("exit 7", shell=True)
    assert result == Result(ExecutionState.FAILED, exit_code=7, error="exit code 7")
    assert output.size_bytes == 0


def test_command_killed_by_a_signal_names_it() -> None:
    result, _ = command("kill -SEGV $$", shell=True)
    assert result == Result(ExecutionState.FAILED, exit_code=-11, error="killed by signal 11 (SIGSEGV)")


def test_shell_gets_the_other_arguments_as_positional_parameters() -> None:
    _, output = command('echo "$#:$1:$2"', "first one", "second", shell=True)
    assert output.tail() == b"2:first one:second\n"


def test_command_is_told_its_attempt_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "yes")
    result, output = command("env", env={"ADDED": "ünïcode", "RAFTSCHED_ATTEMPT": "forged"})
    seen = dict(line.split("=", 1) for line in output.tail(KEPT_BYTES).decode().splitlines() if "=" in line)
    assert result.state == ExecutionState.SUCCEEDED
    assert seen["INHERITED"] == "yes"
    assert seen["ADDED"] == "ünïcode"
    assert seen["RAFTSCHED_EXECUTOR_ID"] == EXECUTOR_ID
    assert seen["RAFTSCHED_TASK"] == "nightly"
    assert seen["RAFTSCHED_EXECUTION_ID"] == ids.to_text(EXECUTION_ID)
    assert seen["RAFTSCHED_NOMINAL_TIME"] == "2023-11-14T22:13:20.250000Z"
    assert seen["RAFTSCHED_ATTEMPT"] == "3"
    assert seen["RAFTSCHED_FENCING_TOKEN"] == "42"
    assert seen["TRACEPARENT"] == TRACEPARENT


def test_command_does_not_see_the_secrets_of_its_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFTSCHED_SECRET_TOKEN", "not for everyone")
    result, output = command("env")
    assert result.state == ExecutionState.SUCCEEDED
    assert b"not for everyone" not in output.tail(KEPT_BYTES)


def test_command_runs_in_its_working_directory(tmp_path: Path) -> None:
    assert command("pwd", working_directory=str(tmp_path))[1].tail() == f"{tmp_path.resolve()}\n".encode()


def test_command_reads_stdin_larger_than_a_pipe() -> None:
    data = bytes(range(256)) * 4096
    result, output = command("sha256sum", stdin=data)
    assert result.state == ExecutionState.SUCCEEDED
    assert output.tail() == hashlib.sha256(data).hexdigest().encode() + b"  -\n"


def test_command_without_stdin_reads_the_end_of_file() -> None:
    assert command("cat")[0].state == ExecutionState.SUCCEEDED


def test_output_and_errors_arrive_in_the_order_written() -> None:
    _, output = command("for i in 1 2 3; do echo o$i; echo e$i >&2; done", shell=True)
    assert output.tail() == b"o1\ne1\no2\ne2\no3\ne3\n"


def test_of_a_long_output_the_end_is_kept_and_all_is_counted() -> None:
    result, output = command("seq 1 200000; echo the end", shell=True)
    assert result.state == ExecutionState.SUCCEEDED
    assert output.size_bytes == len("".join(f"{n}\n" for n in range(1, 200001))) + len("the end\n")
    assert output.tail().endswith(b"\n200000\nthe end\n")
    assert output.first_offset == output.size_bytes - KEPT_BYTES


@pytest.mark.parametrize(
    ("argv", "fields", "reason"),
    [
        (["no-such-program"], {}, "no program 'no-such-program' in the PATH"),
        (["/no/such/file"], {}, "no file '/no/such/file'"),
        (["/etc/passwd"], {}, "'/etc/passwd' may not be executed"),
        (["/tmp"], {}, "'/tmp' may not be executed"),
        (
            ["true"],
            {"working_directory": "/no/such/dir"},
            "working directory '/no/such/dir' cannot be used: No such file",
        ),
        (["true"], {"working_directory": "/etc/passwd"}, "working directory '/etc/passwd' cannot be used: Not a dir"),
        (["echo", "a\0b"], {}, "embedded null byte"),
        (["echo", "x" * 3_000_000], {}, "Argument list too long"),
        ([], {}, "no argv"),
    ],
)
def test_command_that_cannot_start_says_why(argv: list[str], fields: dict[str, object], reason: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    result, _ = command(*argv, **fields)
    assert result.state == ExecutionState.FAILED
    assert result.exit_code is None
    assert reason in result.error
    assert "started" in result.error
    assert len(os.listdir("/proc/self/fd")) <= before


def test_command_does_not_inherit_descriptors() -> None:
    with Path("/dev/null").open() as file:
        os.set_inheritable(file.fileno(), True)
        _, output = command("ls -l /proc/self/fd | wc -l", shell=True)
    # The line "total", three standard streams, and the directory that ls reads.
    assert output.tail() == b"5\n"


def test_stopped_command_ends_by_term() -> None:
    result, output = command(
        "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done", shell=True, stopper=after_output(b"up")
    )
    assert result == Result(ExecutionState.TIMED_OUT, exit_code=3, error="stopped")
    assert output.tail().endswith(b"bye\n")


STUBBORN = """
trap '' TERM
sleep 1000 & echo $!
sh -c 'trap "" TERM; while :; do sleep 0.05; done' & echo $!
echo $$
setsid sh -c 'trap "" TERM; echo $$ up; while :; do sleep 0.05; done' &
while :; do sleep 0.05; done
"""


def pids_in(output: Output) -> list[int]:
    return [int(word) for word in output.tail().split() if word.isdigit()]


def test_command_and_children_that_ignore_term_are_killed() -> None:
    result, output = command(STUBBORN, shell=True, grace_s=0.3, stopper=after_output(b"up", ExecutionState.CANCELLED))
    assert result == Result(ExecutionState.CANCELLED, exit_code=-9, error="stopped")
    assert len(pids_in(output)) == 4
    assert_gone(pids_in(output))


def test_children_get_the_grace_after_their_parent_is_gone() -> None:
    text = """sh -c 'trap "echo cleaned; exit" TERM; echo $$ up; while :; do sleep 0.05; done' & wait"""
    result, output = command(text, shell=True, stopper=after_output(b"up"))
    assert result == Result(ExecutionState.TIMED_OUT, exit_code=-15, error="stopped")
    assert output.tail().endswith(b"cleaned\n")
    assert_gone(pids_in(output))


def test_a_child_in_a_session_of_its_own_gets_the_grace() -> None:
    text = """setsid sh -c 'trap "echo cleaned; exit" TERM; echo $$ up; while :; do sleep 0.05; done' & wait"""
    result, output = command(text, shell=True, stopper=after_output(b"up"))
    assert result == Result(ExecutionState.TIMED_OUT, exit_code=-15, error="stopped")
    assert output.tail().endswith(b"cleaned\n")
    assert_gone(pids_in(output))


def test_children_that_outlive_their_parent_are_killed_after_the_grace() -> None:
    text = """sh -c 'trap "" TERM; echo $$ up; while :; do sleep 0.05; done' & wait"""
    result, output = command(text, shell=True, grace_s=0.3, stopper=after_output(b"up"))
    assert result.state == ExecutionState.TIMED_OUT
    assert_gone(pids_in(output))


def test_stopped_process_is_ended_too() -> None:
    async def stop(context: AttemptContext) -> None:
        await until(lambda: any(state(pid) == "T" for pid in pids_in(context.output)))
        context.stop.request(ExecutionState.TIMED_OUT, "stopped")

    result, output = command("echo $$; kill -STOP $$; exit 1", shell=True, stopper=stop)
    assert result == Result(ExecutionState.TIMED_OUT, exit_code=-15, error="stopped")
    assert_gone(pids_in(output))


def test_forced_stop_gives_no_grace() -> None:
    result, output = command(STUBBORN, shell=True, grace_s=1000, stopper=after_output(b"up", force=True))
    assert result.exit_code == -9
    assert_gone(pids_in(output))


def test_force_cuts_a_grace_short() -> None:
    async def stop(context: AttemptContext) -> None:
        await after_output(b"up")(context)
        await until(lambda: b"asked" in context.output.tail())
        context.stop.force(ExecutionState.LOST, "too late to matter")

    script = "trap 'echo asked' TERM; echo $$ up; while :; do sleep 0.01; done"
    result, output = command(script, shell=True, grace_s=1000, stopper=stop)
    assert result == Result(ExecutionState.TIMED_OUT, exit_code=-9, error="stopped")
    assert_gone(pids_in(output))


def test_what_a_program_leaves_behind_does_not_hold_up_its_end() -> None:
    result, output = command("sleep 1000 & echo $!; echo done", shell=True)
    try:
        assert result.state == ExecutionState.SUCCEEDED
        assert output.tail().endswith(b"done\n")
        assert all(map(alive, pids_in(output)))
    finally:
        for pid in pids_in(output):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_program_that_ends_well_when_it_is_stopped_shows_no_exit_code_of_success() -> None:
    script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done"
    result, _ = command(script, shell=True, stopper=after_output(b"up"))
    assert result == Result(ExecutionState.TIMED_OUT, error="stopped")


def test_program_whose_exit_status_nobody_knows_is_no_success() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        result, _ = command("exit 7", shell=True)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert (result.state, result.exit_code) == (ExecutionState.FAILED, None)
    assert "how it ended is not known" in result.error


def test_command_waits_for_files_that_something_else_uses_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = 0
    real = process.start

    def counted(*args: Any) -> process.Started:
        nonlocal refused
        try:
            return real(*args)
        except OSError:
            refused += 1
            raise

    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(process, "start", counted)

    async def stop(_: AttemptContext) -> None:
        # The lowest number that is free, whatever this process was started with.
        os.close(free := os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        await until(lambda: refused >= 2)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))

    try:
        result, output = command("echo", "here", stopper=stop)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
    assert result == Result(ExecutionState.SUCCEEDED, exit_code=0)
    assert output.tail() == b"here\n"


def test_command_leads_a_session_without_a_terminal_and_reads_nothing() -> None:
    _, output = command("cut -d' ' -f6,7 /proc/$$/stat; echo $$; readlink /proc/self/fd/0", shell=True)
    session, terminal, pid, stdin = output.tail().split()
    assert (session, terminal, stdin) == (pid, b"0", b"/dev/null")


def test_command_gets_no_settings_of_its_executor_and_nothing_that_is_meant_for_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden = {
        "RAFTSCHED_HISTORY__SINKS": "authorization=Bearer x",
        "RAFTSCHED_PARENT_EXECUTION_ID": "of the job that started the executor",
        "RAFTSCHED_DATA_DIR": "/srv",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "1",
        "LISTEN_FDS": "1",
    }
    passed_on = {
        "RAFTSCHED_ENDPOINTS": "n1:7101",
        "LANG": "de_DE.UTF-8",
        "TZ": "Europe/Berlin",
        "PATH": os.environ["PATH"],
    }
    for name, value in {**hidden, **passed_on}.items():
        monkeypatch.setenv(name, value)
    _, output = command("env")
    seen = dict(line.split("=", 1) for line in output.tail(KEPT_BYTES).decode().splitlines() if "=" in line)
    assert not hidden.keys() & seen.keys()
    assert passed_on.items() <= seen.items()


def test_command_has_the_umask_the_directory_and_the_limits_of_its_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    mask = os.umask(0o027)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, files[1]))
    try:
        _, output = command("umask; pwd; ulimit -n", shell=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        os.umask(mask)
    assert output.tail().decode().split() == ["0027", str(tmp_path.resolve()), "500"]


def test_command_is_not_protected_from_the_kernel_as_its_executor_is() -> None:
    own = Path("/proc/self/oom_score_adj")
    before = own.read_text()
    try:
        own.write_text("-500")
    except PermissionError:
        pytest.skip("only root may protect a process from the out-of-memory killer")
    try:
        # It is set right after the start.
        result, _ = command('while [ "$(cat /proc/$$/oom_score_adj)" != 0 ]; do sleep 0.02; done', shell=True)
    finally:
        own.write_text(before)
    assert result.state == ExecutionState.SUCCEEDED


def test_many_commands_at_once_leave_no_descriptor_behind_and_the_loop_running() -> None:
    async def main() -> list[Result]:
        runner = CommandRunner(SystemClock(), 5.0)
        action = task_pb2.Action(command=task_pb2.CommandAction(argv=["echo", "x"]))
        contexts = [new_context() for _ in range(200)]
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        results = await asyncio.gather(*(runner.run(action, context) for context in contexts))
        counter.cancel()
        await runner.close()
        assert all(context.output.tail() == b"x\n" for context in contexts)
        assert turns > 200, "the event loop stood still while programs were started"
        return results

    before = len(os.listdir("/proc/self/fd"))
    assert {result.state for result in asyncio.run(main())} == {ExecutionState.SUCCEEDED}
    assert len(os.listdir("/proc/self/fd")) <= before


# HTTP


class Target(BaseHTTPRequestHandler):
    """Answers by path, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, dict[str, str], bytes]]
    connections: set[tuple[str, int]]
    release: threading.Event

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, dict(self.headers.items()), body))
        self.connections.add(self.client_address)
        if self.path == "/hang":
            self.release.wait(DEADLINE_S)
        if self.path == "/drop":
            self.close_connection = True
            return
        status = int(self.path.rsplit("/", 1)[1]) if self.path.startswith("/status/") else 200
        answer = b"x" * 100_000 + b"end" if self.path == "/large" else b"" if status == 204 else b"answer"
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        if status in (301, 302):
            self.send_header("Location", "/elsewhere")
        if self.path == "/cookie":
            self.send_header("Set-Cookie", "session=secret; Path=/")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PURGE = handle_any

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def target() -> Iterator[tuple[str, type[Target]]]:
    handler = type("Handler", (Target,), {"seen": [], "connections": set(), "release": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    handler.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def request(url: str, stopper: Stopper | None = None, **fields: object) -> tuple[Result, Output]:
    runner = HttpRunner(4, 10.0, use_environment=False, version="1.2")
    return perform(runner, task_pb2.Action(http=task_pb2.HttpAction(url=url, **fields)), stopper)


def test_request_carries_its_attempt_and_what_the_task_says(target: tuple[str, type[Target]]) -> None:
    url, handler = target
    result, output = request(
        url + "/path?q=1",
        method="PURGE",
        headers={"X-Mine": "v", "Content-Type": "text/plain", "idempotency-key": "forged"},
        body=b"the body",
    )
    assert result == Result(ExecutionState.SUCCEEDED, http_status=200)
    assert output.tail() == b"answer"
    method, path, headers, body = handler.seen[0]
    assert (method, path, body) == ("PURGE", "/path?q=1", b"the body")
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["x-mine"] == "v"
    assert headers["content-type"] == "text/plain"
    assert headers["idempotency-key"] == ids.to_text(EXECUTION_ID)
    assert headers["traceparent"] == TRACEPARENT
    assert headers["x-raftsched-executor-id"] == EXECUTOR_ID
    assert headers["x-raftsched-execution-id"] == ids.to_text(EXECUTION_ID)
    assert headers["x-raftsched-task"] == "nightly"
    assert headers["x-raftsched-nominal-time"] == "2023-11-14T22:13:20.250000Z"
    assert headers["x-raftsched-attempt"] == "3"
    assert headers["x-raftsched-fencing-token"] == "42"
    assert headers["user-agent"] == "raftsched/1.2"


def test_request_is_a_get_unless_told_otherwise(target: tuple[str, type[Target]]) -> None:
    request(target[0])
    assert target[1].seen[0][0] == "GET"


@pytest.mark.parametrize(
    ("status", "expected", "error"),
    [
        (204, [], ""),
        (299, [], ""),
        (300, [], "status 300, expected 200 to 299"),
        (500, [], "status 500, expected 200 to 299"),
        (404, [200, 404], ""),
        (200, [201, 202], "status 200, expected 201 or 202"),
    ],
)
def test_status_decides(target: tuple[str, type[Target]], status: int, expected: list[int], error: str) -> None:
    result, _ = request(f"{target[0]}/status/{status}", expected_statuses=expected)
    assert (result.http_status, result.error) == (status, error)
    assert result.state == (ExecutionState.FAILED if error else ExecutionState.SUCCEEDED)


def test_redirect_is_not_followed(target: tuple[str, type[Target]]) -> None:
    result, _ = request(f"{target[0]}/status/302")
    assert result.state == ExecutionState.FAILED
    assert result.error == "status 302, expected 200 to 299; redirects are not followed"
    assert len(target[1].seen) == 1


def test_large_response_is_read_whole_and_its_end_kept(target: tuple[str, type[Target]]) -> None:
    result, output = request(f"{target[0]}/large")
    assert result.state == ExecutionState.SUCCEEDED
    assert output.size_bytes == 100_003
    assert output.tail().endswith(b"xend")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/x", "ConnectError"),
        ("http://host.invalid/", "ConnectError"),
        ("ftp://127.0.0.1/", "UnsupportedProtocol"),
        ("http://127.0.0.1:99999/", "InvalidURL: there is no port 99999"),
        ("http://127.0.0.1:port/", "InvalidURL"),
        ("", "UnsupportedProtocol"),
    ],
)
def test_request_that_cannot_be_made_says_why(url: str, reason: str) -> None:
    result, _ = request(url)
    assert result.state == ExecutionState.FAILED
    assert result.http_status is None
    assert reason in result.error
    assert url in result.error


def test_connection_dropped_without_an_answer_is_a_failure(target: tuple[str, type[Target]]) -> None:
    result, _ = request(f"{target[0]}/drop")
    assert result.state == ExecutionState.FAILED
    assert "without sending a response" in result.error


def test_header_that_is_none_is_a_failure_of_the_attempt(target: tuple[str, type[Target]]) -> None:
    result, _ = request(target[0], headers={"X-Bad": "a\r\nX-Injected: 1"})
    assert result.state == ExecutionState.FAILED
    assert target[1].seen == []


def test_header_beyond_ascii_is_sent_in_utf_8(target: tuple[str, type[Target]]) -> None:
    result, _ = request(target[0], headers={"X-Size": "größe \U0001f600"})
    assert result.state == ExecutionState.SUCCEEDED
    # http.server reads headers as Latin-1, byte by byte.
    assert target[1].seen[0][2]["X-Size"].encode("latin-1").decode() == "größe \U0001f600"


def test_stopped_request_is_given_up(target: tuple[str, type[Target]]) -> None:
    async def stop(context: AttemptContext) -> None:
        await until(lambda: target[1].seen)
        context.stop.request(ExecutionState.TIMED_OUT, "the time limit of 1 s has passed")

    result, _ = request(f"{target[0]}/hang", stopper=stop)
    assert result == Result(ExecutionState.TIMED_OUT, error="the time limit of 1 s has passed")


def test_requests_share_connections_but_no_cookies(target: tuple[str, type[Target]]) -> None:
    url, handler = target

    async def main() -> None:
        runner = HttpRunner(4, 10.0, use_environment=False, version="")
        for path in ("/cookie", "/cookie", "/other"):
            action = task_pb2.Action(http=task_pb2.HttpAction(url=url + path))
            assert (await runner.run(action, new_context())).state == ExecutionState.SUCCEEDED
        await runner.close()

    asyncio.run(main())
    assert len(handler.seen) == 3
    assert len(handler.connections) == 1
    assert not any("cookie" in name.lower() for _, _, headers, _ in handler.seen for name in headers)


# Python


MODULE = """
import asyncio, threading, time
from raftsched.executor import context

release = threading.Event()
started = threading.Event()
stopped = threading.Event()

def told():
    now = context.current()
    return f"{now.task} {now.execution_id} {now.nominal_time.isoformat()} {now.attempt} {now.fencing_token}"

async def told_async():
    await asyncio.sleep(0)
    return told()

def add(a, b=1): return a + b
def text(): return "ünï"
def data(): return bytes([0, 255])
def nothing(): return None
def fails(): raise ValueError("wrong " + "value")
async def fails_async(): raise KeyError("k")
def leaves(): raise SystemExit(3)
async def leaves_async(): raise SystemExit(4)
def hidden_coroutine(): return told_async()
class Ugly:
    def __repr__(self): raise RuntimeError("no repr")
def ugly(): return Ugly()
def stubborn():
    started.set()
    release.wait(20)
    return "late"
def obliging():
    started.set()
    context.current().stopping.wait(20)
    return "tidied up"
async def patient():
    started.set()
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        stopped.set()
        raise
async def deaf():
    started.set()
    while not release.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of its own for each test."""
    name = f"exposed_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def call(
    module: str, function: str, kwargs: str = "", grace_s: float = 5.0, stopper: Stopper | None = None, allow: str = "*"
) -> tuple[Result, Output]:
    runner = PythonRunner([f"{module}:{allow}"], grace_s)
    action = task_pb2.Action(python=task_pb2.PythonAction(callable=f"{module}:{function}", kwargs_json=kwargs))
    return perform(runner, action, stopper)


@pytest.mark.parametrize("function", ["told", "told_async"])
def test_callable_can_ask_for_its_attempt(module: str, function: str) -> None:
    result, output = call(module, function)
    assert result == Result(ExecutionState.SUCCEEDED)
    moment = datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC).isoformat()
    assert output.tail().decode() == f"nightly {ids.to_text(EXECUTION_ID)} {moment} 3 42"


def test_attempt_is_unknown_outside_of_one() -> None:
    with pytest.raises(LookupError):
        current()


@pytest.mark.parametrize(
    ("function", "kwargs", "written"),
    [
        ("add", '{"a": 2, "b": 3}', b"5"),
        ("add", '{"a": [1], "b": [2]}', b"[1, 2]"),
        ("text", "", "ünï".encode()),
        ("data", "{}", b"\x00\xff"),
        ("nothing", "", b""),
    ],
)
def test_what_a_callable_returns_is_its_output(module: str, function: str, kwargs: str, written: bytes) -> None:
    result, output = call(module, function, kwargs)
    assert result == Result(ExecutionState.SUCCEEDED)
    assert output.tail() == written


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("fails", "ValueError: wrong value"),
        ("fails_async", "KeyError: 'k'"),
        ("leaves", "SystemExit: 3"),
        ("leaves_async", "SystemExit: 4"),
        ("ugly", "RuntimeError: no repr"),
    ],
)
def test_exception_fails_the_attempt_with_the_traceback_as_output(module: str, function: str, error: str) -> None:
    result, output = call(module, function)
    assert result == Result(ExecutionState.FAILED, error=error)
    text = output.tail().decode()
    assert text.startswith("Traceback")
    assert f"{module}.py" in text
    assert text.rstrip().endswith(error)


def test_synchronous_callable_that_returns_a_coroutine_is_told_so(module: str) -> None:
    result, _ = call(module, "hidden_coroutine")
    assert result.state == ExecutionState.FAILED
    assert "make it an async function" in result.error


@pytest.mark.parametrize(
    ("function", "kwargs", "reason"),
    [("absent", "", "has no 'absent'"), ("add", "[]", "not a JSON object"), ("add", '{"a":', "not JSON")],
)
def test_call_that_is_refused_says_that_nothing_was_called(
    module: str, function: str, kwargs: str, reason: str
) -> None:
    result, output = call(module, function, kwargs)
    assert result.state == ExecutionState.FAILED
    assert result.error.startswith("nothing was called: ")
    assert reason in result.error
    assert output.size_bytes == 0


def test_callable_that_is_not_exposed_is_refused(module: str) -> None:
    result, _ = call(module, "add", '{"a": 1}', allow="text")
    assert result.error == f"nothing was called: {module}:add is not in python_allow of this executor"


def test_wrong_arguments_fail_the_attempt(module: str) -> None:
    result, _ = call(module, "add", '{"nonsense": 1}')
    assert result.state == ExecutionState.FAILED
    assert result.error.startswith("TypeError")


def has_started(module: str) -> bool:
    return bool(importlib.import_module(module).started.is_set())


def once_started(module: str, state: ExecutionState) -> Stopper:
    async def stop(context: AttemptContext) -> None:
        await until(lambda: has_started(module))
        context.stop.request(state, "stopped")

    return stop


def test_callable_that_looks_for_it_can_end_in_time(module: str) -> None:
    result, output = call(module, "obliging", stopper=once_started(module, ExecutionState.CANCELLED))
    assert result == Result(ExecutionState.CANCELLED, error="stopped")
    assert output.tail() == b"tidied up"


def test_asynchronous_callable_is_cancelled(module: str) -> None:
    result, _ = call(module, "patient", stopper=once_started(module, ExecutionState.TIMED_OUT))
    assert result == Result(ExecutionState.TIMED_OUT, error="stopped")
    assert importlib.import_module(module).stopped.is_set()


@pytest.mark.parametrize("function", ["stubborn", "deaf"])
def test_callable_that_does_not_return_ends_and_keeps_its_slot_until_it_does(module: str, function: str) -> None:
    async def main() -> None:
        runner = PythonRunner([f"{module}:*"], 0.05)
        context = new_context()
        action = task_pb2.Action(python=task_pb2.PythonAction(callable=f"{module}:{function}"))
        running = asyncio.ensure_future(runner.run(action, context))
        await until(lambda: has_started(module))
        context.stop.request(ExecutionState.TIMED_OUT, "the time limit has passed")
        result = await running
        assert result.state == ExecutionState.TIMED_OUT
        assert result.error == "the time limit has passed; the callable runs on and keeps its slot"
        assert result.busy is not None
        assert not result.busy.done()
        importlib.import_module(module).release.set()
        async with asyncio.timeout(DEADLINE_S):
            await result.busy
        assert context.output.size_bytes == 0
        await runner.close()

    asyncio.run(main())


def test_known_asynchronous_callables_share_one_thread(module: str) -> None:
    async def main() -> None:
        runner = PythonRunner([f"{module}:*"], 5.0)
        action = task_pb2.Action(python=task_pb2.PythonAction(callable=f"{module}:told_async"))
        await runner.run(action, new_context())
        before = threading.active_count()
        contexts = [new_context() for _ in range(50)]
        running = [asyncio.ensure_future(runner.run(action, context)) for context in contexts]
        await asyncio.sleep(0)
        assert threading.active_count() <= before
        await asyncio.gather(*running)
        assert all(context.output.tail().startswith(b"nightly") for context in contexts)
        await runner.close()

    asyncio.run(main())
