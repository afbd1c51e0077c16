"""Runs images in containers, by the Docker API."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import structlog
from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions import identity
from raftsched.executor.actions.base import AttemptContext, Result, Surroundings, first_of
from raftsched.executor.actions.threads import in_thread, released

_CONTROL_TIMEOUT_S = 60
_PULL_TIMEOUT_S = 3600
_EXECUTOR_LABEL = "raftsched.executor-id"
_MARK_LABEL = "raftsched.process-mark"
_KILLED = 128
_log = structlog.get_logger(__name__)
_MISSING = "not started: this executor lacks the docker library: install raftsched[container] there"


def create(surroundings: Surroundings) -> "ContainerRunner":
    """The runner of containers."""
    settings = surroundings.settings
    return ContainerRunner(settings.container_socket, settings.kill_grace_s)


class ContainerRunner:
    """Runs each attempt in a container of its own, which is removed when the attempt ends.

    The first attempt after a start of the executor first removes what containers its predecessor left behind.
    """

    def __init__(self, socket: str, kill_grace_s: float) -> None:
        self._socket = socket
        self._kill_grace_s = kill_grace_s
        self._lock = threading.Lock()
        self._swept = False

    async def run(self, action: task_pb2.Action, context: AttemptContext) -> Result:
        """Create the container, start it, and wait until it has exited."""
        run = _Run(self, action.container, context)
        work = in_thread("container", run.run)
        if await first_of(work, context.stop):
            return work.result()
        stopped = context.stop.requested.result()
        stopping = in_thread("container stop", lambda: run.stop(self._kill_grace_s))
        released(stopping)
        await asyncio.wait((stopping, context.stop.forced), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await asyncio.wait((in_thread("container kill", run.kill),))
        ended, _ = await asyncio.wait((work,), timeout=_CONTROL_TIMEOUT_S)
        if not ended:
            error = f"{stopped.error}; the container engine has not ended the container"
            return Result(stopped.state, error=error, busy=released(work))
        code = None if work.exception() else work.result().exit_code
        return Result(stopped.state, exit_code=code or None, error=stopped.error)

    def client(self, timeout_s: float | None) -> Any:
        """A connection to the engine. Raises ImportError, docker.errors.DockerException."""
        from docker.utils import kwargs_from_env

        where = {"base_url": self._socket} if self._socket else kwargs_from_env()
        return _client_class()(version="auto", timeout=timeout_s, **where)

    def sweep(self, client: Any, context: AttemptContext) -> None:
        """Remove, once, the containers that this executor left when it was killed."""
        with self._lock:
            if not self._swept:
                of_ours = {"label": f"{_EXECUTOR_LABEL}={context.executor_id}"}
                for left in client.containers.list(all=True, filters=of_ours):
                    if _is_left(left.labels.get(_MARK_LABEL, ""), context):
                        left.remove(force=True)
                    else:
                        _log.warning(
                            "left alone: a container whose executor is not known to have ended", name=left.name
                        )
                self._swept = True

    async def close(self) -> None:
        """Nothing is kept between runs."""


@cache
def _client_class() -> Any:
    """A client that takes no proxies and no ~/.netrc from its surroundings, as requests does. Raises ImportError."""
    import docker

    class Api(docker.APIClient):  # type: ignore[misc]  # has no annotations
        # It makes requests while it is made, and requests sets what it finds unless this cannot be set.
        trust_env = property(lambda _: False, lambda _self, _value: None)

    class Client(docker.DockerClient):  # type: ignore[misc]  # has no annotations
        def __init__(self, **where: object) -> None:
            self.api = Api(**where)

    return Client


class _Run:
    """One container, driven by a thread that blocks. ``stop`` and ``kill`` come from other threads."""

    def __init__(self, runner: ContainerRunner, action: task_pb2.ContainerAction, context: AttemptContext) -> None:
        self._runner = runner
        self._action = action
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._stopping = False
        self._container: Any = None

    def run(self) -> Result:
        """The life of the container, from its creation to its removal."""
        try:
            from docker.errors import DockerException
            from requests.exceptions import RequestException
        except ImportError:
            return Result(ExecutionState.FAILED, error=_MISSING)
        try:
            client = self._runner.client(_CONTROL_TIMEOUT_S)
        except DockerException as error:
            return Result(ExecutionState.FAILED, error=f"not started: the container engine cannot be reached: {error}")
        try:
            self._runner.sweep(client, self._context)
            return self._live(client)
        except (DockerException, RequestException) as error:
            started = "the container engine failed" if self._container else "not started"
            return Result(ExecutionState.FAILED, error=f"{started}: {error}")
        finally:
            with suppress(DockerException, RequestException):
                self._remove()
            client.close()

    def _live(self, client: Any) -> Result:
        self._fetch_image(client)
        container = client.containers.create(self._action.image, **_options(self._action, self._context))
        with self._lock:
            self._container = container
            if self._stopping:
                return Result(ExecutionState.CANCELLED)
            container.start()
        # It may be silent for as long as it likes.
        follower = self._runner.client(None)
        try:
            for chunk in follower.containers.get(container.id).logs(stream=True, follow=True):
                self._write(chunk)
            ended = follower.api.wait(container.id, timeout=None)
        finally:
            follower.close()
        container.reload()
        trouble = (ended.get("Error") or {}).get("Message", "")
        return _judge(int(ended["StatusCode"]), container.attrs["State"].get("OOMKilled", False), trouble)

    def _fetch_image(self, client: Any) -> None:
        from docker.errors import ImageNotFound

        policy = self._action.pull_policy
        if policy != task_pb2.PULL_POLICY_ALWAYS:
            try:
                client.images.get(self._action.image)
                return
            except ImageNotFound:
                if policy == task_pb2.PULL_POLICY_NEVER:
                    raise
        puller = self._runner.client(_PULL_TIMEOUT_S)
        try:
            puller.images.pull(self._action.image)
        finally:
            puller.close()

    def _write(self, chunk: bytes) -> None:
        """Hand output to the event loop, and wait until it is taken: what is on the way stays bounded."""

        async def take() -> None:
            self._context.output.write(chunk)

        with suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(take(), self._loop).result()

    def stop(self, grace_s: float) -> None:
        """End it: TERM, then KILL when the grace is over. One that is not created yet will not start."""
        self._end(lambda container: container.stop(timeout=int(max(1, grace_s))))

    def kill(self) -> None:
        """End it at once."""
        self._end(lambda container: container.kill())

    def _end(self, how: Callable[[Any], None]) -> None:
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        with self._lock:
            self._stopping = True
            container = self._container
        if container is not None:
            # It may have exited by itself.
            with suppress(DockerException, RequestException):
                how(container)

    def _remove(self) -> None:
        with self._lock:
            container, self._container = self._container, None
        if container is not None:
            container.remove(force=True, v=True)


def _is_left(mark: str, context: AttemptContext) -> bool:
    """Whether a container is one that an executor with this directory started, which is gone."""
    marks = context.marks
    return marks is not None and marks.key_of(mark) is not None and marks.is_left_elsewhere(mark)


def _options(action: task_pb2.ContainerAction, context: AttemptContext) -> dict[str, Any]:
    options: dict[str, Any] = {
        "name": f"raftsched-{context.execution_id_text}-{context.attempt}",
        "command": list(action.command) or None,
        "environment": {**action.env, **identity.environment(context)},
        "labels": {
            _EXECUTOR_LABEL: context.executor_id,
            _MARK_LABEL: context.process_mark,
            "raftsched.task": context.task,
            "raftsched.execution-id": context.execution_id_text,
            "raftsched.attempt": str(context.attempt),
        },
        "detach": True,
        # Not what a ~/.docker/config.json of the executor says.
        "use_config_proxy": False,
    }
    if action.entrypoint:
        options["entrypoint"] = list(action.entrypoint)
    if action.memory_limit_bytes:
        options["mem_limit"] = action.memory_limit_bytes
        # Without this the container could use as much swap again.
        options["memswap_limit"] = action.memory_limit_bytes
    if action.cpu_limit_millis:
        options["nano_cpus"] = action.cpu_limit_millis * 1_000_000
    named = {"working_dir": action.working_directory, "user": action.user, "network": action.network}
    return {**options, **{name: value for name, value in named.items() if value}}


def _judge(code: int, out_of_memory: bool, trouble: str) -> Result:
    """``trouble``: what the engine says went wrong while it waited for the end."""
    if out_of_memory:
        error = "killed: it needed more memory than its limit"
        if code == 0:
            error = "a process in it was killed: it needed more memory than its limit"
    elif trouble:
        error = f"the container engine failed: {trouble}"
    elif code == 0:
        return Result(ExecutionState.SUCCEEDED, exit_code=0)
    else:
        error = f"exit code {code}" + (f" (killed by signal {code - _KILLED})" if code > _KILLED else "")
    return Result(ExecutionState.FAILED, exit_code=code or None, error=error)
