"""The ASGI application: its routes, and what it opens and closes."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from api import pages
from api.budgets import open_budgets
from api.context import Deps
from api.documents import Documents
from api.express import Express
from api.guard import Guard, Rules
from api.http import GraphQLEndpoint
from api.live import open_live
from api.live_sockets import Sockets, open_sockets
from api.schema import schema
from db.metrics import open_recorder
from db.pool import open_pool
from settings import Settings, SettingsError
from storage.probe import Prober
from storage.store import StoreError, open_store
from workers import queue

log = logging.getLogger(__name__)


class State(TypedDict):
    """What the lifespan hands to requests."""

    deps: Deps
    endpoint: GraphQLEndpoint
    express: Express
    sockets: Sockets


@asynccontextmanager
async def open_deps(settings: Settings) -> AsyncIterator[Deps]:
    """What one process has, for all requests."""
    if settings.database_url is None or settings.redis_url is None or settings.s3 is None:
        raise SettingsError(
            "set RUNSTONE_DATABASE_URL, RUNSTONE_REDIS_URL and RUNSTONE_S3_*, or use `runstone up` for embedded ones"
        )
    async with (
        open_pool(
            settings.database_url,
            size_max=settings.database_pool_max,
            statement_timeout_s=settings.statement_timeout_s,
            name="api",
        ) as pool,
        open_pool(
            settings.database_url,
            size_max=settings.database_pool_max,
            statement_timeout_s=settings.read_timeout_s,
            name="reading",
        ) as reading,
        open_store(settings.s3) as store,
        queue.open_redis(settings.redis_url) as redis,
        open_budgets(redis, settings.token_cost_per_minute, settings.query_cost_max) as budgets,
        open_live(pool, redis, settings.redis_url) as live,
        open_recorder(
            pool,
            settings.database_url,
            statement_timeout_s=settings.statement_timeout_s,
            on_stored=live.hub.stored,
        ) as recorder,
    ):
        cursor_key = await pool.fetchval("select cursor_key from instance")
        prober = Prober(store)
        await _ask(prober)
        yield Deps(
            settings=settings,
            pool=pool,
            reading=reading,
            recorder=recorder,
            cursor_key=cursor_key,
            store=store,
            prober=prober,
            redis=redis,
            live=live,
            budgets=budgets,
        )


async def _ask(prober: Prober) -> None:
    """Find out before the first upload what the store enforces; without the store everything else still works."""
    try:
        answers = await prober.answers()
    except StoreError as error:
        log.warning("%s; uploads wait until it does", error)
        return
    if not answers.is_trusted:
        log.warning("the store does not hold to %s; the worker copies every upload", ", ".join(answers.gaps))


class GraphQL:
    """GraphQL over HTTP, by the endpoint that the lifespan made."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await scope["state"]["endpoint"](scope, receive, send)


class ShortCut:
    """Takes GraphQL requests past the router and its layers, which would cost as much as storing a step of metrics."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GraphQL request; pass on all others."""
        if scope["type"] == "http" and scope["path"] == "/graphql" and scope["method"] == "POST":
            await scope["state"]["endpoint"](scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def subscriptions(websocket: WebSocket) -> None:
    """GraphQL subscriptions over WebSocket."""
    await websocket.state.sockets(websocket)


async def healthz(_: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok")


async def readyz(request: Request) -> Response:
    """200 when the database answers, else 503: without it nothing can be logged or read."""
    deps: Deps = request.state.deps
    try:
        await deps.pool.fetchval("select 1", timeout=2)
    except Exception:  # noqa: BLE001 - whatever the reason, it is not ready
        return Response(orjson.dumps({"database": "unreachable"}), 503, media_type="application/json")
    return Response(orjson.dumps({"database": "ok"}), media_type="application/json")


def routes(settings: Settings) -> list[BaseRoute]:
    """What is served where."""
    return [
        Route("/graphql", GraphQL(), methods=["POST"]),
        WebSocketRoute("/graphql", subscriptions),
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        *pages.routes(with_graphiql=settings.graphiql),
    ]


def make_app(settings: Settings) -> ASGIApp:
    """The application; it opens its connections when it starts."""
    return Guard(ShortCut(make_router(settings)), settings)


def make_router(settings: Settings) -> Starlette:
    """The routes, with what they need while they are served."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        async with open_deps(settings) as deps:
            documents = Documents(
                schema._schema, introspection=settings.introspection, cost_max=settings.query_cost_max
            )
            endpoint = GraphQLEndpoint(deps, schema._schema, documents)
            express = Express(Rules(settings), endpoint.plain)
            async with open_sockets(deps, schema._schema, documents) as sockets:
                gc.collect()
                gc.freeze()  # what is here stays; going through it again and again stops requests for 100 ms at a time
                yield {"deps": deps, "endpoint": endpoint, "express": express, "sockets": sockets}

    router = Starlette(routes=routes(settings), lifespan=lifespan)
    router.router.redirect_slashes = False
    return router
