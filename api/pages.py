"""The built pages: GraphiQL and its hashed files."""

import asyncio
import gzip
import json
from mimetypes import guess_type
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

DIST: Final = Path(__file__).parent.parent / "dashboard" / "dist"

GRAPHIQL_CSP: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data:; worker-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'none'"
)
NOT_BUILT: Final = "The GraphiQL page is not built. Run `make dashboard` (it needs the npm registry once)."


RUN: Final = """query Run($id: ID!) {
  run(id: $id) {
    name status createdBy { name } startedAt finishedAt durationSeconds
    experiment { name project { name } }
    params { nodes { key value } }
    metrics { nodes { key last min max count } }
    tags { key value }
    artifacts { nodes { path state sizeBytes download { url } } }
    source { commit branch dirty entryPoint }
  }
}
"""


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


async def graphiql(_: Request) -> Response:
    """The explorer, or how to build it."""
    page = DIST / "graphiql.html"
    if not page.is_file():
        return PlainTextResponse(NOT_BUILT, 503)
    headers = {"Content-Security-Policy": GRAPHIQL_CSP, "Cache-Control": "no-cache"}
    return FileResponse(page, headers=headers, media_type="text/html")


async def run(request: Request) -> Response:
    """The explorer with this run; what to ask stands behind the #, which no log sees."""
    variables = json.dumps({"id": str(request.path_params["id"])})
    return RedirectResponse(f"/graphiql#q={quote(RUN)}&v={quote(variables)}")


def routes(*, with_graphiql: bool) -> list[BaseRoute]:
    """The routes of the pages that are switched on."""
    if not with_graphiql:
        return []
    return [
        Route("/graphiql", graphiql, methods=["GET"]),
        Route("/r/{id:uuid}", run, methods=["GET"]),
        Mount("/assets", HashedFiles(directory=DIST / "assets", check_dir=False)),
    ]
