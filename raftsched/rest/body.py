"""Reading the body of a request within bounds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from raftsched.rest.problem import Problem, malformed

MAX_BODY_BYTES = 8 << 20
MAX_BUFFERED_BYTES = 64 << 20
"""Of all requests under way."""
BODY_TIMEOUT_S = 30.0


class Bodies:
    """Reads bodies; counts what all of them hold."""

    def __init__(self) -> None:
        self._free = MAX_BUFFERED_BYTES

    @asynccontextmanager
    async def read(self, request: Request, *, expected: bool) -> AsyncIterator[bytes]:
        """The body, held until the end of the context. Raises Problem: 400, 408, 413, 415, 429."""
        length = _declared_length(request)
        if not expected:
            if length:
                raise malformed("this call takes no body")
            yield b""
            return
        if length > MAX_BODY_BYTES:
            raise _too_large()
        _check_type(request, has_body=length != 0)
        body = bytearray()
        try:
            await self._fill(body, request)
            yield bytes(body)
        finally:
            self._free += len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in request.stream():
                    if len(chunk) > self._free:
                        raise Problem(429, "OVERLOADED", "too much is under way; nothing was done. Repeat the call")
                    body += chunk
                    self._free -= len(chunk)
                    if len(body) > MAX_BODY_BYTES:
                        raise _too_large()
        except TimeoutError:
            raise Problem(408, "REQUEST_TIMEOUT", f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
        except ClientDisconnect:
            raise malformed("the body ended early") from None


def _too_large() -> Problem:
    return Problem(
        413, "BODY_TOO_LARGE", f"the body is larger than {MAX_BODY_BYTES} bytes", headers={"Connection": "close"}
    )


def _declared_length(request: Request) -> int:
    """Bytes of the body; -1: not known beforehand. The server has checked that the header is a number."""
    if "transfer-encoding" in request.headers:
        return -1
    return int(request.headers.get("content-length", "0"))


def _check_type(request: Request, *, has_body: bool) -> None:
    all_declared = request.headers.getlist("content-type")
    if not all_declared and not has_body:
        return
    # Of several a browser and a server may each believe another.
    declared = all_declared[0] if len(all_declared) == 1 else None
    kind, _, parameters = (declared or "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        raise _unsupported("the body must be JSON in UTF-8, declared by `Content-Type: application/json`")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _unsupported("the body must not be compressed")


def _unsupported(detail: str) -> Problem:
    return Problem(415, "UNSUPPORTED_MEDIA_TYPE", detail)
