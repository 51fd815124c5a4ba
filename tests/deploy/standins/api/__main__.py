"""An API that answers /readyz with the number of answers it ever gave; a file named broken-api breaks its start."""

import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from settings import Settings

settings = Settings.from_env()
if (settings.home / "broken-api").exists():
    raise SystemExit("the stand-in is broken")


async def ready(_: Request) -> PlainTextResponse:
    connection = await asyncpg.connect(settings.database_url)
    try:
        return PlainTextResponse(str(await connection.fetchval("insert into answer default values returning id")))
    finally:
        await connection.close()


uvicorn.run(Starlette(routes=[Route("/readyz", ready)]), host=settings.host, port=settings.port)
