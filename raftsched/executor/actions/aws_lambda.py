"""Invokes functions of AWS Lambda: the work is done there, and takes no slot of the pool here."""

import base64
import json
import threading
from typing import Any

from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions import identity
from raftsched.executor.actions.base import AttemptContext, Result, Surroundings, first_of
from raftsched.executor.actions.threads import in_thread, released

_LONGEST_RUN_S = 15 * 60 + 30
"""A function runs for at most 15 minutes."""
_MISSING = "not started: this executor lacks boto3: install raftsched[aws] there"


def create(surroundings: Surroundings) -> "LambdaRunner":
    """The runner of AWS Lambda functions."""
    settings = surroundings.settings
    return LambdaRunner(settings.remote_slots, settings.http_connect_timeout_s)


class LambdaRunner:
    """Invokes functions with the credentials, region and endpoint that boto3 finds by its standard chain.

    A function that was invoked cannot be stopped: the attempt ends at its time limit or when it is cancelled, and the
    function may run on. What the function returns is the output; when it fails, the end of its log too.
    """

    holds_slot = False

    def __init__(self, connections: int, connect_timeout_s: float) -> None:
        self._connections = connections
        self._connect_timeout_s = connect_timeout_s
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        """By region; "" for that of the environment."""

    async def run(self, action: task_pb2.Action, context: AttemptContext) -> Result:
        """Invoke the function and wait for its answer."""
        work = in_thread("aws_lambda", lambda: self._invoke(action.aws_lambda, context))
        if await first_of(work, context.stop):
            result, output = work.result()
            context.output.write(output)
            return result
        stopped = context.stop.requested.result()
        return Result(stopped.state, error=f"{stopped.error}; the function may run on", busy=released(work))

    def _invoke(self, action: task_pb2.AwsLambdaAction, context: AttemptContext) -> tuple[Result, bytes]:
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            return Result(ExecutionState.FAILED, error=_MISSING), b""
        try:
            answer = self._client(action.region).invoke(**_request(action, context))
            payload = answer["Payload"].read()
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return Result(ExecutionState.FAILED, http_status=status, error=f"{action.function}: {error}"), b""
        except (BotoCoreError, ValueError) as error:
            return Result(ExecutionState.FAILED, error=f"{action.function}: {type(error).__name__}: {error}"), b""
        status = answer["StatusCode"]
        if answer.get("FunctionError"):
            log = base64.b64decode(answer.get("LogResult", ""))
            return Result(
                ExecutionState.FAILED, http_status=status, error=_function_error(payload)
            ), payload + b"\n" + log
        return Result(ExecutionState.SUCCEEDED, http_status=status), payload

    def _client(self, region: str) -> Any:
        import boto3
        from botocore.config import Config

        # Making clients is not safe between threads; using them is.
        with self._lock:
            if region not in self._clients:
                self._clients[region] = boto3.session.Session().client(
                    "lambda",
                    region_name=region or None,
                    config=Config(
                        connect_timeout=self._connect_timeout_s,
                        read_timeout=_LONGEST_RUN_S,
                        # Trying again is the task's retry policy's.
                        retries={"total_max_attempts": 1},
                        max_pool_connections=self._connections,
                        tcp_keepalive=True,
                        # Not those of the environment.
                        proxies={},
                    ),
                )
            return self._clients[region]

    async def close(self) -> None:
        """Close the connections that are not in use."""
        for client in self._clients.values():
            client.close()


def _request(action: task_pb2.AwsLambdaAction, context: AttemptContext) -> dict[str, object]:
    told = identity.environment(context)
    payload = action.payload_json or "{}"
    if action.attempt_key:
        payload = json.dumps({**json.loads(payload), action.attempt_key: told})
    request: dict[str, object] = {"FunctionName": action.function, "Payload": payload.encode()}
    if action.qualifier:
        request["Qualifier"] = action.qualifier
    if action.event:
        request["InvocationType"] = "Event"
    else:
        request["InvocationType"] = "RequestResponse"
        request["LogType"] = "Tail"
        # Lambda passes it on in synchronous invocations only.
        request["ClientContext"] = base64.b64encode(json.dumps({"custom": told}).encode()).decode()
    return request


def _function_error(payload: bytes) -> str:
    try:
        said = json.loads(payload)
        kind, message = said.get("errorType", ""), said.get("errorMessage", "")
    except (ValueError, AttributeError):
        kind, message = "", payload[:500].decode("utf-8", "replace")
    return "the function failed: " + ": ".join(filter(None, (kind, message)))
