"""The pages that the server gives everybody; what they show is asked with the token of who looks."""

import asyncio
import gzip
from pathlib import Path

import httpx

from api import pages
from tests.conftest import Client, Server, new_id

RUN_ID = new_id()
DASHBOARD = (
    "/",
    "/e/vision%2Fresnet",
    "/e/vision/charts?q=params.lr%20%3D%201",
    "/compare/diff?sel=1",
    f"/r/{RUN_ID}",
    f"/r/{RUN_ID}/artifacts/plots/cm.png",
    f"/v/{RUN_ID}",
    "/settings/tokens",
)


async def fetched(server: Server, *paths: str) -> list[httpx.Response]:
    async with httpx.AsyncClient(verify=False) as http:
        return await asyncio.gather(*(http.get(server.url + path) for path in paths))


async def test_every_address_of_the_dashboard_is_its_page(server: Server) -> None:
    built = (pages.DIST / "index.html").read_text()
    for response in await fetched(server, *DASHBOARD):
        assert (response.status_code, response.text) == (200, built), response.url
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"


async def test_dashboard_may_fetch_from_us_and_from_the_store_alone(server: Server, client: Client) -> None:
    store = (await client.ask("{ serverInfo { artifactOrigin } }"))["serverInfo"]["artifactOrigin"]
    [page] = await fetched(server, "/")
    given = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert server.settings.s3 is not None
    assert store == server.settings.s3.public_endpoint_url
    assert given == {
        "default-src": "'self'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": f"'self' data: {store}",
        "connect-src": f"'self' {store}",
        "worker-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'none'",
    }


async def test_address_that_is_no_page_is_not_found(server: Server) -> None:
    for response in await fetched(server, "/r/x", "/r/", "/r/../graphql", "/r/%00", "/v/x", "/e", "/nothing"):
        assert response.status_code in {404, 405}, response.url


async def test_explorer_is_served_by_us_alone(server: Server) -> None:
    [page] = await fetched(server, "/graphiql")
    assert page.status_code == 200
    assert "unsafe-eval" not in page.headers["content-security-policy"]
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "://" not in page.text.replace("http://www.w3.org", "")
    for name in ("x-content-type-options", "referrer-policy", "x-frame-options"):
        assert name in page.headers


async def test_files_of_the_page_are_packed_and_kept(server: Server) -> None:
    [script, *_] = sorted((pages.DIST / "assets").glob("*.js"))
    async with httpx.AsyncClient(verify=False) as http:
        packed = await http.get(f"{server.url}/assets/{script.name}", headers={"Accept-Encoding": "gzip"})
        plain = await http.get(f"{server.url}/assets/{script.name}", headers={"Accept-Encoding": "identity"})
        missing = await http.get(f"{server.url}/assets/../../settings.py")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content == script.read_bytes()
    assert "javascript" in packed.headers["content-type"]
    assert "immutable" in packed.headers["cache-control"]
    assert missing.status_code == 404


async def test_a_file_that_is_there_packed_only_is_unpacked_for_who_takes_no_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.js.gz").write_bytes(gzip.compress(b"let a = 1"))
    transport = httpx.ASGITransport(pages.HashedFiles(directory=tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", verify=False) as http:
        packed = await http.get("/a.js", headers={"Accept-Encoding": "gzip"})
        plain = await http.get("/a.js", headers={"Accept-Encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == b"let a = 1"
    assert "javascript" in plain.headers["content-type"]
    assert plain.headers["cache-control"] == packed.headers["cache-control"]


async def test_health_is_open_to_everybody(server: Server) -> None:
    async with httpx.AsyncClient(verify=False) as http:
        assert (await http.get(f"{server.url}/healthz")).text == "ok"
        assert (await http.get(f"{server.url}/readyz")).json() == {"database": "ok"}
