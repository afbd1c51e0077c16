"""The built web interface as files, and what stands in for it."""

import asyncio
import json
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from raftsched.hosts import Hosts
from raftsched.rest.app import RestApp, guarded
from raftsched.rest.calls import OwnService

NOBODY = "127.0.0.1:1"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    ui = tmp_path / "ui"
    (ui / "assets").mkdir(parents=True)
    (ui / "index.html").write_text("<title>start</title>")
    (ui / "routes.json").write_text(json.dumps(["/", "/tasks", "/tasks/:name", "/executions/:id", "/tasks/:name/edit"]))
    (ui / "assets" / "index-1a2b.js").write_text("1")
    (ui / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret").write_text("secret")
    return ui


class Browser:
    """Asks the application without a socket, for paths as they are: no dots or slashes are tidied up before."""

    def __init__(self, ui: Path, origins: tuple[str, ...]) -> None:
        self._app = guarded(RestApp(OwnService(NOBODY), "1.2.3", ui), Hosts([NOBODY], ["node"]), origins)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, headers or {}))

    def ask(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        return asyncio.run(self._ask(method, path, headers))

    def options(self, path: str, headers: dict[str, str]) -> httpx.Response:
        return asyncio.run(self._ask("OPTIONS", path, headers))

    async def _ask(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        async def with_path(scope: Scope, receive: Receive, send: Send) -> None:
            await self._app({**scope, "path": unquote(path), "raw_path": path.encode()}, receive, send)

        transport = httpx.ASGITransport(with_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return await client.request(method, "/", headers=headers)


def client(ui: Path, *origins: str) -> Browser:
    return Browser(ui, origins)


@pytest.mark.parametrize("path", ["/", "/tasks", "/tasks/some-task", "/executions/01M84PP4RMKJGA6A0WDJTK2FTR"])
def test_paths_of_the_interface_give_its_start_page_always_fresh(built: Path, path: str) -> None:
    response = client(built).get(path)
    assert (response.status_code, response.text) == (200, "<title>start</title>")
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["cache-control"] == "no-cache"


def test_files_named_by_their_content_are_kept_for_ever(built: Path) -> None:
    response = client(built).get("/assets/index-1a2b.js")
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-type"].startswith("text/javascript")
    assert client(built).get("/favicon.svg").headers["cache-control"] == "no-cache"
    assert client(built).get("/favicon.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("path", ["/tasks/a.b", "/tasks/", "/tasks/a%20b", "/tasks/a.b/edit"])
def test_whatever_fits_a_page_of_the_interface_is_one(built: Path, path: str) -> None:
    response = client(built).get(path)
    assert (response.status_code, response.text) == (200, "<title>start</title>")


NO_PAGES = [
    "/metrics", "/healthz", "/livez", "/readyz", "/ready", "/health", "/status", "/ping", "/favicon.ico", "/robots.txt",
    "/.well-known/anything", "/task", "/tasksx", "/tasks/a/b", "/tasks//edit", "/executions/a/output", "/TASKS",
    "/v2/tasks", "/api", "/grpc.health.v1.Health/Check", "/index.htm",
]  # fmt: skip


@pytest.mark.parametrize("path", NO_PAGES)
def test_what_is_no_page_of_the_interface_is_not_found_for_programs_and_people(built: Path, path: str) -> None:
    for ui in (built, built / "nothing-built"):
        response = client(ui).get(path)
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["reason"] == "NOT_FOUND"
    followed = client(built).get(path, {"Accept": "text/html,application/xhtml+xml,*/*"})
    assert (followed.status_code, followed.text) == (404, "<title>start</title>"), (
        "the interface says that there is none"
    )


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 404), ("/tasks", 405), ("/docs", 405), ("/favicon.svg", 405)]
)
def test_other_methods_are_not_allowed_where_there_is_something(built: Path, path: str, status: int) -> None:
    response = client(built).ask("POST", path, {"Accept": "text/html"})
    assert response.status_code == status
    assert response.headers.get("allow") == ("GET, HEAD" if status == 405 else None)


def test_an_interface_that_lists_no_pages_has_its_start_page_alone(built: Path) -> None:
    (built / "routes.json").unlink()
    assert client(built).get("/").status_code == 200
    assert client(built).get("/tasks").status_code == 404


@pytest.mark.parametrize("path", ["/assets/gone.js", "/assets/gone", "/missing.png", "/%2e%2e/secret.txt"])
def test_a_file_that_is_not_there_is_not_found(built: Path, path: str) -> None:
    response = client(built).get(path)
    assert response.status_code == 404
    assert response.json()["reason"] == "NOT_FOUND"


@pytest.mark.parametrize(
    "path", ["/../secret", "/%2e%2e/secret", "/assets/..%2f..%2fsecret", "//etc/passwd", "/..%5csecret"]
)
def test_nothing_outside_of_the_directory_is_served(built: Path, path: str) -> None:
    response = client(built).get(path)
    assert response.status_code == 404 or response.text == "<title>start</title>"


def test_every_answer_is_guarded(built: Path) -> None:
    for path in ("/", "/docs", "/openapi.json", "/v1/nothing", "/assets/gone.js"):
        headers = client(built).get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_without_the_interface_the_start_page_says_how_to_build_it(tmp_path: Path) -> None:
    page = client(tmp_path).get("/")
    assert page.status_code == 200
    assert "./scripts/build-ui" in page.text
    assert client(tmp_path).get("/tasks").status_code == 404


def test_other_origins_read_nothing_unless_they_are_named(built: Path) -> None:
    asked = {"Origin": "https://ops.example"}
    assert "access-control-allow-origin" not in client(built).get("/openapi.json", headers=asked).headers
    allowed = client(built, "https://ops.example")
    assert allowed.get("/openapi.json", headers=asked).headers["access-control-allow-origin"] == "https://ops.example"
    preflight = {**asked, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "if-match"}
    assert allowed.options("/v1/tasks/x", headers=preflight).status_code == 200
    other = {**preflight, "Origin": "https://evil.example"}
    assert "access-control-allow-origin" not in allowed.options("/v1/tasks/x", headers=other).headers
