"""Makes HTTP requests."""

import asyncio
from collections.abc import Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
from raftsched_proto.v1 import task_pb2

from raftsched.core.state.model import ExecutionState
from raftsched.executor.actions import identity
from raftsched.executor.actions.base import AttemptContext, Result, Surroundings, first_of

_KEPT_CONNECTIONS = 100
_MAX_PORT = 65535


def create(surroundings: Surroundings) -> "HttpRunner":
    """The runner of HTTP requests."""
    settings = surroundings.settings
    return HttpRunner(
        settings.slots,
        settings.http_connect_timeout_s,
        use_environment=settings.http_use_environment,
        version=settings.version,
    )


class HttpRunner:
    """Makes requests over one shared pool of HTTP/1.1 connections. Redirects are not followed, cookies are not kept.

    The whole response body is read. Only the task's time limit bounds how long an answer may take.
    """

    def __init__(self, slots: int, connect_timeout_s: float, *, use_environment: bool, version: str) -> None:
        self._limits = httpx.Limits(max_connections=slots, max_keepalive_connections=_KEPT_CONNECTIONS)
        self._timeout = httpx.Timeout(None, connect=connect_timeout_s)
        self._use_environment = use_environment
        self._agent = f"raftsched/{version}" if version else "raftsched"
        self._opening = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None

    async def run(self, action: task_pb2.Action, context: AttemptContext) -> Result:
        """Make the request and read the response."""
        request = asyncio.ensure_future(self._request(action.http, context))
        if not await first_of(request, context.stop):
            request.cancel()
            await asyncio.wait((request,))
            return context.stop.requested.result()
        return request.result()

    async def _request(self, action: task_pb2.HttpAction, context: AttemptContext) -> Result:
        client = self._client or await self._open()
        try:
            url = httpx.URL(action.url)
            if (url.port or 0) > _MAX_PORT:
                raise httpx.InvalidURL(f"there is no port {url.port}")
            async with client.stream(
                action.method or "GET", url, headers=_headers(action, context), content=action.body or None
            ) as response:
                async for part in response.aiter_bytes():
                    context.output.write(part)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return Result(ExecutionState.FAILED, error=_reason(action, error))
        return _judge(response, action.expected_statuses)

    async def _open(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._client is None:
                # Reading the certificates takes tens of milliseconds.
                tls = await asyncio.to_thread(httpx.create_ssl_context)
                self._client = httpx.AsyncClient(
                    verify=tls,
                    limits=self._limits,
                    timeout=self._timeout,
                    trust_env=self._use_environment,
                    follow_redirects=False,
                    headers={"User-Agent": self._agent, "Accept-Encoding": "identity"},
                    # Tasks share the client and must not share sessions.
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                )
            return self._client

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


def _headers(action: task_pb2.HttpAction, context: AttemptContext) -> httpx.Headers:
    # As bytes: of texts, httpx takes ASCII only. What is beyond it is opaque to HTTP (RFC 9110, 5.5); as curl sends it.
    headers = httpx.Headers({name.encode(): value.encode() for name, value in action.headers.items()})
    headers.update(identity.headers(context))
    return headers


def _judge(response: httpx.Response, expected: Sequence[int]) -> Result:
    status = response.status_code
    if status in expected if expected else 200 <= status <= 299:
        return Result(ExecutionState.SUCCEEDED, http_status=status)
    wanted = " or ".join(map(str, expected)) if expected else "200 to 299"
    note = "; redirects are not followed" if response.has_redirect_location else ""
    return Result(ExecutionState.FAILED, http_status=status, error=f"status {status}, expected {wanted}{note}")


def _reason(action: task_pb2.HttpAction, error: Exception) -> str:
    """What went wrong, with the cause in the operating system where there is one."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    detail = f"{error}" or type(error).__name__
    if cause is not error and f"{cause}" and f"{cause}" != detail:
        detail = f"{detail}: {cause}"
    return f"{action.method or 'GET'} {action.url}: {type(error).__name__}: {detail}"
