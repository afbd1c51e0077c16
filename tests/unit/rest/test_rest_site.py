"""The built web interface as files, and what stands in for it."""

import asyncio
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from raftsched.rest.app import RestApp, with_cors
from raftsched.rest.calls import OwnService

NOBODY = "127.0.0.1:1"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    ui = tmp_path / "ui"
    (ui / "assets").mkdir(parents=True)
    (ui / "index.html").write_text("<title>start</title>")
    (ui / "assets" / "index-1a2b.js").write_text("1")
    (ui / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret").write_text("secret")
    return ui


class Browser:
    """Asks the application without a socket, for paths as they are: no dots or slashes are tidied up before."""

    def __init__(self, ui: Path, origins: tuple[str, ...]) -> None:
        self._app = with_cors(RestApp(OwnService(NOBODY), "1.2.3", ui, origins), origins)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, headers or {}))

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


def test_the_page_of_a_task_with_a_dot_in_its_name_is_a_page(built: Path) -> None:
    assert client(built).get("/tasks/a.b").status_code == 404
    assert client(built).get("/tasks/a.b", {"Accept": "text/html,*/*"}).text == "<title>start</title>"


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
