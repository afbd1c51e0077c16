"""What every request passes before anything else: is it for this node, and may the page that makes it do so?"""

from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from raftsched.hosts import Hosts, MalformedHost, parse_host, parse_origin
from raftsched.rest.problem import Problem, malformed

_OTHER_SITES = ("cross-site", "same-site")
"""Values of Sec-Fetch-Site; the same site is another port or a sibling of the name."""
_WHAT_TO_SET = "The setting http_origins names other origins, scheme and port included, whose pages may"


class HostGuard:
    """An ASGI application in front of another. Nothing that a proxy or a client adds (X-Forwarded-Host) is believed."""

    def __init__(self, app: ASGIApp, hosts: Hosts, origins: Iterable[str] = ()) -> None:
        """``origins``: others whose pages may use the API, as ``parse_origin`` gives them."""
        self._app = app
        self._hosts = hosts
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            return
        try:
            scope = self._checked(scope)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _checked(self, scope: Scope) -> Scope:
        """The request with one Host, whichever way its target was written. Raises Problem."""
        scope = _in_origin_form(scope)
        given = _all(scope, b"host")
        if len(given) != 1 or not given[0]:
            raise malformed("a request has one header Host, which names what it is for" + _number(len(given)))
        self._check_host(given[0])
        self._check_page(scope, given[0])
        return scope

    def _check_host(self, text: str) -> None:
        try:
            host = parse_host(text)
        except MalformedHost:
            raise malformed(f"Host is {text[:100]!a}, which is no host with or without a port") from None
        if not self._hosts.serves(host):
            raise Problem(
                421,
                "UNKNOWN_HOST",
                f"this node is not served as {host}, so nothing was done. It is served as {self._hosts}; the setting "
                "http_hosts adds names",
            )

    def _check_page(self, scope: Scope, host: str) -> None:
        """Refuse what a page of another site has a browser ask or change.

        A change needs no leave of CORS to be sent; and what an answer costs, and how long it takes, a page learns
        without leave to read it. Following a link to a page of ours is no request of the other page.
        """
        origins = _all(scope, b"origin")
        own = _origin(f"{scope['scheme']}://{host}")
        if any(_origin(origin) not in (own, *self._origins) for origin in origins):
            raise Problem(
                403,
                "CROSS_ORIGIN",
                f"pages of {', '.join(origins)[:100]!a} may not read or change anything here, and nothing was done. "
                f"{_WHAT_TO_SET}",
            )
        if not origins and _asked_by_another_site(scope):
            raise Problem(
                403, "CROSS_ORIGIN", f"pages of another site may not read or change anything here. {_WHAT_TO_SET}"
            )


def _asked_by_another_site(scope: Scope) -> bool:
    """As the browser says (Fetch Metadata); browsers say so to loopback and over TLS."""
    if not any(site in _OTHER_SITES for site in _all(scope, b"sec-fetch-site")):
        return False
    return scope["method"] not in ("GET", "HEAD") or not _opens_page(scope)


def _opens_page(scope: Scope) -> bool:
    """Whether somebody goes to a page of the web interface, in a window of its own; below /v1 is data, and no page."""
    path: str = scope["path"]
    into_window = _all(scope, b"sec-fetch-mode") == ["navigate"] and _all(scope, b"sec-fetch-dest") == ["document"]
    return into_window and path != "/v1" and not path.startswith("/v1/")


def _number(found: int) -> str:
    return f"; this one has {found}" if found > 1 else ""


def _origin(text: str) -> str:
    """An origin as ``http_origins`` has them; "" for what is none, such as "null"."""
    try:
        return parse_origin(text)
    except MalformedHost:
        return ""


def _all(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def _in_origin_form(scope: Scope) -> Scope:
    """Of a target in absolute form the authority counts, and not the Host beside it (RFC 9112 section 3.2.2)."""
    raw_path: bytes = scope["raw_path"]
    if raw_path.startswith(b"/"):
        return scope
    scheme, separator, rest = raw_path.partition(b"://")
    authority, slash, path = rest.partition(b"/")
    if not separator or scheme.lower() not in (b"http", b"https") or not authority or b"@" in authority:
        raise malformed("the target of a request is a path, or a URL with http or https")
    headers = [(key, value) for key, value in scope["headers"] if key != b"host"]
    changed: MutableMapping[str, Any] = {**scope, "raw_path": b"/" + path, "headers": [(b"host", authority), *headers]}
    changed["path"] = "/" + scope["path"].partition("://")[2].partition("/")[2] if slash else "/"
    return changed
