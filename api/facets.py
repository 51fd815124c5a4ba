"""Facets: which params, metrics, tags and other fields the selected runs have."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import strawberry

from api.connections import After, Connection, First, page
from api.context import Info
from api.runs import Prefix
from api.selections import RunSelection
from db import facets, texts
from db.facets import Asked, Counts, Kind
from db.params import ParamType
from db.runs import Selection

NUMERIC = {ParamType.INT, ParamType.FLOAT}


@strawberry.type(description="A key that some of the selected runs have. Counts are of the newest 1,000 of them.")
class RunKey:
    kind: Kind = strawberry.field(description="Where it lies.")
    key: str = strawberry.field(description="The key.")
    types: list[ParamType] = strawberry.field(
        description="The kinds of a param's values: all in at most 1,000 runs; in a whole project those of its least "
        "and its greatest values."
    )
    is_numeric: bool = strawberry.field(description="Whether it can be compared with numbers.")
    counted: strawberry.Private[Callable[[], Awaitable[Counts]]]

    @strawberry.field(description="How many of these runs have it; counted only when asked for.")
    async def run_count(self) -> int:
        return (await self.counted()).runs

    @strawberry.field(description="How many values it has in them; of a metric its last ones.")
    async def distinct_count(self) -> int:
        return (await self.counted()).distinct

    @strawberry.field(description="Whether any two of them differ in it; a run without it differs from one with.")
    async def differs(self) -> bool:
        return (await self.counted()).differs


class _Counting:
    """Counts the keys of a page, together and once, when the first is asked for."""

    def __init__(self, info: Info, selection: Selection, of: facets.Sample, keys: list[facets.Key]) -> None:
        self._context = info.context
        self._selection = selection
        self._of = of
        self._keys = keys
        self._lock = asyncio.Lock()
        self._found: dict[facets.Key, Counts] = {}

    async def of_key(self, key: facets.Key) -> Counts:
        """The counts of a key of the page."""
        async with self._lock:
            if not self._found:
                pool, scope = self._context.pool, self._context.scope
                found = await facets.counts(pool, scope, self._selection, self._of, self._keys)
                self._found = dict(zip(self._keys, found, strict=True))
        return self._found[key]


@strawberry.type
class FacetQuery:
    @strawberry.field(description="The keys that the selected runs have, by kind and key; for choosing columns.")
    async def run_keys(
        self,
        info: Info,
        select: Annotated[
            RunSelection | None,
            strawberry.argument(description="Of which runs, of more than 1,000 the newest; absent: of all of yours."),
        ] = None,
        kinds: Annotated[list[Kind] | None, strawberry.argument(description="Of these kinds; absent: of all.")] = None,
        prefix: Prefix = "",
        search: Annotated[
            str, strawberry.argument(description="Only keys that have this in them, whatever its case.")
        ] = "",
        first: First = 100,
        after: After = None,
    ) -> Connection[RunKey]:
        context = info.context
        selection = select.checked() if select else Selection()
        of = await facets.sample(context.pool, context.scope, selection)
        wanted = frozenset(Kind if kinds is None else kinds)
        texts.storable(prefix, "prefix")
        texts.searched(search, "search")
        shown: list[facets.Key] = []
        counting = _Counting(info, selection, of, shown)

        async def fetch(start: list[Any] | None, limit: int) -> list[facets.Key]:
            asked = Asked(wanted, prefix, search, (Kind(start[0]), start[1]) if start else None)
            found = await facets.page(context.pool, of, asked, limit=limit)
            shown.extend(found)
            return found

        async def count() -> int:
            asked = Asked(wanted, prefix, search)
            return len(await facets.page(context.pool, of, asked, limit=facets.KEYS_MAX))

        return await page(
            context,
            "runKeys",
            [str(select), sorted(wanted), prefix, search],
            first,
            after,
            fetch=fetch,
            position=lambda key: [key.kind, key.key],
            node=lambda key: RunKey(
                kind=key.kind,
                key=key.key,
                types=list(key.types),
                is_numeric=key.kind is Kind.METRIC or not NUMERIC.isdisjoint(key.types),
                counted=lambda: counting.of_key(key),
            ),
            count=count,
        )
