"""The web interface: files that were built into the package."""

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
    """Serves the files, and the start page for every path that the interface routes by itself."""

    def __init__(self, directory: Path) -> None:
        self._index = directory / "index.html"
        self._files = StaticFiles(directory=directory, check_dir=False)

    async def answer(self, request: Request) -> Response:
        """The file, or the start page. Raises Problem (400, 404)."""
        path = request.scope["path"]
        if not path.isprintable():
            raise malformed("the path holds characters that no file of ours has")
        if not self._index.is_file():
            return self._without(path)
        try:
            if path != "/":
                response = await self._files.get_response(path.lstrip("/"), request.scope)
                response.headers["Cache-Control"] = _FOREVER if path.startswith(_ASSETS) else "no-cache"
                return response
        except (ValueError, OSError):
            raise malformed("the path cannot be that of a file") from None
        except HTTPException:
            # A task's name may hold a dot, so the path of its page may look like a file's: only browsers ask for pages.
            is_page = "." not in path.rpartition("/")[2] or "text/html" in request.headers.get("accept", "")
            if not is_page or path.startswith(_ASSETS):
                raise _unknown() from None
        return FileResponse(self._index, headers={"Cache-Control": "no-cache"})

    def _without(self, path: str) -> Response:
        if path != "/":
            raise _unknown()
        return HTMLResponse(_MISSING, headers={"Cache-Control": "no-store"})


def _unknown() -> Problem:
    return Problem(404, "NOT_FOUND", "there is no such path; /docs lists those of the API")
