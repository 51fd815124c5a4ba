"""The built pages: the dashboard, GraphiQL, and their hashed files."""

import asyncio
import gzip
from mimetypes import guess_type
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from api.context import Deps

DIST: Final = Path(__file__).parent.parent / "dashboard" / "dist"

# `{store}` is the origin of the presigned links, which previews are fetched from.
DASHBOARD_CSP: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: {store}; "
    "connect-src 'self' {store}; worker-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'none'"
)
GRAPHIQL_CSP: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data:; worker-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'none'"
)
NOT_BUILT: Final = "This page is not built. Run `make dashboard` (it needs the npm registry once)."

# The addresses that the dashboard itself tells apart.
DASHBOARD_PATHS: Final = (
    "/",
    "/e/{experiment:path}",
    "/compare",
    "/compare/{tab:path}",
    "/r/{id:uuid}",
    "/r/{id:uuid}/{tab:path}",
    "/v/{id:uuid}",
    "/settings",
    "/settings/{tab:path}",
)


KEPT: Final = {"Vary": "Accept-Encoding", "Cache-Control": "public, max-age=31536000, immutable"}


class HashedFiles(StaticFiles):
    """Files whose name changes with their content: kept by the browser for ever, sent as packed by the build.

    An installed package has most of them packed only; they are unpacked for a client that takes no gzip.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or 404."""
        accepted = Headers(scope=scope).get("accept-encoding", "")
        packed_path, found = self.lookup_path(f"{path}.gz")
        packed = "gzip" in accepted and found is not None
        if found is not None and not packed and self.lookup_path(path)[1] is None:
            content = await asyncio.to_thread(lambda: gzip.decompress(Path(packed_path).read_bytes()))
            return Response(content, headers=KEPT, media_type=guess_type(path)[0] or "application/octet-stream")
        response = await super().get_response(f"{path}.gz" if packed else path, scope)
        if packed:
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Content-Type"] = guess_type(path)[0] or "application/octet-stream"
        response.headers.update(KEPT)
        return response


async def dashboard(request: Request) -> Response:
    """The page of every address of the dashboard, or how to build it."""
    deps: Deps = request.state.deps
    return _page("index.html", DASHBOARD_CSP.format(store=deps.store.public_origin))


async def graphiql(_: Request) -> Response:
    """The explorer, or how to build it."""
    return _page("graphiql.html", GRAPHIQL_CSP)


def _page(name: str, policy: str) -> Response:
    page = DIST / name
    if not page.is_file():
        return PlainTextResponse(NOT_BUILT, 503)
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
    return FileResponse(page, headers=headers, media_type="text/html")


def routes(*, with_graphiql: bool) -> list[BaseRoute]:
    """The routes of the pages that are switched on."""
    explorer = [Route("/graphiql", graphiql, methods=["GET"])] if with_graphiql else []
    return [
        *(Route(path, dashboard, methods=["GET"]) for path in DASHBOARD_PATHS),
        *explorer,
        Mount("/assets", HashedFiles(directory=DIST / "assets", check_dir=False)),
    ]
