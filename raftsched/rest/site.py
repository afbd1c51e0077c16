"""The web interface: files that were built into the package."""

import json
import re
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from raftsched.rest.problem import Problem, malformed

CSP = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_FOREVER = "public, max-age=31536000, immutable"
_ASSETS = "/assets/"
"""Vite puts a digest of the content into the names of the files below."""

_MISSING = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>raftsched</title>
<h1>raftsched</h1>
<p>This node runs. Its web interface was not built: with Node.js 20.19 or later
and npm at hand, run <code>./scripts/build-ui</code> in the checkout, and reload. A package that was made from the
checkout before has to be made and installed anew.</p>
<p>The <a href="/docs">REST API</a> works without it; so does <code>raftsched --help</code>.</p>
</html>
"""


class Site:
    """Serves the files, and the start page for the paths that the interface has pages for."""

    def __init__(self, directory: Path) -> None:
        self._index = directory / "index.html"
        self._files = StaticFiles(directory=directory, check_dir=False)
        self._pages = _pages(directory / "routes.json")

    async def answer(self, request: Request) -> Response:
        """The file or the start page, as for GET. Raises Problem (400, 404)."""
        path = request.scope["path"]
        if not path.isprintable():
            raise malformed("the path holds characters that no file of ours has")
        if not self._index.is_file():
            return self._without(path)
        response = await self._file(request, path)
        if response is not None:
            response.headers["Cache-Control"] = _FOREVER if path.startswith(_ASSETS) else "no-cache"
            return response
        if self._pages.fullmatch(path):
            return self._start(200)
        if _from_browser(request) and not path.startswith(_ASSETS):
            # Whoever follows an old link gets the interface, which says that there is no such page.
            return self._start(404)
        raise no_such_path()

    async def _file(self, request: Request, path: str) -> Response | None:
        """The file of the path, if there is one."""
        if path == "/":
            return None
        try:
            return await self._files.get_response(path.lstrip("/"), {**request.scope, "method": "GET"})
        except (ValueError, OSError):
            raise malformed("the path cannot be that of a file") from None
        except HTTPException:
            return None

    def _start(self, status: int) -> Response:
        return FileResponse(self._index, status, {"Cache-Control": "no-cache"})

    def _without(self, path: str) -> Response:
        if path != "/":
            raise no_such_path()
        return HTMLResponse(_MISSING, headers={"Cache-Control": "no-store"})


def _pages(table: Path) -> re.Pattern[str]:
    """The paths of the pages, as the build of the interface lists them (ui/src/routes.ts); just / where it does not."""
    try:
        paths: list[str] = json.loads(table.read_text(encoding="utf-8"))
    except FileNotFoundError:
        paths = []
    parts = (re.sub(r":\w+", "[^/]+", re.escape(path.strip("/"))) for path in paths)
    return re.compile("/|/(?:" + "|".join(filter(None, parts)) + ")/?" if paths else "/")


def _from_browser(request: Request) -> bool:
    """Whether somebody follows a link, and no program asks."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def no_such_path() -> Problem:
    """There is nothing at the path of the request."""
    return Problem(404, "NOT_FOUND", "there is no such path; /docs lists those of the API")
