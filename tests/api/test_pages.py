"""The pages that the server gives everybody; what they show is asked with the token of who looks."""

import gzip
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
from graphql import parse, validate

from api import pages
from api.schema import schema
from tests.conftest import Server, new_id


async def test_link_of_a_run_opens_it_in_the_explorer(server: Server) -> None:
    run_id = new_id()
    async with httpx.AsyncClient(verify=False) as http:
        response = await http.get(f"{server.url}/r/{run_id}")
    location = urlsplit(response.headers["location"])
    assert (response.status_code, location.path, location.query) == (307, "/graphiql", "")
    given = parse_qs(location.fragment)
    assert run_id in given["v"][0]
    assert validate(schema._schema, parse(given["q"][0])) == []


async def test_link_that_is_no_run_is_not_found(server: Server) -> None:
    async with httpx.AsyncClient(verify=False) as http:
        for path in ("/r/x", "/r/", "/r/../graphql", "/r/%00"):
            assert (await http.get(server.url + path)).status_code in {404, 405}


async def test_explorer_is_served_by_us_alone(server: Server) -> None:
    async with httpx.AsyncClient(verify=False) as http:
        page = await http.get(f"{server.url}/graphiql")
        home = await http.get(server.url)
    assert home.headers["location"] == "/graphiql"
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
