"""AWS Lambda: through moto's server, over real HTTP, and through a server that answers as the test says."""

import asyncio
import base64
import io
import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from raftsched_proto.v1 import task_pb2

from raftsched.core.state import ids
from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions.aws_lambda import LambdaRunner
from raftsched.executor.actions.base import Result
from raftsched.executor.output import Output
from tests.support.action_bench import DEADLINE_S, EXECUTION_ID, Stopper, new_context, perform
from tests.support.proxies import Trap

REGION = "eu-central-1"
LARGEST_RESPONSE_BYTES = 6_000_000


def set_environment(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What boto3's standard chain finds."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of moto's server, with a function in it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    set_environment(monkeypatch, url)
    httpx.post(f"{url}/moto-api/config", json={"lambda": {"use_docker": False}}).raise_for_status()
    trust = {"Version": "2012-10-17", "Statement": []}
    role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("handler.py", "def handle(event, context): return event")
    boto3.client("lambda").create_function(
        FunctionName="tidy", Runtime="python3.12", Role=role, Handler="handler.handle",
        Code={"ZipFile": archive.getvalue()},
    )  # fmt: skip
    yield url
    httpx.post(f"{url}/moto-api/reset").raise_for_status()
    server.stop()


def invoke(stopper: Stopper | None = None, **fields: object) -> tuple[Result, Output]:
    action = task_pb2.Action(aws_lambda=task_pb2.AwsLambdaAction(**{"function": "tidy", **fields}))
    return perform(LambdaRunner(10, 5.0), action, stopper)


def answer_next(cloud: str, *results: str) -> None:
    queue = f"{cloud}/moto-api/static/lambda-simple/response"
    httpx.post(queue, json={"results": results, "region": REGION}).raise_for_status()


def test_function_is_invoked_and_what_it_returns_is_the_output(cloud: str) -> None:
    answer_next(cloud, '{"removed": 12}')
    result, output = invoke(payload_json='{"days": 7}')
    assert result == Result(ExecutionState.SUCCEEDED, http_status=200)
    assert output.tail() == b'{"removed": 12}'


def test_attempt_is_told_in_the_payload_where_asked(cloud: str) -> None:
    result, output = invoke(payload_json='{"days": 7}', attempt_key="raftsched")
    assert result.state == ExecutionState.SUCCEEDED
    # Without a prepared answer the server gives back what it was sent.
    payload = json.loads(output.tail())
    assert payload["days"] == 7
    assert payload["raftsched"]["RAFTSCHED_EXECUTION_ID"] == ids.to_text(EXECUTION_ID)
    assert payload["raftsched"]["RAFTSCHED_FENCING_TOKEN"] == "42"


def test_event_is_only_handed_over(cloud: str) -> None:
    result, _ = invoke(payload_json='{"days": 7}', event=True)
    assert result == Result(ExecutionState.SUCCEEDED, http_status=202)


def test_error_of_the_function_fails_the_attempt(cloud: str) -> None:
    answer_next(cloud, "x" * (LARGEST_RESPONSE_BYTES + 1))
    result, output = invoke()
    assert result.state == ExecutionState.FAILED
    assert result.http_status == 200
    assert result.error.startswith("the function failed: Function.ResponseSizeTooLarge: Response payload size exceeded")
    assert b"ResponseSizeTooLarge" in output.tail()


def test_function_that_does_not_exist_is_named(cloud: str) -> None:
    httpx.post(f"{cloud}/moto-api/config", json={"lambda": {"use_docker": True}}).raise_for_status()
    result, _ = invoke(function="absent")
    assert (result.state, result.http_status) == (ExecutionState.FAILED, 404)
    assert result.error.startswith("absent: ")


class Endpoint(BaseHTTPRequestHandler):
    """Answers as ``answers`` says, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str], bytes]]
    answers: list[tuple[int, dict[str, str], bytes]]
    release: threading.Event

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers.items()), body))
        if not self.answers:
            self.release.wait(DEADLINE_S)
        status, headers, data = self.answers.pop(0) if self.answers else (200, {}, b"late")
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    handler = type("Handler", (Endpoint,), {"seen": [], "answers": [], "release": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    set_environment(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
    yield handler
    handler.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_synchronous_invocation_carries_the_attempt_as_client_context(endpoint: Any) -> None:
    endpoint.answers.append((200, {}, b"null"))
    invoke(qualifier="live")
    [(path, headers, body)] = endpoint.seen
    assert path.endswith("/functions/tidy/invocations?Qualifier=live")
    assert body == b"{}"
    told = json.loads(base64.b64decode(headers["X-Amz-Client-Context"]))["custom"]
    assert told["RAFTSCHED_TASK"] == "nightly"
    assert told["RAFTSCHED_NOMINAL_TIME"] == "2023-11-14T22:13:20.250000Z"
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=testing/")


def test_exception_in_the_function_fails_the_attempt_with_the_end_of_its_log(endpoint: Any) -> None:
    log = base64.b64encode(b"START\nTraceback\nEND").decode()
    endpoint.answers.append(
        (
            200,
            {"X-Amz-Function-Error": "Unhandled", "X-Amz-Log-Result": log},
            b'{"errorMessage": "no such table", "errorType": "KeyError"}',
        )
    )
    result, output = invoke()
    assert result == Result(
        ExecutionState.FAILED, http_status=200, error="the function failed: KeyError: no such table"
    )
    assert output.tail().endswith(b"START\nTraceback\nEND")


def test_throttled_invocation_is_tried_once_and_has_its_status(endpoint: Any) -> None:
    endpoint.answers.append((429, {"x-amzn-errortype": "TooManyRequestsException"}, b'{"message": "Rate Exceeded."}'))
    result, _ = invoke()
    assert (result.state, result.http_status) == (ExecutionState.FAILED, 429)
    assert "Rate Exceeded" in result.error
    assert len(endpoint.seen) == 1


def test_stopped_attempt_ends_at_once_while_the_function_may_run_on(endpoint: Any) -> None:
    async def main() -> None:
        runner, context = LambdaRunner(10, 5.0), new_context()
        action = task_pb2.Action(aws_lambda=task_pb2.AwsLambdaAction(function="tidy"))
        running = asyncio.ensure_future(runner.run(action, context))
        async with asyncio.timeout(DEADLINE_S):
            while not endpoint.seen:  # noqa: ASYNC110 - what is awaited happens elsewhere
                await asyncio.sleep(0.005)
            context.stop.request(ExecutionState.TIMED_OUT, "the time limit of 1 s has passed")
            result = await running
            assert result.state == ExecutionState.TIMED_OUT
            assert result.error == "the time limit of 1 s has passed; the function may run on"
            assert result.busy is not None
            assert not result.busy.done()
            endpoint.release.set()
            await result.busy
        assert context.output.size_bytes == 0
        await runner.close()

    asyncio.run(main())


def test_no_proxy_of_the_environment_is_used(cloud: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_next(cloud, '"done"')
    with Trap().serving() as trap, monkeypatch.context() as changed:
        for name, value in trap.variables(tmp_path).items():
            changed.setenv(name, value)
        result, output = invoke()
        assert (result.state, output.tail()) == (ExecutionState.SUCCEEDED, b'"done"')
        assert trap.connections == 0


def test_missing_credentials_are_named(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    result, _ = invoke()
    assert result.error == "tidy: NoCredentialsError: Unable to locate credentials"
    assert endpoint.seen == []


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    result, _ = invoke()
    assert result == Result(
        ExecutionState.FAILED, error="not started: this executor lacks boto3: install raftsched[aws] there"
    )
